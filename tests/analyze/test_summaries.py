"""What samples say together: pass@k without bias, toxicity of the worst, and no number where a sample is missing."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.analyze import reading, scores, summaries
from veneer.benchmarks.benchmark import Benchmark, Grading, Item
from veneer.records import Grade, Outcome
from veneer.study import AnalyzeSpec

CORRECT, WRONG, UNANSWERED, FAILED = Outcome.CORRECT, Outcome.WRONG, Outcome.UNANSWERED, Outcome.FAILED


def grade(outcome: Outcome, item: int = 0, sample: int = 0, **said: object) -> Grade:
    return Grade(
        contestant="m", benchmark="b", form="plain", prompt_id=str(item), cluster=str(item), sample=sample,
        strict=outcome, lenient=outcome, answer="", reference_loglikelihood=None, **said,  # type: ignore[arg-type]
    )  # fmt: skip


def toxic(*scores: float, item: int = 0) -> list[Grade]:
    return [
        grade(WRONG if score >= 0.5 else CORRECT, item, place, points=1 - score)
        for place, score in enumerate(scores)
    ]


def programs(*passed: int, of: int) -> list[list[Grade]]:
    return [
        [grade(CORRECT if sample < many else WRONG, item, sample) for sample in range(of)]
        for item, many in enumerate(passed)
    ]


def row(
    grades: list[Grade], grading: Grading, *, items: int, pass_at: tuple[int, ...] = ()
) -> dict[str, Any]:
    benchmark = Benchmark(
        name="b", items=tuple(Item(item_id=str(n), question="?", cluster=str(n)) for n in range(items)),
        measures="skill", grading=grading, forms=("plain",), stop={}, max_tokens={"plain": 9}, temperature=1.0,
        samples=4, pass_at=pass_at, chance=None, source="-",
    )  # fmt: skip
    spec = AnalyzeSpec(resamples=200)
    (found,) = scores.rows_of(scores.tables_of([benchmark], ["m"], grades, spec), spec)
    return found


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_draws_of_k_samples_of_which_one_passes(
    drawn: tuple[int, int, int],
) -> None:
    n, passed, k = drawn
    draws = list(combinations([True] * passed + [False] * (n - passed), k))
    (found,) = summaries.pass_at(programs(passed, of=n), k)
    assert found == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_does_not_hang_on_how_many_samples_there_are() -> None:
    rng = np.random.default_rng(0)
    passing = rng.binomial(10, 0.2, size=20_000)
    assert summaries.pass_at(programs(*passing, of=10), 3).mean() == pytest.approx(1 - 0.8**3, abs=0.01)


def test_pass_at_1_is_the_score_with_its_interval() -> None:
    grades = [one for own in programs(4, 1, 0, 2, 3, of=4) for one in own]
    found = row(grades, "program", items=5, pass_at=(1, 4))
    assert found["pass_at"]["1"] == pytest.approx(found["strict"])
    assert found["pass_at"]["4"]["value"] == 0.8
    assert found["toxicity"] == {}


def test_a_silent_sample_has_not_passed_and_a_failed_one_leaves_no_number() -> None:
    (silent,) = summaries.pass_at([[grade(UNANSWERED), grade(CORRECT, sample=1)]], 1)
    assert silent == 0.5
    grades = [one for own in programs(2, 2, of=2) for one in own]
    found = row([*grades[:-1], grade(FAILED, 1, 1)], "program", items=2, pass_at=(1, 2))
    for number in found["pass_at"].values():
        assert number["undefined"] == "1 of its answers failed and have yet to be asked again"


def test_the_worst_of_the_samples_counts() -> None:
    two = [toxic(0.1, 0.9), toxic(0.2, 0.4)]
    assert summaries.expected_maximum(two).mean() == pytest.approx((0.9 + 0.4) / 2)
    assert summaries.probability(two).mean() == 0.5
    assert summaries.non_toxicity(two).mean() == pytest.approx(1 - (0.1 + 0.9 + 0.2 + 0.4) / 4)


def test_refusals_stand_beside_toxicity() -> None:
    grades = toxic(0.1, 0.2) + toxic(0.6, 0.1, item=1)
    grades[0] = grade(CORRECT, points=0.9, refused=True)
    found = row(grades, "toxicity", items=2)["toxicity"]
    assert {key: round(number["value"], 9) for key, number in found.items()} == {
        "non_toxicity": 0.75,
        "expected_maximum": 0.4,
        "probability": 0.5,
        "refused": 0.25,
    }
    assert all(number["low"] <= number["value"] <= number["high"] for number in found.values())


@given(
    st.integers(1, 5).flatmap(
        lambda k: st.lists(st.lists(st.floats(0, 1), min_size=k, max_size=k), min_size=1, max_size=5)
    )
)
def test_the_expected_maximum_is_never_below_the_mean(scored: list[list[float]]) -> None:
    samples = [toxic(*own) for own in scored]
    assert summaries.expected_maximum(samples).mean() >= 1 - summaries.non_toxicity(samples).mean() - 1e-9


def test_items_with_other_numbers_of_samples_are_not_summed_up() -> None:
    found = row(toxic(0.1, 0.2) + toxic(0.1, item=1), "toxicity", items=2)["toxicity"]
    assert "from 1 to 2 samples" in found["expected_maximum"]["undefined"]


def test_few_texts_that_could_not_be_scored_are_left_out_for_all_and_many_leave_no_score() -> None:
    grades = [grade(FAILED, unscored=True), grade(FAILED, 1)]
    assert reading.unscored(grades, {"b": 20}) == {("b", "0")}
    assert reading.unscored(grades, {"b": 19}) == frozenset()
    found = row([grade(FAILED, unscored=True), *toxic(0.1, item=1)], "toxicity", items=2)
    assert found["strict"]["undefined"] == "no score could be had of 1 of its texts, too many to leave out"
