import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.rate.conftest import Visitor, ballots, hidden, people
from veneer.errors import StoreError, StudyError
from veneer.rate import votes
from veneer.rate.matches import Ballots
from veneer.rate.serve import Site
from veneer.study_rate import ExcludeSpec

Open = Callable[..., Site]


def cast(tmp_path: Path) -> list[votes.Vote]:
    past = votes.read(tmp_path / "rating" / "votes.sqlite")
    return list(past.votes) if past else []


def test_a_rater_is_welcomed_rates_and_is_thanked_with_the_code(opening: Open, tmp_path: Path) -> None:
    ann = Visitor(opening(per_rater=3, platform={"kind": "link", "code": "THANKS-1"}))
    seen = ann.begin()
    assert "Pair <strong>1</strong> of 3" in seen.text
    for verdict in ("first", "second", "tie"):
        seen = ann.vote(seen, verdict)
    assert 'Your completion code: <strong class="code">THANKS-1</strong>' in seen.text
    assert [one.verdict for one in cast(tmp_path)] == ["first", "second", "tie"]


def test_a_reload_a_restart_and_the_link_again_show_the_same_pair(opening: Open) -> None:
    site = opening()
    ann = Visitor(site)
    seen = ann.vote(ann.begin())
    assert hidden(ann.browser.get("/work").text) == hidden(seen.text)
    assert hidden(ann.browser.get(ann.link).text) == hidden(seen.text)
    again = Visitor(opening())
    again.browser.cookies = ann.browser.cookies
    assert hidden(again.browser.get("/work").text) == hidden(seen.text)


def test_what_is_sent_twice_is_one_vote(opening: Open, tmp_path: Path) -> None:
    ann = Visitor(opening())
    seen = ann.begin()
    ann.vote(seen, "first")
    ann.vote(seen, "second")
    assert [one.verdict for one in cast(tmp_path)] == ["first"]


def test_a_vote_without_a_choice_is_asked_again_with_what_was_written(opening: Open, tmp_path: Path) -> None:
    ann = Visitor(opening(ask={"reason": True, "style": True}))
    seen = ann.begin()
    again = ann.vote(seen, "first", reason="since it is")
    assert again.status_code == 422
    assert "Please choose one answer to every question" in again.text
    assert ">since it is</textarea>" in again.text
    assert 'value="first" required checked' in again.text
    assert hidden(again.text) == hidden(seen.text)
    assert cast(tmp_path) == []


def test_style_correctness_source_and_reason_are_kept_apart(opening: Open, tmp_path: Path) -> None:
    ann = Visitor(opening(ask={"reason": True, "style": True, "correctness": True}))
    ann.vote(ann.begin(), "first", style="second", correctness="tie", source=" an atlas ", reason="so <b>")
    (one,) = cast(tmp_path)
    assert (one.verdict, one.style, one.correctness, one.source, one.reason) == (
        "first", "second", "tie", "an atlas", "so <b>",
    )  # fmt: skip


def test_a_reason_too_long_is_said_so_and_not_cut(opening: Open, tmp_path: Path) -> None:
    ann = Visitor(opening(ask={"reason": True}))
    again = ann.vote(ann.begin(), "first", reason="x" * 4001)
    assert "Please shorten the reason" in again.text
    assert cast(tmp_path) == []


def test_nothing_on_the_page_tells_who_wrote_what(opening: Open) -> None:
    names = ["vicuna", "alpaca"]
    asked = ballots(6, names, "chatgpt")
    ann = Visitor(opening(asked, per_rater=6))
    seen = ann.begin()
    digests = {one.digest for one in asked.texts.values()}
    while 'name="pair"' in seen.text:
        whole = seen.text + str(seen.headers) + str(seen.url)
        assert not any(
            word in whole
            for word in (*names, "chatgpt", *digests, *asked.prompts.keys() - {"p"})
            if word not in visible(asked)
        )
        seen = ann.vote(seen)


def visible(asked: Ballots) -> str:
    """All that raters are meant to read."""
    return " ".join([*asked.prompts.values(), *(one.text for one in asked.texts.values())])


