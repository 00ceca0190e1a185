"""What is told of answers that were graded twice."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from veneer.analyze import scores, second
from veneer.analyze.measure import rungs_of
from veneer.benchmarks.benchmark import Benchmark, Item
from veneer.errors import DataError
from veneer.records import Contestant, Grade, Outcome, Role
from veneer.study import AnalyzeSpec
from veneer.study_benchmarks import BenchmarkSpec, SecondGradesSpec

ITEMS = 200
SPEC = AnalyzeSpec(resamples=300)
KNOWS = {"base": 0.3, "student": 0.5, "teacher": 0.8}


def contestant(name: str, role: Role) -> Contestant:
    return Contestant(
        name=name, role=role, student=name, base="base", source="", amount=0, seed=0, replay=0.0
    )


ALL = [
    contestant("base", Role.BASE),
    contestant("student", Role.STUDENT),
    contestant("teacher", Role.TEACHER),
]


def grade(name: str, item: int, *, right: bool) -> Grade:
    outcome = Outcome.CORRECT if right else Outcome.WRONG
    return Grade(
        contestant=name,
        benchmark="facts",
        form="chat",
        prompt_id=str(item),
        cluster=str(item),
        sample=0,
        strict=Outcome.WRONG,
        lenient=outcome,
        answer="",
        reference_loglikelihood=None,
        refused=False,
    )


def benchmark() -> Benchmark:
    items = tuple(
        Item(item_id=str(i), question=f"q{i}", references=("a",), choices=(), checks=None, cluster=str(i))
        for i in range(ITEMS)
    )
    return Benchmark(
        name="facts",
        items=items,
        measures="knowledge",
        grading="match",
        forms=("chat",),
        stop={},
        max_tokens={"chat": 1},
        temperature=0.0,
        chance=None,
        source="",
    )


def rows(
    tmp_path: Path, theirs: list[dict[str, Any]], missed: float = 0.0
) -> dict[str, list[dict[str, Any]]]:
    """Grade the planted answers, missing a share of the right ones."""
    path, rng = tmp_path / "people.jsonl", np.random.default_rng(1)
    path.write_text("".join(json.dumps(row) + "\n" for row in theirs))
    right = {(row["contestant"], row["id"]): row["correct"] for row in truths()}
    grades = [
        grade(one.name, i, right=bool(right[one.name, i]) and rng.random() >= missed)
        for one in ALL
        for i in range(ITEMS)
    ]
    tables = scores.tables_of([benchmark()], list(KNOWS), grades, SPEC)
    found: Any = SimpleNamespace(tables=tables, rungs=rungs_of(ALL))
    spec = BenchmarkSpec(
        items=path,
        measures="knowledge",
        grading="match",
        second_grades=SecondGradesSpec(path=path),
    )
    return second.rows_of({"facts": spec}, found, SPEC, "teacher")


def truths() -> list[dict[str, Any]]:
    """What the contestants' answers are, as people see it."""
    rng = np.random.default_rng(0)
    return [
        {"contestant": name, "id": i, "correct": bool(rng.random() < known)}
        for name, known in KNOWS.items()
        for i in range(ITEMS)
    ]


def of(found: list[dict[str, Any]], **wanted: str) -> dict[str, Any]:
    (row,) = [row for row in found if all(row[key] == value for key, value in wanted.items())]
    return row


def test_grades_that_are_the_same_are_off_by_nothing(tmp_path: Path) -> None:
    found = rows(tmp_path, truths())
    row = of(found["second_grades"], grading="lenient", contestant="teacher")
    assert (row["off"]["value"], row["same"]["value"], row["kappa"]["value"], row["items"]) == (
        0,
        1,
        1,
        ITEMS,
    )
    gap = of(found["second_gaps"], grading="lenient")
    assert gap["gap_closed"]["value"] == gap["second_gap_closed"]["value"]


def test_a_grading_that_misses_right_answers_is_off_by_so_much(tmp_path: Path) -> None:
    found = rows(tmp_path, truths(), missed=0.25)
    row = of(found["second_grades"], grading="lenient", contestant="teacher")
    assert row["off"]["value"] == pytest.approx(row["score"]["value"] - row["second_score"]["value"])
    assert row["off"]["low"] < -0.2 < row["off"]["high"] < 0
    assert of(found["second_grades"], grading="strict", contestant="teacher")["score"]["value"] == 0


def test_all_are_told_on_the_items_that_have_grades_for_all_of_them(tmp_path: Path) -> None:
    theirs = [row | ({"correct": None} if row["id"] < 50 else {}) for row in truths()]
    found = rows(tmp_path, [row for row in theirs if (row["contestant"], row["id"]) != ("base", 60)])
    assert {row["items"] for row in found["second_grades"]} == {ITEMS - 51}


def test_whoever_has_no_second_grade_is_left_out_with_the_gaps(tmp_path: Path) -> None:
    found = rows(tmp_path, [row for row in truths() if row["contestant"] != "base"])
    assert {row["contestant"] for row in found["second_grades"]} == {"student", "teacher"}
    assert found["second_gaps"] == []


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"contestant": "nobody", "id": 1, "correct": True}, "there are"),
        ({"contestant": "base", "id": 1, "correct": "yes"}, "true, false or null"),
        ({"contestant": "base", "id": 0, "correct": True}, "has a grade already"),
    ],
)
def test_a_malformed_second_grade_is_named_by_its_line(
    tmp_path: Path, row: dict[str, Any], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        rows(tmp_path, [*truths(), row])


def test_second_grades_of_another_benchmark_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no `id`"):
        rows(tmp_path, [{"contestant": "base", "id": "x", "correct": True}])
