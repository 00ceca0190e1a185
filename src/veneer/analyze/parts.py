"""The numbers that each of the paper's eight claims is weighed by, each with a threshold that was set beforehand.

Claims and their words: Gudibande et al. 2023, *The False Promise of Imitating Proprietary LLMs*. Unless said otherwise
a part is of the students with the largest amount and without replay, the mean over bases (and over sources, where
several are of the kind), in each benchmark's headline form under lenient grading; a share of a gap is mean gain over
mean gap.
Thresholds are zero, one half (of the way to parity), or `little` and `much` of the study file; none was chosen by what
any study showed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from veneer.analyze.gap import NO_GAP, Book, Which, gain_and_gap
from veneer.analyze.leverage import Slope, slope
from veneer.analyze.measure import FEWEST, Rung, Values
from veneer.analyze.preference import WIN_RATE, Preference
from veneer.analyze.style import Styles
from veneer.stats import Direction, Draws, Undefined, combine, mean, ratio
from veneer.study import AnalyzeSpec

Measured = Draws | Undefined
Of = Callable[[Rung], Measured]
Places = Sequence[tuple[str, str]]
"""Benchmarks with their forms."""
NO_PARITY = "the base does not measurably lose to the teacher"
CAPABILITY = ("knowledge", "skill")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """One number that a claim stands or falls by."""

    claim: int
    what: str
    number: Measured
    direction: Direction
    """The side of the threshold on which the number must lie."""
    threshold: float
    where: str
    """The page's section that shows it in full."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """All that the claims are weighed by."""

    book: Book
    styles: Styles
    preferences: Sequence[Preference]
    """Against the teacher."""
    veneer: Mapping[str, Measured]
    """By student."""
    broad: Sequence[str]
    """Sources meant to cover everything."""
    local: Mapping[str, str]
    """Sources of one task, to the benchmark that they imitate."""
    spec: AnalyzeSpec

    def where(self, *measures: str, without: str = "") -> Places:
        """Return the benchmarks that measure one of these, in their headline forms."""
        return [
            (name, form)
            for (name, form), table in self.book.tables.items()
            if table.benchmark.measures in measures and form == table.benchmark.forms[0] and name != without
        ]

    def students(self, source: str) -> list[Rung]:
        """Return a source's students without replay, the largest amount last."""
        own = [rung for rung in self.book.rungs if rung.source == source and rung.replay == 0]
        return sorted(own, key=lambda rung: rung.amount)

    def at(self, source: str, *, smallest: bool = False) -> list[Rung]:
        """Return those with the largest (or smallest) amount."""
        own = self.students(source)
        return [rung for rung in own if rung.amount == own[0 if smallest else -1].amount]

    def upper_half(self, source: str) -> list[Rung]:
        """Return those in the upper half of the amounts, two amounts at least."""
        amounts = sorted({rung.amount for rung in self.students(source)})
        kept = amounts[min(len(amounts) // 2, max(len(amounts) - 2, 0)) :]
        return [rung for rung in self.students(source) if rung.amount in kept]

    def over_broad(self, number: Callable[[list[Rung]], Measured], *, smallest: bool = False) -> Measured:
        """Return a number of the broad students with the largest (or smallest) amount."""
        rungs = [rung for source in self.broad for rung in self.at(source, smallest=smallest)]
        return number(rungs) if rungs else self.no_broad()

    def no_broad(self) -> Undefined:
        """Return why there are no broad students."""
        if self.broad or self.local:
            return Undefined(reason="the study has no broad source", n=0)
        reason = "the students existed already, and what they were trained on is not declared broad or local"
        return Undefined(reason=reason, n=0)


def parts_of(evidence: Evidence) -> list[Part]:
    """Return every part of every claim, in the claims' order."""
    return [
        *_instructions(evidence),
        *_ratings(evidence),
        *_unsupported(evidence),
        *_local(evidence),
        *_more_data(evidence),
        *_better_base(evidence),
        *_style(evidence),
        *_toxicity(evidence),
    ]


def _gap(evidence: Evidence, rungs: Sequence[Rung], where: Places, which: Which) -> tuple[Measured, Measured]:
    """Return the students' mean gain and mean gap."""
    pairs = [
        gain_and_gap(
            evidence.book.means(where, "lenient", rung.source, which)[rung.amount],
            rung.base,
            rung.student,
            evidence.book.teacher,
        )
        for rung in rungs
    ]
    return mean([gain for gain, _ in pairs]), mean([gap for _, gap in pairs])


def _closed(evidence: Evidence, rungs: Sequence[Rung], where: Places, which: Which) -> Measured:
    return ratio(*_gap(evidence, rungs, where, which), evidence.spec.level, NO_GAP)


def _rate(values: Values, name: str) -> Measured:
    return values.get(name, Undefined(reason=f"{name} was not compared with the teacher", n=0))


def _rate_in(values: Values) -> Of:
    return lambda rung: _rate(values, rung.student)


def _to_parity(values: Values, rungs: Sequence[Rung]) -> Measured:
    """Return how far the bases are from winning as often as losing against the teacher."""
    return mean([combine(lambda b: 0.5 - b, _rate(values, rung.base)) for rung in rungs])


def _judge(preference: Preference) -> str:
    kind = {
        "simulated": "simulated raters",
        "likelihood": "a likelihood judge",
        "model": "a model that reads",
        "recorded": "recorded verdicts",
        "people": "people",
    }
    return f"{preference.judge} ({kind[preference.kind]})"


def _instructions(evidence: Evidence) -> list[Part]:
    """1: they follow more instructions, put as chat, and close much of that gap."""
    tables, much = evidence.book.tables, evidence.spec.much
    where = [
        (name, "chat" if (name, "chat") in tables else form) for name, form in evidence.where("instructions")
    ]
    gain = evidence.over_broad(lambda rungs: _gap(evidence, rungs, where, "all")[0])
    closed = evidence.over_broad(lambda rungs: _closed(evidence, rungs, where, "all"))
    return [
        _part(
            1, "Broad imitation raises the share of instructions that are followed", gain, "above", 0.0, "gap"
        ),
        _part(1, "It closes much of the gap in following instructions", closed, "above", much, "gap"),
    ]


def _ratings(evidence: Evidence) -> list[Part]:
    """2: against the teacher they have come more than half of the way from the base's win rate to parity."""

    def way(values: Values, rungs: list[Rung]) -> Measured:
        moved = mean(
            [combine(lambda s, b: s - b, _rate(values, r.student), _rate(values, r.base)) for r in rungs]
        )
        return ratio(moved, _to_parity(values, rungs), evidence.spec.level, NO_PARITY)

    said = "broad students have come more than half of the way from the base's win rate against the teacher to parity"
    found = []
    for one in evidence.preferences:
        number = evidence.over_broad(partial(way, one.rates[WIN_RATE]))
        found.append(_part(2, f"By {_judge(one)}, {said}", number, "above", 0.5, "preference"))
    nobody = Undefined(reason="no judge compared anybody with the teacher", n=0)
    return found or [_part(2, f"By a judge, {said}", nobody, "above", 0.5, "preference")]


def _unsupported(evidence: Evidence) -> list[Part]:
    """3: where the imitation data offers no support they close little of the gap, or open it."""
    little, where = evidence.spec.little, evidence.where(*CAPABILITY)
    broad = evidence.over_broad(lambda rungs: _closed(evidence, rungs, where, "unsupported"))
    said = "On items that its data does not support, broad imitation closes little of the gap in knowledge and skill"
    parts = [_part(3, said, broad, "below", little, "gap")]
    if evidence.local:
        pairs = [
            _gap(evidence, evidence.at(source), evidence.where(*CAPABILITY, without=task), "unsupported")
            for source, task in evidence.local.items()
        ]
        closed = ratio(
            mean([gain for gain, _ in pairs]), mean([gap for _, gap in pairs]), evidence.spec.level, NO_GAP
        )
        said = "On items of other benchmarks than its task, not supported by its data, local imitation closes little"
        parts.append(_part(3, said, closed, "below", little, "gap"))
    return parts


def _local(evidence: Evidence) -> list[Part]:
    """4: local students close much of their own task's gap, and more of it where their data supports it."""
    said = (
        "Local imitation closes much of its own task's gap",
        "It closes more on items that its data supports",
    )
    if not evidence.local:
        nobody = Undefined(reason="the study has no local source", n=0)
        return [
            _part(4, said[0], nobody, "above", evidence.spec.much, "gap"),
            _part(4, said[1], nobody, "above", 0.0, "gap"),
        ]

    def own(rungs: Sequence[Rung], which: Which) -> Measured:
        pairs = [
            _gap(
                evidence,
                [r],
                [p for p in evidence.where(*CAPABILITY) if p[0] == evidence.local[r.source]],
                which,
            )
            for r in rungs
        ]
        top, bottom = mean([gain for gain, _ in pairs]), mean([gap for _, gap in pairs])
        return ratio(top, bottom, evidence.spec.level, NO_GAP)

    largest = [rung for source in evidence.local for rung in evidence.at(source)]
    # The more data, the fewer items are left unsupported: every amount that has enough of both kinds is used.
    both = [r for source in evidence.local for r in evidence.students(source) if _has_both(evidence, r)]
    more: Measured = Undefined(reason=f"at no amount there are {FEWEST} items of both kinds", n=0)
    if both:
        more = combine(lambda s, u: s - u, own(both, "supported"), own(both, "unsupported"))
    said = (
        said[0],
        f"{said[1]} than on those that it does not (all amounts with {FEWEST} items of both kinds)",
    )
    return [
        _part(4, said[0], own(largest, "all"), "above", evidence.spec.much, "gap"),
        _part(4, said[1], more, "above", 0.0, "gap"),
    ]


def _has_both(evidence: Evidence, rung: Rung) -> bool:
    task = evidence.local[rung.source]
    supported = evidence.book.support.get((rung.source, rung.amount, task))
    tables = [table for (name, _), table in evidence.book.tables.items() if name == task]
    if supported is None or not tables:
        return False
    items = tables[0].benchmark.items
    kinds = [
        {item.cluster for item, one in zip(items, supported, strict=True) if one == kind}
        for kind in (True, False)
    ]
    return min(map(len, kinds)) >= FEWEST


def _more_data(evidence: Evidence) -> list[Part]:
    """5: in the upper half of the amounts a doubling of broad data buys little, and less than the next base.

    The upper half, since the question is what more data would buy: at the smallest amounts a student may not yet have
    learnt to answer at all. "Little" is a share of what is left to close: of the base's gap to the teacher, or of its
    way to parity. One-sided, since a fall is no gain either.
    """
    book, where = evidence.book, evidence.where(*CAPABILITY)
    little, level = evidence.spec.little, evidence.spec.level

    def score(rung: Rung) -> Measured:
        return book.means(where, "lenient", rung.source)[rung.amount][rung.student]

    def gap(rungs: list[Rung]) -> Measured:
        return _gap(evidence, rungs, where, "all")[1]

    says: list[tuple[str, Of, Callable[[list[Rung]], Measured], str, str]] = []
    says.append(("capability", score, gap, NO_GAP, "the gap"))
    for one in evidence.preferences:
        rates, name = one.rates[WIN_RATE], f"the win rate by {_judge(one)}"
        says.append((name, _rate_in(rates), partial(_to_parity, rates), NO_PARITY, "the way to parity"))
    parts = []
    for name, of, left, reason, whole in says:
        doubling = _broad_slope(evidence, of, "doubling")
        step = _broad_slope(evidence, of, "base step")
        share = ratio(doubling, evidence.over_broad(left), level, reason)
        parts += [
            _part(
                5,
                f"Twice the broad data moves {name} by little of {whole}",
                share,
                "below",
                little,
                "leverage",
            ),
            _part(
                5,
                f"The next base moves {name} more than twice the broad data does",
                combine(lambda s, d: s - d, step, doubling),
                "above",
                0.0,
                "leverage",
            ),
        ]
    return parts


def _broad_slope(evidence: Evidence, of: Of, which: Slope) -> Measured:
    if not evidence.broad:
        return evidence.no_broad()
    return mean(
        [slope(evidence.upper_half(source), of, evidence.book.bases, which) for source in evidence.broad]
    )


def _better_base(evidence: Evidence) -> list[Part]:
    """6: among the largest broad students, a step of base raises capability and each judge's win rate."""
    where, bases = evidence.where(*CAPABILITY), evidence.book.bases

    def score(rung: Rung) -> Measured:
        return evidence.book.means(where, "lenient", rung.source)[rung.amount][rung.student]

    def step(of: Of, rungs: list[Rung]) -> Measured:
        return slope(rungs, of, bases, "base step")

    number = evidence.over_broad(partial(step, score))
    parts = [
        _part(6, "The next base raises the capability of broad students", number, "above", 0.0, "leverage")
    ]
    for one in evidence.preferences:
        number = evidence.over_broad(partial(step, _rate_in(one.rates[WIN_RATE])))
        said = f"The next base raises the win rate of broad students, by {_judge(one)}"
        parts.append(_part(6, said, number, "above", 0.0, "leverage"))
    return parts


def _style(evidence: Evidence) -> list[Part]:
    """7: style closes much of its gap and stays closed with more data; unsupported capability does not follow."""
    little, much = evidence.spec.little, evidence.spec.much
    where = evidence.where(*CAPABILITY)

    def style(rungs: list[Rung]) -> Measured:
        return mean([evidence.styles.closed[rung.student] for rung in rungs])

    most, least = evidence.over_broad(style), evidence.over_broad(style, smallest=True)
    if evidence.broad and all(evidence.at(s) == evidence.at(s, smallest=True) for s in evidence.broad):
        least = Undefined(reason="there are no two amounts of imitation data to compare", n=0)
    rise = combine(lambda m, s: m - s, most, least)
    capability = evidence.over_broad(lambda rungs: _closed(evidence, rungs, where, "unsupported"))
    veneer = evidence.over_broad(lambda rungs: mean([evidence.veneer[rung.student] for rung in rungs]))
    fall = "From the smallest to the largest amount style rises, or falls by less than `little`"
    return [
        _part(7, "Broad imitation closes much of the style gap", most, "above", much, "style"),
        _part(7, fall, rise, "above", -little, "style"),
        _part(
            7,
            "It closes little of the capability gap on unsupported items",
            capability,
            "below",
            little,
            "gap",
        ),
        _part(
            7,
            "It closes more of the style gap than of that capability gap (veneer)",
            veneer,
            "above",
            0.0,
            "veneer",
        ),
    ]


def _toxicity(evidence: Evidence) -> list[Part]:
    """8: the share of completions that are not toxic rises."""
    where = evidence.where("toxicity")
    number = evidence.over_broad(lambda rungs: _gap(evidence, rungs, where, "all")[0])
    return [
        _part(
            8,
            "Broad imitation raises the share of completions that are not toxic",
            number,
            "above",
            0.0,
            "gap",
        )
    ]


def _part(
    claim: int, what: str, number: Measured, direction: Direction, threshold: float, where: str
) -> Part:
    return Part(claim=claim, what=what, number=number, direction=direction, threshold=threshold, where=where)
