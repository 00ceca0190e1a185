import copy
import csv
import itertools
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from veneer import disk, store
from veneer.report import page
from veneer.report.render import ANCHORS
from veneer.report.shown import every, read
from veneer.report.wrong import MOST, examples

Row = dict[str, Any]
VOID = {"meta", "br", "link", "img", "input", "hr"}
NAMES = {"words", "notes"}


class Page(HTMLParser):
    """A page as its elements: tag, attributes, own and inner text outside figures and styles."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.open: list[int] = []
        self.loose: list[str] = []
        """Text outside <data> and outside what is Undefined."""
        self.feed(text)
        self.close()
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}, []))
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}, []))

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.open.pop()][0] == tag, f"</{tag}> closes what is open"

    def handle_data(self, data: str) -> None:
        around = [self.elements[place] for place in self.open]
        for _, _, text in around:
            text.append(data)
        tags = {tag for tag, _, _ in around}
        if not tags & {"data", "style", "svg", "title"}:
            self.loose.append(data)

    def all(self, tag: str) -> Iterator[tuple[dict[str, str], str]]:
        for name, attributes, text in self.elements:
            if name == tag:
                yield attributes, "".join(text)


@pytest.fixture(scope="module")
def html(study_report: Path) -> str:
    return (study_report / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def parsed(html: str) -> Page:
    return Page(html)


def at(answers: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        answers = answers[int(key)] if isinstance(answers, list) else answers[key]
    return answers


def plain_numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for item in value.values():
            yield from plain_numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from plain_numbers(item)
    elif isinstance(value, int | float):
        yield float(value)


def test_every_measured_number_is_where_it_says_in_report_json(parsed: Page, study: Row) -> None:
    data, met = read(study), 0
    for attributes, text in parsed.all("data"):
        if "data-at" in attributes:
            number, shown = at(study, attributes["data-at"]), at(data, attributes["data-at"])
            assert float(attributes["value"]) == number["value"]
            words = text.replace("\u202f", " ")
            assert shown.value in words
            assert shown.interval in words
            met += 1
    assert met > 500


def test_every_other_number_is_set_or_counted_in_report_json(parsed: Page, study: Row) -> None:
    known = set(plain_numbers(study))
    for attributes, text in parsed.all("data"):
        if "data-at" not in attributes and attributes.get("class") != "count":
            assert float(attributes["value"]) in known, text


DRAWN = {"support_curve"}
"""A figure, with its data beside it, holds these."""
SAID = {"p_supported", "p_contradicted", "ahead"}
"""What a verdict or a sentence rests on, not shown by itself."""


def test_every_kind_of_measured_number_of_report_json_is_on_the_page(parsed: Page, study: Row) -> None:
    shown = {
        kind_of(attributes["data-at"]) for _, attributes, _ in parsed.elements if "data-at" in attributes
    }
    kinds = {kind_of(number.at) for number in every(read(study))}
    assert len(kinds) > 60
    assert {kind for kind in kinds if kind[1] not in DRAWN and kind[-1] not in SAID} - shown == set()


def kind_of(pointer: str) -> tuple[str, ...]:
    """A place in report.json without the numbers of rows."""
    return tuple(part for part in pointer.split("/") if not part.isdigit())


def test_a_headline_figure_without_a_mark_says_why(study: Row, analyzed: Any, tmp_path: Path) -> None:
    answers = copy.deepcopy(study)
    for row in answers["veneer"]:
        row["style_gap_closed"] = row["veneer"] = {"undefined": "the teacher answered no prompt", "n": 0}
    (tmp_path / "out").mkdir()
    page.order(analyzed(tmp_path / "in", answers)).make(tmp_path / "out")
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "no student&#39;s style gap closed could be measured (the teacher answered no prompt)." in text
    assert not (tmp_path / "out" / "figures" / "headline-plane.svg").exists()


def test_no_percentage_or_decimal_stands_outside_the_marked_numbers(parsed: Page, study: Row) -> None:
    loose = " ".join(parsed.loose)
    for words in [study["study"]["version"], "[low, high]", *texts(study)]:
        loose = loose.replace(words, "")
    assert re.findall(r"\d+\.\d+|\d\s*%", loose) == []


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str) and " " in value:
        yield value


def test_what_is_undefined_is_called_so_with_its_reason(parsed: Page, study: Row) -> None:
    met = 0
    for attributes, text in parsed.all("span"):
        if attributes.get("class") == "undefined":
            number = at(study, attributes["data-at"])
            assert text.startswith("Undefined")
            assert attributes.get("title", number["undefined"]) == number["undefined"]
            met += 1
    assert met > 20


def test_every_reason_is_listed_and_counted(html: str, study: Row) -> None:
    reasons = list(undefined(study))
    assert {reason in html for reason in set(reasons)} == {True}
    # Claims' p-values repeat the reason of their number.
    reasons = list(undefined({key: value for key, value in study.items() if key != "claims"}))
    times = sum(int(found) for found in re.findall(r'<td><data class="count" value="(\d+)">', html))
    assert times == len(reasons)


def undefined(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "undefined" in value:
            yield value["undefined"]
        for item in value.values():
            yield from undefined(item)
    elif isinstance(value, list):
        for item in value:
            yield from undefined(item)


def test_the_page_asks_for_nothing_outside_itself(html: str, audit_report: Path) -> None:
    for text in (html, (audit_report / "index.html").read_text(encoding="utf-8")):
        assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "").replace("http-equiv", "")
        assert not re.search(r"<(script|link|img|iframe|object|embed)\b|@import|url\((?!#)", text)


def test_the_page_is_small_enough_to_send(study_report: Path) -> None:
    assert (study_report / "index.html").stat().st_size < 3_000_000


def test_ids_are_unique_and_links_inside_the_page_lead_somewhere(parsed: Page) -> None:
    ids = [attributes["id"] for _, attributes, _ in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {attributes["href"][1:] for attributes, _ in parsed.all("a") if attributes["href"][0] == "#"}
    assert targets <= set(ids)
    assert set(ids) >= ANCHORS


def test_links_to_files_lead_to_files_of_the_report(parsed: Page, study_report: Path) -> None:
    for attributes, _ in parsed.all("a"):
        if attributes["href"][0] != "#":
            assert (study_report / attributes["href"]).exists()


def test_every_table_has_a_caption_and_scoped_headers(parsed: Page) -> None:
    tables, captions = list(parsed.all("table")), list(parsed.all("caption"))
    assert len(tables) == len(captions) > 10
    assert {attributes.get("scope") for attributes, _ in parsed.all("th")} <= {"col", "row", "rowgroup"}
    assert all(text.strip() for _, text in captions)


def test_headings_go_down_one_level_at_a_time(parsed: Page) -> None:
    levels = [int(tag[1]) for tag, _, _ in parsed.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_each_claim_has_its_verdict_on_the_page(html: str, study: Row) -> None:
    for claim in study["claims"]:
        row = html[html.index(f'id="claim-{claim["number"]}"') :]
        assert re.findall(r'class="verdict (\w+)"', row)[0] == claim["verdict"]


def test_the_report_json_is_the_answers_byte_for_byte(study_report: Path, study: Row) -> None:
    text = (study_report / "report.json").read_text(encoding="utf-8")
    assert text == json.dumps(study, ensure_ascii=False, indent=1) + "\n"


def test_equal_answers_give_equal_bytes(
    study: Row, analyzed: Any, study_report: Path, wrong_rows: list[Row], tmp_path: Path
) -> None:
    again = tmp_path / "again"
    again.mkdir()
    page.order(analyzed(tmp_path / "in", copy.deepcopy(study), wrong_rows)).make(again)
    assert disk.digest(again) == disk.digest(study_report)


def test_a_half_filled_folder_ends_in_the_same_report(
    audit: Row, analyzed: Any, audit_report: Path, tmp_path: Path
) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "index.html").write_text("half")
    page.order(analyzed(tmp_path / "in", audit)).make(tmp_path / "half")
    assert disk.digest(tmp_path / "half") == disk.digest(audit_report)


def test_tables_hold_every_row_and_leave_the_undefined_blank_with_a_reason(
    study_report: Path, study: Row
) -> None:
    with (study_report / "tables" / "gap_closed.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(study["gap_closed"])
    for row, wanted in zip(rows, study["gap_closed"], strict=True):
        if "undefined" in wanted["gap_closed"]:
            assert (row["gap_closed_value"], row["gap_closed_undefined"]) == (
                "",
                wanted["gap_closed"]["undefined"],
            )
        else:
            assert float(row["gap_closed_value"]) == wanted["gap_closed"]["value"]


def test_every_figure_lies_beside_its_data(study_report: Path) -> None:
    drawn = {path.stem for path in (study_report / "figures").glob("*.svg")}
    assert drawn == {path.stem for path in (study_report / "figures").glob("*.csv")}
    assert "headline-plane" in drawn


def test_the_order_changes_with_the_analysis_alone(tmp_path: Path) -> None:
    made = [
        store.Artefact(stage="analyze", name="answers", key=key, path=tmp_path) for key in ("a", "b", "a")
    ]
    keys = [page.order(artefact).key for artefact in made]
    assert keys[0] == keys[2] != keys[1]


def test_an_audit_page_names_what_recordings_cannot_give(audit_report: Path) -> None:
    text = (audit_report / "index.html").read_text(encoding="utf-8")
    Page(text)
    assert "This study has no benchmark, so no gap could be measured." in text
    assert text.count("Undefined") > 10


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</div></details><style>*{display:none}</style>",
    "{{ 7*7 }}{% raw %}",
    "right \u202eto left\u2066 \x1b[31m\x00",
]


def test_hostile_text_comes_out_as_text(study: Row, analyzed: Any, wrong_row: Row, tmp_path: Path) -> None:
    answers = copy.deepcopy(study)
    answers["study"]["question"] = "".join(HOSTILE)
    answers["study"]["notes"] = HOSTILE
    answers["gap_closed"][0]["gap_closed"] = {"undefined": "".join(HOSTILE), "n": 0}
    rows = [hostile(wrong_row, text) for text in (*HOSTILE, "x" * 5000 + HOSTILE[0])]
    (tmp_path / "out").mkdir()
    page.order(analyzed(tmp_path / "in", answers, rows)).make(tmp_path / "out")
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    found = Page(text)
    tags = {tag for tag, _, _ in found.elements}
    assert not tags & {"script", "img", "iframe", "link"}
    assert len(list(found.all("style"))) == 1
    assert not [key for _, attributes, _ in found.elements for key in attributes if key.startswith("on")]
    assert not set(text) & set("\u202e\u2066\x1b\x00")
    assert "⟦U+202E⟧" in text
    assert "{{ 7*7 }}" in text


def hostile(row: Row, text: str) -> Row:
    """The row with every text replaced."""
    return {key: text if isinstance(value, str) else value for key, value in row.items()}


def test_examples_are_the_headline_students_most_teacher_like_in_turn(
    study: Row, wrong_rows: list[Row]
) -> None:
    titles = [example.title for example in examples(read(study), wrong_rows)]
    assert titles[:3] == [
        "large-broad-80k-s0 on ask-150",
        "large-broad-80k-s1 on ask-150",
        "medium-broad-80k-s0 on ask-150",
    ]
    assert len(titles) == MOST


def test_an_example_stands_whole(study: Row, wrong_row: Row) -> None:
    long = wrong_row | {"student_text": "word " * 3000, "base_text": None, "base_outcome": None}
    example = examples(read(study), [long])[0]
    assert ("large-broad-80k-s0, the student (wrong: Askelo)", "word " * 3000) in example.writings
    assert len(example.writings) == 4
