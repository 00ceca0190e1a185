"""A gap taken apart: into format and knowledge, by subject, and on supported against unsupported items."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from veneer.analyze.gap import NO_GAP, Book, gain_and_gap
from veneer.analyze.measure import (
    FEWEST,
    Measured,
    Rung,
    Sheet,
    Values,
    measured,
    pooled,
    pooled_by_source,
    who,
)
from veneer.analyze.scores import Table
from veneer.stats import (
    Draws,
    Undefined,
    combine,
    detectable,
    holm,
    interval,
    p_value,
    ratio,
    resample,
    rng_of,
    to_json,
)

Places = Sequence[tuple[str, str]]
Measure = Draws | Undefined


def differences(book: Book, where: Places, source: str, level: float) -> Mapping[int, Values]:
    """Return, by amount and student, the share of the gap closed on supported items minus that on unsupported ones.

    It is taken seed by seed before seeds are pooled, so that a seed that is better at everything does not count as
    spread of the difference. Lenient grading; Undefined where either share is.

    Args:
        book: The study's.
        where: Benchmarks with their forms, pooled.
        source: Whose students.
        level: Of the interval of each gap, which must lie above zero.
    """
    by_amount = book.by_amount(source)
    sides = [book.tables_of(where, "lenient", source, which) for which in ("supported", "unsupported")]
    unknown = Undefined(reason="there is no imitation data to tell which items it supports", n=0)
    rng = rng_of(book.seed, "difference", *(f"{name} {form}" for name, form in where), source)
    known = [amount for amount in by_amount if all(amount in side for side in sides)]
    tables = [
        _seeds([side[amount] for side in sides], by_amount[amount], book.teacher, level, rng)
        for amount in known
    ]
    values = (
        dict(zip(known, pooled(tables, [by_amount[a] for a in known], rng=rng), strict=True)) if known else {}
    )
    return {
        amount: values.get(amount, dict.fromkeys((rung.student for rung in rungs), unknown))
        for amount, rungs in by_amount.items()
    }


def _seeds(
    sides: Sequence[Measured], rungs: Sequence[Rung], teacher: str, level: float, rng: np.random.Generator
) -> Measured:
    """Return each training seed's difference; one that has none stands among the missing, with the reason."""
    single = [replace(rung, student=seed, seeds=(seed,)) for rung in rungs for seed in rung.seeds]
    found: dict[str, Measure] = {}
    scores = [_singly(side, rng) for side in sides]
    for one in single:
        closed = [_linear(*gain_and_gap(score, one.base, one.student, teacher), level) for score in scores]
        named = [
            Undefined(reason=f"on {which} items {number.reason}", n=number.n)
            if isinstance(number, Undefined)
            else number
            for which, number in zip(("supported", "unsupported"), closed, strict=True)
        ]
        found[one.student] = combine(lambda s, u: s - u, *named)
    resamples = sides[0].draws.shape[0]
    return Measured(
        names=tuple(found),
        values=np.array([one.value if isinstance(one, Draws) else 0.0 for one in found.values()]),
        draws=np.stack(
            [one.draws if isinstance(one, Draws) else np.zeros(resamples) for one in found.values()], axis=1
        ),
        counts=np.ones(len(found)),
        n=tuple(one.n for one in found.values()),
        missing={name: one.reason for name, one in found.items() if isinstance(one, Undefined)},
    )


def _linear(gain: Measure, gap: Measure, level: float) -> Measure:
    """Return the share of a gap closed with the draws of its linearisation, Undefined as ever.

    A difference of two ratios has no interval of Fieller's kind: the long tails of both ratios would add up, and it
    would be a third wider than it need be. To first order, a ratio R moves by (d gain - R d gap) / gap.
    """
    closed = ratio(gain, gap, level, NO_GAP)
    if isinstance(closed, Undefined) or isinstance(gain, Undefined) or isinstance(gap, Undefined):
        return closed
    moved = (gain.draws - gain.value) - closed.value * (gap.draws - gap.value)
    return Draws(value=closed.value, draws=closed.value + moved / gap.value, n=closed.n)


def _singly(side: Measured, rng: np.random.Generator) -> Values:
    """Return every column as a number of its own, smoothed, with no spread between seeds in it."""
    return pooled([side], [[]], rng=rng)[0]


def gain_rows(book: Book, level: float) -> list[dict[str, Any]]:
    """Return the report's `gains`: each student on each benchmark in its headline form, format and knowledge apart.

    Strict gain = knowledge (the lenient gain) + format (the gain of strict minus lenient). `p` is two-sided against no
    lenient gain, after Holm's correction over all of these gains.
    """
    rows, tests = [], []
    for rung in book.rungs:
        for name, form in headlines(book):
            strict, lenient, form_part = (
                gain_and_gap(
                    book.means([(name, form)], grading, rung.source)[rung.amount],
                    rung.base,
                    rung.student,
                    book.teacher,
                )[0]
                for grading in ("strict", "lenient", "format")
            )
            numbers = {"strict_gain": strict, "knowledge_gain": lenient, "format_gain": form_part}
            rows.append(
                {
                    **who(rung),
                    "benchmark": name,
                    "form": form,
                    **{key: to_json(interval(number, level)) for key, number in numbers.items()},
                    "detectable": detectable(lenient, level),
                }
            )
            tests.append(lenient)
    return _with_p(rows, tests, level)


