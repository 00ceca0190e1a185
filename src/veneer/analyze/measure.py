"""One measure of many contestants: its value for each, items resampled together, training seeds pooled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from veneer.records import Contestant, Role
from veneer.stats import Draws, Floats, Undefined, smoothing

FEWEST = 10
"""Fewer independent items than this carry no interval."""

Values = Mapping[str, Draws | Undefined]
"""A measure by contestant: bases and teacher by their names, students without their seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """A student without its seed: its training seeds are so many measurements of it."""

    student: str
    base: str
    source: str
    amount: int
    replay: float
    seeds: tuple[str, ...]
    """The names of its contestants, one a training seed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sheet:
    """What contestants (columns) scored, summed within each cluster (rows) of items."""

    names: tuple[str, ...]
    sums: Floats
    counts: Floats
    """Items behind each sum."""
    weights: Floats
    """How often each cluster is drawn in each resample."""
    missing: Mapping[str, str]
    """Contestants that have no score here, and why."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """A measure of contestants before their seeds are pooled."""

    names: tuple[str, ...]
    values: Floats
    draws: Floats
    """Resamples by contestants."""
    counts: Floats
    """How much each contestant weighs when seeds are pooled."""
    n: tuple[int, ...]
    """Independent units behind each value."""
    missing: Mapping[str, str]


def who(rung: Rung) -> dict[str, Any]:
    """Return what a row of the report says of its student."""
    return {
        "student": rung.student,
        "base": rung.base,
        "source": rung.source,
        "amount": rung.amount,
        "replay": rung.replay,
    }


def rungs_of(contestants: Sequence[Contestant]) -> tuple[Rung, ...]:
    """Return the students without their seeds, in the order in which they are first named."""
    found: dict[str, list[Contestant]] = {}
    for contestant in contestants:
        if contestant.role == Role.STUDENT:
            found.setdefault(contestant.student, []).append(contestant)
    return tuple(
        Rung(
            student=name,
            base=seeds[0].base,
            source=seeds[0].source,
            amount=seeds[0].amount,
            replay=seeds[0].replay,
            seeds=tuple(seed.name for seed in seeds),
        )
        for name, seeds in found.items()
    )


def by_cluster(scores: Floats, clusters: Sequence[int], size: int) -> Floats:
    """Return an item-by-contestant table summed within clusters."""
    if list(clusters) == list(range(size)):
        return scores
    sums = np.zeros((size, scores.shape[1]))
    np.add.at(sums, np.asarray(clusters), scores)
    return sums


def measured(sheets: Sequence[Sheet]) -> Measured:
    """Return the mean over all items of one or several sheets, each resampled by its own clusters.

    Every item counts once, so a sheet weighs by its items. A resample that happens to draw none of the items (there
    are few, or `FEWEST` would have forbidden it) keeps the value.
    """
    names = sheets[0].names
    assert all(sheet.names == names for sheet in sheets), "sheets are of the same contestants"
    sums = np.sum([sheet.sums.sum(axis=0) for sheet in sheets], axis=0)
    counts = np.sum([sheet.counts.sum(axis=0) for sheet in sheets], axis=0)
    n = np.sum([np.count_nonzero(sheet.counts, axis=0) for sheet in sheets], axis=0)
    values = sums / np.maximum(counts, 1)
    top: Floats = np.sum([sheet.weights @ sheet.sums for sheet in sheets], axis=0)
    bottom: Floats = np.sum([_drawn_counts(sheet) for sheet in sheets], axis=0)
    draws = np.where(bottom > 0, top / np.maximum(bottom, 1), values)
    missing = {name: reason for sheet in sheets for name, reason in sheet.missing.items()}
    return Measured(
        names=names, values=values, draws=draws, counts=counts, n=tuple(n.tolist()), missing=missing
    )


def _drawn_counts(sheet: Sheet) -> Floats:
    """Return how many items each resample holds for each contestant; neighbours with the same items are told once."""
    changes = (sheet.counts[:, 1:] != sheet.counts[:, :-1]).any(axis=0)
    firsts = np.concatenate([[0], 1 + np.flatnonzero(changes)])
    runs = np.concatenate([[0], np.cumsum(changes)])
    drawn: Floats = (sheet.weights @ sheet.counts[:, firsts])[:, runs]
    return drawn


def pooled_by_source(table: Measured, rungs: Sequence[Rung], *, rng: np.random.Generator) -> Values:
    """Return a measure of all contestants on the same items, seeds pooled; each source has its own spread."""
    seeds = {seed for rung in rungs for seed in rung.seeds}
    others = [name for name in table.names if name not in seeds]
    found = _values(_named(table, others), (), None, rng)
    for source in dict.fromkeys(rung.source for rung in rungs):
        own = [rung for rung in rungs if rung.source == source]
        seeds_of = _named(table, [seed for rung in own for seed in rung.seeds])
        found |= pooled([seeds_of], [own], rng=rng)[0]
    return found


def _named(table: Measured, names: Sequence[str]) -> Measured:
    return columns(table, [table.names.index(name) for name in names])


def columns(table: Measured, places: Sequence[int]) -> Measured:
    """Return some contestants of a table, by their places."""
    return Measured(
        names=tuple(table.names[place] for place in places),
        values=table.values[list(places)],
        draws=table.draws[:, list(places)],
        counts=table.counts[list(places)],
        n=tuple(table.n[place] for place in places),
        missing=table.missing,
    )


def beside(sheets: Sequence[Sheet]) -> Sheet:
    """Return sheets of the same clusters as one, their contestants side by side."""
    return Sheet(
        names=tuple(name for sheet in sheets for name in sheet.names),
        sums=np.concatenate([sheet.sums for sheet in sheets], axis=1),
        counts=np.concatenate([sheet.counts for sheet in sheets], axis=1),
        weights=sheets[0].weights,
        missing={name: reason for sheet in sheets for name, reason in sheet.missing.items()},
    )


def pooled(
    tables: Sequence[Measured], rungs: Sequence[Sequence[Rung]], *, rng: np.random.Generator
) -> list[Values]:
    """Return each table with its students' seeds averaged and the spread between seeds put into the draws.

    The variance between training seeds is estimated from all rungs given, since one rung has few seeds. Each
    student's draws are shifted by a normal error of that variance, widened by Student's t over the normal quantile:
    so the arms of the two sources of error are squared and added (Howe 1974; Zou and Donner 2008), and with few
    seeds, whose spread is itself badly known, the interval is wide.

    Args:
        tables: One measure of the same kind of students on one or several sets of items.
        rungs: For each table, its students.
        rng: Of the shifts.
    """
    spread = _spread(tables, rungs)
    return [_values(table, own, spread, rng) for table, own in zip(tables, rungs, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The variance between the training seeds of a rung."""

    squared: float
    """As seen: squared deviations from the rung's mean over their degrees of freedom, weighted by items."""
    explained: float
    """What of it the choice of items explains."""
    freedom: float
    """Satterthwaite's (1946) for the weighted sum."""

    def shift(self, seeds: int, items: float) -> float:
        """Return the standard deviation of the error by which a student's mean over seeds is shifted.

        The variance of the mean is that of the items and that of the seeds. Student's t widens the whole, and what the
        items bring, which is in the draws already, is then taken off. The degrees of freedom are those of the spread
        between seeds for what is told by that spread alone (slopes over many students), and more for a single gain,
        where items bring their share of a variance that is well known (Satterthwaite 1946). One number has to serve
        both; it lies between them by the square of the share that items explain, which simulated studies chose
        (`benchmarks/answer_truth.py`).

        Args:
            seeds: How many the mean is over.
            items: The variance of that mean when items are drawn again.
        """
        from scipy import special  # Imported here for the reason given in `stats.p_value`.

        whole = items + max(self.squared - self.explained, 0.0) / seeds
        if self.squared == 0 or whole == 0:
            return 0.0
        alone = max((whole * seeds / self.squared) ** 2, 1.0)
        explained = min(self.explained / self.squared, 1.0)
        freedom = self.freedom * (1 + explained**2 * (alone - 1))
        wider = float(special.stdtrit(freedom, 0.975) / special.ndtri(0.975))
        return float(max(wider**2 * whole - items, 0.0) ** 0.5)


