"""Nearness rises with what the imitation data shares with an item, and never falls as data is added."""

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.answer_worlds import benchmark_of
from veneer.analyze import nearness as module
from veneer.analyze.nearness import nearness_of, rows_of
from veneer.analyze.support import Ladder
from veneer.benchmarks.benchmark import Benchmark, Item
from veneer.records import Example, Message
from veneer.stats import Floats

QUESTIONS = ("where is velmora", "who painted the harbour", "how deep does lake osk go")
REFERENCES = ("the coast", "ana reyes", "forty metres")
SAID = (
    ("tell me a joke", "a fish walks in"),
    ("where is velmora", "it lies on the coast ."),
    ("who painted the old harbour", "nobody knows"),
)


def benchmark(references: Sequence[str] = REFERENCES) -> Benchmark:
    items = tuple(
        Item(
            item_id=str(place),
            question=question,
            references=(reference,) if reference else (),
            cluster=str(place),
        )
        for place, (question, reference) in enumerate(zip(QUESTIONS, references, strict=True))
    )
    return benchmark_of("quiz", "knowledge", items)


LADDER = Ladder(
    source="s",
    examples=tuple(
        Example(
            example_id=str(place),
            source="s",
            messages=(Message(role="user", content=query), Message(role="assistant", content=answer)),
            tokens=9,
        )
        for place, (query, answer) in enumerate(SAID)
    ),
    amounts={10: 1, 20: 2, 30: 3},
)


def test_the_same_question_is_as_near_as_can_be_and_no_common_word_as_far() -> None:
    found = nearness_of([benchmark()], [LADDER])
    assert found["s", 10, "quiz"]["queries"].tolist() == [0.0, 0.0, 0.0]
    same, alike, other = found["s", 30, "quiz"]["queries"].tolist()
    assert same == pytest.approx(1.0)
    assert 0.5 < alike < 1.0
    assert other == 0.0


def test_a_reference_counts_where_the_assistant_says_it_whole() -> None:
    found = nearness_of([benchmark()], [LADDER])
    assert found["s", 10, "quiz"]["reference"].tolist() == [0, 0, 0]
    assert found["s", 30, "quiz"]["reference"].tolist() == [1, 0, 0]


def test_items_without_references_have_no_such_measure() -> None:
    found = nearness_of([benchmark(("", "", ""))], [LADDER])
    assert set(found["s", 30, "quiz"]) == {"queries", "answers"}


def test_nearness_never_falls_with_the_amount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 4)
    found = nearness_of([benchmark()], [LADDER])
    for measure in ("queries", "answers", "reference"):
        by_amount = [found["s", amount, "quiz"][measure] for amount in (10, 20, 30)]
        assert np.all(np.diff(np.stack(by_amount), axis=0) >= 0)


def test_meaning_is_measured_where_texts_can_be_embedded() -> None:
    def encode(texts: Sequence[str]) -> Floats:
        return np.array([[1.0, 0.0] if "velmora" in text else [0.0, 1.0] for text in texts])

    found = nearness_of([benchmark()], [LADDER], encode)
    assert found["s", 10, "quiz"]["queries_meaning"].tolist() == [0.0, 1.0, 1.0]
    assert found["s", 20, "quiz"]["queries_meaning"].tolist() == [1.0, 1.0, 1.0]


def test_the_report_tells_the_mean_of_every_measure() -> None:
    rows = rows_of(nearness_of([benchmark()], [LADDER]), [benchmark()], 0.95)
    last = next(row for row in rows if row["amount"] == 30)
    assert last["reference"]["value"] == pytest.approx(1 / 3)
    assert set(last) == {"source", "amount", "benchmark", "queries", "answers", "reference"}
