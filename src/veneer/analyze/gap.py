"""How much of the gap between base and teacher each student closed, benchmark by benchmark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from veneer.analyze.measure import (
    Measured,
    Rung,
    Sheet,
    Values,
    beside,
    by_cluster,
    columns,
    measured,
    pooled,
    who,
)
from veneer.analyze.scores import GRADINGS, Grading, Items, Table
from veneer.analyze.support import Support
from veneer.errors import DataError
from veneer.stats import Draws, Estimate, Undefined, combine, interval, ratio, resample, rng_of, to_json

Which = Literal["all", "supported", "unsupported"]
WHICH: tuple[Which, ...] = ("all", "supported", "unsupported")
Measure = Grading | Literal["format"]
NO_GAP = "the teacher does not measurably beat the base"


def gap_closed(
    base: ArrayLike,
    student: ArrayLike,
    teacher: ArrayLike,
    *,
    clusters: Sequence[int] | None = None,
    rng: np.random.Generator,
    resamples: int = 2000,
    level: float = 0.95,
) -> Estimate | Undefined:
    """Return (student - base) / (teacher - base) with its interval: the share of the gap that the student closed.

    Also called performance gap recovered (Burns et al. 2023, *Weak-to-Strong Generalization*, section 3.3). Items
    are resampled together, so that the three stay paired. Undefined unless the teacher measurably beats the base.

    Args:
        base: 1 for each item that the base got right, else 0.
        student: The same of the student; a row a training seed where there are several (the spread between seeds
            then widens the interval).
        teacher: The same of the teacher.
        clusters: The cluster of each item; each item is its own by default.
        rng: Of the resampling.
        resamples: How many.
        level: Of the interval.

    Raises:
        DataError: They are not of the same items, at least one, or something is no number.

    >>> base, student, teacher = [0] * 50 + [1] * 50, [0] * 40 + [1] * 60, [0] * 10 + [1] * 90
    >>> found = gap_closed(base, student, teacher, rng=np.random.default_rng(0))
    >>> round(found.value, 2), round(found.low, 2), round(found.high, 2)
    (0.25, 0.11, 0.4)
    >>> type(gap_closed(base, student, base, rng=np.random.default_rng(0))).__name__
    'Undefined'
    """
    rows = [np.atleast_2d(np.asarray(one, dtype=float)) for one in (base, teacher, student)]
    sizes = [row.shape[1] for row in rows] + ([] if clusters is None else [len(clusters)])
    if len(set(sizes)) > 1 or not sizes[0]:
        raise DataError(f"base, teacher, student and clusters are of the same items; found {sizes} of them.")
    seeds, scores = rows[2], np.vstack(rows).T
    if not np.isfinite(scores).all():
        raise DataError(
            "every item has a score; found some that are no finite number. Leave such items out of all."
        )
    places = np.arange(len(scores)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    size = int(places.max()) + 1
    counts = by_cluster(np.ones_like(scores), places.tolist(), size)
    names = ("base", "teacher", *(f"seed {place}" for place in range(len(seeds))))
    rung = Rung(student="student", base="base", source="", amount=0, replay=0.0, seeds=names[2:])
    sheet = Sheet(
        names=names,
        sums=by_cluster(scores, places.tolist(), size),
        counts=counts,
        weights=resample(size, resamples, rng=rng),
        missing={},
    )
    values = pooled([measured([sheet])], [[rung]], rng=rng)[0]
    return interval(closed_of(values, "base", "student", "teacher", level), level)


def closed_of(values: Values, base: str, student: str, teacher: str, level: float) -> Draws | Undefined:
    """Return the share of the gap that one student closed."""
    gain, gap = gain_and_gap(values, base, student, teacher)
    return ratio(gain, gap, level, NO_GAP)


def gain_and_gap(
    values: Values, base: str, student: str, teacher: str
) -> tuple[Draws | Undefined, Draws | Undefined]:
    """Return student - base and teacher - base."""
    gain = combine(lambda s, b: s - b, values[student], values[base])
    return gain, combine(lambda t, b: t - b, values[teacher], values[base])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Book:
    """All graded tables of a study, and the means that are taken of them."""

    tables: Mapping[tuple[str, str], Table]
    """By benchmark and form, in the study's order."""
    support: Support
    rungs: Sequence[Rung]
    bases: Sequence[str]
    teacher: str
    seed: int
    resamples: int
    _known: dict[Any, Mapping[int, Values]] = field(default_factory=dict)

    def means(
        self, where: Sequence[tuple[str, str]], grading: Measure, source: str, which: Which = "all"
    ) -> Mapping[int, Values]:
        """Return, by amount, the mean over items of the bases, the teacher and a source's students.

        `supported` and `unsupported` are by the imitation data of that amount, so the bases' and the teacher's means
        are of each amount's items too.

        Args:
            where: Benchmarks with their forms; their items are pooled, every item counting once.
            grading: Strict or lenient; `format` is the first minus the second.
            source: Whose students.
            which: Of the items.
        """
        key = (tuple(where), grading, source, which)
        if key not in self._known:
            self._known[key] = self._means(where, grading, source, which)
        return self._known[key]

    def _means(
        self, where: Sequence[tuple[str, str]], grading: Measure, source: str, which: Which
    ) -> Mapping[int, Values]:
        by_amount = self.by_amount(source)
        known = self.tables_of(where, grading, source, which)
        rng = rng_of(self.seed, "pool", *(f"{name} {form}" for name, form in where), grading, source, which)
        rungs = [by_amount[amount] for amount in known]
        values = dict(zip(known, pooled(list(known.values()), rungs, rng=rng), strict=True)) if known else {}
        return {
            amount: values[amount] if amount in values else self._without(by_amount[amount], which)
            for amount in by_amount
        }

    def tables_of(
        self, where: Sequence[tuple[str, str]], grading: Measure, source: str, which: Which
    ) -> dict[int, Measured]:
        """Return, by amount, what `means` averages, training seeds apart; without the amounts of no known support."""
        names, sheets = {}, {}
        for amount, rungs in self.by_amount(source).items():
            mask = self._masks(where, source, amount, which)
            if mask is None:
                continue
            names[amount] = [*self.bases, self.teacher, *(seed for rung in rungs for seed in rung.seeds)]
            sheets[amount] = [
                _sheet(
                    self.tables[place],
                    grading,
                    [self.tables[place].names.index(name) for name in names[amount]],
                    items,
                )
                for place, items in zip(where, mask, strict=True)
            ]
        if not names:
            return {}
        # All amounts are resampled by one matrix product a benchmark.
        every = measured([beside(parts) for parts in zip(*sheets.values(), strict=True)])
        ends = np.cumsum([len(own) for own in names.values()]).tolist()
        return {
            amount: columns(every, range(end - len(own), end))
            for (amount, own), end in zip(names.items(), ends, strict=True)
        }

    def by_amount(self, source: str) -> dict[int, list[Rung]]:
        """Return a source's students by their amount."""
        found: dict[int, list[Rung]] = {}
        for rung in self.rungs:
            if rung.source == source:
                found.setdefault(rung.amount, []).append(rung)
        return found

    def _masks(
        self, where: Sequence[tuple[str, str]], source: str, amount: int, which: Which
    ) -> list[Items | None] | None:
        """Return which items of each benchmark are meant; None where support is not known."""
        if not where or any(place not in self.tables for place in where):
            return None
        if which == "all":
            return [None] * len(where)
        masks = [self.support.get((source, amount, name)) for name, _ in where]
        if any(mask is None for mask in masks):
            return None
        return [mask if which == "supported" else ~mask for mask in masks if mask is not None]

    def _without(self, rungs: Sequence[Rung], which: Which) -> Values:
        reason = "no benchmark was graded" if not self.tables else "no such benchmark was graded"
        if which != "all" and self.tables:
            reason = "there is no imitation data to tell which items it supports"
        nothing = Undefined(reason=reason, n=0)
        return dict.fromkeys([*self.bases, self.teacher, *(rung.student for rung in rungs)], nothing)


