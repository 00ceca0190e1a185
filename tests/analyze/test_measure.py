"""Seeds are pooled with their spread in the draws: no narrower than promised, and no wider where there is none."""

import numpy as np
import pytest

from veneer.analyze.measure import FEWEST, Measured, Rung, Sheet, measured, pooled
from veneer.stats import Draws, Estimate, Undefined, interval, resample


def rung(name: str, seeds: int) -> Rung:
    names = tuple(f"{name}-{place}" for place in range(seeds))
    return Rung(student=name, base="b", source="broad", amount=1, replay=0.0, seeds=names)


def table(scores: np.ndarray, names: tuple[str, ...], rng: np.random.Generator) -> Measured:
    weights = resample(len(scores), 1000, rng=rng)
    return measured(
        [Sheet(names=names, sums=scores, counts=np.ones_like(scores), weights=weights, missing={})]
    )


def coverage_of_seeds(rungs: int, seeds: int, between: float) -> float:
    """Return how often a student's interval holds its expected score, items and seeds both drawn anew."""
    rng = np.random.default_rng(3)
    students = [rung(f"s{place}", seeds) for place in range(rungs)]
    names = tuple(seed for student in students for seed in student.seeds)
    covered = 0
    for _ in range(250):
        shares = 0.5 + rng.normal(0, between, len(names))
        scores = (rng.random((150, len(names))) < shares).astype(float)
        found = interval(pooled([table(scores, names, rng)], [students], rng=rng)[0]["s0"], 0.95)
        assert isinstance(found, Estimate)
        covered += found.low <= 0.5 <= found.high
    return covered / 250


@pytest.mark.parametrize(("rungs", "seeds"), [(1, 2), (4, 2), (1, 4)])
@pytest.mark.parametrize("between", [0.0, 0.08])
def test_two_levels_of_variance_cover_at_least_as_promised(rungs: int, seeds: int, between: float) -> None:
    # 250 runs: two standard errors are 2.8 points.
    assert coverage_of_seeds(rungs, seeds, between) >= 0.922


def test_too_few_items_carry_no_interval() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((FEWEST - 1, 1))
    found = pooled([table(scores, ("s-0",), rng)], [[rung("s", 1)]], rng=rng)[0]["s"]
    assert isinstance(found, Undefined)
    assert found.n == FEWEST - 1


def test_contestants_that_agree_on_every_item_are_not_known_to_be_equal() -> None:
    rng = np.random.default_rng(0)
    scores = np.repeat((rng.random((50, 1)) < 0.5).astype(float), 2, axis=1)
    values = pooled([table(scores, ("a", "b"), rng)], [[]], rng=rng)[0]
    one, other = values["a"], values["b"]
    assert isinstance(one, Draws)
    assert isinstance(other, Draws)
    assert one.value == other.value
    assert 0.01 < float(np.std(one.draws - other.draws)) < 0.05
