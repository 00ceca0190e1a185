"""The pages of `veneer view`: found by their address, filtered, searched, compared; hostile texts stay inert."""

import html
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.rate.browsing import chromium, served
from tests.report import viewed
from veneer.rate.serve import Site
from veneer.report import view, view_index
from veneer.report.shown import visible
from veneer.report.view_book import Book
from veneer.report.view_index import Weighed
from veneer.report.view_pick import marker, needles
from veneer.report.view_state import PATTERNS, Lost, State, read
from veneer.report.view_words import compared, formatted, written
from veneer.safe_html import LIMIT

AXE = Path(
    os.environ.get("VENEER_AXE", Path(__file__).parents[2] / ".venv/axe/node_modules/axe-core/axe.min.js")
)
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
EVIL = """\
<script>window.owned = 1</script><img src=x onerror="window.owned = 1"> [click](javascript:window.owned=1)

<style>body { display: none }</style></article></main><form action="https://evil.example"><input name=q></form>

\u202egnorw si siht\u202c \x07 ![](https://evil.example/pixel.png) <svg/onload=window.owned=1>
"""
WHOLE = {"contestants": ["a", "b"], "students": ["a"], "benchmarks": ["quiz"], "forms": ["chat"]}
KNOWN = Weighed(
    supported={"pupil": {("quiz", "q0"): True, ("quiz", "q1"): False}},
    left_out=frozenset({("quiz", "q5")}),
    confident=frozenset({("pupil", "p1")}),
)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    opened = viewed.book_of(tmp_path, viewed.study(tmp_path, weigh=lambda: KNOWN))
    yield opened
    opened.close()


def browse(book: Book, report: Path | None = None) -> TestClient:
    return TestClient(view.app(book, report, ["testserver"]), follow_redirects=True)


def found(book: Book, **state: Any) -> list[str]:
    return [unit.item for unit in book.read_units(book.select(State(**state)).tolist())]


def chat(book: Book, **state: Any) -> list[str]:
    return found(book, benchmark="quiz", form="chat", **state)


class TestIndex:
    def test_it_is_made_once(self, tmp_path: Path) -> None:
        sources = viewed.study(tmp_path)
        told: list[tuple[int, int]] = []
        path = view_index.make(tmp_path / "view", sources, lambda done, total: told.append((done, total)))
        before = path.stat()
        assert view_index.make(tmp_path / "view", sources, lambda *_: pytest.fail("made twice")) == path
        assert path.stat() == before
        assert told[-1] == (14, 14)

    def test_that_of_other_artefacts_is_removed(self, tmp_path: Path) -> None:
        sources = viewed.study(tmp_path)
        for key in ("b", "c"):
            path = view_index.make(tmp_path / "view", viewed.rekeyed(sources, key), lambda *_: None)
        assert list((tmp_path / "view").iterdir()) == [path]

    def test_a_failure_leaves_nothing_behind(self, tmp_path: Path) -> None:
        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            view_index.make(tmp_path / "view", viewed.study(tmp_path), stop)
        assert list((tmp_path / "view").iterdir()) == []

    def test_who_was_not_asked_in_a_form_is_shown_as_such(self, tmp_path: Path) -> None:
        sources = viewed.study(tmp_path)
        path = sources.answered["base"] / "completions.jsonl"
        kept = [line for line in path.read_text().splitlines(keepends=True) if '"form": "plain"' not in line]
        path.write_text("".join(kept))
        book = viewed.book_of(tmp_path, sources)
        assert book.brief("base", book.at(("quiz", "plain", "q0"))).said is None
        assert book.brief("base", book.at(("prompts", "chat", "p0"))).said == "base tells 0, try 0."
        book.close()


