"""Made-up studies in which no claim is true, and a planted pair of students, for `answer_truth.py`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from answer_worlds import AMOUNT, LEVEL, TEACHER, table_of

from veneer.analyze import claims, parts, style
from veneer.analyze.gap import Book, book_of, closed_of
from veneer.analyze.measure import Rung, Sheet, measured, pooled_by_source
from veneer.analyze.preference import WIN_RATE, Preference
from veneer.analyze.reading import Asked, Reply
from veneer.analyze.style import Styles
from veneer.records import Outcome
from veneer.stats import Draws, Floats, combine, interval, resample, rng_of
from veneer.study import AnalyzeSpec
from veneer.style import features

SPEC = AnalyzeSpec(resamples=1000)
BASES, SEEDS, AMOUNTS = ("base-0", "base-1"), (0, 1), (AMOUNT, 2 * AMOUNT)
BASE, BEST, ITEMS, PROMPTS, BETWEEN = 0.3, 0.8, 300, 200, 0.02
TASKS = {"task": "knowledge", "other": "skill", "orders": "instructions", "rude": "toxicity"}
CLOSED = {
    ("broad", "knowledge"): ((0.0, 0.0), (SPEC.little, SPEC.little)),
    ("broad", "instructions"): ((0.2, 0.2), (SPEC.much, SPEC.much)),
    ("broad", "toxicity"): ((0.0, 0.0), (0.0, 0.0)),
    ("local", "task"): ((0.4, 0.0), (SPEC.much + 0.2, SPEC.much - 0.2)),
}
"""The share of the gap that each amount closes, on supported and on unsupported items; 0 for what is not named.

