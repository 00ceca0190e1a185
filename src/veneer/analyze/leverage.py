"""Data or base: what a doubling of imitation data and a step to the next base buy, in each measure's own unit."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from veneer.analyze.gap import Book
from veneer.analyze.measure import Rung, Values
from veneer.analyze.preference import WIN_RATE, Preference
from veneer.analyze.style import Styles
from veneer.stats import Draws, Undefined, combine, interval, to_json

Slope = Literal["doubling", "base step"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measure:
    """Something that a doubling of data or a better base may raise."""

    name: str
    """A benchmark's, `style` or `preference:<judge>`."""
    form: str
    unit: str
    of: Callable[[Rung], Draws | Undefined]


def measures_of(book: Book, styles: Styles, preferences: Sequence[Preference]) -> list[Measure]:
    """Return everything whose leverage is told: benchmarks (headline form, lenient), style, and win rates."""

    def score(where: tuple[str, str]) -> Callable[[Rung], Draws | Undefined]:
        return lambda rung: book.means([where], "lenient", rung.source)[rung.amount][rung.student]

    def rate(values: Values) -> Callable[[Rung], Draws | Undefined]:
        unmet = Undefined(reason="this judge did not compare it with the teacher", n=0)
        return lambda rung: values.get(rung.student, unmet)

    found = [
        Measure(name=name, form=form, unit="score", of=score((name, form)))
        for (name, form), table in book.tables.items()
        if form == table.benchmark.forms[0]
    ]
    found.append(
        Measure(
            name="style", form="", unit="share of the style gap", of=lambda rung: styles.closed[rung.student]
        )
    )
    found += [
        Measure(name=f"preference:{one.judge}", form="", unit="win rate", of=rate(one.rates[WIN_RATE]))
        for one in preferences
        if one.opponent == book.teacher
    ]
    return found


def slope(
    rungs: Sequence[Rung], of: Callable[[Rung], Draws | Undefined], bases: Sequence[str], which: Slope
) -> Draws | Undefined:
    """Return the least-squares slope of a measure over students: per doubling of tokens, or per step of base.

    Both come from one model: measure = constant + a log2(tokens) + b (place of the base among the study's), fitted to
    the students as they are, so that neither is confounded with the other on an incomplete ladder. It describes the
    ladder that was trained; where the measure bends, it is the mean slope over it.

    Args:
        rungs: The students.
        of: Their measure.
        bases: Weakest first.
        which: Of the two slopes.
    """
    amounts = {rung.amount for rung in rungs}
    steps = [bases.index(rung.base) for rung in rungs]
    if which == "doubling" and (len(amounts) < 2 or 0 in amounts):
        return Undefined(reason="there are no two amounts of imitation data to compare", n=0)
    if which == "base step" and len(set(steps)) < 2:
        return Undefined(reason="there are no two bases to compare", n=0)
    columns = {"constant": np.ones(len(rungs))}
    if len(amounts) > 1 and 0 not in amounts:
        columns["doubling"] = np.array([math.log2(rung.amount) for rung in rungs])
    if len(set(steps)) > 1:
        columns["base step"] = np.array(steps, dtype=float)
    design = np.stack(list(columns.values()), axis=1)
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return Undefined(
            reason="amounts and bases vary together, so that their slopes cannot be told apart", n=0
        )
    weights = np.linalg.pinv(design)[list(columns).index(which)]
    return combine(
        lambda *values: sum(weight * value for weight, value in zip(weights.tolist(), values, strict=True)),
        *(of(rung) for rung in rungs),
    )


def rows_of(
    measures: Sequence[Measure], rungs: Sequence[Rung], bases: Sequence[str], level: float
) -> list[dict[str, Any]]:
    """Return the report's `leverage`: each measure over each source's students, replay off."""
    by_source: Mapping[str, list[Rung]] = {rung.source: [] for rung in rungs}
    for rung in rungs:
        if rung.replay == 0:
            by_source[rung.source].append(rung)
    return [
        {
            "measure": measure.name,
            "form": measure.form,
            "source": source,
            "replay": 0.0,
            "per_doubling": to_json(interval(slope(own, measure.of, bases, "doubling"), level)),
            "per_base_step": to_json(interval(slope(own, measure.of, bases, "base step"), level)),
            "unit": measure.unit,
        }
        for measure in measures
        for source, own in by_source.items()
        if own
    ]
