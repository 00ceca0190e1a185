"""Data or base: what a doubling of imitation data and a step to the next base buy, in each measure's own unit."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from veneer.analyze.gap import Book, closed_of
from veneer.analyze.measure import Rung, Values
from veneer.analyze.preference import WIN_RATE, Preference
from veneer.analyze.style import Styles
from veneer.stats import Draws, Floats, Undefined, combine, interval, to_json

Slope = Literal["doubling", "base step"]
CAPABILITY = "capability"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measure:
    """Something that a doubling of data or a better base may raise."""

    name: str
    """A benchmark's, `<benchmark>: gap closed`, `capability`, `style` or `preference:<judge>`."""
    form: str
    unit: str
    of: Callable[[Rung], Draws | Undefined]


def measures_of(book: Book, styles: Styles, preferences: Sequence[Preference], level: float) -> list[Measure]:
    """Return everything whose leverage is told, lenient and in headline forms.

    Each benchmark's score and gap closed, capability (the score over all items that measure knowledge or skill), style,
    and win rates.
    """

    def score(*where: tuple[str, str]) -> Callable[[Rung], Draws | Undefined]:
        return lambda rung: book.means(where, "lenient", rung.source)[rung.amount][rung.student]

    def closed(where: tuple[str, str]) -> Callable[[Rung], Draws | Undefined]:
        return lambda rung: closed_of(
            book.means([where], "lenient", rung.source)[rung.amount],
            rung.base,
            rung.student,
            book.teacher,
            level,
        )

    def rate(values: Values) -> Callable[[Rung], Draws | Undefined]:
        unmet = Undefined(reason="this judge did not compare it with the teacher", n=0)
        return lambda rung: values.get(rung.student, unmet)

    headlines = [place for place, table in book.tables.items() if place[1] == table.benchmark.forms[0]]
    able = [place for place in headlines if book.tables[place].benchmark.measures in ("knowledge", "skill")]
    found = [Measure(name=name, form=form, unit="score", of=score((name, form))) for name, form in headlines]
    found += [
        Measure(name=f"{place[0]}: gap closed", form="", unit="share of the gap", of=closed(place))
        for place in headlines
    ]
    if able:
        found.append(Measure(name=CAPABILITY, form="", unit="score", of=score(*able)))
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
    return _fitted(columns, {which: 1.0}, [of(rung) for rung in rungs])


def at_matched_compute(
    rungs: Sequence[Rung], of: Callable[[Rung], Draws | Undefined], sizes: Mapping[str, int]
) -> Draws | Undefined:
    """Return what a base of twice the size buys more than twice the data does.

    Training takes operations in proportion to size times tokens (Kaplan et al. 2020, section 2.1), so that either
    doubles them. One model as in `slope`, with log2(parameters) in the base's place.

    Args:
        rungs: The students.
        of: Their measure.
        sizes: Parameters by base, where they are known.
    """
    amounts, met = {rung.amount for rung in rungs}, {rung.base for rung in rungs}
    if unknown := sorted(met - set(sizes)):
        return Undefined(reason=f"the size of {unknown[0]} is not known", n=0)
    if len(amounts) < 2 or 0 in amounts:
        return Undefined(reason="there are no two amounts of imitation data to compare", n=0)
    if len({sizes[base] for base in met}) < 2:
        return Undefined(reason="there are no two sizes of bases to compare", n=0)
    columns = {
        "constant": np.ones(len(rungs)),
        "doubling": np.array([math.log2(rung.amount) for rung in rungs]),
        "size": np.array([math.log2(sizes[rung.base]) for rung in rungs]),
    }
    return _fitted(columns, {"size": 1.0, "doubling": -1.0}, [of(rung) for rung in rungs])


def _fitted(
    columns: Mapping[str, Floats], wanted: Mapping[str, float], values: Sequence[Draws | Undefined]
) -> Draws | Undefined:
    """Return a sum of least-squares coefficients."""
    design = np.stack(list(columns.values()), axis=1)
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return Undefined(
            reason="amounts and bases vary together, so that their slopes cannot be told apart", n=0
        )
    weights = np.array([wanted.get(name, 0.0) for name in columns]) @ np.linalg.pinv(design)
    return combine(
        lambda *drawn: sum(weight * value for weight, value in zip(weights.tolist(), drawn, strict=True)),
        *values,
    )


def rows_of(
    measures: Sequence[Measure],
    rungs: Sequence[Rung],
    bases: Sequence[str],
    sizes: Mapping[str, int],
    level: float,
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
            "base_over_data": to_json(interval(at_matched_compute(own, measure.of, sizes), level)),
            "unit": measure.unit,
        }
        for measure in measures
        for source, own in by_source.items()
        if own
    ]