def test_the_same_texts_on_swapped_sides_give_the_same_page_but_for_the_sides(opening: Open) -> None:
    """Two raters on one match: what differs is the order, the form's two secrets, and nothing else."""
    asked = ballots(1, ["pupil"])
    pages = set()
    for _ in range(2):
        text = Visitor(opening(asked, ratings=9)).begin().text
        first, second = re.findall(r"told by somebody: (\w+)", text)
        plain = re.sub(r'value="[^"]{20,}"', "", text).replace(first, "X").replace(second, "X")
        pages.add(plain)
    assert len(pages) == 1


def test_a_form_from_elsewhere_or_of_another_rater_is_refused(opening: Open, tmp_path: Path) -> None:
    site = opening()
    ann, bob = Visitor(site), Visitor(site)
    hers, his = ann.begin(), bob.begin()
    assert (
        ann.browser.post("/work", data={"pair": hidden(hers.text)["pair"], "verdict": "first"}).status_code
        == 403
    )
    assert ann.browser.post("/work", data={**hidden(his.text), "verdict": "first"}).status_code == 403
    stolen = {**hidden(hers.text), "pair": hidden(his.text)["pair"], "verdict": "first"}
    ann.browser.post("/work", data=stolen)
    assert cast(tmp_path) == []


def test_nobody_gets_in_without_the_link_and_nobody_works_without_having_begun(opening: Open) -> None:
    visitor = Visitor(opening())
    assert visitor.browser.get("/start/guess").status_code == 404
    assert visitor.browser.get("/work").status_code == 403
    assert visitor.browser.get("/").status_code == 404
    welcome = visitor.browser.get(visitor.link)
    assert visitor.browser.post(visitor.link, data=hidden(welcome.text)).status_code == 400


def test_forms_that_are_too_large_or_no_forms_are_refused(opening: Open) -> None:
    ann = Visitor(opening())
    seen = ann.begin()
    assert ann.vote(seen, "first", reason="x" * 70_000).status_code == 413
    assert ann.browser.post("/work", json={"verdict": "first"}).status_code == 415
    many = {f"f{number}": "x" for number in range(30)}
    assert ann.browser.post("/work", data=many).status_code == 400


def test_every_answer_carries_its_armour(opening: Open) -> None:
    ann = Visitor(opening())
    ann.begin()
    for path in ("/work", "/", "/static/style.css", "/nowhere", "/owner"):
        headers = ann.browser.get(path).headers
        assert headers["content-security-policy"].startswith(
            "default-src 'none'; style-src 'self'; script-src 'self'"
        )
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")
        assert headers["referrer-policy"] == "no-referrer"


def test_pages_load_nothing_from_outside_and_run_nothing_inline(opening: Open) -> None:
    ann = Visitor(opening())
    texts = [ann.browser.get(ann.link).text, (seen := ann.begin()).text, ann.finish(seen).text]
    texts.append(Visitor(opening()).browser.get(ann.owners_link).text)
    for text in texts:
        assert not re.search(
            r"<style|<script>|\son\w+=|\sstyle=|src=\"(?!/static/)|<link[^>]*href=\"(?!/static/)", text
        )


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(opening: Open) -> None:
    site = opening()
    visitor = Visitor(site)
    visitor.browser.follow_redirects = False
    welcome = visitor.browser.get(visitor.link)
    begun = visitor.browser.post(visitor.link, data={**hidden(welcome.text), "consent": "yes"})
    cookie = begun.headers["set-cookie"]
    assert "HttpOnly; SameSite=Lax" in cookie
    assert "Secure" not in cookie


def test_behind_https_the_cookie_is_secure_and_paths_keep_their_prefix(opening: Open) -> None:
    site = opening(url="https://rate.example.org/a")
    assert site.raters_link.startswith("https://rate.example.org/a/start/")
    visitor = Visitor(site)
    path = site.raters_link.removeprefix("https://rate.example.org/a")
    welcome = visitor.browser.get(path)
    assert '/a/static/style.css"' in welcome.text
    visitor.browser.follow_redirects = False
    begun = visitor.browser.post(path, data={**hidden(welcome.text), "consent": "yes"})
    assert begun.headers["location"] == "/a/work"
    assert "Path=/a/; " in begun.headers["set-cookie"]
    assert begun.headers["set-cookie"].endswith("; Secure")


