"""How far Veneer's grades are from those that somebody else, people say, gave the same answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from veneer import disk
from veneer.analyze.agreement import cohen_kappa
from veneer.analyze.gap import closed_of
from veneer.analyze.measure import Rung, Sheet, Values, by_cluster, measured, pooled_by_source
from veneer.analyze.measures import Measures
from veneer.analyze.scores import GRADINGS, Items, Table
from veneer.errors import DataError
from veneer.stats import Floats, combine, interval, rng_of, share_of, to_json
from veneer.study import AnalyzeSpec
from veneer.study_benchmarks import BenchmarkSpec, SecondGradesSpec

SECOND = "second"
Row = dict[str, Any]


def rows_of(
    specs: Mapping[str, BenchmarkSpec], found: Measures, spec: AnalyzeSpec, teacher: str
) -> dict[str, list[Row]]:
    """Return the report's `second_grades` (each contestant's) and `second_gaps` (each student's).

    All are told on the items that have a second grade for every contestant that has some, so that scores compare.

    Raises:
        DataError: A row of second grades is malformed, or names a contestant or item that there is not.
    """
    grades: list[Row] = []
    gaps: list[Row] = []
    for table in found.tables:
        if seconds := specs[table.benchmark.name].second_grades:
            twice = _twice(table, seconds)
            if twice.kept.any():
                grades += _grade_rows(twice, spec)
                gaps += _gap_rows(twice, found.rungs, teacher, spec)
    return {"second_grades": grades, "second_gaps": gaps}


def read(seconds: SecondGradesSpec, table: Table) -> Floats:
    """Return second grades as items by contestants: 1 for right, 0 for wrong, NaN for no grade.

    Items that the study left out are passed over.

    Raises:
        DataError: A row is malformed or given twice, or names a contestant that there is not; or none names an item.
    """
    rows = {item.item_id: row for row, item in enumerate(table.benchmark.items)}
    columns = {name: column for column, name in enumerate(table.names)}
    grades = np.full((len(rows), len(columns)), np.nan)
    seen: dict[tuple[str, str], str] = {}
    for where, row in disk.read_rows(seconds.path):
        contestant, item, correct = (row.get(key) for key in ("contestant", "id", "correct"))
        if contestant not in columns:
            raise DataError(f"{where}, field contestant: found {contestant!r}; there are {sorted(columns)}.")
        if not isinstance(correct, bool | None):
            raise DataError(f"{where}, field correct: found {correct!r}; true, false or null is wanted.")
        place = (str(contestant), str(item))
        if place in seen:
            raise DataError(f"{where}: {place} has a grade already, at {seen[place]}; one each is wanted.")
        seen[place] = where
        if place[1] in rows and correct is not None:
            grades[rows[place[1]], columns[place[0]]] = correct
    if seen and not {item for _, item in seen} & set(rows):
        raise DataError(f"{seconds.path}: no `id` is that of an item of {table.benchmark.name}.")
    return grades


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Twice:
    """A benchmark's items that were graded twice."""

    table: Table
    by: str
    kept: Items
    """Which items have a second grade for all of `who`."""
    who: tuple[str, ...]
    """Contestants with second grades."""
    right: Mapping[str, Floats]
    """By grading, the second ones under `SECOND`: items by `who`."""


def _twice(table: Table, seconds: SecondGradesSpec) -> Twice:
    theirs = read(seconds, table)
    known = ~np.isnan(theirs)
    columns = np.flatnonzero(known.any(axis=0))
    every = known[:, columns].all(axis=1) & (len(columns) > 0)
    kept: Items = np.asarray(every, dtype=bool)
    right = {str(grading): table.right[grading][:, columns] for grading in GRADINGS}
    return Twice(
        table=table,
        by=seconds.by,
        kept=kept,
        who=tuple(table.names[column] for column in columns),
        right={**right, SECOND: np.nan_to_num(theirs[:, columns])},
    )


def _values(twice: Twice, scores: Floats, rungs: Sequence[Rung], spec: AnalyzeSpec, what: str) -> Values:
    """Return the mean of scores (items by contestants) over the items that were graded twice, resampled."""
    table = twice.table
    counts = by_cluster(twice.kept[:, None].astype(float), table.clusters, table.size)
    sheet = Sheet(
        names=twice.who,
        sums=by_cluster(scores * twice.kept[:, None], table.clusters, table.size),
        counts=np.repeat(counts, len(twice.who), axis=1),
        weights=table.weights,
        missing={name: why for name, why in table.missing.items() if name in twice.who},
    )
    rng = rng_of(spec.seed, "second", table.benchmark.name, table.form, what)
    return pooled_by_source(measured([sheet]), rungs, rng=rng)


def _grade_rows(twice: Twice, spec: AnalyzeSpec) -> list[Row]:
    table = twice.table
    clusters = [table.clusters[item] for item in np.flatnonzero(twice.kept)]
    theirs = twice.right[SECOND]
    second = _values(twice, theirs, (), spec, SECOND)
    rows = []
    for grading in GRADINGS:
        ours = twice.right[grading]
        score = _values(twice, ours, (), spec, grading)
        off = _values(twice, ours - theirs, (), spec, f"{grading}, off")
        same = _values(twice, 1 - np.abs(ours - theirs), (), spec, f"{grading}, same")
        for column, name in enumerate(twice.who):
            labels = [[str(value > 0.5) for value in one[twice.kept, column]] for one in (ours, theirs)]
            rng = rng_of(spec.seed, "second", table.benchmark.name, table.form, grading, name)
            kappa = cohen_kappa(
                *labels, level=spec.level, resamples=spec.resamples, rng=rng, clusters=clusters
            )
            rows.append(
                {
                    **_place(twice, grading),
                    "contestant": name,
                    "items": int(twice.kept.sum()),
                    "score": to_json(share_of(score[name], spec.level)),
                    "second_score": to_json(share_of(second[name], spec.level)),
                    "off": to_json(interval(off[name], spec.level)),
                    "same": to_json(share_of(same[name], spec.level)),
                    "kappa": to_json(kappa),
                }
            )
    return rows


def _gap_rows(twice: Twice, rungs: Sequence[Rung], teacher: str, spec: AnalyzeSpec) -> list[Row]:
    told = [rung for rung in rungs if {rung.base, teacher, *rung.seeds} <= set(twice.who)]
    names = {rung.base for rung in told} | {teacher} | {seed for rung in told for seed in rung.seeds}
    if not told:
        return []
    columns = [column for column, name in enumerate(twice.who) if name in names]
    own = replace(
        twice,
        who=tuple(twice.who[column] for column in columns),
        right={grading: one[:, columns] for grading, one in twice.right.items()},
    )
    second = _values(own, own.right[SECOND], told, spec, f"{SECOND}, gap")
    rows = []
    for grading in GRADINGS:
        ours = _values(own, own.right[grading], told, spec, f"{grading}, gap")
        for rung in told:
            closed = [
                closed_of(values, rung.base, rung.student, teacher, spec.level) for values in (ours, second)
            ]
            off = combine(lambda one, other: one - other, *closed)
            rows.append(
                {
                    **_place(twice, grading),
                    "student": rung.student,
                    "base": rung.base,
                    "gap_closed": to_json(interval(closed[0], spec.level)),
                    "second_gap_closed": to_json(interval(closed[1], spec.level)),
                    "off": to_json(interval(off, spec.level)),
                }
            )
    return rows


def _place(twice: Twice, grading: str) -> Row:
    table = twice.table
    return {"benchmark": table.benchmark.name, "form": table.form, "by": twice.by, "grading": grading}