class TestFilters:
    @pytest.mark.parametrize(
        ("pattern", "items"),
        [
            ("", ["q0", "q1", "q2", "q3", "q4", "q5"]),
            ("behind", ["q1", "q2"]),
            ("fluent", ["q2"]),  # in q1 it hedges
            ("confident", []),
            ("gained", ["q0"]),
            ("lost", ["q1"]),
            ("reached", ["q0", "q3"]),
            ("ahead", []),
            ("nobody", ["q4"]),
            ("format", []),
            ("unread", []),
            ("failed", ["q5"]),
        ],
    )
    def test_a_pattern_is_of_base_student_and_teacher(
        self, book: Book, pattern: str, items: list[str]
    ) -> None:
        assert chat(book, pattern=pattern) == items

    def test_it_is_of_the_student_that_is_chosen(self, book: Book) -> None:
        assert chat(book, student="twin", pattern="ahead") == ["q4"]
        assert chat(book, student="twin", pattern="unread") == ["q2"]

    @pytest.mark.parametrize(
        ("rungs", "student"),
        [
            ([("small", 9, 0.0), ("large", 5, 0.0), ("large", 9, 0.5), ("large", 9, 0.0)], "large-9-0.0"),
            ([("large", 0, 0.0), ("large", 0, 0.0)], "large-0-0.0"),
            ([], ""),
        ],
    )
    def test_unless_one_is_chosen_it_is_the_one_of_the_headlines(
        self, shelf: Book, rungs: list[tuple[str, int, float]], student: str
    ) -> None:
        plain = viewed.CONTESTANTS[1]
        made = [
            replace(plain, name=f"{base}-{amount}-{replay}", base=base, amount=amount, replay=replay)
            for base, amount, replay in rungs
        ]
        assert replace(shelf, contestants={one.name: one for one in made}).trio(State()).student == student

    def test_strict_grading_finds_what_is_wrong_in_form_alone(self, book: Book) -> None:
        assert chat(book, student="twin", pattern="format") == ["q3", "q4"]
        assert chat(book, student="twin", pattern="reached") == ["q3"]
        assert chat(book, student="twin", pattern="reached", grading="strict") == []

    def test_every_pattern_that_can_be_asked_for_is_counted(self, book: Book) -> None:
        counts = book.counts(State(), "quiz", "chat")
        assert {name: len(chat(book, pattern=name)) for name in PATTERNS} == counts

    def test_support_is_of_the_students_own_data(self, book: Book) -> None:
        assert chat(book, support="yes") == ["q0"]
        assert chat(book, support="no") == ["q1"]
        assert chat(book, student="twin", support="no") == []
        assert chat(book, support="out") == ["q5"]

    def test_confident_and_wrong_are_those_of_the_report(self, book: Book) -> None:
        assert found(book, pattern="confident") == ["p1"]


class TestSearch:
    @pytest.mark.parametrize(
        ("words", "items"),
        [
            ("danube", ["q2"]),
            ("DANUBE river", ["q2"]),
            ("volga which", ["q0", "q1", "q2", "q3", "q4", "q5"]),  # what is right
            ("rhone", ["q2"]),  # as people type it
            ('"which river"', ["q0", "q1", "q2", "q3", "q4", "q5"]),
            ('"river which"', []),
            ("Dan*", ["q2"]),
            ("Danub", []),
            ("crocodiles", []),  # the twin's, who is not shown
            ("danube OR elbe", []),  # no language of its own
            ("question: -elbe", ["q1"]),
        ],
    )
    def test_it_is_for_all_words_in_question_and_texts_shown(
        self, book: Book, words: str, items: list[str]
    ) -> None:
        assert chat(book, q=words) == items

    def test_whom_it_shows_it_searches(self, book: Book) -> None:
        assert chat(book, q="crocodiles", show=("twin",)) == ["q2"]

    def test_a_beginning_needs_letters(self, book: Book) -> None:
        with pytest.raises(Lost, match="at least 3 letters"):
            found(book, q="a*")

    def test_what_is_searched_for_is_marked(self) -> None:
        assert needles("a") != []
        page = written("Rivers & a RIVER.", marker("river"))
        assert page == "Rivers &amp; a <mark>RIVER</mark>."


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Book]:
    """One book for many examples."""
    folder = tmp_path_factory.mktemp("shelf")
    opened = viewed.book_of(folder, viewed.study(folder))
    yield opened
    opened.close()


@settings(deadline=None)
@given(st.text(max_size=40) | st.text('"*:^+-(){} abNEAROTD', max_size=30))
def test_no_search_breaks_the_page(shelf: Book, asked: str) -> None:
    with suppress(Lost):
        assert len(shelf.select(State(q=asked))) <= shelf.units


