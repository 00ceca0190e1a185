"""How a rating stands: what is rated, how raters agree, how fast they are, what they cost; pure counts of the votes."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from veneer.disk import Row
from veneer.rate.matches import Ballots
from veneer.rate.people import Cast, casts, name_of
from veneer.rate.votes import History
from veneer.records import Verdict
from veneer.study_rate import PeopleSpec

Unit = tuple[str, str, str]
"""A prompt and two contestants, these by name."""
Agreement = Callable[[Sequence[tuple[Unit, str]]], str]
"""Turns verdicts (`win`, `tie` or `loss` of the challenger), each with its unit, into a sentence on agreement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairState:
    """How far one pair of contestants has come."""

    challenger: str
    opponent: str
    given: int
    wanted: int
    full: int
    """Prompts that have all their ratings."""
    prompts: int
    cannot_judge: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterState:
    """How one rater does."""

    rater: str
    votes: int
    seconds: float | None
    """The median per pair."""
    checks: int
    failed: int
    finished: bool
    excluded: str


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How a rating stands."""

    pairs: tuple[PairState, ...]
    prompts: tuple[tuple[str, int, int], ...]
    """Prompt's id, ratings given, ratings wanted; the least rated first."""
    raters: tuple[RaterState, ...]
    given: int
    wanted: int
    excluded: int
    """Votes that are left out, and kept."""
    agreement: str
    pay: str
    peeks: int


def state_of(
    spec: PeopleSpec, ballots: Ballots, past: History, passed: Callable[[str], bool | None], agree: Agreement
) -> State:
    """Return how a rating stands.

    Args:
        spec: The section of the study.
        ballots: What is to be compared.
        past: All that was voted.
        passed: Whether the vote under a token passed its check; None where it was none.
        agree: Says how far raters agree.
    """
    every = list(casts(past, ballots))
    kept = [one for one in every if not one.excluded]
    filled = Counter(_match_of(one) for one in kept)
    by_prompt = Counter(one.shown.prompt_id for one in kept)
    wanted_of = Counter(match.prompt_id for match in ballots.matches)
    raters = _raters(past, every, passed)
    sided = [one for one in kept if one.vote.verdict != Verdict.NONE]
    challenger_of = {
        (match.prompt_id, *sorted((match.challenger, match.opponent))): match.challenger
        for match in ballots.matches
    }
    return State(
        pairs=tuple(_pairs(spec, ballots, kept, filled)),
        prompts=tuple(
            sorted(
                ((name, by_prompt[name], many * spec.ratings) for name, many in wanted_of.items()),
                key=lambda row: row[1] / row[2],
            )
        ),
        raters=tuple(raters),
        given=len(kept),
        wanted=spec.ratings * len(ballots.matches),
        excluded=len(every) - len(kept),
        agreement=agree([(_match_of(one), _result(one, challenger_of[_match_of(one)])) for one in sided]),
        pay=_pay(spec, raters, len(kept), spec.ratings * len(ballots.matches)),
        peeks=past.peeks,
    )


def win_rates(ballots: Ballots, past: History) -> list[tuple[str, str, int, int, int]]:
    """Return challenger, opponent, and how often the challenger was preferred, equal, and not, so far."""
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    pairs = dict.fromkeys((match.challenger, match.opponent) for match in ballots.matches)
    ordered = {frozenset(pair): pair for pair in pairs}
    for one in casts(past, ballots):
        if not one.excluded:
            pair = ordered[frozenset((one.shown.first, one.shown.second))]
            found[pair][_result(one, pair[0])] += 1
    return [(*pair, found[pair]["win"], found[pair]["tie"], found[pair]["loss"]) for pair in pairs]


def vote_rows(past: History, ballots: Ballots) -> list[Row]:
    """Return every vote on a pair as a row to export, the excluded ones with their reason."""
    return [
        {
            "rater": name_of(one.shown.rater),
            "prompt_id": one.shown.prompt_id,
            "first": one.shown.first,
            "second": one.shown.second,
            "verdict": one.vote.verdict,
            "style": one.vote.style,
            "correctness": one.vote.correctness,
            "source": one.vote.source,
            "reason": one.vote.reason,
            "seconds": round(one.vote.voted_at - one.shown.shown_at, 3),
            "voted_at": _iso(one.vote.voted_at),
            "excluded": one.excluded,
        }
        for one in casts(past, ballots)
    ]


