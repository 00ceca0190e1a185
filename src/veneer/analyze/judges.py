"""What is to be known of the judges before they are believed: position, flips, length, lists, their own kin."""

from collections.abc import Sequence
from typing import Any

from veneer.analyze.accord import TIE, WIN, Event, most_of, share_over_prompts, unit_of, votes_of, winner_of
from veneer.analyze.panel import Judge, canaries_of
from veneer.analyze.reading import Replies
from veneer.records import Comparison, Verdict
from veneer.stats import to_json
from veneer.study import AnalyzeSpec


def rows_of(
    judges: Sequence[Judge], replies: Replies, opponents: Sequence[str], spec: AnalyzeSpec
) -> list[dict[str, Any]]:
    """Return the report's `judges`: one row a judge.

    Shares are over comparisons with a winner, prompts resampled. Position bias and flips can be told only of pairs that
    were shown in both orders: there, a judge without a preference for a place gives the first one half.

    Args:
        judges: All of them, raters included.
        replies: The completions that they compared.
        opponents: The teacher and the bases, the strongest first.
        spec: Resamples, level and seed.
    """
    return [_row(judge, judges, replies, opponents, spec) for judge in judges]


def _row(
    judge: Judge,
    judges: Sequence[Judge],
    replies: Replies,
    opponents: Sequence[str],
    spec: AnalyzeSpec,
) -> dict[str, Any]:
    told = judge.told or {}
    decided = [one for one in judge.comparisons if one.verdict in (Verdict.FIRST, Verdict.SECOND)]
    both = _in_both_orders(judge.comparisons)
    put = [one for one in judge.comparisons if not _is_lacking(one, judge, replies)]
    places = [(one.prompt_id, float(one.verdict is Verdict.FIRST)) for one in decided if _key(one) in both]
    numbers = {
        "no_verdict": (
            [(one.prompt_id, float(one.verdict is Verdict.NONE)) for one in put],
            "there are no comparisons of two completions",
        ),
        "first_position": (places, "no pair was shown in both orders"),
        "flips": (_flips(judge.comparisons), "no pair has a verdict in both orders"),
        "longer": (_to_more(decided, replies, "words"), "no two completions are known to differ in length"),
        "lists": (
            _to_more(decided, replies, "has_list"),
            "no two completions are known of which one has a list",
        ),
        "own_family": (_to_family(decided, judge.family), _no_family(judge)),
        "own_family_by_raters": (
            _to_family_by_raters(decided, judge, judges, opponents),
            _no_family(judge) if not judge.family else "no raters judged the same pairs",
        ),
    }
    return {
        "judge": judge.name,
        "kind": judge.kind,
        "identity": told.get("identity", ""),
        "served": told.get("served", {}),
        "raters": len({one.by for one in judge.comparisons}),
        "comparisons": len(judge.comparisons),
        "none": sum(one.verdict is Verdict.NONE for one in judge.comparisons),
        "lacking": len(judge.comparisons) - len(put),
        "family": sorted(judge.family),
        **{
            name: to_json(share_over_prompts(events, why, (judge.name, name), spec))
            for name, (events, why) in numbers.items()
        },
        "canaries": canaries_of(told.get("canaries", {})),
    }


def _is_lacking(one: Comparison, judge: Judge, replies: Replies) -> bool:
    """Return whether there is no verdict since a completion could not be had: that is no fault of the judge.

    A recorded verdict was given, or not, on completions that the study need not have.
    """
    had = all(one.prompt_id in replies.get(name, {}) for name in (one.first, one.second))
    return one.verdict is Verdict.NONE and judge.kind != "recorded" and not had


def _key(one: Comparison) -> tuple[str, str, frozenset[str]]:
    return one.by, one.prompt_id, frozenset((one.first, one.second))


def _in_both_orders(said: Sequence[Comparison]) -> set[tuple[str, str, frozenset[str]]]:
    """Return what the same judge or rater saw in both orders."""
    seen: dict[tuple[str, str, frozenset[str]], set[str]] = {}
    for one in said:
        seen.setdefault(_key(one), set()).add(one.first)
    return {key for key, firsts in seen.items() if len(firsts) > 1}


def _flips(said: Sequence[Comparison]) -> list[Event]:
    """Return, of all pairs with a verdict in both orders, whether the other one won when they were swapped."""
    winners: dict[tuple[str, str, frozenset[str]], dict[str, set[str]]] = {}
    for one in said:
        if one.verdict is not Verdict.NONE:
            winners.setdefault(_key(one), {}).setdefault(one.first, set()).add(winner_of(one))
    return [
        (prompt, float(len(set.union(*orders.values()) - {""}) > 1))
        for (_, prompt, _), orders in winners.items()
        if len(orders) > 1
    ]


def _to_more(decided: Sequence[Comparison], replies: Replies, feature: str) -> list[Event]:
    """Return whether the winner is the one that has more of a feature, where the two differ."""
    found = []
    for one in decided:
        sides = [replies.get(name, {}).get(one.prompt_id) for name in (one.first, one.second)]
        first, second = (side.features[feature] if side else None for side in sides)
        if first is not None and second is not None and first != second:
            found.append((one.prompt_id, float((first > second) == (one.verdict is Verdict.FIRST))))
    return found


def _to_family(decided: Sequence[Comparison], family: frozenset[str]) -> list[Event]:
    return [
        (one.prompt_id, float(winner_of(one) in family))
        for one in decided
        if len({one.first, one.second} & family) == 1
    ]


def _to_family_by_raters(
    decided: Sequence[Comparison], judge: Judge, judges: Sequence[Judge], opponents: Sequence[str]
) -> list[Event]:
    """Return what raters say of the pairs on which the judge decided over its own family.

    Simulated raters are asked only where there are no people: the two are not one crowd.
    """
    own = {unit_of(one, opponents) for one in decided if len({one.first, one.second} & judge.family) == 1}
    found = []
    crowds = [one for one in judges if one.people and one is not judge]
    for crowd in [one for one in crowds if one.kind != "simulated"] or crowds:
        for unit, words in votes_of(crowd.comparisons, opponents).items():
            if unit in own and (word := most_of(words.values())) != TIE:
                winner = unit[1] if word == WIN else unit[2]
                found.append((unit[0], float(winner in judge.family)))
    return found


def _no_family(judge: Judge) -> str:
    if not judge.family:
        return "no contestant is known to be of the judge's family"
    return "it decided no pair of which one is of its family"