def difference_rows(book: Book, level: float) -> list[dict[str, Any]]:
    """Return the report's `support_difference`: the gap closed on supported minus on unsupported items, and a test.

    `p` is two-sided against no difference, after Holm's correction over all rows.
    """
    rows, tests = [], []
    for place in headlines(book):
        for source in dict.fromkeys(rung.source for rung in book.rungs):
            found = differences(book, [place], source, level)
            for rung in (rung for rungs in book.by_amount(source).values() for rung in rungs):
                number = found[rung.amount][rung.student]
                told = {
                    "benchmark": place[0],
                    "form": place[1],
                    "difference": to_json(interval(number, level)),
                }
                rows.append({**who(rung), **told})
                tests.append(number)
    return _with_p(rows, tests, level)


def subject_rows(book: Book, level: float) -> list[dict[str, Any]]:
    """Return the report's `subjects`: the gap closed on each subject of a benchmark that has several, lenient grading.

    A subject is what an item's task names, or else its cluster; within it, items are resampled (or clusters, where it
    has several). Those of fewer than `FEWEST` units are left out: they would be Undefined.
    """
    rows = []
    for name, form in headlines(book):
        table = book.tables[name, form]
        for subject, items in _subjects(table).items():
            values = _on(book, table, subject, items)
            for rung in book.rungs:
                gain, gap = gain_and_gap(values, rung.base, rung.student, book.teacher)
                numbers = {"gain": gain, "gap": gap, "gap_closed": ratio(gain, gap, level, NO_GAP)}
                rows.append(
                    {
                        **who(rung),
                        "benchmark": name,
                        "form": form,
                        "subject": subject,
                        "items": len(items),
                        **{key: to_json(interval(number, level)) for key, number in numbers.items()},
                    }
                )
    return rows


def headlines(book: Book) -> list[tuple[str, str]]:
    """Return every benchmark with the form that headlines use."""
    return [place for place, table in book.tables.items() if place[1] == table.benchmark.forms[0]]


def _with_p(rows: list[dict[str, Any]], tests: Sequence[Measure], level: float) -> list[dict[str, Any]]:
    """Return rows with a two-sided p-value against zero, corrected over all that could be measured, and a verdict."""
    known = [place for place, test in enumerate(tests) if isinstance(test, Draws)]
    raw = []
    for place in known:
        test = tests[place]
        assert isinstance(test, Draws)
        raw.append(min(1.0, 2 * min(p_value(test, 0.0, "above"), p_value(test, 0.0, "below"))))
    corrected = dict(zip(known, holm(raw), strict=True))
    told = []
    for place, (row, test) in enumerate(zip(rows, tests, strict=True)):
        if isinstance(test, Undefined):
            told.append({**row, "p": to_json(test), "verdict": "undecided"})
            continue
        p = corrected[place]
        verdict = "undecided" if p >= 1 - level else "above" if test.value > 0 else "below"
        told.append({**row, "p": p, "verdict": verdict})
    return told


def _subjects(table: Table) -> dict[str, list[int]]:
    """Return the places of each subject's items, subjects with enough units alone; empty where there are not two."""
    items = table.benchmark.items
    tasks = {item.task for item in items}
    found: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        found.setdefault(item.task if len(tasks) > 1 else item.cluster, []).append(place)
    kept = {name: places for name, places in found.items() if len(_units_of(table, places)) >= FEWEST}
    return kept if len(kept) > 1 else {}


def _units_of(table: Table, places: Sequence[int]) -> list[int]:
    """Return what is resampled within a subject: its clusters, or its items where it is one cluster."""
    clusters = sorted({table.clusters[place] for place in places})
    return clusters if len(clusters) > 1 else list(places)


def _on(book: Book, table: Table, subject: str, places: Sequence[int]) -> Values:
    """Return everybody's score on one subject."""
    units = _units_of(table, places)
    number = {unit: row for row, unit in enumerate(units)}
    whole = len({table.clusters[place] for place in places}) > 1
    rows = np.array([number[table.clusters[place] if whole else place] for place in places])
    right = table.right["lenient"][list(places)]
    sums = np.zeros((len(units), right.shape[1]))
    np.add.at(sums, rows, right)
    counts = np.repeat(np.bincount(rows, minlength=len(units)).astype(float)[:, None], right.shape[1], axis=1)
    rng = rng_of(book.seed, "subject", table.benchmark.name, table.form, subject)
    sheet = Sheet(
        names=table.names,
        sums=sums,
        counts=counts,
        weights=resample(len(units), book.resamples, rng=rng),
        missing=table.missing,
    )
    return pooled_by_source(measured([sheet]), book.rungs, rng=rng)
