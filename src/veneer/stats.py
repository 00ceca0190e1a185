"""Numbers that know how sure they are: an estimate with its interval, or the reason why there is none."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Direction = Literal["above", "below"]
FEW_DRAWS = 20
"""Fewer draws than this in a tail are not counted but continued (see `p_value`)."""

BLOCK = 2_000_000
"""Draws made at once: bounds the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A measured number with its confidence interval."""

    value: float
    low: float
    high: float
    n: int
    """How many independent units (clusters of items) it rests on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undefined:
    """A number that cannot be had, and why."""

    reason: str
    n: int


Number = Estimate | Undefined


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draws:
    """A measured number, and what it becomes when the study's items and training seeds are drawn again.

    Numbers whose draws stem from the same resampled items stay paired through any arithmetic (see `combine`).
    """

    value: float
    draws: Floats
    """One value a resample."""
    n: int
    """How many independent units it rests on."""


def to_json(number: Number) -> dict[str, Any]:
    """Return `{value, low, high, n}` or `{undefined, n}`."""
    if isinstance(number, Undefined):
        return {"undefined": number.reason, "n": number.n}
    return {"value": number.value, "low": number.low, "high": number.high, "n": number.n}


def from_json(row: dict[str, Any]) -> Number:
    """Return the number that `to_json` wrote."""
    if "undefined" in row:
        return Undefined(reason=row["undefined"], n=row["n"])
    return Estimate(**row)


def rng_of(seed: int, *place: str) -> np.random.Generator:
    """Return the generator of one place in an analysis: the same whatever else is computed, and in which order."""
    key = hashlib.sha256("\0".join([str(seed), *place]).encode()).digest()
    return np.random.default_rng(np.frombuffer(key, dtype=np.uint32).tolist())


