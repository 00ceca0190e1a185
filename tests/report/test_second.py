"""Answers that were graded twice, in tables and in a figure."""

from typing import Any

from veneer.report import second
from veneer.report.render import every_table
from veneer.report.shown import read

Row = dict[str, Any]


def twice(study: Row) -> Row:
    def number(value: float) -> Row:
        return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 400}

    place = {"benchmark": "city", "form": "plain", "by": "people"}
    ends = {"second_score": number(0.7), "off": number(-0.2), "same": number(0.8), "kappa": number(0.6)}
    grades = [
        {**place, "grading": grading, "contestant": name, "items": 400, "score": number(score), **ends}
        for grading, score in (("strict", 0.1), ("lenient", 0.5))
        for name in ("small", "teacher")
    ]
    return {**study, "second_grades": grades, "second_gaps": []}


def test_each_grading_has_its_rows(study: Row) -> None:
    found = second.grades(read(twice(study)))
    assert [group.title for group in found.groups] == [
        "city, strict; second: people",
        "city, lenient; second: people",
    ]
    assert found.length == 4


def test_a_benchmark_that_was_graded_twice_is_drawn(study: Row) -> None:
    (drawn,) = second.panels(read(twice(study)))
    assert drawn.name == "graded-twice-city"
    assert len(drawn.rows) == 4


def test_a_study_without_second_grades_has_neither(audit: Row) -> None:
    assert second.panels(read(audit)) == []
    assert every_table(read(audit))["second_grades"].length == 0
