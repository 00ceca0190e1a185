"""Who is preferred to whom: wins, ties and losses, vote by vote, by majority, and at equal length and style."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from veneer.analyze import controlled
from veneer.analyze.measure import Measured, Rung, Values, pooled_by_source, who
from veneer.analyze.reading import Replies
from veneer.analyze.votes import RESULTS, Votes, majority, members, rater_shift, rates, with_raters
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

WIN_RATE, AT_LEAST_EQUAL = "win_rate", "at_least_equal"
WORTH = {
    WIN_RATE: (1.0, 0.5, 0.0),
    AT_LEAST_EQUAL: (1.0, 1.0, 0.0),
    "won": (1.0, 0.0, 0.0),
    "tied": (0.0, 1.0, 0.0),
    "lost": (0.0, 0.0, 1.0),
}
"""Of a win, a tie and a loss."""
COUNTS = {"wins": "win", "ties": "tie", "losses": "loss", "none": "none"}
RAW_AND_EQUAL = (WIN_RATE, "style_controlled")
BY_MAJORITY = (WIN_RATE, AT_LEAST_EQUAL)
NO_ADVANTAGE = "its win rate is not measurably away from one half"
NO_RISE = "its win rate is not measurably away from its base's"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Preference:
    """What one judge thinks of all contestants that met one opponent."""

    judge: str
    kind: str
    """`likelihood`, `recorded` or `simulated`, and so on."""
    opponent: str
    raters: int
    counts: Mapping[str, Counter[str]]
    """By contestant (seeds apart): `win`, `tie`, `loss` and `none`."""
    majorities: Mapping[str, Counter[str]]
    """The same of prompts, each by the majority of its votes."""
    rates: Mapping[str, Values]
    """Seeds pooled: the keys of `WORTH` vote by vote, `majority_` and two of them prompt by prompt, and
    `length_controlled` and `style_controlled`."""
    taste: Mapping[str, Draws | Undefined]
    """What the judge rewards of style, of whomever (see `controlled.Fit.slopes`)."""


def preferences_of(
    judge: str,
    kind: str,
    votes: Votes,
    replies: Replies,
    opponents: Sequence[str],
    rungs: Sequence[Rung],
    spec: AnalyzeSpec,
    controls: Mapping[str, Mapping[str, str]] = controlled.FEATURES,
) -> list[Preference]:
    """Return a judge's preferences, one for each opponent whom somebody met.

    A win rate is (wins + half the ties) / comparisons with a verdict; prompts are resampled, since verdicts on one
    prompt (both orders, several raters) are not independent. People are a second cluster (see `votes.rater_shift`);
    simulated raters are not, since all of them follow one rule.

    Args:
        judge: Its name.
        kind: What it is.
        votes: All of its verdicts.
        replies: The completions that it compared, with their style.
        opponents: The teacher and the bases, the teacher first.
        rungs: The students.
        spec: Resamples and seed.
        controls: What of style is held equal, by name; nothing leaves out all that is told at equal style.
    """
    if not len(votes.pair):
        return []
    weights = resample(len(votes.prompts), spec.resamples, rng=rng_of(spec.seed, "verdicts", *votes.prompts))
    fits = {
        control: controlled.fit(
            votes, differences(votes, replies, list(names)), list(names.values()), weights
        )
        for control, names in controls.items()
    }
    return [
        _against(opponent, (judge, kind), votes, fits, rungs, weights, spec.seed)
        for opponent in opponents
        if votes.against(opponent)
    ]


def differences(votes: Votes, replies: Replies, features: Sequence[str]) -> Floats:
    """Return each comparison's differences in style, contestant minus opponent; NaN where a style is not known."""
    shape = (len(votes.pairs), len(votes.prompts), len(features))
    found = np.full(shape, np.nan)
    for row, (contestant, opponent) in enumerate(votes.pairs):
        ours, theirs = replies.get(contestant, {}), replies.get(opponent, {})
        for column, prompt in enumerate(votes.prompts):
            if prompt in ours and prompt in theirs:
                found[row, column] = [
                    ours[prompt].features.get(feature, np.nan) - theirs[prompt].features.get(feature, np.nan)
                    for feature in features
                ]
    compared: Floats = found[votes.pair, votes.prompt]
    return compared


