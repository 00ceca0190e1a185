"""A gain that grows with support comes out as a rising curve, and its band holds the truth."""

import numpy as np
import pytest

from benchmarks.answer_worlds import table_of
from veneer.analyze.curve import POINTS, gains
from veneer.analyze.measure import Rung
from veneer.stats import Draws, Estimate, Floats, Undefined, interval

RUNG = Rung(
    student="student", base="base", source="s", amount=1, replay=0.0, seeds=("student-0", "student-1")
)


def bend(nearness: Floats) -> Floats:
    """No gain up to one half, and then up to 0.4."""
    return np.asarray(0.8 * np.maximum(nearness - 0.5, 0.0))


def study(items: int, rng: np.random.Generator) -> dict[str, list[tuple[float, Draws | Undefined]]]:
    nearness = rng.random(items)
    luck = rng.random((items, 3))
    shares = np.stack([np.full(items, 0.3), *[0.3 + bend(nearness)] * 2], axis=1)
    names = ("base", *RUNG.seeds)
    table = table_of(
        "quiz", "knowledge", names, (luck < shares).astype(float), np.arange(items), 300, rng=rng
    )
    return dict(gains(table, [RUNG], nearness, rng=rng))


def test_the_curve_rises_where_the_gain_does() -> None:
    curve = study(3000, np.random.default_rng(0))["student"]
    assert len(curve) == POINTS
    near, far = interval(curve[-1][1], 0.95), interval(curve[0][1], 0.95)
    assert isinstance(near, Estimate)
    assert isinstance(far, Estimate)
    assert abs(far.value) < 0.05
    assert near.value == pytest.approx(0.4, abs=0.05)
    # Two seeds of one student tell their spread badly, so that the band is wide.
    assert near.low > 0.1


def test_the_band_covers_the_truth_at_most_places() -> None:
    rng, held, told = np.random.default_rng(1), 0, 0
    for _ in range(40):
        for place, gain in study(400, rng)["student"]:
            found = interval(gain, 0.95)
            assert isinstance(found, Estimate)
            held += found.low <= float(bend(np.array(place))) <= found.high
            told += 1
    # A smooth curve rounds the bend off, so a little less than the level is owed.
    assert held / told >= 0.9


@pytest.mark.parametrize(
    ("items", "nearness"), [(20, None), (200, 0.5)], ids=["few items", "all equally near"]
)
def test_a_curve_that_cannot_be_had_is_undefined(items: int, nearness: float | None) -> None:
    rng = np.random.default_rng(2)
    right = (rng.random((items, 3)) < 0.5).astype(float)
    table = table_of("quiz", "knowledge", ("base", *RUNG.seeds), right, np.arange(items), 100, rng=rng)
    near = rng.random(items) if nearness is None else np.full(items, nearness)
    ((_, found),) = gains(table, [RUNG], near, rng=rng)["student"]
    assert isinstance(found, Undefined)