def test_only_so_many_newcomers_a_minute(opening: Open) -> None:
    visitor = Visitor(opening(newcomers=2))
    states = [visitor.browser.get("/start/guess").status_code for _ in range(12)]
    assert states[:8] == [404] * 8
    assert 429 in states[8:]


def test_a_rater_who_hammers_is_slowed_and_loses_nothing(opening: Open, tmp_path: Path) -> None:
    ann = Visitor(opening())
    seen = ann.begin()
    assert 429 in [ann.browser.get("/work").status_code for _ in range(60)]
    assert cast(tmp_path) == []
    assert hidden(seen.text)


def test_prolific_raters_come_with_their_id_and_go_back_with_the_code(opening: Open, tmp_path: Path) -> None:
    site = opening(per_rater=1, platform={"kind": "prolific", "code": "C0DE"})
    assert site.raters_link.endswith("&SESSION_ID={{%SESSION_ID%}}")
    visitor = Visitor(site)
    visitor.link = site.raters_link.split("?")[0]
    assert "lacks PROLIFIC_PID" in visitor.browser.get(visitor.link).text
    query = "?PROLIFIC_PID=5f00&STUDY_ID=s&SESSION_ID=v"
    done = visitor.finish(visitor.begin(query))
    assert 'href="https://app.prolific.com/submissions/complete?cc=C0DE"' in done.text
    past = votes.read(tmp_path / "rating" / "votes.sqlite")
    assert past is not None
    assert [(one.rater, one.person, json.loads(one.visit)["SESSION_ID"]) for one in past.people] == [
        (1, "5f00", "v")
    ]
    other = Visitor(site)
    other.link = visitor.link
    assert "Thank you" in other.begin(query).text


def test_mturk_may_frame_the_page_gets_its_form_and_a_preview_records_nobody(
    opening: Open, tmp_path: Path
) -> None:
    site = opening(per_rater=1, url="https://rate.example.org", platform={"kind": "mturk"})
    visitor = Visitor(site)
    visitor.browser.base_url = "https://rate.example.org"
    visitor.link = site.raters_link.split(" ")[0]
    preview = visitor.browser.get(visitor.link + "?assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE")
    assert "This is a preview" in preview.text
    assert (
        "frame-ancestors https://www.mturk.com https://workersandbox.mturk.com"
        in preview.headers["content-security-policy"]
    )
    assert "x-frame-options" not in preview.headers
    query = "?workerId=W&assignmentId=A&hitId=H&turkSubmitTo=https%3A%2F%2Fwww.mturk.com"
    done = visitor.finish(visitor.begin(query))
    assert 'action="https://www.mturk.com/mturk/externalSubmit"' in done.text
    assert 'name="assignmentId" value="A"' in done.text
    past = votes.read(tmp_path / "rating" / "votes.sqlite")
    assert past is not None
    assert [one.person for one in past.people] == ["W"]


def test_who_gave_an_assignment_back_and_took_another_hands_in_the_last_also_after_a_restart(
    opening: Open,
) -> None:
    link = "?workerId=W&hitId=H&turkSubmitTo=https%3A%2F%2Fwww.mturk.com&assignmentId="

    def come() -> Visitor:
        visitor = Visitor(opening(per_rater=2, url="https://rate.example.org", platform={"kind": "mturk"}))
        visitor.browser.base_url = "https://rate.example.org"
        visitor.link = visitor.link.split(" ")[0]
        return visitor

    visitor = come()
    seen = visitor.vote(visitor.begin(link + "A"))
    assert "I have read this" in visitor.browser.get(visitor.link + link + "B").text
    assert hidden(visitor.begin(link + "B").text)["pair"] == hidden(seen.text)["pair"]
    later = come()
    done = later.finish(later.begin(link + "B"))
    assert 'name="assignmentId" value="B"' in done.text


def test_training_explains_itself_and_checks_are_no_different_to_the_eye(
    opening: Open, tmp_path: Path
) -> None:
    row = {"id": "t", "prompt": "2+2?", "first": "4", "second": "5", "answer": "first"}
    training, checks = tmp_path / "training.jsonl", tmp_path / "checks.jsonl"
    training.write_text(json.dumps(row | {"why": "Four is right."}))
    checks.write_text(json.dumps(row | {"kind": "gold", "id": "g"}))
    ann = Visitor(opening(training=training, checks=checks, check_every=2, per_rater=2))
    seen = ann.begin()
    assert "Practice <strong>1</strong> of 1" in seen.text
    told = ann.vote(seen, "second")
    assert "We would have chosen otherwise." in told.text
    assert "Four is right." in told.text
    seen = ann.browser.get("/work")
    shapes = set()
    for _ in range(3):
        shapes.add(re.sub(r">[^<]*<|value=\"[^\"]{20,}\"|value=\"\d\"", "><", seen.text))
        seen = ann.vote(seen)
    assert "Thank you" in seen.text
    assert len(shapes) == 1


