"""What people voted becomes comparisons: every vote once, the excluded ones in a file of their own with the reason.

An artefact named `people` holds
- `comparisons.jsonl`: one `records.Comparison` a vote that counts, on which completion is better overall; `by` is
  `rater-N`, N counting who came first, and `reason` is what the rater wrote. `cannot judge` is the verdict `none`.
- `style.jsonl` and `correctness.jsonl`: the same for what was asked apart; empty where it was not asked. The reason of
  a verdict on correctness is the source that the rater named.
- `excluded.jsonl`: `{why, comparison}`: every vote that is left out.
- `checks.jsonl`: `{rater, kind, item, verdict, right, seconds}`: the answers to attention checks, gold pairs, training.
- `raters.jsonl`: `{rater, votes, excluded, finished, minutes, checks_failed}`.
- `summary.json`: the counts of all that, how often the owner looked at running win rates, and `pairs`: for every pair
  and question how often the challenger won, tied and lost, and how often nobody could judge.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from veneer.disk import canonical, digest, write_json, write_rows
from veneer.errors import StudyError
from veneer.rate import matches, screening
from veneer.rate.votes import History, Shown, Vote
from veneer.records import Comparison, Verdict, to_row
from veneer.store import Artefact, Order
from veneer.study_rate import PeopleSpec

VERSION = 3
NAME = "people"
COMPARISONS, STYLE, CORRECTNESS = "comparisons.jsonl", "style.jsonl", "correctness.jsonl"
EXCLUDED, CHECKS, RATERS, SUMMARY = "excluded.jsonl", "checks.jsonl", "raters.jsonl", "summary.json"
LATE = "came after the pair had been given to others and had its ratings"
REMADE = "the completions have been made anew since the vote"
DROPPED = "the study no longer asks for this comparison"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """A vote on a match, with what it was cast on."""

    shown: Shown
    vote: Vote
    excluded: str
    """Why it is left out; empty where it counts."""


def orders(spec: PeopleSpec, ballots: Artefact, past: History | None) -> list[Order]:
    """Return the one order of people's comparisons; none where nobody has voted yet.

    Args:
        spec: The section of the study.
        ballots: What people were to compare.
        past: All that was voted so far.
    """
    if past is None or not past.votes:
        return []
    return [
        Order(
            stage="rate",
            name=NAME,
            version=VERSION,
            config={"ask": spec.ask.model_dump(mode="json"), "ratings": spec.ratings},
            inputs={"ballots": ballots.key, "votes": digest_of(past), **_files(spec)},
            make=partial(_make, spec, ballots, past),
        )
    ]


def fixed(spec: PeopleSpec) -> str:
    """Return, as one text, what may not change once people have voted: what is told and asked, and who is excluded."""
    told = {"consent": spec.consent, "instructions": spec.instructions}
    return canonical(
        {
            "ask": spec.ask.model_dump(mode="json"),
            "exclude": spec.exclude.model_dump(mode="json"),
            "check_every": spec.check_every,
            **_files(spec),
            **{role: digest(path) for role, path in told.items() if path},
        }
    )


def check_fixed(spec: PeopleSpec, past: History | None, where: Path) -> None:
    """Raise if the study asks or excludes otherwise than when the first vote was cast.

    Args:
        spec: The section of the study as it is now.
        past: All that was voted so far.
        where: The file of votes, for the error.

    Raises:
        StudyError: It does.
    """
    if not past or not past.votes or past.fixed == fixed(spec):
        return
    before, now = json.loads(past.fixed), json.loads(fixed(spec))
    key = next(key for key in sorted({*before, *now}) if before.get(key) != now.get(key))
    raise StudyError(
        f"rate.people: `{key}` was {canonical(before.get(key))} when rating began, and is now "
        f"{canonical(now.get(key))}: what is told and asked and who is excluded is fixed by the first vote. "
        f"Put it back, or move {where.parent} away to begin anew."
    )


def digest_of(past: History) -> str:
    """Return the fingerprint of all that was voted; what platforms call people is no part of it."""
    cast = {one.token for one in past.votes}
    content = {
        "people": [[one.rater, one.finished is not None, one.excluded] for one in past.people],
        "shown": [asdict(one) for one in past.shown if one.token in cast],
        "votes": [asdict(one) for one in past.votes],
        "peeks": past.peeks,
    }
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def casts(past: History, ballots: matches.Ballots) -> Iterator[Cast]:
    """Yield every vote on a match, with the reason where it is left out."""
    shown = {one.token: one for one in past.shown}
    excluded = {one.rater: one.excluded for one in past.people}
    asked = {(one.prompt_id, frozenset((one.challenger, one.opponent))) for one in ballots.matches}
    for vote in past.votes:
        one = shown[vote.token]
        if one.kind != "match":
            continue
        seen = ((one.first, one.first_digest), (one.second, one.second_digest))
        texts = [ballots.texts.get((name, one.prompt_id)) for name, _ in seen]
        same = all(text and text.digest == was for text, (_, was) in zip(texts, seen, strict=True))
        left_out = {
            DROPPED: (one.prompt_id, frozenset((one.first, one.second))) not in asked,
            REMADE: not same,
            LATE: bool(vote.late),
        }
        why = excluded[one.rater] or next((reason for reason, so in left_out.items() if so), "")
        yield Cast(shown=one, vote=vote, excluded=why)


def comparison(cast: Cast, said: str, reason: str) -> Comparison:
    """Return a vote as a comparison.

    Args:
        cast: The vote.
        said: The verdict that is meant: overall, on style or on correctness.
        reason: What goes with it.
    """
    return Comparison(
        prompt_id=cast.shown.prompt_id,
        first=cast.shown.first,
        second=cast.shown.second,
        verdict=Verdict(said),
        by=name_of(cast.shown.rater),
        reason=reason,
    )


def name_of(rater: int) -> str:
    """Return what a rater is called in results."""
    return f"rater-{rater}"


def _files(spec: PeopleSpec) -> dict[str, str]:
    files = {"checks": spec.checks, "training": spec.training}
    return {role: digest(path) for role, path in files.items() if path}


def _make(spec: PeopleSpec, ballots: Artefact, past: History, folder: Path) -> None:
    asked = matches.read(ballots)
    every = list(casts(past, asked))
    kept = [one for one in every if not one.excluded]
    left = [one for one in every if one.excluded]
    write_rows(
        folder / COMPARISONS, (to_row(comparison(one, one.vote.verdict, one.vote.reason)) for one in kept)
    )
    write_rows(
        folder / STYLE, (to_row(comparison(one, one.vote.style, "")) for one in kept if one.vote.style)
    )
    write_rows(
        folder / CORRECTNESS,
        (
            to_row(comparison(one, one.vote.correctness, one.vote.source))
            for one in kept
            if one.vote.correctness
        ),
    )
    write_rows(
        folder / EXCLUDED,
        (
            {"why": one.excluded, "comparison": to_row(comparison(one, one.vote.verdict, one.vote.reason))}
            for one in left
        ),
    )
    checks = list(_checks(spec, past))
    write_rows(folder / CHECKS, checks)
    write_rows(folder / RATERS, _raters(past, every, checks))
    filled = Counter((one.shown.prompt_id, *sorted((one.shown.first, one.shown.second))) for one in kept)
    write_json(
        folder / SUMMARY,
        {
            "matches": len(asked.matches),
            "ratings_wanted": spec.ratings * len(asked.matches),
            "matches_with_all_ratings": sum(many >= spec.ratings for many in filled.values()),
            "votes": len(every),
            "counted": len(kept),
            "cannot_judge": sum(one.vote.verdict == Verdict.NONE for one in kept),
            "excluded": dict(sorted(Counter(_kind_of(one.excluded) for one in left).items())),
            "raters": len(past.people),
            "raters_excluded": sum(bool(one.excluded) for one in past.people),
            "skipped_matches": sum(1 for _ in (ballots.path / matches.SKIPPED).open(encoding="utf-8")),
            "owner_looked_at_running_win_rates": past.peeks,
            "pairs": _pairs(asked, kept),
        },
    )


def _pairs(asked: matches.Ballots, kept: Sequence[Cast]) -> list[dict[str, Any]]:
    """Return for every pair and question what was said, from the challenger's side."""
    pairs = dict.fromkeys((one.challenger, one.opponent) for one in asked.matches)
    ordered = {frozenset(pair): pair for pair in pairs}
    said: dict[tuple[str, str], dict[str, Counter[str]]] = {pair: {} for pair in pairs}
    for one in kept:
        pair = ordered[frozenset((one.shown.first, one.shown.second))]
        for question in ("verdict", "style", "correctness"):
            if verdict := getattr(one.vote, question):
                result = {Verdict.FIRST: one.shown.first, Verdict.SECOND: one.shown.second}.get(verdict)
                word = verdict if result is None else "win" if result == pair[0] else "loss"
                said[pair].setdefault(question, Counter())[str(word)] += 1
    words = ("win", "tie", "loss", "none")
    return [
        {
            "challenger": challenger,
            "opponent": opponent,
            **{
                "overall" if question == "verdict" else question: {word: counts[word] for word in words}
                for question, counts in said[challenger, opponent].items()
            },
        }
        for challenger, opponent in pairs
    ]


