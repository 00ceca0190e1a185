"""The raters' desk: who is here, what each has before them, what is left; all in memory, each change also a write."""

import hashlib
import json
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from veneer.rate import votes
from veneer.rate.assign import Counts, Marks, choose, leads, plan_checks, work_of
from veneer.rate.matches import Ballots
from veneer.rate.screening import AS_WRITTEN, OTHER, Act, Kind, Known, exclusion, passed
from veneer.rate.votes import History, Shown, Vote, Write
from veneer.records import Verdict
from veneer.study_rate import PeopleSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came in a rater's form, checked."""

    verdict: Verdict
    style: Verdict | None = None
    correctness: Verdict | None = None
    source: str = ""
    reason: str = ""


@dataclass(slots=True, kw_only=True, eq=False)
class Rater:
    """One person at the desk."""

    number: int
    person: str | None
    details: Mapping[str, str]
    """What the platform said when they last came."""
    plan: dict[int, int]
    """At which places of the sequence which check stands."""
    seen: Marks
    given: Counts
    balance: Counts
    acts: list[Act] = field(default_factory=list)
    counted: list[int] = field(default_factory=list)
    """The matches that this rater's votes fill."""
    trained: int = 0
    current: Shown | None = None
    finished: bool = False
    excluded: str = ""

    @property
    def place(self) -> int:
        """How many pairs are done, checks counted, training not."""
        return sum(one.kind != "training" for one in self.acts)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a rater sees now."""

    kind: Literal["training", "pair", "done"]
    shown: Shown | None = None
    known: Known | None = None
    """Training: the item."""
    place: int = 0
    """How many pairs (training: items) are done."""
    length: int = 0
    """How many there are in all."""


class Desk:
    """The state of a rating, and everything that may happen to it. Every change is appended to `writes`."""

    def __init__(
        self,
        spec: PeopleSpec,
        ballots: Ballots,
        *,
        checks: tuple[Known, ...] = (),
        training: tuple[Known, ...] = (),
        past: History | None = None,
    ) -> None:
        self.spec, self.ballots, self.checks, self.training = spec, ballots, checks, training
        self.work = work_of(ballots.matches)
        self.load: Counts = np.zeros(len(ballots.matches), dtype=np.int64)
        self.lead: Counts = np.zeros(len(ballots.matches), dtype=np.int64)
        self.raters: dict[int, Rater] = {}
        self.writes: list[Write] = []
        self._people: dict[str, int] = {}
        self._sessions: dict[str, int] = {}
        self._shown: dict[str, Shown] = {}
        self._voted: set[str] = set()
        self._leases: OrderedDict[str, float] = OrderedDict()
        self._places = {
            (one.prompt_id, frozenset((one.challenger, one.opponent))): place
            for place, one in enumerate(ballots.matches)
        }
        if past:
            self._restore(past)

    def enter(self, person: str | None, visit: Mapping[str, str], now: float) -> Rater:
        """Return the rater whom the platform calls so, a new one if need be; without a name always a new one.

        Who comes again leaves by the way of the last visit: an assignment that was given back cannot be handed in.
        """
        if person is not None and person in self._people:
            rater = self.raters[self._people[person]]
            if rater.details != visit:
                rater.details = visit
                self.writes.append((votes.VISIT, (json.dumps(dict(visit)), rater.number)))
            return rater
        rater = self._seat(len(self.raters) + 1, person, visit)
        self.writes.append((votes.JOIN, (rater.number, person, json.dumps(dict(visit)), now)))
        return rater

    def knows(self, person: str | None) -> bool:
        """Return whether somebody whom the platform calls so has come before."""
        return person in self._people

    def log_in(self, rater: Rater) -> str:
        """Return a fresh session token of a rater; only its digest is kept."""
        token = secrets.token_urlsafe(32)
        self._sessions[_digest(token)] = rater.number
        self.writes.append((votes.LOG_IN, (_digest(token), rater.number)))
        return token

    def rater_of(self, session: str) -> Rater | None:
        """Return whose session it is."""
        number = self._sessions.get(_digest(session))
        return self.raters[number] if number else None

    def view(self, rater: Rater, now: float) -> View:
        """Return what a rater sees now, handing out the next pair if need be."""
        length = self.spec.per_rater + len(rater.plan)
        if rater.trained < len(self.training) and not rater.finished:
            known = self.training[rater.trained]
            held = rater.current
            fits = held is not None and (held.kind, held.prompt_id) == (known.kind, known.item_id)
            shown = held if held and fits else self._show_known(rater, known, now)
            return View(
                kind="training", shown=shown, known=known, place=rater.trained, length=len(self.training)
            )
        if not rater.finished and rater.place < length and not rater.excluded:
            self._expire(now)
            pair = self._held(rater, now) or self._next(rater, now)
            if pair:
                return View(kind="pair", shown=pair, place=rater.place, length=length)
        # Who came when nothing was left has done nothing, and may find something later.
        if not rater.finished and rater.place:
            rater.finished = True
            self.writes.append((votes.FINISH, (now, rater.number)))
        return View(kind="done", place=rater.place, length=length)

    def vote(self, rater: Rater, token: str, answer: Answer, now: float) -> Shown | None:
        """Take a vote on what was shown under a token, once: what is sent again changes nothing.

        Returns:
            What was voted on; None where this rater was never shown it.
        """
        shown = self._shown.get(token)
        if shown is None or shown.rater != rater.number:
            return None
        if token in self._voted:
            return shown
        self._expire(now)
        place = self._place(shown)
        late = shown.kind == "match" and (place is None or not self._takes(token, place))
        vote = Vote(
            token=token,
            verdict=answer.verdict,
            style=answer.style or "",
            correctness=answer.correctness or "",
            source=answer.source,
            reason=answer.reason,
            voted_at=now,
            late=int(late),
        )
        self._count(rater, shown, vote)
        self.writes.append(
            (
                votes.VOTE,
                (token, vote.verdict, vote.style, vote.correctness, vote.source, vote.reason, now, vote.late),
            )
        )
        if why := rater.excluded or exclusion(rater.acts, self.spec.exclude):
            self._exclude(rater, why)
            self.writes.append((votes.EXCLUDE, (why, rater.number)))
        return shown

    def knowledge_of(self, shown: Shown) -> Known | None:
        """Return the check or training item that was shown; None for a match."""
        items = self.training if shown.kind == "training" else self.checks
        if shown.kind == "match":
            return None
        return next((one for one in items if one.item_id == shown.prompt_id), None)

    @property
    def missing(self) -> int:
        """How many ratings are neither given nor being given."""
        return int(np.maximum(self.spec.ratings - self.load, 0).sum())

    def _seat(self, number: int, person: str | None, details: Mapping[str, str]) -> Rater:
        spec = self.spec
        rater = Rater(
            number=number,
            person=person,
            details=details,
            plan=plan_checks(
                spec.per_rater,
                spec.check_every,
                len(self.checks),
                rng=np.random.default_rng([spec.seed, number]),
            ),
            seen=np.zeros(self.work.prompts, dtype=np.bool_),
            given=np.zeros(self.work.pairs, dtype=np.int64),
            balance=np.zeros(self.work.pairs, dtype=np.int64),
        )
        self.raters[number] = rater
        if person is not None:
            self._people[person] = number
        return rater

    def _held(self, rater: Rater, now: float) -> Shown | None:
        """Return the pair that the rater has already; None where it has gone to others in the meantime."""
        shown = rater.current
        if shown is None or shown.token in self._leases:
            return shown
        if shown.kind != "match":
            return shown if shown.kind != "training" and self.knowledge_of(shown) else None
        place = self._place(shown)
        if place is not None and self.load[place] < self.spec.ratings:
            self._lease(shown.token, place, now)
            return shown
        rater.current = None
        return None

    def _next(self, rater: Rater, now: float) -> Shown | None:
        if rater.place in rater.plan:
            return self._show_known(rater, self.checks[rater.plan[rater.place]], now)
        rng = np.random.default_rng([self.spec.seed, len(self._shown)])
        place = choose(self.work, self.load, rater.seen, rater.given, self.spec.ratings, rng=rng)
        if place is None:
            return None
        match, pair = self.work.matches[place], self.work.pair_of[place]
        sides = (match.challenger, match.opponent)
        if not leads(int(rater.balance[pair]), int(self.lead[place]), rng=rng):
            sides = (match.opponent, match.challenger)
        digests = [self.ballots.texts[name, match.prompt_id].digest for name in sides]
        shown = self._show(rater, "match", match.prompt_id, sides, (digests[0], digests[1]), now)
        self._lease(shown.token, place, now)
        return shown

    def _show_known(self, rater: Rater, known: Known, now: float) -> Shown:
        rng = np.random.default_rng([self.spec.seed, len(self._shown), 1])
        # An attention check may speak of A and B, and training is explained as it is written; gold pairs are turned.
        turned = known.kind == "gold" and bool(rng.integers(2))
        sides = (OTHER, AS_WRITTEN) if turned else (AS_WRITTEN, OTHER)
        return self._show(rater, known.kind, known.item_id, sides, ("", ""), now)

    def _show(
        self,
        rater: Rater,
        kind: Kind,
        prompt_id: str,
        sides: tuple[str, str],
        digests: tuple[str, str],
        now: float,
    ) -> Shown:
        shown = Shown(
            token=secrets.token_urlsafe(16),
            rater=rater.number,
            kind=kind,
            prompt_id=prompt_id,
            first=sides[0],
            second=sides[1],
            first_digest=digests[0],
            second_digest=digests[1],
            shown_at=now,
        )
        self._note(rater, shown)
        self.writes.append((votes.SHOW, tuple(getattr(shown, name) for name in Shown.__slots__)))
        return shown

    def _note(self, rater: Rater, shown: Shown) -> None:
        """Take into account that something was shown, now or before a restart."""
        self._shown[shown.token] = shown
        rater.current = shown
        place = self._place(shown)
        if place is None:
            return
        pair, match = self.work.pair_of[place], self.work.matches[place]
        rater.seen[self.work.prompt_of[place]] = True
        rater.given[pair] += 1
        side = 1 if shown.first == match.challenger else -1
        rater.balance[pair] += side
        self.lead[place] += side

    def _count(self, rater: Rater, shown: Shown, vote: Vote) -> None:
        """Take into account that a vote was cast, now or before a restart."""
        self._voted.add(shown.token)
        known = self.knowledge_of(shown)
        right = passed(known, Verdict(vote.verdict), turned=shown.first == OTHER) if known else None
        seconds = vote.voted_at - shown.shown_at
        kind: Kind = shown.kind  # type: ignore[assignment]
        rater.acts.append(Act(kind=kind, verdict=Verdict(vote.verdict), right=right, seconds=seconds))
        rater.trained += shown.kind == "training"
        if rater.current is not None and rater.current.token == shown.token:
            rater.current = None
        place = self._place(shown)
        if place is not None and not vote.late:
            rater.counted.append(place)

    def _exclude(self, rater: Rater, why: str) -> None:
        """Give back what an excluded rater's votes filled, so that others fill it."""
        rater.excluded = why
        for place in rater.counted:
            self.load[place] -= 1
        rater.counted.clear()

    def _place(self, shown: Shown) -> int | None:
        """Return the match that was shown; None for checks, and where its texts have been made anew since."""
        if shown.kind != "match":
            return None
        place = self._places.get((shown.prompt_id, frozenset((shown.first, shown.second))))
        texts = self.ballots.texts
        if place is None or any(
            texts[name, shown.prompt_id].digest != digest
            for name, digest in ((shown.first, shown.first_digest), (shown.second, shown.second_digest))
        ):
            return None
        return place

    def _lease(self, token: str, place: int, now: float) -> None:
        self.load[place] += 1
        self._leases[token] = now + self.spec.timeout * 60

    def _takes(self, token: str, place: int) -> bool:
        """Return whether a vote still fills a place: it was held, or nobody else has filled it."""
        if self._leases.pop(token, None) is not None:
            return True
        if self.load[place] >= self.spec.ratings:
            return False
        self.load[place] += 1
        return True

    def _expire(self, now: float) -> None:
        """Return to the pool what was not rated in time; the oldest stand first."""
        while self._leases:
            token, until = next(iter(self._leases.items()))
            if until > now:
                return
            del self._leases[token]
            place = self._place(self._shown[token])
            assert place is not None
            self.load[place] -= 1

    def _restore(self, past: History) -> None:
        for one in past.people:
            rater = self._seat(one.rater, one.person, json.loads(one.visit))
            rater.finished, rater.excluded = one.finished is not None, one.excluded
        self._sessions = dict(past.sessions)
        for shown in past.shown:
            self._note(self.raters[shown.rater], shown)
        for vote in past.votes:
            shown = self._shown[vote.token]
            rater = self.raters[shown.rater]
            self._count(rater, shown, vote)
        for rater in self.raters.values():
            if rater.excluded:
                rater.counted.clear()
            for filled in rater.counted:
                self.load[filled] += 1
        for shown in past.shown:
            place = self._place(shown)
            if place is not None and shown.token not in self._voted:
                self._lease(shown.token, place, shown.shown_at)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
