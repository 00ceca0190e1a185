"""Style against the teacher's: the paper's Table 2, and the share of the style gap that each student closed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from veneer.analyze import distance, tone
from veneer.analyze.measure import FEWEST, Measured, Rung, Sheet, Values, measured, pooled_by_source, who
from veneer.analyze.reading import Asked
from veneer.analyze.tone import Tones
from veneer.records import SUMMED_UP
from veneer.stats import (
    Draws,
    Floats,
    Number,
    Undefined,
    combine,
    interval,
    ratio,
    resample,
    rng_of,
    share_of,
    to_json,
)
from veneer.study import AnalyzeSpec
from veneer.text import words

METRICS = ("lists", "closing", "unigram_overlap", "length_correlation", "no_hedging", "authoritative")
NO_GAP = "the base's style is not measurably farther from the teacher's than the ceiling is"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Styles:
    """Every contestant's style, measured on the same prompts, seeds pooled."""

    table: Mapping[str, Values]
    """Table 2: by metric."""
    distance: Values
    """2 AUC - 1 of the classifier; the teacher's second sample under its own name."""
    closed: Values
    """The share of the style gap that each student closed."""
    mistaken: Mapping[str, Floats]
    """By contestant (seeds apart): the log-odds, prompt by prompt, that its completion is the teacher's."""
    has_ceiling: bool
    """Whether there is a second sample of the teacher; else the ceiling is a distance of 0."""
    tones: Tones | None = None
    """What the study's judge of tone said."""


def styles_of(
    asked: Asked,
    names: Sequence[str],
    rungs: Sequence[Rung],
    spec: AnalyzeSpec,
    tones: Tones | None = None,
) -> Styles:
    """Return the style of every contestant that answered the prompts.

    Args:
        asked: What was said.
        names: All contestants, seeds apart.
        rungs: The students.
        spec: Resamples, level and seed.
        tones: What a judge of tone said of it.
    """
    others = [*(name for name in names if name != asked.teacher), asked.again]
    missing = {name: asked.missing[name] for name in others if name in asked.missing}
    if asked.teacher in asked.missing:
        missing = dict.fromkeys(others, f"{asked.teacher}: {asked.missing[asked.teacher]}")
    size = len(asked.prompts)
    # A classifier that has not seen a prompt needs another to learn from.
    if size < 2 or len(missing) == len(others):
        few = f"fewer than {FEWEST} independent items" if size else "no prompts"
        reasons = {name: Undefined(reason=few, n=size) for name in others}
        reasons |= {name: Undefined(reason=reason, n=0) for name, reason in missing.items()}
        students = {rung.student: reasons[rung.seeds[0]] for rung in rungs}
        nothing = {**reasons, **students}
        return Styles(
            table=dict.fromkeys(METRICS, nothing),
            distance=nothing,
            closed=students,
            mistaken={},
            has_ceiling=False,
            tones=tones,
        )
    weights = resample(size, spec.resamples, rng=rng_of(spec.seed, "items", "prompts"))
    known = tuple(name for name in others if name not in missing)
    table = _table(asked, known, weights)
    table["authoritative"] = tone.authoritative(tones, known, weights)
    far, mistaken = _distances(asked, known, weights, spec.seed)
    values = {
        name: pooled_by_source(_with_missing(one, missing), rungs, rng=rng_of(spec.seed, "style", name))
        for name, one in {**table, "distance": far}.items()
    }
    has_ceiling = asked.again in known
    ceiling = (
        values["distance"][asked.again] if has_ceiling else _no_distance(spec.resamples, len(asked.prompts))
    )
    return Styles(
        table={metric: values[metric] for metric in METRICS},
        distance=values["distance"],
        closed=closed_of(values["distance"], ceiling, rungs, spec.level),
        mistaken=mistaken,
        has_ceiling=has_ceiling,
        tones=tones,
    )


def closed_of(
    distances: Values, ceiling: Draws | Undefined, rungs: Sequence[Rung], level: float
) -> dict[str, Draws | Undefined]:
    """Return (base - student) / (base - ceiling) of the distances from the teacher, for each student.

    The same unit as the capability gap closed: 0 at the base's style, 1 at the ceiling.
    """
    found = {}
    for rung in rungs:
        base, student = distances[rung.base], distances[rung.student]
        moved = combine(lambda b, s: b - s, base, student)
        found[rung.student] = ratio(moved, combine(lambda b, c: b - c, base, ceiling), level, NO_GAP)
    return found


def unigram_overlap(one: Counter[str], other: Counter[str]) -> float:
    """Return the overlap of two bags of words: F1, twice what they share over the words of both (as ROUGE-1's F).

    The paper's Table 2 names a unigram intersection and gives no formula. This one is symmetric, 1 for the same words
    as often, and 0 where nothing is shared or nothing is said.

    >>> unigram_overlap(Counter("a b b c".split()), Counter("b b d d".split()))
    0.5
    """
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 0.0


