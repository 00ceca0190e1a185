"""Items that stand in the imitation data have a gap closed of their own."""

import itertools

import numpy as np

from benchmarks.answer_worlds import benchmark_of
from veneer.analyze.contamination import rows_of
from veneer.analyze.measure import Rung
from veneer.benchmarks.benchmark import Benchmark, Item
from veneer.records import Grade, Outcome
from veneer.study import AnalyzeSpec

NAMES = ("base", "student", "teacher")
RUNG = Rung(student="student", base="base", source="s", amount=1, replay=0.0, seeds=("student",))
SPEC = AnalyzeSpec(resamples=200)
HELD = frozenset(("quiz", str(place)) for place in range(60))


def benchmark() -> Benchmark:
    items = [Item(item_id=str(place), question="", cluster=str(place)) for place in range(200)]
    return benchmark_of("quiz", "knowledge", items)


def marks() -> list[Grade]:
    """The student knows by heart what its data holds, and nothing else that its base did not know."""
    rng = np.random.default_rng(0)
    found = []
    for name, place in itertools.product(NAMES, range(200)):
        share = 0.9 if name == "teacher" or (name == "student" and place < 60) else 0.3
        outcome = Outcome.CORRECT if rng.random() < share else Outcome.WRONG
        found.append(
            Grade(
                contestant=name,
                benchmark="quiz",
                form="plain",
                prompt_id=str(place),
                cluster=str(place),
                sample=0,
                strict=outcome,
                lenient=outcome,
                answer="",
                reference_loglikelihood=None,
            )
        )
    return found


def test_what_was_learned_by_heart_is_told_apart() -> None:
    (row,) = rows_of([benchmark()], marks(), HELD, [RUNG], (NAMES, ["base"], "teacher"), SPEC)
    assert row["items"] == 60
    assert row["gap_closed"]["low"] > 0.6


def test_without_contaminated_items_there_is_nothing_to_tell() -> None:
    assert rows_of([benchmark()], marks(), frozenset(), [RUNG], (NAMES, ["base"], "teacher"), SPEC) == []