def rater_rows(past: History, ballots: Ballots) -> list[Row]:
    """Return every rater as a row to export, with what the platform calls them: for paying, and for nobody else."""
    cast = Counter(one.shown.rater for one in casts(past, ballots))
    return [
        {
            "rater": name_of(one.rater),
            "person": one.person or "",
            "visit": one.visit,
            "joined": _iso(one.joined),
            "finished": _iso(one.finished) if one.finished else "",
            "votes": cast[one.rater],
            "excluded": one.excluded,
        }
        for one in past.people
    ]


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _match_of(cast: Cast) -> Unit:
    """Return prompt and pair, the pair by name."""
    one, other = sorted((cast.shown.first, cast.shown.second))
    return cast.shown.prompt_id, one, other


def _side(cast: Cast) -> str:
    """Return who was preferred, whichever side they stood on."""
    return {Verdict.FIRST: cast.shown.first, Verdict.SECOND: cast.shown.second}.get(
        Verdict(cast.vote.verdict), "tie"
    )


def _result(cast: Cast, challenger: str) -> str:
    if cast.vote.verdict in (Verdict.TIE, Verdict.NONE):
        return str(cast.vote.verdict)
    return "win" if _side(cast) == challenger else "loss"


def _pairs(spec: PeopleSpec, ballots: Ballots, kept: Sequence[Cast], filled: Counter[Unit]) -> Any:
    unsure = Counter(
        frozenset((one.shown.first, one.shown.second)) for one in kept if one.vote.verdict == Verdict.NONE
    )
    for challenger, opponent in dict.fromkeys(
        (match.challenger, match.opponent) for match in ballots.matches
    ):
        one, other = sorted((challenger, opponent))
        prompts = [
            match.prompt_id
            for match in ballots.matches
            if (match.challenger, match.opponent) == (challenger, opponent)
        ]
        counts = [filled[prompt, one, other] for prompt in prompts]
        yield PairState(
            challenger=challenger,
            opponent=opponent,
            given=sum(counts),
            wanted=spec.ratings * len(prompts),
            full=sum(count >= spec.ratings for count in counts),
            prompts=len(prompts),
            cannot_judge=unsure[frozenset((challenger, opponent))],
        )


def _raters(past: History, every: Sequence[Cast], passed: Callable[[str], bool | None]) -> list[RaterState]:
    times: dict[int, list[float]] = defaultdict(list)
    for one in every:
        times[one.shown.rater].append(one.vote.voted_at - one.shown.shown_at)
    shown = {one.token: one for one in past.shown}
    checks: dict[int, list[bool]] = defaultdict(list)
    for vote in past.votes:
        right = passed(vote.token)
        if right is not None and shown[vote.token].kind != "training":
            checks[shown[vote.token].rater].append(right)
    return [
        RaterState(
            rater=name_of(one.rater),
            votes=len(times[one.rater]),
            seconds=median(times[one.rater]) if times[one.rater] else None,
            checks=len(checks[one.rater]),
            failed=checks[one.rater].count(False),
            finished=one.finished is not None,
            excluded=one.excluded,
        )
        for one in past.people
    ]


def _pay(spec: PeopleSpec, raters: Sequence[RaterState], given: int, wanted: int) -> str:
    """Return what the rating costs, so far and in all, in a sentence."""
    if not spec.pay:
        return "The study says nothing of pay (rate.people.pay)."
    finished = sum(one.finished for one in raters)
    each, currency = spec.pay.each, spec.pay.currency
    more = -(-max(0, wanted - given) // spec.per_rater)
    times = [one.seconds for one in raters if one.seconds]
    said = (
        f"{finished * each:,.2f} {currency} for {finished} finished so far; about {more} more would fill what is "
        f"missing, {(finished + more) * each:,.2f} {currency} in all"
    )
    if times:
        hours = median(times) * spec.per_rater / 3600
        said += f". At the raters' median speed that is {each / hours:,.2f} {currency} an hour"
    return said + "; what the platform charges comes on top."