def _table(asked: Asked, names: tuple[str, ...], weights: Floats) -> dict[str, Measured]:
    """Return Table 2 before seeds are pooled, but for the tone."""

    def feature(name: str) -> Floats:
        return np.array([[asked.replies[n][p].features[name] for n in names] for p in asked.prompts])

    def on(scores: Floats, prompts: Floats) -> Measured:
        counts = np.repeat(prompts[:, None], len(names), axis=1)
        return measured(
            [Sheet(names=names, sums=scores * counts, counts=counts, weights=weights, missing={})]
        )

    teacher = {p: asked.replies[asked.teacher][p] for p in asked.prompts}
    bags = [Counter(words(teacher[p].text)) for p in asked.prompts]
    overlap = [
        [unigram_overlap(Counter(words(asked.replies[name][p].text)), bag) for name in names]
        for p, bag in zip(asked.prompts, bags, strict=True)
    ]
    every = np.ones(len(asked.prompts))
    table = {
        "unigram_overlap": on(np.array(overlap), every),
        "no_hedging": on(1 - feature("has_hedge"), every),
        "length_correlation": _correlation(
            feature("words"), np.array([teacher[p].features["words"] for p in asked.prompts]), names, weights
        ),
    }
    for metric, sign in (("lists", "has_list"), ("closing", "has_closing")):
        does = np.array([teacher[p].features[sign] for p in asked.prompts])
        never = dict.fromkeys(names, f"{int(does.sum())} of the teacher's answers have one")
        found = on(feature(sign), does)
        # The names still stand in the table, so that their reason can be told.
        table[metric] = found if does.sum() > 0 else _with_missing(found, never)
    return table


def _correlation(lengths: Floats, teacher: Floats, names: tuple[str, ...], weights: Floats) -> Measured:
    """Return Pearson's correlation of each contestant's lengths (in words) with the teacher's, prompt by prompt."""
    once = np.ones((1, len(teacher)))
    constant = {name: "its answers are all of one length" for name, one in zip(names, lengths.T, strict=True)
                if one.std() == 0}  # fmt: skip
    if teacher.std() == 0:
        constant = dict.fromkeys(names, "the teacher's answers are all of one length")

    def correlation(drawn: Floats) -> Floats:
        size = drawn.sum(axis=1, keepdims=True)
        here, there = drawn @ lengths / size, (drawn @ teacher)[:, None] / size
        both = drawn @ (lengths * teacher[:, None]) / size - here * there
        spread = (drawn @ lengths**2 / size - here**2) * ((drawn @ teacher**2)[:, None] / size - there**2)
        return np.where(spread > 1e-9, both / np.sqrt(np.maximum(spread, 1e-9)), 0.0)

    return Measured(
        names=names,
        values=correlation(once)[0],
        draws=correlation(weights),
        counts=np.ones(len(names)),
        n=(len(teacher),) * len(names),
        missing=constant,
    )


def _distances(
    asked: Asked, names: tuple[str, ...], weights: Floats, seed: int
) -> tuple[Measured, dict[str, Floats]]:
    parts = distance.folds(len(asked.prompts), rng=rng_of(seed, "folds"))
    told = {}
    kept = [name for name in _features(asked, asked.teacher) if name not in SUMMED_UP]
    teacher = _matrix(asked, asked.teacher, kept)
    for name in names:
        told[name] = distance.tell_apart(teacher, _matrix(asked, name, kept), parts, weights)
    values, draws = distance.distances(list(told.values()), weights)
    table = Measured(
        names=names,
        values=values,
        draws=draws,
        counts=np.ones(len(names)),
        n=(len(asked.prompts),) * len(names),
        missing={},
    )
    return table, {name: one.mistaken for name, one in told.items()}


def _features(asked: Asked, name: str) -> list[str]:
    return sorted(asked.replies[name][asked.prompts[0]].features)


def _matrix(asked: Asked, name: str, kept: Sequence[str]) -> Floats:
    replies = asked.replies[name]
    return np.array([[replies[prompt].features[feature] for feature in kept] for prompt in asked.prompts])


def _with_missing(table: Measured, missing: Mapping[str, str]) -> Measured:
    """Return the table with columns for those who are missing, so that seeds pool to a reason."""
    new = [name for name in missing if name not in table.names]
    blank = np.zeros(len(new))
    return Measured(
        names=(*table.names, *new),
        values=np.concatenate([table.values, blank]),
        draws=np.concatenate([table.draws, np.zeros((table.draws.shape[0], len(new)))], axis=1),
        counts=np.concatenate([table.counts, blank]),
        n=(*table.n, *(0 for _ in new)),
        missing={**table.missing, **missing},
    )


def _no_distance(resamples: int, n: int) -> Draws:
    return Draws(value=0.0, draws=np.zeros(resamples), n=n)


def table_rows(
    styles: Styles, asked: Asked, bases: Sequence[str], rungs: Sequence[Rung], level: float
) -> list[Any]:
    """Return the report's `style`: bases, students, and the teacher's second sample as the ceiling."""
    named: list[tuple[str, str, str, tuple[str, ...]]] = [(name, name, "base", (name,)) for name in bases]
    named += [(rung.student, rung.student, "student", rung.seeds) for rung in rungs]
    named.append((asked.again, asked.teacher, "teacher again", (asked.again,)))
    return [
        {
            "contestant": shown,
            "role": role,
            **{metric: to_json(_shown(metric, styles.table[metric][name], level)) for metric in METRICS},
            "without_tone": tone.without_verdict(styles.tones, seeds),
        }
        for name, shown, role, seeds in named
    ]


def _shown(metric: str, number: Draws | Undefined, level: float) -> Number:
    shares = ("lists", "closing", "no_hedging", "authoritative")
    return share_of(number, level) if metric in shares else interval(number, level)


def closed_rows(styles: Styles, asked: Asked, rungs: Sequence[Rung], level: float) -> list[dict[str, Any]]:
    """Return the report's `style_gap_closed`."""
    return [
        {
            **who(rung),
            "distance": to_json(interval(styles.distance[rung.student], level)),
            "base_distance": to_json(interval(styles.distance[rung.base], level)),
            "ceiling_distance": to_json(interval(styles.distance[asked.again], level)),
            "style_gap_closed": to_json(interval(styles.closed[rung.student], level)),
        }
        for rung in rungs
    ]
