"""Numbers know how sure they are, and say so truly."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.stats import (
    Draws,
    Estimate,
    Undefined,
    average,
    combine,
    from_json,
    holm,
    interval,
    p_value,
    ratio,
    resample,
    rng_of,
    share,
    share_of,
    smoothing,
    to_json,
)

NORMAL = np.random.default_rng(0).standard_normal(4000)


def draws(value: float, deviation: float = 1.0, n: int = 10_000) -> Draws:
    return Draws(value=value, draws=value + deviation * NORMAL, n=n)


@pytest.mark.parametrize(
    "number", [Estimate(value=0.5, low=0.4, high=0.6, n=9), Undefined(reason="nobody answered", n=0)]
)
def test_a_number_survives_json(number: Estimate | Undefined) -> None:
    assert from_json(to_json(number)) == number


@given(units=st.integers(1, 40), seed=st.integers(0, 10**6))
def test_every_resample_draws_as_many_units_as_there_are(units: int, seed: int) -> None:
    weights = resample(units, 7, rng=np.random.default_rng(seed))
    assert weights.shape == (7, units)
    assert (weights.sum(axis=1) == units).all()


def test_the_same_place_of_the_same_seed_gives_the_same_numbers() -> None:
    assert rng_of(1, "gap", "city").random() == rng_of(1, "gap", "city").random()
    assert rng_of(1, "gap", "city").random() != rng_of(1, "gap", "pets").random()


def test_the_interval_of_a_normal_number_is_the_textbook_one() -> None:
    found = interval(draws(3.0), 0.95)
    assert isinstance(found, Estimate)
    assert (found.low, found.high) == pytest.approx((3 - 1.96, 3 + 1.96), abs=0.1)


def test_an_interval_of_few_units_is_wider() -> None:
    few, many = interval(draws(0.0, n=5), 0.95), interval(draws(0.0), 0.95)
    assert isinstance(few, Estimate)
    assert isinstance(many, Estimate)
    assert few.high - few.low > 1.2 * (many.high - many.low)


def test_what_rests_on_an_undefined_number_is_undefined_for_the_same_reason() -> None:
    missing = Undefined(reason="no items", n=0)
    assert combine(lambda a, b: a + b, draws(1.0), missing) == missing


def test_a_ratio_is_undefined_unless_its_bottom_is_surely_positive() -> None:
    found = ratio(draws(1.0), draws(1.0), 0.95, "no gap")
    assert isinstance(found, Undefined)
    assert found.reason.startswith("no gap: +1.000 [")


def test_a_ratio_of_sure_numbers_is_their_ratio() -> None:
    found = interval(ratio(draws(-1.0, 0.01), draws(2.0, 0.01), 0.95, "no gap"), 0.95)
    assert isinstance(found, Estimate)
    assert found.value == -0.5
    assert found.low < -0.5 < found.high


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(after >= before for before, after in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert all(np.diff(np.array(adjusted)[order]) >= 0)
    assert max(adjusted) <= 1


@pytest.mark.parametrize("direction", ["above", "below"])
def test_a_p_value_agrees_with_the_interval(direction: str) -> None:
    sign = 1 if direction == "above" else -1
    assert p_value(draws(sign * 1.96), 0.0, direction) == pytest.approx(0.025, abs=0.004)  # type: ignore[arg-type]
    assert p_value(draws(sign * 6.0), 0.0, direction) < 1e-6  # type: ignore[arg-type]
    assert p_value(draws(-sign * 6.0), 0.0, direction) > 0.999  # type: ignore[arg-type]


@given(right=st.integers(0, 30), n=st.integers(30, 60))
def test_a_share_lies_in_its_interval_and_that_in_zero_to_one(right: int, n: int) -> None:
    value = right / n
    found = share(value, value * (1 - value) / n, n, 0.95)
    assert 0 <= found.low <= value <= found.high <= 1
    assert found.low < found.high


def test_the_interval_of_a_share_covers_as_promised() -> None:
    rng = np.random.default_rng(5)
    for truth, n in ((0.9, 40), (0.5, 40), (0.02, 100)):
        values = rng.binomial(n, truth, 2000) / n
        found = [share(value, value * (1 - value) / n, n, 0.95) for value in values.tolist()]
        covered = np.mean([one.low <= truth <= one.high for one in found])
        assert covered >= 0.935


def test_the_interval_of_a_mean_covers_as_promised() -> None:
    rng = np.random.default_rng(6)
    found = [average(rng.normal(1.0, 2.0, 12), np.ones(12), 0.95) for _ in range(2000)]
    known = [one for one in found if isinstance(one, Estimate)]
    assert 0.935 <= np.mean([one.low <= 1.0 <= one.high for one in known]) <= 0.965


def test_one_cluster_carries_no_interval() -> None:
    assert isinstance(average(np.ones(1), np.ones(1), 0.95), Undefined)
    assert math.isclose(1.0, 1.0)


@pytest.mark.parametrize(("truth", "items"), [(0.01, 2), (0.1, 3), (0.3, 6)])
def test_a_share_of_several_items_a_cluster_covers_the_truth(truth: float, items: int) -> None:
    """Noise for unseen outcomes is that of the items where they vary freely: no more of it is taken out again."""
    rng, n, covered = np.random.default_rng(0), 60, 0
    for _ in range(200):
        sums = rng.binomial(items, truth, n)
        drawn = resample(n, 300, rng=rng) @ sums / (n * items)
        value = float(sums.mean()) / items
        units = min(max(value * (1 - value) / max(float(drawn.var()), 1e-9), n), n * items)
        noise = smoothing(units) * rng.standard_normal(300)
        known = share_of(Draws(value=value, draws=drawn + noise, n=n), 0.95)
        assert isinstance(known, Estimate)
        covered += known.low <= truth <= known.high
    assert covered >= 184
