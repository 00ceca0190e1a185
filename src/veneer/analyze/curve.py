"""The gain of each student as a smooth curve over how near its imitation data comes to an item, with a band."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from veneer.analyze.breakdown import headlines
from veneer.analyze.gap import Book
from veneer.analyze.measure import Measured, Rung, by_cluster, pooled, who
from veneer.analyze.nearness import REFERENCE, Nearness
from veneer.analyze.scores import Table
from veneer.stats import Draws, Floats, Undefined, interval, rng_of, to_json

POINTS, PIECES, DEGREE, FOLDS = 11, 6, 3, 10
FEWEST = 50
"""Fewer independent items than this carry no curve."""
PENALTIES = tuple(10.0**power for power in range(-3, 6))
"""Tried by cross-validation; the largest leaves a straight line."""


def rows_of(book: Book, nearness: Nearness, level: float) -> list[dict[str, Any]]:
    """Return the report's `support_curve`: the gain (lenient, headline form) at `POINTS` nearnesses, for each measure.

    `nearness` is where on the curve: evenly spaced from the 2.5th to the 97.5th percentile of the items. A student
    whose curve cannot be had has one row, with the reason.
    """
    rows = []
    for name, form in headlines(book):
        for source in dict.fromkeys(rung.source for rung in book.rungs):
            for amount, rungs in book.by_amount(source).items():
                for measure, values in nearness.get((source, amount, name), {}).items():
                    if measure == REFERENCE:
                        continue
                    rng = rng_of(book.seed, "curve", name, form, source, str(amount), measure)
                    curves = gains(book.tables[name, form], rungs, values, rng=rng)
                    rows += [
                        {
                            **who(rung),
                            "benchmark": name,
                            "form": form,
                            "measure": measure,
                            "nearness": place,
                            "gain": to_json(interval(gain, level)),
                        }
                        for rung in rungs
                        for place, gain in curves[rung.student]
                    ]
    return rows


def gains(
    table: Table, rungs: Sequence[Rung], nearness: Floats, *, rng: np.random.Generator
) -> Mapping[str, list[tuple[float, Draws | Undefined]]]:
    """Return each student's curve: places, and its gain over its base there.

    A P-spline (Eilers and Marx 1996): cubic B-splines with a penalty on second differences, whose weight is chosen by
    cross-validation over clusters, once for all students of the amount. The band comes from fitting the curve anew to
    every resample of the study; seeds are pooled as everywhere (`measure.pooled`).

    Args:
        table: The benchmark.
        rungs: Students of one source and amount.
        nearness: Of each item.
        rng: Of the pooling of seeds and of the folds.
    """
    seeds = {seed: rung for rung in rungs for seed in rung.seeds}
    low, high = np.quantile(nearness, (0.025, 0.975)).tolist()
    reason = ""
    if table.size < FEWEST:
        reason = f"fewer than {FEWEST} independent items"
    elif high - low < 1e-9:
        reason = "the imitation data comes equally near to all items"
    if reason:
        return {rung.student: [(low, Undefined(reason=reason, n=table.size))] for rung in rungs}
    right = table.right["lenient"]
    own = right[:, [table.names.index(seed) for seed in seeds]]
    gained = own - right[:, [table.names.index(rung.base) for rung in seeds.values()]]
    places = np.linspace(low, high, POINTS)
    basis, at = _basis(nearness, low, high), _basis(places, low, high)
    penalty = _penalty(basis, gained, table, rng)
    values, draws = _curves(basis, gained, at, penalty, table)
    missing = {
        seed: table.missing[name]
        for seed, rung in seeds.items()
        for name in (seed, rung.base)
        if name in table.missing
    }
    found: dict[str, list[tuple[float, Draws | Undefined]]] = {rung.student: [] for rung in rungs}
    for point, place in enumerate(places.tolist()):
        measured = Measured(
            names=tuple(seeds),
            values=values[point],
            draws=draws[:, point],
            counts=np.ones(len(seeds)),
            n=(table.size,) * len(seeds),
            missing=missing,
        )
        # The base is no column of its own here: the values are gains already.
        pool = pooled([measured], [[replace(rung, base="") for rung in rungs]], rng=rng)[0]
        for rung in rungs:
            found[rung.student].append((place, pool[rung.student]))
    return found


def _basis(values: Floats, low: float, high: float) -> Floats:
    """Return the B-splines at some places, a row a place; beyond the ends a place counts as the end."""
    from scipy.interpolate import BSpline  # Imported here for the reason given in `stats.p_value`.

    width = (high - low) / PIECES
    knots = low + width * np.arange(-DEGREE, PIECES + DEGREE + 1)
    inside = np.clip(values, low, high - 1e-9 * width)
    return np.asarray(BSpline.design_matrix(inside, knots, DEGREE).toarray(), dtype=float)


def _roughness() -> Floats:
    bends = np.diff(np.eye(PIECES + DEGREE), n=2, axis=0)
    return np.asarray(bends.T @ bends)


def _products(basis: Floats, gained: Floats, table: Table) -> tuple[Floats, Floats]:
    """Return, by cluster, the sums of the basis' products with itself and with the gains."""
    squares = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), -1)
    moments = (basis[:, :, None] * gained[:, None, :]).reshape(len(basis), -1)
    return by_cluster(squares, table.clusters, table.size), by_cluster(moments, table.clusters, table.size)


def _solve(squares: Floats, moments: Floats, penalty: float) -> Floats:
    """Return the coefficients of one or many fits: fits by functions by columns."""
    size = PIECES + DEGREE
    bend = squares.reshape(-1, size, size)
    # Scaled by the items, so that a penalty means the same for few and many; a trace keeps empty functions solvable.
    items = bend.sum(axis=(1, 2))[:, None, None]
    whole = bend + items * (1e-3 * penalty * _roughness() + 1e-9 * np.eye(size))
    return np.asarray(np.linalg.solve(whole, moments.reshape(len(bend), size, -1)))


def _curves(basis: Floats, gained: Floats, at: Floats, penalty: float, table: Table) -> tuple[Floats, Floats]:
    """Return the curves at some places (places by columns), and their draws (resamples by places by columns)."""
    squares, moments = _products(basis, gained, table)
    value = at @ _solve(squares.sum(axis=0), moments.sum(axis=0), penalty)[0]
    draws = at @ _solve(table.weights @ squares, table.weights @ moments, penalty)
    return np.asarray(value), np.asarray(draws)


def _penalty(basis: Floats, gained: Floats, table: Table, rng: np.random.Generator) -> float:
    """Return the penalty with the least squared error on clusters that a fit has not seen."""
    squares, moments = _products(basis, gained, table)
    folds = rng.permutation(table.size) % FOLDS
    item_folds = folds[list(table.clusters)]
    errors = []
    for penalty in PENALTIES:
        error = 0.0
        for fold in range(FOLDS):
            seen = folds != fold
            fitted = _solve(squares[seen].sum(axis=0), moments[seen].sum(axis=0), penalty)[0]
            kept = item_folds == fold
            error += float(((gained[kept] - basis[kept] @ fitted) ** 2).sum())
        errors.append(error)
    return PENALTIES[int(np.argmin(errors))]