def _against(
    opponent: str,
    judge: tuple[str, str],
    votes: Votes,
    fits: Mapping[str, controlled.Fit],
    rungs: Sequence[Rung],
    weights: Floats,
    seed: int,
) -> Preference:
    """Return what a judge, of this name and kind, thinks of those who met an opponent."""
    pairs = votes.against(opponent)
    names = [votes.pairs[pair][0] for pair in pairs]
    met = [rung for rung in rungs if set(rung.seeds) <= set(names)]
    behind = {who: [pairs[names.index(one)] for one in own] for who, own in members(met, names).items()}
    tally = votes.tally(pairs)
    by_majority = majority(tally)

    def rate(table: Measured, worth: str) -> Values:
        # The same place for everything of the same worth, so that a raw rate and a controlled one stay paired.
        values = pooled_by_source(table, met, rng=rng_of(seed, judge[0], opponent, worth))
        if judge[1] == "simulated" or len(votes.raters) < 2:
            return values
        of_votes = by_vote.setdefault(worth, values)
        shifts = {
            who: rater_shift(votes, own, WORTH[worth]) * _ratio(values[who], of_votes[who])
            for who, own in behind.items()
        }
        return with_raters(values, shifts, rng=rng_of(seed, judge[0], opponent, worth, "raters"))

    by_vote: dict[str, Values] = {}
    found = {worth: rate(rates(names, tally, value, weights), worth) for worth, value in WORTH.items()}
    for worth in BY_MAJORITY:
        found[f"majority_{worth}"] = rate(rates(names, by_majority, WORTH[worth], weights), worth)
    for control, fit in fits.items():
        rng = rng_of(seed, judge[0], opponent, control, "floor")
        equal = _no_surer(_at_equal(fit, pairs, names), rates(names, tally, WORTH[WIN_RATE], weights), rng)
        found[f"{control}_controlled"] = rate(equal, WIN_RATE)
    return Preference(
        judge=judge[0],
        kind=judge[1],
        opponent=opponent,
        raters=len(votes.raters),
        counts=_counters(names, tally),
        majorities=_counters(names, by_majority),
        rates=found,
        taste=fits["style"].slopes if "style" in fits else {},
    )


def _ratio(one: Draws | Undefined, other: Draws | Undefined) -> float:
    """Return how much more one number varies over prompts; over raters it is taken to vary more by as much."""
    if isinstance(one, Undefined) or isinstance(other, Undefined):
        return 1.0
    return float(one.draws.std() / max(other.draws.std(), 1e-12))


def _at_equal(fit: controlled.Fit, pairs: Sequence[int], names: Sequence[str]) -> Measured:
    places = list(pairs)
    return Measured(
        names=tuple(names),
        values=fit.values[places],
        draws=fit.draws[:, places],
        counts=fit.counts[places],
        n=tuple(fit.n[places].tolist()),
        missing={
            name: fit.missing[pair] for name, pair in zip(names, pairs, strict=True) if pair in fit.missing
        },
    )


def _no_surer(equal: Measured, raw: Measured, rng: np.random.Generator) -> Measured:
    """Return the rates at equal style with draws that spread at least as a share of the raw rate's effective size.

    Where nearly all verdicts are alike, refitting resamples of them hardly moves a rate: that is not certainty.
    """
    spread = raw.values * (1 - raw.values)
    size = np.maximum(spread / np.maximum(raw.draws.var(axis=0), 1e-12), np.maximum(raw.n, 1))
    lacking = np.maximum(equal.values * (1 - equal.values) / size - equal.draws.var(axis=0), 0.0)
    return replace(equal, draws=equal.draws + np.sqrt(lacking) * rng.standard_normal(equal.draws.shape))


def _counters(names: Sequence[str], tally: Floats) -> dict[str, Counter[str]]:
    totals = tally.sum(axis=0).astype(int).tolist()
    return {
        name: Counter(dict(zip(RESULTS, total, strict=True)))
        for name, total in zip(names, totals, strict=True)
    }


def style_share(
    raw: Draws | Undefined, controlled: Draws | Undefined, level: float, nothing: str
) -> Draws | Undefined:
    """Return the share of a raw advantage (or disadvantage) that style explains.

    (raw - controlled) / raw: 1 where nothing is left at equal style, 0 where style explains nothing, negative where
    style hid some of it. Undefined unless there is measurably an advantage to explain.

    Args:
        raw: The advantage as it is: a difference that is 0 where there is none.
        controlled: The same at equal style.
        level: Of the interval that must lie away from 0.
        nothing: What it means if it does not.
    """
    if isinstance(raw, Undefined):
        return raw
    sign = 1 if raw.value >= 0 else -1
    explained = combine(lambda r, c: sign * (r - c), raw, controlled)
    return ratio(explained, combine(lambda r: sign * r, raw), level, nothing)