def _spread(tables: Sequence[Measured], rungs: Sequence[Sequence[Rung]]) -> Spread | None:
    """Return the spread between seeds; None where no rung has two."""
    squared = explained = weight = weight_squared = 0.0
    for table, own in zip(tables, rungs, strict=True):
        for rung in own:
            columns = [table.names.index(seed) for seed in rung.seeds]
            n = min(table.n[column] for column in columns)
            if len(columns) < 2 or n < FEWEST or any(seed in table.missing for seed in rung.seeds):
                continue
            values, draws = table.values[columns], table.draws[:, columns]
            squared += n * float(((values - values.mean()) ** 2).sum())
            explained += n * float((draws - draws.mean(axis=1, keepdims=True)).var(axis=0).sum())
            weight += n * (len(columns) - 1)
            weight_squared += n**2 * (len(columns) - 1)
    if weight == 0:
        return None
    return Spread(squared=squared / weight, explained=explained / weight, freedom=weight**2 / weight_squared)


def _values(
    table: Measured, rungs: Sequence[Rung], spread: Spread | None, rng: np.random.Generator
) -> dict[str, Draws | Undefined]:
    """Return one table's contestants, students' seeds averaged."""
    seeds = {seed for rung in rungs for seed in rung.seeds}
    groups: list[tuple[str, tuple[str, ...]]] = [(name, (name,)) for name in table.names if name not in seeds]
    groups += [(rung.student, rung.seeds) for rung in rungs]
    bases = {rung.student: rung.base for rung in rungs}
    found: dict[str, Draws | Undefined] = {}
    for name, members in groups:
        columns = [table.names.index(member) for member in members]
        n = min(table.n[column] for column in columns)
        noise = rng.standard_normal(table.draws.shape[0])
        if missing := [member for member in members if member in table.missing]:
            whose = "" if missing[0] == name else f"{missing[0]}: "
            found[name] = Undefined(reason=f"{whose}{table.missing[missing[0]]}", n=0)
        elif n < FEWEST:
            found[name] = Undefined(reason=f"fewer than {FEWEST} independent items", n=n)
        else:
            weights = table.counts[columns] / table.counts[columns].sum()
            value, draws = float(table.values[columns] @ weights), table.draws[:, columns] @ weights
            variance = float(draws.var())
            shift = smoothing(_units(value, variance, n, float(table.counts[columns].max())))
            if members[0] in seeds and spread is not None:
                items = _variance_of_gain(table, bases[name], draws)
                shift = float(np.hypot(shift, spread.shift(len(columns), items)))
            found[name] = Draws(value=value, draws=draws + shift * noise, n=n)
    return found


def _variance_of_gain(table: Measured, base: str, draws: Floats) -> float:
    """Return the variance, over items, of a student's score less its base's: everything is told by gains."""
    if base in table.names and base not in table.missing:
        draws = draws - table.draws[:, table.names.index(base)]
    return float(draws.var())


def _units(share: float, variance: float, clusters: int, items: float) -> float:
    """Return how many independent items a share is worth: between its clusters and its items."""
    spread = share * (1 - share)
    if spread <= 0 or variance <= 0:
        return clusters
    return min(max(spread / variance, clusters), max(items, clusters))
