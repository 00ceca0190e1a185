"""Slopes per doubling and per step of base come out as planted, and are refused where they cannot be told."""

import itertools
import math

import numpy as np
import pytest

from veneer.analyze.leverage import slope
from veneer.analyze.measure import Rung
from veneer.stats import Draws, Undefined

BASES = ["small", "medium", "large"]


def rung(base: str, amount: int) -> Rung:
    name = f"{base}-{amount}"
    return Rung(student=name, base=base, source="broad", amount=amount, replay=0.0, seeds=(name,))


def planted(one: Rung) -> Draws:
    value = 0.2 + 0.03 * math.log2(one.amount) + 0.1 * BASES.index(one.base)
    return Draws(value=value, draws=value + np.random.default_rng(one.amount).normal(0, 0.01, 50), n=100)


GRID = [rung(base, amount) for base, amount in itertools.product(BASES, (1000, 2000, 8000))]


@pytest.mark.parametrize("students", [GRID, GRID[:-1], GRID[1:6]], ids=["whole", "one missing", "ragged"])
def test_both_slopes_come_out_of_one_fit(students: list[Rung]) -> None:
    doubling = slope(students, planted, BASES, "doubling")
    step = slope(students, planted, BASES, "base step")
    assert isinstance(doubling, Draws)
    assert isinstance(step, Draws)
    assert [doubling.value, step.value] == pytest.approx([0.03, 0.1])


def test_one_amount_has_no_slope_per_doubling() -> None:
    found = slope(GRID[::3], planted, BASES, "doubling")
    assert isinstance(found, Undefined)
    assert "two amounts" in found.reason


def test_one_base_has_no_slope_per_step() -> None:
    found = slope(GRID[:3], planted, BASES, "base step")
    assert isinstance(found, Undefined)
    assert "two bases" in found.reason


def test_amounts_and_bases_that_vary_together_are_not_told_apart() -> None:
    found = slope([rung("small", 1000), rung("medium", 2000)], planted, BASES, "doubling")
    assert isinstance(found, Undefined)
    assert "vary together" in found.reason


def test_a_student_without_a_score_leaves_the_slope_undefined() -> None:
    missing = Undefined(reason="2 items failed", n=0)
    found = slope(GRID, lambda one: missing if one.amount == 8000 else planted(one), BASES, "doubling")
    assert found == missing