def resample(units: int, resamples: int, *, rng: np.random.Generator) -> Floats:
    """Return how often each unit is drawn in each resample: exact multinomial counts, a row a resample.

    A statistic that is a sum over units is then resampled by one matrix product (the ordinary bootstrap:
    Efron 1979, section 2).
    """
    counts = np.empty((resamples, units))
    step = max(1, BLOCK // units)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(units, size=(rows, units))
        drawn += units * np.arange(rows)[:, None]
        counts[start : start + rows] = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
    return counts


def combine(formula: Callable[..., Any], *parts: Draws | Undefined) -> Draws | Undefined:
    """Return a formula of several numbers, applied to their values and resample by resample.

    Undefined if one of them is. It rests on as many units as the part with the fewest.

    >>> ones = Draws(value=1.0, draws=np.ones(3), n=5)
    >>> combine(lambda a, b: a + b, ones, ones).value
    2.0
    """
    known = []
    for part in parts:
        if isinstance(part, Undefined):
            return part
        known.append(part)
    return Draws(
        value=float(formula(*(part.value for part in known))),
        draws=np.asarray(formula(*(part.draws for part in known)), dtype=float),
        n=min(part.n for part in known),
    )


def mean(parts: Sequence[Draws | Undefined]) -> Draws | Undefined:
    """Return the mean of several numbers; Undefined if one of them is."""
    assert parts, "the mean of nothing"
    return combine(lambda *values: sum(values) / len(values), *parts)


def interval(number: Draws | Undefined, level: float) -> Number:
    """Return the expanded percentile interval of a number.

    The plain percentile interval is too narrow by the factor sqrt((n-1)/n) and takes normal for Student tails;
    moving the two percentiles outwards mends both to first order (Hesterberg 2015, *What teachers should know
    about the bootstrap*, section 3.4).
    """
    if isinstance(number, Undefined):
        return number
    tail = _tail(number.n, level)
    # Of R draws the k-th stands for the share k / (R + 1): the plain rule would be too narrow where R is small.
    low, high = np.quantile(number.draws, (tail, 1 - tail), method="weibull").tolist()
    # An estimate lies in its own interval, also where few resamples or rounding would leave it just outside.
    value = number.value
    return Estimate(value=value, low=min(low, value), high=max(high, value), n=number.n)


def ratio(top: Draws | Undefined, bottom: Draws | Undefined, level: float, reason: str) -> Draws | Undefined:
    """Return top / bottom, Undefined unless the bottom's interval lies above zero.

    Where every resampled bottom is positive, the percentiles of the resampled ratio are the bootstrap's form of
    Fieller's (1954) interval: P(top*/bottom* < x) = P(top* - x bottom* < 0). The few resamples (at most half of
    1 - level) whose bottom is not positive count as the extreme on the side of their top.

    Args:
        top: The numerator.
        bottom: The denominator, paired with it.
        level: Of the interval that must lie above zero.
        reason: What it means if it does not; the bottom's interval is added to it.
    """
    if isinstance(top, Undefined):
        return top
    if isinstance(bottom, Undefined):
        return bottom
    known = interval(bottom, level)
    assert isinstance(known, Estimate)
    if known.low <= 0:
        found = f"{known.value:+.3f} [{known.low:+.3f}, {known.high:+.3f}]"
        return Undefined(reason=f"{reason}: {found}", n=min(top.n, bottom.n))
    positive = bottom.draws > 0
    draws = top.draws / np.where(positive, bottom.draws, 1.0)
    smallest, largest = draws[positive].min(), draws[positive].max()
    draws = np.where(positive, draws, np.where(top.draws > 0, largest, smallest))
    return Draws(value=top.value / bottom.value, draws=draws, n=min(top.n, bottom.n))


def p_value(number: Draws, threshold: float, direction: Direction) -> float:
    """Return the one-sided p-value against "the number is not `direction` the threshold".

    It is the inverse of `interval`: p falls below (1 - level) / 2 when that interval's end passes the threshold. The
    share of draws on the wrong side is counted down to `FEW_DRAWS` of them; beyond, where counting is chance, the tail
    is continued as a normal one from the median through the quantile that the last of them mark.
    """
    from scipy import (
        special,
    )  # Imported here: it takes longer to load than a finished study's second run allows.

    sign = 1 if direction == "above" else -1
    ahead = sign * (number.draws - threshold)
    tail = FEW_DRAWS / len(ahead)
    share = float(np.count_nonzero(ahead <= 0)) / len(ahead)
    if share < tail < 0.5:
        middle, end = np.quantile(ahead, (0.5, tail)).tolist()
        z = special.ndtri(tail) * middle / (middle - end) if middle > end else -np.inf
    else:
        z = special.ndtri(share)
    freedom = max(number.n - 1, 1)
    return float(special.stdtr(freedom, z * math.sqrt(freedom / (freedom + 1))))


def detectable(number: Draws | Undefined, level: float, power: float = 0.8) -> float | dict[str, Any]:
    """Return the smallest true difference from zero that a study as large as this one would find, as it is written.

    That is (t at level + t at power) standard errors (Bloom 1995, *Minimum detectable effects*, section 2); what is
    Undefined is written as such. It stands beside every difference that was not found.

    >>> round(detectable(Draws(value=0.0, draws=np.array([-1.0, 1.0]), n=10_000), 0.95), 2)
    2.8
    """
    if isinstance(number, Undefined):
        return to_json(number)
    freedom = max(number.n - 1, 1)
    return (_student(freedom, level) + _student(freedom, 2 * power - 1)) * float(number.draws.std())


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values after Holm's step-down correction over all of them (Holm 1979).

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def share(value: float, variance: float, n: int, level: float) -> Estimate:
    """Return a share with Wilson's score interval at its effective sample size.

    Wilson (1927) for clustered data: the binomial's n is replaced by value (1 - value) / variance, which carries
    the design effect (Korn and Graubard 1998; Dean and Pagano 2015), and the normal by Student's quantile. At 0
    and 1, where no variance can be seen, every cluster counts as one independent unit.

    Args:
        value: The share, in [0, 1].
        variance: Of the share, over resampled clusters (and training seeds).
        n: The number of clusters.
        level: Of the interval.
    """
    spread = value * (1 - value)
    size = spread / variance if spread > 0 and variance > 0 else float(n)
    z = _student(max(n - 1, 1), level)
    centre = (value + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * math.sqrt(spread / size + z * z / (4 * size * size))
    return Estimate(
        value=value, low=min(max(0.0, centre - half), value), high=max(min(1.0, centre + half), value), n=n
    )


def share_of(number: Draws | Undefined, level: float) -> Number:
    """Return `share` for a share that was resampled, training seeds included."""
    known = interval(number, level)
    if isinstance(number, Undefined) or isinstance(known, Undefined):
        return number if isinstance(number, Undefined) else known
    value = min(max(number.value, 0.0), 1.0)
    deviation = (known.high - known.low) / (2 * _student(max(number.n - 1, 1), level))
    variance = _without_smoothing(deviation**2, value * (1 - value), number.n)
    found = share(value, variance, number.n, level)
    if 0 < value < 1:
        return found
    low, high = max(min(found.low, known.low), 0.0), min(max(found.high, known.high), 1.0)
    return Estimate(value=value, low=low, high=high, n=number.n)


def _without_smoothing(variance: float, spread: float, n: int) -> float:
    """Return the variance of a share before smoothing: Wilson's interval guards against unseen outcomes by itself.

    The noise was that of as many units as the share is worth, spread / variance, and of n at least; where clusters hold
    several items that is more than n, and the noise less. In doubt nothing is taken out.
    """
    left = max(variance, 1e-12)
    for _ in range(20):
        left = variance - smoothing(max(n, spread / left)) ** 2
        if left <= 0:
            return max(variance, 1e-12)
    return left


def smoothing(n: float) -> float:
    """Return the standard deviation of the noise that stands for outcomes which n units happened not to show.

    Two contestants that agree on all n items are not known to be equal: Bonett and Price (2012) add one
    discordant item either way to the variance of a difference, that is 1 / (n + 2) squared for each contestant.
    """
    return 1 / (n + 2)


def average(sums: Floats, counts: Floats, level: float) -> Number:
    """Return the mean of clustered values with Student's interval over clusters (Miller 2024, section 2.2)."""
    n = len(sums)
    if n < 2:
        return Undefined(reason="fewer than two independent items", n=n)
    value = float(sums.sum() / counts.sum())
    residual = sums - value * counts
    deviation = math.sqrt(n / (n - 1) * float(residual @ residual)) / float(counts.sum())
    half = _student(n - 1, level) * deviation
    return Estimate(value=value, low=value - half, high=value + half, n=n)


@lru_cache(maxsize=4096)
def _tail(n: int, level: float) -> float:
    from scipy import special  # Imported here for the reason given in `p_value`.

    freedom = max(n - 1, 1)
    student = float(special.stdtrit(freedom, (1 - level) / 2))
    return float(special.ndtr(student * math.sqrt((freedom + 1) / freedom)))


@lru_cache(maxsize=4096)
def _student(freedom: int, level: float) -> float:
    from scipy import special  # Imported here for the reason given in `p_value`.

    return float(special.stdtrit(freedom, (1 + level) / 2))
