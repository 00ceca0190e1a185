"""The next best step: whether twice the data or a better base buys most, or that this cannot be told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from veneer.analyze import effort, leverage
from veneer.analyze.effort import Cost
from veneer.analyze.gap import Book
from veneer.analyze.leverage import CAPABILITY, Measure, slope
from veneer.analyze.measure import Rung
from veneer.analyze.preference import Preference
from veneer.analyze.style import Styles
from veneer.stats import (
    Draws,
    Estimate,
    Undefined,
    combine,
    detectable,
    holm,
    interval,
    mean,
    p_value,
    to_json,
)
from veneer.study import PricesSpec, Study

MOST = 1000
"""A study so many times as large is not advised: what differs by so little is the same."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Option:
    """Something that could be done next."""

    step: str
    buys: Draws | Undefined
    """In the measure's unit."""
    cost: Cost | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Money:
    """What options are priced by."""

    sizes: Mapping[str, int]
    """Parameters of the bases."""
    prices: PricesSpec
    passes: int


def options_of(
    measure: Measure, rungs: Sequence[Rung], bases: Sequence[str], money: Money | None
) -> list[Option]:
    """Return what could be done next: twice the data of each source, or the next base (mean over the sources).

    Args:
        measure: What is to be raised.
        rungs: The students; those with replay are left out.
        bases: Weakest first.
        money: None leaves costs out.
    """
    own = [rung for rung in rungs if rung.replay == 0]
    sources = list(dict.fromkeys(rung.source for rung in own))
    steps, options = [], []
    for source in sources:
        of_source = [rung for rung in own if rung.source == source]
        doubling = slope(of_source, measure.of, bases, "doubling")
        steps.append(slope(of_source, measure.of, bases, "base step"))
        options.append(
            Option(step=f"twice the {source} data", buys=doubling, cost=_doubled(of_source, bases, money))
        )
    if steps:
        known = [step for step in steps if isinstance(step, Draws)]
        options.append(
            Option(step="a better base", buys=mean(known or steps), cost=_larger(own, bases, money))
        )
    return options


def _doubled(rungs: Sequence[Rung], bases: Sequence[str], money: Money | None) -> Cost | None:
    """Return the cost of training the best base on twice the largest amount, half of which has to be made."""
    amount = max(rung.amount for rung in rungs)
    if money is None or bases[-1] not in money.sizes or not amount:
        return None
    return effort.cost(money.sizes[bases[-1]], 2 * amount, amount, money.passes, money.prices)


def _larger(rungs: Sequence[Rung], bases: Sequence[str], money: Money | None) -> Cost | None:
    """Return the cost of a student of the next base, as much larger than the best as bases differ on average."""
    amount = max(rung.amount for rung in rungs)
    if money is None or len(bases) < 2 or any(base not in money.sizes for base in bases) or not amount:
        return None
    first, last = money.sizes[bases[0]], money.sizes[bases[-1]]
    size = round(last * (last / first) ** (1 / (len(bases) - 1)))
    return effort.cost(size, amount, 0, money.passes, money.prices)


def row_of(measure: Measure, options: Sequence[Option], level: float) -> dict[str, Any]:
    """Return one row of the report's `next_step`: the options, the difference of the best two, and the sentence.

    With costs, options are compared for the same money (what a thousand dollars buy), else step for step. The best is
    named only where it measurably raises the measure and measurably beats every other option: one-sided p-values,
    Holm's correction over them.
    """
    unit = "a thousand dollars of" if options and all(option.cost for option in options) else ""
    worth = [
        combine(lambda b, c=option.cost: b * 1000 / c.dollars, option.buys)
        if unit and option.cost
        else option.buys
        for option in options
    ]
    order = sorted(range(len(options)), key=lambda place: _value(worth[place]), reverse=True)
    known = [place for place in order if isinstance(worth[place], Draws)]
    names = [f"{unit} {options[place].step}".strip() for place in order]
    ahead: list[Draws | Undefined] = [
        combine(lambda b, o: b - o, worth[known[0]], worth[place]) for place in known[1:]
    ]
    decided, sentence = _sentence(measure.name, names, [worth[place] for place in known], ahead, level)
    return {
        "measure": measure.name,
        "unit": measure.unit,
        "options": [
            {
                "step": option.step,
                "buys": to_json(interval(option.buys, level)),
                **({"cost": effort.to_row(option.cost)} if option.cost else {}),
                **({"per_thousand_dollars": to_json(interval(each, level))} if unit else {}),
            }
            for option, each in zip(options, worth, strict=True)
        ],
        "best": names[0] if decided else "",
        "ahead": to_json(interval(ahead[0], level))
        if ahead
        else to_json(Undefined(reason="there are no two steps to compare", n=0)),
        "sentence": sentence,
    }


def _value(number: Draws | Undefined) -> float:
    return number.value if isinstance(number, Draws) else -float("inf")


def _sentence(
    measure: str,
    names: Sequence[str],
    worth: Sequence[Draws | Undefined],
    ahead: Sequence[Draws | Undefined],
    level: float,
) -> tuple[bool, str]:
    """Return whether the best step is known, and what is said of it."""
    cannot = f"This study can't tell what to do next for {measure}"
    if len(worth) < 2:
        return False, f"{cannot}: it does not compare two steps."
    best = worth[0]
    assert isinstance(best, Draws)
    tests = [best, *(one for one in ahead if isinstance(one, Draws))]
    corrected = holm([p_value(test, 0.0, "above") for test in tests])
    bought, second = _points(worth[0], level), _points(worth[1], level)
    if max(corrected) < (1 - level) / 2:
        more = _points(ahead[0], level)
        return True, f"Next for {measure}: {names[0]}, which buys {bought}, {more} more than {names[1]}."
    # The larger of the two shortfalls: both tests must come out.
    factors = [(_detectable(test, level) / max(abs(test.value), 1e-12)) ** 2 for test in tests[:2]]
    factor, n = max(1.0, *factors), min(test.n for test in tests)
    more = (
        f"about {factor:.2g} times as many items and training seeds ({round(n * (factor - 1)):,} items more) would"
        if factor < MOST
        else "the two are too near each other for any study of this kind"
    )
    return False, f"{cannot}: {names[0]} buys {bought}, {names[1]} {second}; {more}."


def _detectable(number: Draws, level: float) -> float:
    found = detectable(number, level)
    assert isinstance(found, float)
    return found


def _points(number: Draws | Undefined, level: float) -> str:
    known = interval(number, level)
    assert isinstance(known, Estimate)
    value, low, high = (100 * one for one in (known.value, known.low, known.high))
    return f"{value:+.1f} points [{low:.1f}, {high:.1f}]"


def rows_of(
    study: Study, book: Book, styles: Styles, preferences: Sequence[Preference], rungs: Sequence[Rung]
) -> dict[str, Any]:
    """Return the report's `leverage` and `next_step`; the next step is told for capability and for every win rate."""
    spec, bases = study.analyze, list(study.bases)
    sizes = effort.sizes_of(study)
    money = None
    if spec.prices and study.train:
        money = Money(sizes=sizes, prices=spec.prices, passes=study.train.recipe.epochs)
    measures = leverage.measures_of(book, styles, preferences, spec.level)
    wanted = [
        measure
        for measure in measures
        if measure.name == CAPABILITY or measure.name.startswith("preference:")
    ]
    return {
        "leverage": leverage.rows_of(measures, rungs, bases, sizes, spec.level),
        "next_step": [
            row_of(measure, options_of(measure, rungs, bases, money), spec.level)
            for measure in wanted
            if any(rung.amount for rung in rungs)
        ],
    }
