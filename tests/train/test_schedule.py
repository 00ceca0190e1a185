import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.train.schedule import Kind, factor

KINDS = st.sampled_from(get_args(Kind))
TOTALS = st.integers(1, 10_000)
SHARES = st.floats(0, 1)


@pytest.mark.parametrize(
    ("kind", "seen", "expected"),
    [
        ("linear", 0, 0.0),
        ("linear", 50, 0.5),
        ("linear", 100, 1.0),
        ("linear", 325, 0.75),
        ("linear", 1000, 0.0),
        ("cosine", 325, (1 + math.cos(math.pi / 4)) / 2),
        ("cosine", 1000, 0.0),
        ("constant", 50, 0.5),
        ("constant", 1000, 1.0),
    ],
)
def test_the_rate_rises_and_falls_as_it_is_written(kind: Kind, seen: float, expected: float) -> None:
    assert factor(kind, seen, total=1000, warmup=100) == pytest.approx(expected)


@given(KINDS, TOTALS, st.integers(0, 10_000), SHARES)
def test_the_rate_is_a_share_of_its_peak(kind: Kind, total: int, warmup: int, share: float) -> None:
    assert 0 <= factor(kind, share * total, total=total, warmup=warmup) <= 1


@given(KINDS, TOTALS, SHARES, SHARES, SHARES)
def test_it_rises_in_the_warm_up_and_never_after(
    kind: Kind, total: int, part: float, one: float, other: float
) -> None:
    warmup = round(part * total)
    early, late = sorted((one, other))
    warm = [factor(kind, share * warmup, total=total, warmup=warmup) for share in (early, late)]
    assert warm[0] <= warm[1] or late * warmup >= warmup
    cold = [
        factor(kind, warmup + share * (total - warmup), total=total, warmup=warmup) for share in (early, late)
    ]
    assert cold[0] >= cold[1] - 1e-12


def test_a_run_shorter_than_its_warm_up_never_reaches_the_peak() -> None:
    assert max(factor("linear", seen, total=100, warmup=400) for seen in range(101)) == 0.25