def standing(number: Number, margin: float) -> str:
    """Return what a win rate's interval says of it against parity.

    Two one-sided tests (Schuirmann 1987): it is `indistinguishable` from one half where its whole interval lies
    within `margin` of it, and never merely because no difference was found; that is `undecided`.
    """
    if isinstance(number, Undefined):
        return "undecided"
    if 0.5 - margin < number.low and number.high < 0.5 + margin:
        return "indistinguishable"
    if number.low > 0.5:
        return "preferred"
    return "not preferred" if number.high < 0.5 else "undecided"


def rows_of(
    preferences: Sequence[Preference],
    bases: Sequence[str],
    teacher: str,
    rungs: Sequence[Rung],
    spec: AnalyzeSpec,
) -> list[dict[str, Any]]:
    """Return the report's `preference`: every judge, opponent and contestant, students with their seeds pooled."""
    rows = []
    for preference in preferences:
        for name, seeds, what in groups(bases, teacher, rungs):
            counts, majorities = (
                sum((kept.get(seed, Counter()) for seed in seeds), Counter[str]())
                for kept in (preference.counts, preference.majorities)
            )
            if not counts:
                continue
            unmet = Undefined(reason="not every training seed was compared", n=0)
            drawn = {rate: values.get(name, unmet) for rate, values in preference.rates.items()}
            numbers = {rate: share_of(value, spec.level) for rate, value in drawn.items()}
            told = {rate: to_json(number) for rate, number in numbers.items()}
            if set(RAW_AND_EQUAL) <= set(drawn):
                raw, equal = (combine(lambda r: r - 0.5, drawn[key]) for key in RAW_AND_EQUAL)
                told["style_share"] = to_json(
                    interval(style_share(raw, equal, spec.level, NO_ADVANTAGE), spec.level)
                )
            rows.append(
                {
                    "judge": preference.judge,
                    "kind": preference.kind,
                    "contestant": name,
                    **what,
                    "opponent": preference.opponent,
                    **{key: counts[result] for key, result in COUNTS.items()},
                    **told,
                    "standing": standing(numbers[WIN_RATE], spec.indistinguishable),
                    "raters": preference.raters,
                    **{f"majority_{key}": majorities[result] for key, result in COUNTS.items()},
                }
            )
    return rows


def rise_rows(preferences: Sequence[Preference], rungs: Sequence[Rung], level: float) -> list[dict[str, Any]]:
    """Return the report's `rise`: how far students rose above their base's win rate, and how much of it is style.

    Only of students whose base met the same opponent.
    """
    rows = []
    for preference in preferences:
        for rung in rungs:
            values = [preference.rates[key] for key in RAW_AND_EQUAL]
            if any(name not in values[0] for name in (rung.base, rung.student)):
                continue
            raw, equal = (combine(lambda s, b: s - b, one[rung.student], one[rung.base]) for one in values)
            explained = style_share(raw, equal, level, NO_RISE)
            rows.append(
                {
                    "judge": preference.judge,
                    "kind": preference.kind,
                    **who(rung),
                    "opponent": preference.opponent,
                    "rise": to_json(interval(raw, level)),
                    "rise_at_equal_style": to_json(interval(equal, level)),
                    "style_share": to_json(interval(explained, level)),
                }
            )
    return rows


def taste_rows(preferences: Sequence[Preference], level: float) -> list[dict[str, Any]]:
    """Return the report's `taste`: what each judge rewards, in logits."""
    judges = {one.judge: one for one in preferences}
    return [
        {"judge": one.judge, "kind": one.kind, "feature": feature, "slope": to_json(interval(slope, level))}
        for one in judges.values()
        for feature, slope in one.taste.items()
    ]


def groups(
    bases: Sequence[str], teacher: str, rungs: Sequence[Rung]
) -> list[tuple[str, tuple[str, ...], dict[str, Any]]]:
    """Return whom rows are about: the name, who stands behind it, and what it is."""
    again, plain = f"{teacher}-again", {"source": "", "amount": 0, "replay": 0.0}
    groups: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
        (base, (base,), {"role": "base", "base": base, **plain}) for base in bases
    ]
    for rung in rungs:
        what = {"base": rung.base, "source": rung.source, "amount": rung.amount, "replay": rung.replay}
        groups.append((rung.student, rung.seeds, {"role": "student", **what}))
    return [*groups, (again, (again,), {"role": "teacher again", "base": "", **plain})]
