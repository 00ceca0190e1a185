"""How far judges and raters agree on the same pairs: each two of them, and raters among themselves."""

from collections import Counter
from collections.abc import Mapping, Sequence
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


def rows_of(judges: Sequence[Judge], opponents: Sequence[str], spec: AnalyzeSpec) -> list[dict[str, Any]]:
    """Return the report's `agreement`: of each two judges on the pairs that both judged, and among raters.

    A judge's word on a pair is that of most of its verdicts (both orders, all raters); a tie where none has most.

    Args:
        judges: All of them, raters included.
        opponents: The teacher and the bases, the strongest first.
        spec: Resamples, level and seed.
    """
    votes = {judge.name: votes_of(judge.comparisons, opponents) for judge in judges}
    rows = [
        _among_themselves(judge, votes[judge.name], spec)
        for judge in judges
        if len({one.by for one in judge.comparisons}) > 1
    ]
    for pair in combinations(judges, 2):
        one, other = sorted(pair, key=lambda judge: judge.people)
        if set(votes[one.name]) & set(votes[other.name]):
            rows.append(_of_two(one, other, votes, spec))
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


def votes_of(said: Sequence[Comparison], opponents: Sequence[str]) -> dict[Unit, list[str]]:
    """Return each rater's word on each pair: one a rater, both orders taken together.

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
    return {unit: [most_of(words) for words in raters.values()] for unit, raters in each.items()}


def unit_of(one: Comparison, opponents: Sequence[str]) -> Unit:
    """Return what was compared: an opponent (the teacher after a base) comes last, else the later name."""
    rank = {name: len(opponents) - place for place, name in enumerate(opponents)}
    sides = sorted((one.first, one.second), key=lambda name: (rank.get(name, 0), name))
    return one.prompt_id, sides[0], sides[1]


def most_of(words: Sequence[str]) -> str:
    """Return the word of most; a tie where none has most."""
    (first, most), *rest = Counter(words).most_common()
    return TIE if rest and rest[0][1] == most else first


def winner_of(one: Comparison) -> str:
    """Return who won, or an empty text for a tie."""
    return {Verdict.FIRST: one.first, Verdict.SECOND: one.second}.get(one.verdict, "")


def _among_themselves(judge: Judge, votes: Mapping[Unit, Sequence[str]], spec: AnalyzeSpec) -> dict[str, Any]:
    several = {unit: words for unit, words in votes.items() if len(words) > 1}
    same = [
        (unit[0], float(one == other))
        for unit, words in several.items()
        for one, other in combinations(words, 2)
    ]
    why = "no pair was rated by two raters"
    kappa = Undefined(reason="Cohen's kappa is of two; see Krippendorff's alpha", n=0)
    return {
        "judge": judge.name,
        "with": "each other",
        "pairs": len(several),
        "alone": len(votes) - len(several),
        "same": to_json(share_over_prompts(same, why, (judge.name, "each other"), spec)),
        "kappa": to_json(kappa),
        "alpha": to_json(
            krippendorff_alpha(
                list(several.values()),
                level=spec.level,
                resamples=spec.resamples,
                rng=rng_of(spec.seed, "alpha", judge.name),
                clusters=[unit[0] for unit in several],
            )
        ),
    }


def _of_two(
    one: Judge, other: Judge, votes: Mapping[str, Mapping[Unit, Sequence[str]]], spec: AnalyzeSpec
) -> dict[str, Any]:
    ours, theirs = votes[one.name], votes[other.name]
    shared = [unit for unit in ours if unit in theirs]
    clusters = [unit[0] for unit in shared]
    words = [(most_of(ours[unit]), most_of(theirs[unit])) for unit in shared]
    place = (one.name, other.name)
    kappa = cohen_kappa(
        [word for word, _ in words],
        [word for _, word in words],
        level=spec.level,
        resamples=spec.resamples,
        rng=rng_of(spec.seed, "kappa", *place),
        clusters=clusters,
    )
    alpha = krippendorff_alpha(
        # The judge is one rater more.
        [[word, *theirs[unit]] for unit, (word, _) in zip(shared, words, strict=True)],
        level=spec.level,
        resamples=spec.resamples,
        rng=rng_of(spec.seed, "alpha", *place),
        clusters=clusters,
    )
    same = [(unit[0], float(a == b)) for unit, (a, b) in zip(shared, words, strict=True)]
    return {
        "judge": one.name,
        "with": other.name,
        "pairs": len(shared),
        "alone": len(ours) - len(shared),
        "same": to_json(share_over_prompts(same, "they share no pair", place, spec)),
        "kappa": to_json(kappa),
        "alpha": to_json(alpha),
    }