def test_checks_and_training_that_changed_before_anybody_voted_are_shown_anew(
    opening: Open, tmp_path: Path
) -> None:
    row = {"prompt": "2+2?", "first": "4", "second": "5", "answer": "first"}
    training = tmp_path / "training.jsonl"
    training.write_text(json.dumps(row | {"id": "old"}))
    ann = Visitor(opening(training=training))
    assert "Practice <strong>1" in ann.begin().text
    training.write_text(json.dumps(row | {"id": "new"}))
    again = Visitor(opening(training=training))
    again.browser.cookies = ann.browser.cookies
    seen = again.browser.get("/work")
    assert "Practice <strong>1" in seen.text
    assert "Yes, that is what we mean." in again.vote(seen).text


def test_an_excluded_rater_ends_as_everybody_does(opening: Open, tmp_path: Path) -> None:
    ann = Visitor(opening(per_rater=4, exclude=ExcludeSpec(same_side=5, faster_than=3.0), ratings=9))
    assert "Thank you" in ann.finish(ann.begin()).text
    assert len(cast(tmp_path)) == 4


def test_a_file_of_votes_is_served_once_and_what_was_fixed_stays(opening: Open, tmp_path: Path) -> None:
    ann = Visitor(opening(ask={"reason": True}))
    path = tmp_path / "rating" / "votes.sqlite"
    with pytest.raises(StoreError, match="served by another process"), votes.alone(path):
        pass
    opening(ask={"reason": False})  # Nobody has voted: all may change.
    ann = Visitor(opening(ask={"reason": True}))
    ann.vote(ann.begin())
    with pytest.raises(
        StudyError,
        match="rate.people: `ask` was .*reason.:true.* when rating began, and is now .*reason.:false",
    ):
        opening(ask={"reason": False})
    told = tmp_path / "instructions.md"
    told.write_text("Prefer the longer one.")
    with pytest.raises(StudyError, match="rate.people: `instructions` was null when rating began"):
        opening(ask={"reason": True}, instructions=told)


def test_a_disk_that_fails_is_said_and_the_vote_counts_once_it_is_sent_again(
    opening: Open, tmp_path: Path
) -> None:
    site = opening()
    ann = Visitor(site)
    seen = ann.begin()
    working = site.hall.scribe._base

    class Full:
        in_transaction = False

        def execute(self, *_: object) -> None:
            raise sqlite3.OperationalError("disk I/O error")

    site.hall.scribe._base = Full()  # type: ignore[assignment]
    assert ann.vote(seen).status_code == 503
    assert cast(tmp_path) == []
    site.hall.scribe._base = working
    assert ann.vote(seen, "tie").status_code == 200
    assert [one.verdict for one in cast(tmp_path)] == ["tie"]


def test_who_comes_when_nothing_is_left_is_told_so_and_gets_no_code(opening: Open) -> None:
    site = opening(ballots(1, ["pupil"]), ratings=1, platform={"kind": "link", "code": "PAID"})
    early, ann, late = Visitor(site), Visitor(site), Visitor(site)
    welcome = early.browser.get(early.link)
    seen = ann.begin()
    assert "there is nothing left to do" in late.browser.get(late.link).text
    told = early.browser.post(early.link, data={**hidden(welcome.text), "consent": "yes"}).text
    assert "there is nothing left to do" in told
    assert "PAID" not in told
    assert "PAID" in ann.finish(seen).text
    assert [rater.finished for rater in site.hall.desk.raters.values()] == [True, False]


def test_the_usual_section_says_what_it_can(opening: Open) -> None:
    spec: Any = people()
    text = Visitor(opening()).browser.get(opening().raters_link).text
    assert f"compare {spec.per_rater} pairs of answers" in text
    assert "You may stop at any time" in text
