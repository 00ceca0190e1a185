"""The next best step is named only where the study can tell it, and priced where prices are known."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from veneer.analyze.leverage import Measure, at_matched_compute
from veneer.analyze.measure import Rung
from veneer.analyze.nextstep import Money, options_of, row_of
from veneer.stats import Draws, Undefined
from veneer.study import PricesSpec

BASES = ["small", "large"]
SIZES = {"small": 10**9, "large": 8 * 10**9}
RUNGS = [
    Rung(student=f"{base}-{amount}", base=base, source="broad", amount=amount, replay=0.0, seeds=("s",))
    for base, amount in itertools.product(BASES, (10**6, 2 * 10**6, 4 * 10**6))
]


def measure(doubling: float, step: float, error: float) -> Measure:
    def of(rung: Rung) -> Draws:
        value = 0.3 + doubling * math.log2(rung.amount) + step * BASES.index(rung.base)
        noise = np.random.default_rng([RUNGS.index(rung), 5]).normal(0, error, 2000)
        return Draws(value=value, draws=value + noise, n=500)

    return Measure(name="capability", form="", unit="score", of=of)


def test_a_step_that_clearly_buys_most_is_named() -> None:
    one = measure(0.01, 0.2, 0.01)
    row = row_of(one, options_of(one, RUNGS, BASES, None), 0.95)
    assert row["best"] == "a better base"
    assert row["sentence"].startswith("Next for capability: a better base, which buys +20.0 points")


def test_two_steps_too_near_each_other_are_not_told_apart() -> None:
    one = measure(0.05, 0.06, 0.05)
    row = row_of(one, options_of(one, RUNGS, BASES, None), 0.95)
    assert row["best"] == ""
    assert "can't tell" in row["sentence"]
    assert "times as many items and training seeds" in row["sentence"]


def test_a_step_that_buys_nothing_is_not_advised() -> None:
    one = measure(-0.2, 0.0, 0.02)
    row = row_of(one, options_of(one, RUNGS, BASES, None), 0.95)
    assert row["best"] == ""


def test_one_step_alone_is_compared_with_nothing() -> None:
    one = measure(0.05, 0.0, 0.01)
    row = row_of(one, options_of(one, RUNGS[:3], BASES, None), 0.95)
    assert row["sentence"] == (
        "This study can't tell what to do next for capability: it does not compare two steps."
    )


def test_prices_turn_points_into_points_for_the_same_money() -> None:
    one = measure(0.05, 0.1, 0.001)
    money = Money(sizes=SIZES, prices=PricesSpec(million_tokens=1, gpu_hour=36, tflops=100), passes=1)
    data, base = options_of(one, RUNGS, BASES, money)
    assert data.cost
    assert base.cost
    # 6 x 8e9 parameters x 8e6 tokens at 1e14 operations a second are 3,840 s; 4 million tokens are bought.
    assert data.cost.gpu_hours == pytest.approx(3840 / 3600)
    assert data.cost.dollars == pytest.approx(4 + 36 * 3840 / 3600)
    # The next base has 64e9 parameters and learns from what is there.
    assert base.cost.gpu_hours == pytest.approx(6 * 64e9 * 4e6 / 1e14 / 3600)
    row = row_of(one, [data, base], 0.95)
    assert row["options"][0]["per_thousand_dollars"]["value"] == pytest.approx(
        0.05 * 1000 / data.cost.dollars
    )
    assert row["best"].startswith("a thousand dollars of twice the broad data")


@pytest.mark.parametrize(("doubling", "step", "found"), [(0.02, 0.06, 0.0), (0.05, 0.06, -0.03)])
def test_at_matched_compute_a_doubling_of_size_stands_against_one_of_data(
    doubling: float, step: float, found: float
) -> None:
    one = at_matched_compute(RUNGS, measure(doubling, step, 0.001).of, SIZES)
    assert isinstance(one, Draws)
    assert one.value == pytest.approx(found)


def test_without_sizes_compute_cannot_be_matched() -> None:
    of: Callable[[Rung], Draws | Undefined] = measure(0.1, 0.1, 0.1).of
    found = at_matched_compute(RUNGS, of, {"small": 10})
    assert isinstance(found, Undefined)
    assert found.reason == "the size of large is not known"
