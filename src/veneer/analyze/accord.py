"""How far judges and raters agree on the same pairs: each two of them, and raters among themselves."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from veneer.analyze.agreement import cohen_kappa, krippendorff_alpha
from veneer.analyze.measure import FEWEST
from veneer.analyze.panel import Judge
from veneer.records import Comparison, Verdict
from veneer.stats import Number, Undefined, resample, rng_of, share, to_json
from veneer.study import AnalyzeSpec

Unit = tuple[str, str, str]
"""A prompt and the two contestants whose completions are compared, the stronger by role last."""
Event = tuple[str, float]
"""A prompt, and 1 where what is counted happened, else 0."""
WIN, TIE, LOSS = "win", "tie", "loss"
"""Of the first contestant of a unit."""
FEW = 5
"""Among so many raters at most, each two are told."""


def rows_of(judges: Sequence[Judge], opponents: Sequence[str], spec: AnalyzeSpec) -> list[dict[str, Any]]:
    """Return the report's `agreement`: of each two judges on the pairs that both judged, and among raters.

    A judge's word on a pair is that of most of its verdicts (both orders, all raters); a tie where none has most.

    Args:
        judges: All of them, raters included.
        opponents: The teacher and the bases, the strongest first.
        spec: Resamples, level and seed.
    """
    votes = {judge.name: votes_of(judge.comparisons, opponents) for judge in judges}
    rows = [row for judge in judges for row in _among_themselves(judge, votes[judge.name], spec)]
    for pair in combinations(judges, 2):
        one, other = sorted(pair, key=lambda judge: judge.people)
        if set(votes[one.name]) & set(votes[other.name]):
            rows.append(_of_two(one.name, other.name, votes[one.name], votes[other.name], spec))
    return rows


def share_over_prompts(
    events: Sequence[Event], why: str, place: tuple[str, ...], spec: AnalyzeSpec
) -> Number:
    """Return the share of events that happened, with Wilson's interval at its effective size; prompts are resampled.

    Args:
        events: Each with its prompt.
        why: The reason why there is no share where there are no events.
        place: Where in the analysis this is, for the resamples.
        spec: Resamples, level and seed.
    """
    if not events:
        return Undefined(reason=why, n=0)
    prompts = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompt for prompt, _ in events))}
    n = len(prompts)
    if n < FEWEST:
        return Undefined(reason=f"fewer than {FEWEST} independent prompts", n=n)
    rows = [prompts[prompt] for prompt, _ in events]
    sums = np.bincount(rows, weights=[happened for _, happened in events], minlength=n)
    counts = np.bincount(rows, minlength=n)
    weights = resample(n, spec.resamples, rng=rng_of(spec.seed, "judges", *place))
    drawn = (weights @ sums) / (weights @ counts)
    # Wilson's interval allows for what the prompts happened not to show.
    return share(float(sums.sum() / counts.sum()), float(drawn.var()), n, spec.level)


def votes_of(said: Sequence[Comparison], opponents: Sequence[str]) -> dict[Unit, dict[str, str]]:
    """Return each rater's word on each pair, by the rater's name: one word, both orders taken together.

    Args:
        said: All comparisons of a judge, or of raters.
        opponents: The teacher and the bases, the strongest first.
    """
    each: dict[Unit, dict[str, list[str]]] = {}
    for one in said:
        if one.verdict is not Verdict.NONE:
            unit = unit_of(one, opponents)
            winner = winner_of(one)
            word = TIE if not winner else WIN if winner == unit[1] else LOSS
            each.setdefault(unit, {}).setdefault(one.by, []).append(word)
    return {unit: {rater: most_of(words) for rater, words in raters.items()} for unit, raters in each.items()}


def unit_of(one: Comparison, opponents: Sequence[str]) -> Unit:
    """Return what was compared: an opponent (the teacher after a base) comes last, else the later name."""
    rank = {name: len(opponents) - place for place, name in enumerate(opponents)}
    sides = sorted((one.first, one.second), key=lambda name: (rank.get(name, 0), name))
    return one.prompt_id, sides[0], sides[1]


def most_of(words: Iterable[str]) -> str:
    """Return the word of most; a tie where none has most."""
    (first, most), *rest = Counter(words).most_common()
    return TIE if rest and rest[0][1] == most else first


def winner_of(one: Comparison) -> str:
    """Return who won, or an empty text for a tie."""
    return {Verdict.FIRST: one.first, Verdict.SECOND: one.second}.get(one.verdict, "")


def _among_themselves(
    judge: Judge, votes: Mapping[Unit, Mapping[str, str]], spec: AnalyzeSpec
) -> list[dict[str, Any]]:
    """Return how far raters agree: all of them, and each two where they are few; nothing where there is one."""
    raters = sorted({rater for words in votes.values() for rater in words})
    if len(raters) < 2:
        return []
    several = {unit: list(words.values()) for unit, words in votes.items() if len(words) > 1}
    same = [
        (unit[0], float(one == other))
        for unit, words in several.items()
        for one, other in combinations(words, 2)
    ]
    why = "no pair was rated by two raters"
    kappa = Undefined(reason="Cohen's kappa is of two; see Krippendorff's alpha", n=0)
    whole = {
        "judge": judge.name,
        "with": "each other",
        "pairs": len(several),
        "alone": len(votes) - len(several),
        "same": to_json(share_over_prompts(same, why, (judge.name, "each other"), spec)),
        "kappa": to_json(kappa),
        "alpha": to_json(_alpha(list(several), list(several.values()), (judge.name,), spec)),
    }
    own = {
        rater: {unit: {rater: words[rater]} for unit, words in votes.items() if rater in words}
        for rater in raters
    }
    few = combinations(raters, 2) if len(raters) <= FEW else ()
    return [whole, *(_of_two(one, other, own[one], own[other], spec) for one, other in few)]


def _of_two(
    one: str,
    other: str,
    ours: Mapping[Unit, Mapping[str, str]],
    theirs: Mapping[Unit, Mapping[str, str]],
    spec: AnalyzeSpec,
) -> dict[str, Any]:
    shared = [unit for unit in ours if unit in theirs]
    words = [(most_of(ours[unit].values()), most_of(theirs[unit].values())) for unit in shared]
    place = (one, other)
    kappa = cohen_kappa(
        [word for word, _ in words],
        [word for _, word in words],
        level=spec.level,
        resamples=spec.resamples,
        rng=rng_of(spec.seed, "kappa", *place),
        clusters=[unit[0] for unit in shared],
    )
    # The first is one rater more.
    together = [[word, *theirs[unit].values()] for unit, (word, _) in zip(shared, words, strict=True)]
    same = [(unit[0], float(a == b)) for unit, (a, b) in zip(shared, words, strict=True)]
    return {
        "judge": one,
        "with": other,
        "pairs": len(shared),
        "alone": len(ours) - len(shared),
        "same": to_json(share_over_prompts(same, "they share no pair", place, spec)),
        "kappa": to_json(kappa),
        "alpha": to_json(_alpha(shared, together, place, spec)),
    }


def _alpha(
    units: Sequence[Unit], words: Sequence[Sequence[str]], place: tuple[str, ...], spec: AnalyzeSpec
) -> Number:
    return krippendorff_alpha(
        words,
        level=spec.level,
        resamples=spec.resamples,
        rng=rng_of(spec.seed, "alpha", *place),
        clusters=[unit[0] for unit in units],
    )