def _sheet(table: Table, grading: Measure, columns: Sequence[int], items: Items | None) -> Sheet:
    if grading != "format":
        return table.sheet(grading, columns, items)
    strict, lenient = (table.sheet(grading, columns, items) for grading in GRADINGS)
    return replace(strict, sums=strict.sums - lenient.sums)


def book_of(
    tables: Sequence[Table],
    support: Support,
    rungs: Sequence[Rung],
    bases: Sequence[str],
    teacher: str,
    seed: int,
) -> Book:
    """Return the book of a study's tables."""
    return Book(
        tables={(table.benchmark.name, table.form): table for table in tables},
        support=support,
        rungs=rungs,
        bases=bases,
        teacher=teacher,
        seed=seed,
        resamples=tables[0].weights.shape[0] if tables else 0,
    )


def rows_of(book: Book, level: float) -> list[dict[str, Any]]:
    """Return the report's `gap_closed`: each student on each benchmark, form, grading and set of items."""
    rows = []
    for rung in book.rungs:
        for name, form in book.tables:
            for grading in GRADINGS:
                for which in WHICH:
                    values = book.means([(name, form)], grading, rung.source, which)[rung.amount]
                    gain, gap = gain_and_gap(values, rung.base, rung.student, book.teacher)
                    rows.append(
                        {
                            **who(rung),
                            "benchmark": name,
                            "form": form,
                            "grading": grading,
                            "items": which,
                            "gain": to_json(interval(gain, level)),
                            "gap": to_json(interval(gap, level)),
                            "gap_closed": to_json(interval(ratio(gain, gap, level, NO_GAP), level)),
                        }
                    )
    return rows
