"""A gap taken apart adds up again, and says what a study of its size could have found."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.answer_worlds import benchmark_of, table_of
from veneer.analyze.breakdown import difference_rows, differences, gain_rows, subject_rows
from veneer.analyze.gap import Book, book_of
from veneer.analyze.measure import Rung
from veneer.analyze.scores import Table
from veneer.stats import Draws, Estimate, Floats, Undefined, from_json

ITEMS = 240
NAMES = ("base", "student-0", "student-1", "teacher")
RUNG = Rung(
    student="student", base="base", source="s", amount=1, replay=0.0, seeds=("student-0", "student-1")
)
HELD = np.arange(ITEMS) < ITEMS // 2


def table(lenient: Floats, strict: Floats) -> Table:
    """Every item belongs to one of three subjects, the last of which has five items."""
    subjects = ["small" if place >= ITEMS - 5 else f"subject{place % 2}" for place in range(ITEMS)]
    made = table_of("quiz", "knowledge", NAMES, lenient, np.arange(ITEMS), 400, rng=np.random.default_rng(1))
    items = [replace(item, task=task) for item, task in zip(made.benchmark.items, subjects, strict=True)]
    benchmark = benchmark_of("quiz", "knowledge", items)
    return replace(made, benchmark=benchmark, right={"strict": strict, "lenient": lenient})


@pytest.fixture
def book() -> Book:
    """The student knows what is supported as the teacher does and the rest as its base, but writes it badly."""
    rng = np.random.default_rng(0)
    luck = rng.random((ITEMS, len(NAMES)))
    shares = np.tile([0.3, 0.3, 0.3, 0.9], (ITEMS, 1))
    shares[HELD, 1:3] = 0.9
    lenient = (luck < shares).astype(float)
    badly = rng.random((ITEMS, len(NAMES))) < [0.0, 0.5, 0.5, 0.0]
    rungs = [RUNG]
    graded = table(lenient, lenient * ~badly)
    return book_of([graded], {("s", 1, "quiz"): HELD}, rungs, ["base"], "teacher", 7)


def one(rows: list[dict[str, Any]], key: str) -> Estimate:
    found = from_json(rows[0][key])
    assert isinstance(found, Estimate)
    return found


def test_the_strict_gain_is_knowledge_and_format(book: Book) -> None:
    rows = gain_rows(book, 0.95)
    strict, knowledge, form = (
        one(rows, key).value for key in ("strict_gain", "knowledge_gain", "format_gain")
    )
    assert strict == pytest.approx(knowledge + form)
    assert knowledge > 0.2
    assert one(rows, "format_gain").high < -0.1


def test_a_gain_that_was_found_is_larger_than_the_smallest_detectable(book: Book) -> None:
    (row,) = gain_rows(book, 0.95)
    assert row["verdict"] == "above"
    assert 0 < row["detectable"] < row["knowledge_gain"]["value"]


def test_the_gap_closed_differs_between_supported_and_unsupported_items(book: Book) -> None:
    (row,) = difference_rows(book, 0.95)
    assert row["verdict"] == "above"
    assert one([row], "difference").low > 0.5


def test_without_unsupported_items_there_is_no_difference(book: Book) -> None:
    every = book_of(
        list(book.tables.values()),
        {("s", 1, "quiz"): np.ones(ITEMS, dtype=bool)},
        [RUNG],
        ["base"],
        "teacher",
        7,
    )
    found = differences(every, [("quiz", "plain")], "s", 0.95)[1]["student"]
    assert isinstance(found, Undefined)
    assert "unsupported" in found.reason


def test_a_seed_that_is_better_at_everything_does_not_widen_the_difference(book: Book) -> None:
    rng = np.random.default_rng(3)
    lenient = book.tables["quiz", "plain"].right["lenient"].copy()
    # Both halves hold every item twice over, so that what the better seed gains is the same on both.
    lenient[ITEMS // 2 :] = lenient[: ITEMS // 2]
    better = lenient.copy()
    better[:, 1] = np.tile(np.maximum(lenient[: ITEMS // 2, 1], rng.random(ITEMS // 2) < 0.5), 2)
    support = {("s", 1, "quiz"): HELD}
    alike, apart = (
        book_of([table(right, right)], support, [RUNG], ["base"], "teacher", 7) for right in (lenient, better)
    )
    narrow, wide = (differences(one, [("quiz", "plain")], "s", 0.95)[1]["student"] for one in (alike, apart))
    assert isinstance(narrow, Draws)
    assert isinstance(wide, Draws)
    assert float(wide.draws.std()) < 1.2 * float(narrow.draws.std())


def test_each_subject_with_enough_items_has_its_own_gap(book: Book) -> None:
    rows = subject_rows(book, 0.95)
    assert {row["subject"]: row["items"] for row in rows} == {"subject0": 118, "subject1": 117}
    assert all(isinstance(from_json(row["gap_closed"]), Estimate) for row in rows)
