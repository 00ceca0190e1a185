"""Who is preferred to whom: wins, ties and losses of each judge, with prompts resampled and training seeds pooled."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from veneer.analyze.measure import Measured, Rung, Sheet, Values, measured, pooled_by_source
from veneer.records import Comparison, Verdict
from veneer.stats import Floats, Undefined, resample, rng_of, share_of, to_json
from veneer.study import AnalyzeSpec

WIN_RATE, AT_LEAST_EQUAL = "win_rate", "at_least_equal"
WORTH = {WIN_RATE: {"win": 1.0, "tie": 0.5}, AT_LEAST_EQUAL: {"win": 1.0, "tie": 1.0}}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Preference:
    """What one judge thinks of all contestants that met one opponent."""

    judge: str
    kind: str
    """`likelihood`, `recorded` or `simulated`."""
    opponent: str
    counts: Mapping[str, Counter[str]]
    """By contestant (seeds apart): `win`, `tie`, `loss` and `none`."""
    rates: Mapping[str, Values]
    """`win_rate` and `at_least_equal`, seeds pooled."""


def preferences_of(
    judge: str,
    kind: str,
    comparisons: Sequence[Comparison],
    opponents: Sequence[str],
    rungs: Sequence[Rung],
    spec: AnalyzeSpec,
) -> list[Preference]:
    """Return a judge's preferences, one for each opponent whom somebody met.

    A win rate is (wins + half the ties) / comparisons with a verdict; prompts are resampled, since verdicts on one
    prompt (both orders, several raters) are not independent.

    Args:
        judge: Its name.
        kind: What it is.
        comparisons: All of its verdicts.
        opponents: The teacher and the bases, the teacher first.
        rungs: The students.
        spec: Resamples and seed.
    """
    prompts = {prompt: row for row, prompt in enumerate(dict.fromkeys(c.prompt_id for c in comparisons))}
    if not prompts:
        return []
    weights = resample(len(prompts), spec.resamples, rng=rng_of(spec.seed, "verdicts", *prompts))
    found = []
    for opponent in opponents:
        met: dict[str, list[tuple[int, str]]] = {}
        for comparison in comparisons:
            if opponent in (comparison.first, comparison.second):
                other = comparison.second if comparison.first == opponent else comparison.first
                # A pair of opponents (the teacher and a base) is told once, from the weaker side.
                if other not in opponents[: opponents.index(opponent) + 1]:
                    met.setdefault(other, []).append(
                        (prompts[comparison.prompt_id], _result(comparison, other))
                    )
        if met:
            rates = {
                rate: pooled_by_source(
                    _rates(met, worth, weights),
                    _met(rungs, met),
                    rng=rng_of(spec.seed, judge, opponent, rate),
                )
                for rate, worth in WORTH.items()
            }
            counts = {name: Counter(result for _, result in results) for name, results in met.items()}
            found.append(Preference(judge=judge, kind=kind, opponent=opponent, counts=counts, rates=rates))
    return found


def _result(comparison: Comparison, contestant: str) -> str:
    """Return what a comparison is for one of its two contestants."""
    if comparison.verdict in (Verdict.TIE, Verdict.NONE):
        return str(comparison.verdict)
    winner = comparison.first if comparison.verdict == Verdict.FIRST else comparison.second
    return "win" if winner == contestant else "loss"


def _met(rungs: Sequence[Rung], met: Mapping[str, Any]) -> list[Rung]:
    return [rung for rung in rungs if all(seed in met for seed in rung.seeds)]


def _rates(
    met: Mapping[str, Sequence[tuple[int, str]]], worth: Mapping[str, float], weights: Floats
) -> Measured:
    names = tuple(met)
    sums, counts = np.zeros((weights.shape[1], len(names))), np.zeros((weights.shape[1], len(names)))
    for column, name in enumerate(names):
        for row, result in met[name]:
            sums[row, column] += worth.get(result, 0.0)
            counts[row, column] += result != "none"
    missing = {
        name: "no comparison had a verdict"
        for name, total in zip(names, counts.sum(axis=0), strict=True)
        if not total
    }
    return measured([Sheet(names=names, sums=sums, counts=counts, weights=weights, missing=missing)])


def rows_of(
    preferences: Sequence[Preference], bases: Sequence[str], teacher: str, rungs: Sequence[Rung], level: float
) -> list[dict[str, Any]]:
    """Return the report's `preference`: every judge, opponent and contestant, students with their seeds pooled."""
    again = f"{teacher}-again"
    plain = {"source": "", "amount": 0, "replay": 0.0}
    groups: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
        (base, (base,), {"role": "base", "base": base, **plain}) for base in bases
    ]
    groups += [
        (
            rung.student,
            rung.seeds,
            {
                "role": "student",
                "base": rung.base,
                "source": rung.source,
                "amount": rung.amount,
                "replay": rung.replay,
            },
        )
        for rung in rungs
    ]
    groups.append((again, (again,), {"role": "teacher again", "base": "", **plain}))
    rows = []
    for preference in preferences:
        for name, members, what in groups:
            counts = sum((preference.counts.get(member, Counter()) for member in members), Counter[str]())
            if not counts:
                continue
            unmet = Undefined(reason="not every training seed was compared", n=0)
            rows.append(
                {
                    "judge": preference.judge,
                    "kind": preference.kind,
                    "contestant": name,
                    **what,
                    "opponent": preference.opponent,
                    "wins": counts["win"],
                    "ties": counts["tie"],
                    "losses": counts["loss"],
                    "none": counts["none"],
                    **{
                        rate: to_json(share_of(values.get(name, unmet), level))
                        for rate, values in preference.rates.items()
                    },
                }
            )
    return rows