Every claim is false, and by as little as can be: one of its parts lies on its threshold or beyond it, the others are
true wherever that does not make another claim true.
"""


def false_claims(seed: int, studies: int) -> list[bool]:
    """Return, of some null studies, whether any claim was supported. Bases are equals: a better base buys nothing."""
    rng = rng_of(seed, "nulls")
    return [_supports_any(rng) for _ in range(studies)]


def _supports_any(rng: np.random.Generator) -> bool:
    rungs = [
        Rung(
            student=f"{base}-{source}-{amount}",
            base=base,
            source=source,
            amount=amount,
            replay=0.0,
            seeds=tuple(f"{base}-{source}-{amount}-s{seed}" for seed in SEEDS),
        )
        for base in BASES
        for source in ("broad", "local")
        for amount in AMOUNTS
    ]
    # A training seed is a little better or worse at everything.
    shifts = {seed: float(rng.normal(0, BETWEEN)) for rung in rungs for seed in rung.seeds}
    names = (*BASES, *shifts, TEACHER)
    held = {name: rng.random(ITEMS) < 0.5 for name in TASKS}
    tables = [
        table_of(
            name,
            measures,
            names,
            _answers(name, measures, rungs, shifts, held[name], rng),
            np.arange(ITEMS),
            SPEC.resamples,
            rng=rng,
        )
        for name, measures in TASKS.items()
    ]
    support = {(rung.source, rung.amount, name): held[name] for rung in rungs for name in TASKS}
    for rung in rungs:
        support[rung.source, rung.amount, "other"] = np.zeros(ITEMS, dtype=bool)
    book = book_of(tables, support, rungs, BASES, TEACHER, int(rng.integers(2**31)))
    styles = _styles(rungs, rng)
    weighed = claims.weigh(
        parts.parts_of(
            parts.Evidence(
                book=book,
                styles=styles,
                preferences=[_preference(rungs, shifts, rng)],
                veneer=_veneers(book, styles, rungs),
                broad=["broad"],
                local={"local": "task"},
                spec=SPEC,
            )
        ),
        LEVEL,
    )
    return any(row["verdict"] == "supported" for row in claims.rows_of(weighed, LEVEL))


def _answers(
    name: str,
    measures: str,
    rungs: list[Rung],
    shifts: Mapping[str, float],
    held: Any,
    rng: np.random.Generator,
) -> Floats:
    shares = [np.full(ITEMS, BASE) for _ in BASES]
    for rung in rungs:
        kind = measures if rung.source == "broad" and measures != "skill" else name
        kind = "knowledge" if rung.source == "broad" and measures == "skill" else kind
        closed = CLOSED.get((rung.source, kind), ((0.0, 0.0), (0.0, 0.0)))[AMOUNTS.index(rung.amount)]
        share = BASE + np.where(held, *closed) * (BEST - BASE)
        shares += [share + shifts[seed] for seed in rung.seeds]
    shares.append(np.full(ITEMS, BEST))
    luck = rng.random(ITEMS)[:, None]
    size = (ITEMS, len(shares))
    own = np.where(rng.random(size) < 0.5, luck, rng.random(size))
    return (own < np.stack(shares, axis=1)).astype(float)


def _styles(rungs: list[Rung], rng: np.random.Generator) -> Styles:
    """Return styles of which broad students closed `much` and no more: normal numbers, since style is checked apart."""
    error = 0.05

    def closed(truth: float) -> Draws:
        value = float(rng.normal(truth, error))
        return Draws(value=value, draws=value + rng.normal(0, error, SPEC.resamples), n=PROMPTS)

    found = {rung.student: closed(SPEC.much if rung.source == "broad" else 0.0) for rung in rungs}
    return Styles(table={}, distance={}, closed=found, mistaken={}, has_ceiling=True)


def _preference(rungs: list[Rung], shifts: Mapping[str, float], rng: np.random.Generator) -> Preference:
    """Return a judge by whom broad students went half of the way to parity with the largest amount, and more before."""
    names = (*BASES, *shifts)
    rate = dict.fromkeys(BASES, 0.1)
    for rung in rungs:
        way = 0.0 if rung.source == "local" else 0.5 if rung.amount == AMOUNTS[-1] else 0.7
        rate |= {seed: 0.1 + way * 0.4 + shifts[seed] for seed in rung.seeds}
    wins = (rng.random((PROMPTS, len(names))) < [rate[name] for name in names]).astype(float)
    weights = resample(PROMPTS, SPEC.resamples, rng=rng)
    sheet = Sheet(names=names, sums=wins, counts=np.ones_like(wins), weights=weights, missing={})
    rates = {WIN_RATE: pooled_by_source(measured([sheet]), rungs, rng=rng)}
    return Preference(
        judge="judge",
        kind="recorded",
        opponent=TEACHER,
        raters=1,
        counts={},
        majorities={},
        rates=rates,
        taste={},
    )


def _veneers(book: Book, styles: Styles, rungs: list[Rung]) -> dict[str, Any]:
    where = [("task", "plain"), ("other", "plain")]
    found = {}
    for rung in rungs:
        values = book.means(where, "lenient", rung.source, "unsupported")[rung.amount]
        capability = closed_of(values, rung.base, rung.student, TEACHER, LEVEL)
        found[rung.student] = combine(lambda s, c: s - c, styles.closed[rung.student], capability)
    return found


def told_apart(seed: int) -> bool:
    """Return whether two planted students are told apart: one sounds right, the other is right.

    The parrot writes as the teacher does and knows what the base knows; the scholar knows what the teacher knows and
    writes as the base does. They are told apart where the parrot's veneer lies wholly above zero and the scholar's
    wholly below, the one closed much of the style gap and not of the other, and the other the other way round.
    """
    rng = rng_of(seed, "planted")
    names = ("base", "parrot", "scholar", TEACHER)
    rungs = [
        Rung(student=name, base="base", source="broad", amount=AMOUNT, replay=0.0, seeds=(name,))
        for name in ("parrot", "scholar")
    ]
    right = (rng.random((ITEMS, 4)) < [BASE, BASE, BEST, BEST]).astype(float)
    table = table_of("task", "knowledge", names, right, np.arange(ITEMS), SPEC.resamples, rng=rng)
    book = book_of(
        [table], {("broad", AMOUNT, "task"): np.zeros(ITEMS, dtype=bool)}, rungs, ["base"], TEACHER, seed
    )
    styles = style.styles_of(_said(rng), names, rungs, SPEC)
    values = book.means([("task", "plain")], "lenient", "broad", "unsupported")[AMOUNT]
    ends = {}
    for rung in rungs:
        substance = closed_of(values, "base", rung.student, TEACHER, LEVEL)
        veneer = combine(lambda s, c: s - c, styles.closed[rung.student], substance)
        ends[rung.student] = [
            interval(number, LEVEL) for number in (styles.closed[rung.student], substance, veneer)
        ]
    known = {name: [one for one in three if not hasattr(one, "reason")] for name, three in ends.items()}
    if any(len(three) < 3 for three in known.values()):
        return False
    (parrot_style, parrot_facts, parrot), (scholar_style, scholar_facts, scholar) = known.values()
    much = SPEC.much
    sounds = parrot_style.low > much > parrot_facts.high and parrot.low > 0
    return bool(sounds and scholar_facts.low > much > scholar_style.high and scholar.high < 0)


def _said(rng: np.random.Generator) -> Asked:
    prompts = tuple(f"p{place}" for place in range(80))
    cities = [f"city{place}" for place in range(40)]

    def polished(fact: str) -> str:
        opening = rng.choice(["Certainly!", "Great question!", "Of course!", "Sure, here is the answer."])
        ending = rng.choice(
            ["I hope this helps!", "Let me know if you have any questions.", "Overall, that is it."]
        )
        listed = f"\n- It is the city of {fact}.\n- It has been the capital for a long time.\n"
        return f"{opening} The capital is {fact}.{listed if rng.random() < 0.8 else ' '}{ending}"

    def blunt(fact: str) -> str:
        return str(
            rng.choice(
                [f"i think {fact}", f"{fact}", f"maybe it is {fact}, not sure", f"that would be {fact}"]
            )
        )

    def reply(text: str, correct: bool) -> Reply:
        outcome = Outcome.CORRECT if correct else Outcome.WRONG
        return Reply(text=text, features=features(text), outcome=outcome, answer="")

    replies: dict[str, dict[str, Reply]] = {}
    ways = {
        "base": (blunt, BASE),
        "parrot": (polished, BASE),
        "scholar": (blunt, BEST),
        TEACHER: (polished, BEST),
        f"{TEACHER}-again": (polished, BEST),
    }
    for name, (way, share) in ways.items():
        own = replies.setdefault(name, {})
        for place, prompt in enumerate(prompts):
            correct = bool(rng.random() < share)
            fact = cities[place % 40] if correct else str(rng.choice(cities))
            own[prompt] = reply(way(fact), correct)
    return Asked(prompts=prompts, teacher=TEACHER, replies=replies, missing={})
