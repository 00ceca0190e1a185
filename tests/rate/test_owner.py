import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from tests.rate.conftest import Visitor, ballots, hidden
from veneer.rate import people, progress, votes
from veneer.rate.matches import Match
from veneer.rate.owner import comma_separated
from veneer.rate.serve import Site

Open = Callable[..., Site]


def owner_of(site: Site) -> Visitor:
    owner = Visitor(site)
    assert owner.browser.get(owner.owners_link).status_code == 200
    return owner


def test_the_owner_sees_how_the_rating_stands(opening: Open) -> None:
    site = opening(ballots(3), ratings=1, per_rater=3, pay={"each": 2.5, "currency": "GBP"})
    ann = Visitor(site)
    ann.finish(ann.begin())
    text = owner_of(site).browser.get("/owner").text
    assert re.search(r"<dd>3 <small>of 6 wanted", text)
    assert "2.50 GBP for 1 finished so far; about 1 more would" in text
    assert "3 verdicts" in text
    assert "small and master" in text
    assert '<th scope="row">rater-1</th><td class="number">3</td>' in text


def test_win_rates_are_shown_only_when_asked_for_and_each_look_is_counted(opening: Open) -> None:
    site = opening(per_rater=2)
    ann = Visitor(site)
    ann.finish(ann.begin())
    owner = owner_of(site)
    text = owner.browser.get("/owner").text
    assert "They are not shown while votes come in" in text
    assert "Not preferred" not in text
    for look in ("1 time;", "2 times;"):
        shown = owner.browser.post("/owner/peek", data=hidden(text)).text
        assert f"You looked at running win rates {look}" in shown
        assert "Not preferred" in shown


def test_without_the_secret_there_is_no_owners_page(opening: Open) -> None:
    site = opening()
    ann = Visitor(site)
    text = ann.begin().text
    secret = site.owners_link.rsplit("/", 1)[1]
    assert secret not in text
    for path in ("/owner", "/owner/guess", "/owner/export/votes.csv", "/owner/export/raters.csv"):
        assert ann.browser.get(path).status_code == 404
    assert ann.browser.post("/owner/peek").status_code == 404
    ann.browser.cookies.set("owner", secret)
    assert ann.browser.get("/owner").status_code == 404


def test_an_owners_form_needs_its_mark(opening: Open) -> None:
    owner = owner_of(opening(platform={"kind": "invitations"}))
    assert owner.browser.post("/owner/invite", data={"many": "3"}).status_code == 403
    assert owner.browser.post("/owner/peek", data={"mark": "x"}).status_code == 403


def test_invitations_let_in_one_person_each(opening: Open) -> None:
    site = opening(platform={"kind": "invitations"}, per_rater=1)
    assert site.raters_link == ""
    owner = owner_of(site)
    page = owner.browser.post(
        "/owner/invite", data={**hidden(owner.browser.get("/owner").text), "many": "2"}
    ).text
    links = re.findall(r"http://127.0.0.1:8765(/start/[\w-]+)", page)
    assert len(set(links)) == 2
    ann, again, bob = Visitor(site), Visitor(site), Visitor(site)
    ann.link = again.link = links[0]
    bob.link = links[1]
    seen = ann.begin()
    assert hidden(again.begin().text)["pair"] == hidden(seen.text)["pair"]
    assert hidden(bob.begin().text)["pair"] != hidden(seen.text)["pair"]
    ann.finish(seen)
    states = re.findall(r"<td>(not used|begun|finished)</td>", owner.browser.get("/owner").text)
    assert states[:2] == ["finished", "begun"]
    reopened = Visitor(opening(platform={"kind": "invitations"}, per_rater=1))
    reopened.link = links[0]
    assert "Thank you" in reopened.begin().text
    assert reopened.browser.get("/start/guess").status_code == 404


def test_how_many_invitations_is_a_number(opening: Open) -> None:
    owner = owner_of(opening(platform={"kind": "invitations"}))
    form = hidden(owner.browser.get("/owner").text)
    for many in ("", "x", "0", "-1", "1001", "٣", "9" * 5000):
        assert owner.browser.post("/owner/invite", data={**form, "many": many}).status_code == 422


def test_votes_can_be_taken_away(opening: Open) -> None:
    site = opening(per_rater=3, ask={"reason": True}, platform={"kind": "prolific", "code": "C"})
    ann = Visitor(site)
    ann.link = ann.link.split("?")[0]
    query = "?PROLIFIC_PID=pid&STUDY_ID=s&SESSION_ID=v"
    ann.vote(ann.begin(query), "tie", reason="=SUM(A1)")
    owner = owner_of(site)
    table = owner.browser.get("/owner/export/votes.csv")
    (row,) = csv.DictReader(io.StringIO(table.text))
    assert (row["rater"], row["verdict"], row["reason"]) == ("rater-1", "tie", "'=SUM(A1)")
    assert {row["first"], row["second"]} in ({"small", "master"}, {"pupil", "master"})
    assert "pid" not in table.text
    parquet = pq.read_table(io.BytesIO(owner.browser.get("/owner/export/votes.parquet").content))
    assert parquet.column("reason").to_pylist() == ["=SUM(A1)"]
    (person,) = csv.DictReader(io.StringIO(owner.browser.get("/owner/export/raters.csv").text))
    assert (person["person"], person["votes"]) == ("pid", "1")
    assert owner.browser.get("/owner/export/nothing.csv").status_code == 404


def test_exports_of_nothing_are_empty(opening: Open) -> None:
    owner = owner_of(opening())
    assert owner.browser.get("/owner/export/votes.csv").content == b"" == comma_separated([])
    assert pq.read_table(io.BytesIO(owner.browser.get("/owner/export/votes.parquet").content)).num_rows == 0


def test_votes_on_a_pair_that_the_study_no_longer_asks_for_are_kept_and_left_out(
    opening: Open, tmp_path: Path
) -> None:
    narrow = ballots(2, ["pupil"])
    wide = ballots(2, ["pupil", "small"])
    more = tuple(Match(prompt_id=one, challenger="pupil", opponent="small") for one in wide.prompts)
    visitor = Visitor(opening(replace(wide, matches=more), ratings=1))
    visitor.finish(visitor.begin())
    opened = opening(replace(wide, matches=narrow.matches), ratings=1)
    owner = Visitor(opened)
    assert "0 <small>of 2 wanted" in owner.browser.get(opened.owners_link).text
    past = votes.read(tmp_path / "rating" / "votes.sqlite")
    assert past is not None
    assert [one.excluded for one in people.casts(past, opened.hall.desk.ballots)] == [people.DROPPED] * 2
    assert progress.win_rates(opened.hall.desk.ballots, past) == [("pupil", "master", 0, 0, 0)]
