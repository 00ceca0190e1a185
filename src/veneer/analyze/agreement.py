"""How far raters and judges agree beyond chance: Cohen's kappa of two, Krippendorff's alpha of any number."""

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from veneer.analyze.measure import FEWEST
from veneer.errors import DataError
from veneer.stats import Draws, Estimate, Floats, Number, Undefined, interval, resample, smoothing

Parts = Callable[[Floats], tuple[Floats, Floats]]
"""Sums over units (a row a resample) to the disagreement that was seen and the one that chance gives."""


def cohen_kappa(
    first: Sequence[str],
    second: Sequence[str],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    rng: np.random.Generator,
    clusters: Sequence[Hashable] | None = None,
) -> Number:
    """Return Cohen's kappa of two raters who rated the same units.

    (agreement - chance) / (1 - chance), chance being the product of the two raters' own shares (Cohen 1960, *A
    coefficient of agreement for nominal scales*). 1 is perfect, 0 is what chance gives. The interval resamples units,
    or clusters of them.

    Args:
        first: The first rater's label of each unit. A unit that one of the two left out must not be here.
        second: The second rater's, in the same order.
        level: Of the interval.
        resamples: How many.
        rng: Of the resamples.
        clusters: What each unit belongs to (its prompt), where units are not independent.

    Returns:
        The estimate; `n` counts independent units. Undefined with fewer than ten of them, and where both raters gave
        one label only, so that chance agreement is complete.

    Raises:
        DataError: They are not labels of the same units.
    """
    if len(first) != len(second):
        raise DataError(f"two raters rate the same units; found {len(first)} and {len(second)} labels.")
    labels = {label: place for place, label in enumerate(sorted({*first, *second}))}
    tables = np.zeros((len(first), len(labels), len(labels)))
    for unit, (one, other) in enumerate(zip(first, second, strict=True)):
        tables[unit, labels[one], labels[other]] = 1

    def parts(sums: Floats) -> tuple[Floats, Floats]:
        """Return the disagreement that was seen, and that which chance gives."""
        total = sums.reshape(-1, len(labels), len(labels))
        size = total.sum(axis=(1, 2))
        by_chance = (total.sum(axis=2) * total.sum(axis=1)).sum(axis=1) / size**2
        return 1 - np.trace(total, axis1=1, axis2=2) / size, 1 - by_chance

    return _beyond_chance(
        tables.reshape(len(first), len(labels) ** 2), parts, clusters, level, resamples, rng
    )


def krippendorff_alpha(
    ratings: Sequence[Sequence[str]],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    rng: np.random.Generator,
    clusters: Sequence[Hashable] | None = None,
) -> Number:
    """Return Krippendorff's alpha for nominal labels, any number of raters, and ratings that are missing.

    1 - observed / expected disagreement, from the coincidences of labels within units (Krippendorff 2011, *Computing
    Krippendorff's alpha-reliability*, section C). 1 is perfect, 0 is what chance gives; below 0 raters disagree
    systematically. The interval resamples units with all their ratings (Zapf et al. 2016, *Measuring inter-rater
    reliability for nominal data*).

    Args:
        ratings: Every unit's labels, from whomever it has some; who gave which does not matter. A unit with fewer than
            two tells nothing of agreement and is not counted in `n`.
        level: Of the interval.
        resamples: How many.
        rng: Of the resamples.
        clusters: What each unit belongs to (its prompt), where units are not independent.

    Returns:
        The estimate; `n` counts independent units with two ratings or more. Undefined with fewer than ten of them, and
        where all ratings are one label.

    Raises:
        DataError: There are not as many clusters as units.
    """
    if clusters is not None and len(clusters) != len(ratings):
        raise DataError(
            f"every unit has its cluster; found {len(ratings)} units and {len(clusters)} clusters."
        )
    kept = [place for place, labels in enumerate(ratings) if len(labels) > 1]
    names = {
        label: place for place, label in enumerate(sorted({one for labels in ratings for one in labels}))
    }
    counts = np.zeros((len(kept), len(names)))
    for row, place in enumerate(kept):
        for label in ratings[place]:
            counts[row, names[label]] += 1
    many = counts.sum(axis=1, keepdims=True)
    apart = (many**2 - (counts**2).sum(axis=1, keepdims=True)) / np.maximum(many - 1, 1)

    def parts(sums: Floats) -> tuple[Floats, Floats]:
        """Return the disagreement that was seen, and that which chance gives."""
        total, each = sums[:, 1:].sum(axis=1), sums[:, 1:]
        return sums[:, 0] / total, (total**2 - (each**2).sum(axis=1)) / (total * (total - 1))

    own = None if clusters is None else [clusters[place] for place in kept]
    return _beyond_chance(np.hstack([apart, counts]), parts, own, level, resamples, rng)


def _beyond_chance(
    units: Floats,
    parts: Parts,
    clusters: Sequence[Hashable] | None,
    level: float,
    resamples: int,
    rng: np.random.Generator,
) -> Number:
    """Return 1 - seen / expected disagreement, both functions of sums over units."""
    places = {cluster: row for row, cluster in enumerate(dict.fromkeys(clusters or range(len(units))))}
    n = len(places)
    if n < FEWEST:
        return Undefined(reason=f"fewer than {FEWEST} independent units were rated twice", n=n)
    sums = np.zeros((n, units.shape[1]))
    np.add.at(sums, [places[cluster] for cluster in clusters or range(len(units))], units)
    seen, expected = (float(part[0]) for part in parts(sums.sum(axis=0, keepdims=True)))
    if expected <= 0:
        return Undefined(reason="all ratings are the same, so that chance alone explains the agreement", n=n)
    drawn_seen, drawn_expected = parts(resample(n, resamples, rng=rng) @ sums)
    varied = drawn_expected > 0
    if np.count_nonzero(varied) < (1 + level) / 2 * resamples:
        return Undefined(
            reason="nearly all ratings are the same: too few differ to tell agreement from chance", n=n
        )
    value = 1 - seen / expected
    draws = np.where(varied, 1 - drawn_seen / np.where(varied, drawn_expected, 1), value)
    # Raters who agreed on all n units are not known to agree on the next one (see `stats.smoothing`).
    draws += smoothing(n) / expected * rng.standard_normal(resamples)
    found = interval(Draws(value=value, draws=draws, n=n), level)
    assert isinstance(found, Estimate)
    return Estimate(value=value, low=found.low, high=min(found.high, 1.0), n=n)