def _kind_of(why: str) -> str:
    """Return a reason without its numbers, so that like is counted with like."""
    return (
        why
        if why in (LATE, REMADE, DROPPED)
        else "by the rule: " + " ".join(w for w in why.split() if not w.isdigit())
    )


def _checks(spec: PeopleSpec, past: History) -> Iterator[dict[str, Any]]:
    known: dict[tuple[str, str], screening.Known] = {
        (one.kind, one.item_id): one
        for one in (
            *(screening.read_checks(spec.checks) if spec.checks else ()),
            *(screening.read_training(spec.training) if spec.training else ()),
        )
    }
    shown = {one.token: one for one in past.shown}
    for vote in past.votes:
        one = shown[vote.token]
        if one.kind == "match":
            continue
        turned = one.first == screening.OTHER
        yield {
            "rater": name_of(one.rater),
            "kind": one.kind,
            "item": one.prompt_id,
            "verdict": vote.verdict,
            "right": screening.passed(known[one.kind, one.prompt_id], Verdict(vote.verdict), turned=turned),
            "seconds": round(vote.voted_at - one.shown_at, 3),
        }


def _raters(
    past: History, every: Sequence[Cast], checks: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    cast = Counter(one.shown.rater for one in every)
    last = {one.shown.rater: one.vote.voted_at for one in every}
    failed = Counter(row["rater"] for row in checks if row["right"] is False and row["kind"] != "training")
    for one in past.people:
        yield {
            "rater": name_of(one.rater),
            "votes": cast[one.rater],
            "excluded": one.excluded,
            "finished": one.finished is not None,
            "minutes": round((last.get(one.rater, one.joined) - one.joined) / 60, 2),
            "checks_failed": failed[name_of(one.rater)],
        }