STATES = st.builds(
    State,
    student=st.sampled_from(["", "a"]),
    benchmark=st.sampled_from(["", "quiz"]),
    pattern=st.sampled_from(list(PATTERNS)),
    support=st.sampled_from(["", "yes", "no", "out"]),
    q=st.text(max_size=20).map(lambda text: text.replace("\x00", "").strip()),
    show=st.sampled_from([(), ("a",), ("b", "a")]),
    page=st.integers(1, 10**6),
    at=st.sampled_from(["", "quiz/chat/a b/../&=?#%é\u2028"]),
)


class TestAddress:
    @settings(deadline=None)
    @given(STATES)
    def test_it_holds_all_that_is_shown(self, state: State) -> None:
        query = httpx2.QueryParams(state.link("items").partition("?")[2])
        assert read(query.multi_items(), **WHOLE) == state

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("pattern", "never"), ("student", "b"), ("benchmark", "x"), ("form", "choose"), ("show", "nobody"),
            ("page", "0"), ("page", "-1"), ("page", "٣"), ("page", "1" * 50), ("sample", "x"), ("colour", "red"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_is_said(self, name: str, value: str) -> None:
        with pytest.raises(Lost, match=name):
            read([(name, value)], **WHOLE)

    def test_what_a_form_sends_empty_is_left_out_of_it(self, book: Book) -> None:
        answer = browse(book).get("/items?q=&student=pupil&pattern=behind&support=&show=")
        assert answer.url.query == b"student=pupil&pattern=behind"

    @pytest.mark.parametrize(
        "name", ["a/b/../c", "..", "%2e", "é ü", "a&b=c#d?", "<script>", "q|0", "x" * 500]
    )
    def test_every_item_has_one_whatever_its_id(self, tmp_path: Path, name: str) -> None:
        items = {0: viewed.item(0, item_id=name, question="Which one?")}
        book = viewed.book_of(tmp_path, viewed.study(tmp_path, items=items))
        browser = browse(book)
        link = re.findall(r'href="(item\?[^"]*)"', browser.get("/items?benchmark=quiz&form=chat").text)[0]
        answer = browser.get("/" + html.unescape(link))
        assert answer.status_code == 200
        assert "Which one?</h1>" in answer.text
        book.close()


class TestPages:
    def test_the_overview_counts_what_the_lists_hold(self, book: Book) -> None:
        browser = browse(book)
        links = re.findall(r'<td><a href="(items\?[^"]*)">([\d,]+)</a>', browser.get("/").text)
        assert len(links) > 6
        for link, count in links:
            listed = browser.get("/" + html.unescape(link)).text
            assert f"<b>{count}</b> of 14 items" in listed

    def test_a_list_goes_over_pages(self, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(view, "ROWS", 5)
        browser = browse(book)
        seen, at = [], "/items"
        while at:
            text = browser.get(at).text
            seen += re.findall(r" · (?:chat|plain) · (\w+)", text)
            more = re.search(r'rel="next" href="([^"]*)"', text)
            at = "/" + html.unescape(more[1]) if more else ""
        assert len(seen) == 14
        assert browser.get("/items?page=4").status_code == 404

    def test_an_item_shows_base_student_and_teacher_side_by_side(self, book: Book) -> None:
        text = browse(book).get("/item?at=quiz/chat/q2").text
        sides = re.findall(r'<article class="side (\w+)".*?</article>', text, re.DOTALL)
        assert sides == ["base", "student", "teacher"]
        assert "It is the river Rhône, of course." in text
        assert text.count('<span class="outcome wrong">') == 2

    def test_its_neighbours_are_those_of_the_filter(self, book: Book) -> None:
        text = browse(book).get("/item?at=quiz/chat/q2&pattern=behind").text
        assert "2 of 2 items found" in text
        assert 'href="item?pattern=behind&amp;at=quiz%2Fchat%2Fq1"' in text
        assert 'rel="next"' not in text

    def test_an_item_outside_the_filter_says_so(self, book: Book) -> None:
        text = browse(book).get("/item?at=quiz/chat/q0&pattern=behind").text
        assert "not among the 2 items found" in text

    def test_the_teachers_second_answer_is_one_click_away(self, book: Book) -> None:
        browser = browse(book)
        assert "1 of 2" in browser.get("/item?at=prompts/chat/p0").text
        text = browser.get("/item?at=prompts/chat/p0&sample=1").text
        assert "master tells 0, try 1." in text
        assert text.count("No answer of this number.") == 2

    def test_what_judges_said_stands_below_a_prompt(self, book: Book) -> None:
        text = browse(book).get("/item?at=prompts/chat/p0").text
        assert "<td>pupil</td><td>master</td>\n<td>master</td>" in text
        assert "&lt;b&gt;Fuller&lt;/b&gt;." in text
        assert "Fuller" not in browse(book).get("/item?at=prompts/chat/p0&student=twin").text

    def test_a_changed_artefact_is_not_read_as_if_it_were_the_old_one(self, book: Book) -> None:
        path = book.answered["pupil"] / "completions.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join([*lines[1:], lines[0]]))
        answer = browse(book).get("/item?at=quiz/chat/q2")
        assert answer.status_code == 503
        assert "Start `veneer view` again" in answer.text

    def test_nothing_can_be_sent(self, book: Book) -> None:
        browser = browse(book)
        for path in ("/", "/items", "/item?at=quiz/chat/q0"):
            for method in ("POST", "PUT", "DELETE"):
                assert browser.request(method, path).status_code == 405

    def test_a_web_site_under_its_own_name_reads_nothing(self, book: Book) -> None:
        answer = browse(book).get("/items", headers={"Host": "evil.example"})
        assert answer.status_code == 400
        assert "river" not in answer.text

    @pytest.mark.parametrize(
        "path", ["/nowhere", "/item", "/item?at=quiz", "/item?at=quiz/chat/q99", "/report/"]
    )
    def test_a_wrong_address_is_told_so(self, book: Book, path: str) -> None:
        answer = browse(book).get(path)
        assert answer.status_code == 404
        assert "Nothing here" in answer.text


class TestReport:
    @pytest.fixture
    def browser(self, book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
        report = tmp_path / "report"
        (report / "figures").mkdir(parents=True)
        (report / "index.html").write_text("<html><body>\n<h1>Report</h1></body></html>")
        (report / "figures" / "plane.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
        (tmp_path / "secret.txt").write_text("secret")
        monkeypatch.setattr(view, "_told", lambda _: {})
        return browse(book, report)

    def test_it_has_a_way_back(self, browser: TestClient) -> None:
        answer = browser.get("/report")
        assert "<h1>Report</h1>" in answer.text
        assert 'href="../items"' in answer.text

    def test_its_styles_may_apply_and_nothing_may_run(self, browser: TestClient) -> None:
        for path in ("/report/", "/report/figures/plane.svg"):
            policy = browser.get(path).headers.get_list("content-security-policy")
            assert policy == [view.REPORT_POLICY]
            assert "script-src" not in policy[0]

    @pytest.mark.parametrize(
        "path",
        [
            "../secret.txt",
            "..%2fsecret.txt",
            "%2e%2e/secret.txt",
            "figures",
            "/etc/passwd",
            "%00",
            "a" * 5000,
        ],
    )
    def test_nothing_beside_it_is_given_out(self, browser: TestClient, path: str) -> None:
        answer = browser.get(f"/report/{path}")
        assert answer.status_code == 404
        assert "secret" not in answer.text.replace("secret.txt", "")


class TestHostileTexts:
    @pytest.fixture
    def hostile(self, tmp_path: Path) -> Iterator[Book]:
        texts = {(name, number): EVIL for name in ("base", "pupil", "master") for number in (0, 10)}
        items = {0: viewed.item(0, question=EVIL, choices=(EVIL, "Danube"), references=("Danube",))}
        opened = viewed.book_of(tmp_path, viewed.study(tmp_path, texts, items))
        yield opened
        opened.close()

    @pytest.mark.parametrize("reading", ["", "formatted", "compared"])
    def test_they_are_shown_and_do_nothing(self, hostile: Book, reading: str) -> None:
        for path in ("/items", f"/item?at=quiz/chat/q0&read={reading}&q=script"):
            answer = browse(hostile).get(path)
            assert answer.status_code == 200
            assert not re.search(
                r'<(script|img|svg|style|iframe|input name=q>|form action="http)', answer.text
            )
            assert "\u202e" not in answer.text

    def test_every_page_forbids_scripts_and_the_outside(self, hostile: Book) -> None:
        for path in ("/", "/items", "/item?at=quiz/chat/q0", "/style.css", "/nowhere"):
            headers = browse(hostile).get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"


def bare(markup: str) -> str:
    return html.unescape(re.sub(r"</?mark[^>]*>", "", markup))


class TestDifference:
    def test_words_that_only_one_has_are_marked(self) -> None:
        student, teacher, common = compared("It is the Elbe.", "It is a Danube.")
        assert student == 'It is <mark class="own">the Elbe</mark>.'
        assert teacher == 'It is <mark class="own">a Danube</mark>.'
        assert common == pytest.approx(0.6)

    @settings(deadline=None)
    @given(st.text(), st.text())
    def test_it_changes_no_text(self, one: str, other: str) -> None:
        ours, theirs, common = compared(one, other)
        assert bare(ours) == visible(one)
        assert bare(theirs) == visible(other)
        assert 0 <= common <= 1

    @settings(deadline=None)
    @given(st.text())
    def test_equal_texts_have_no_mark(self, text: str) -> None:
        ours, _, common = compared(text, text)
        assert "<mark" not in ours
        assert common == 1

    @pytest.mark.parametrize(
        "texts",
        [("![" * 20_000, "[" * 40_000), ("." * 40_000, "!." * 20_000), ("a b " * 10_000, "b c " * 10_000)],
    )
    def test_no_texts_take_long(self, texts: tuple[str, str]) -> None:
        began = time.process_time()
        compared(*texts)
        for text in texts:
            formatted(text)
            written(text, None)
        assert time.process_time() - began < 1

    def test_what_has_too_many_signs_to_be_formatted_is_shown_as_written(self) -> None:
        assert formatted("*a* " * 5) == "<p><em>a</em> <em>a</em> <em>a</em> <em>a</em> <em>a</em></p>\n"
        assert "this is as it was written" in formatted("*" * 5000)

    def test_what_is_very_long_is_cut_and_says_so(self) -> None:
        ours, _, _ = compared("a " * LIMIT, "a")
        assert f"It goes on for {LIMIT:,} characters" in ours


def test_in_a_browser_pages_are_sound_at_every_width_and_hostile_texts_do_nothing(tmp_path: Path) -> None:
    texts = {(name, 0): EVIL for name in ("base", "pupil", "master")}
    texts |= {("pupil", 10): "x" * 3000}
    sources = viewed.study(tmp_path, texts, weigh=lambda: KNOWN)
    book = viewed.book_of(tmp_path, replace(sources, said={"name": "rivers " * 9, "question": ""}))
    site = cast(Site, SimpleNamespace(site=view.app(book, None, ["127.0.0.1"])))
    paths = ["", "items", "items?q=nothinglikeit", "nowhere"]
    paths += [f"item?at=quiz/chat/q0&read={reading}" for reading in ("", "formatted", "compared")]
    paths += ["item?at=prompts/chat/p0", "items?show=base&show=pupil&show=twin&show=master"]
    told: list[str] = []
    with served(site) as address, chromium() as browser:
        for width in (1280, 360):
            page = browser.new_context(viewport={"width": width, "height": 800}).new_page()
            page.on("console", lambda message: told.append(message.text))
            page.on("request", lambda asked: told.append(asked.url) if "evil" in asked.url else None)
            for path in paths:
                page.goto(f"{address}/{path}")
                wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0, f"{path} is {wide} pixels too wide at {width}"
                assert page.evaluate("window.owned") is None
        assert [one for one in told if "404" not in one] == []
        if AXE.exists():
            page = browser.new_context(bypass_csp=True).new_page()
            for path in paths:
                page.goto(f"{address}/{path}")
                page.evaluate(AXE.read_text())
                wrong = page.evaluate("(rules) => axe.run(document, rules)", RULES)["violations"]
                assert [(one["id"], one["nodes"][0]["html"][:200]) for one in wrong] == [], path
    book.close()
    shutil.rmtree(tmp_path / "view")
