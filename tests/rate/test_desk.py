import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rate.conftest import ballots, people
from veneer.rate import votes
from veneer.rate.desk import Answer, Desk, Rater
from veneer.rate.matches import Ballots
from veneer.rate.screening import Known
from veneer.rate.votes import Shown
from veneer.records import Verdict
from veneer.study_rate import ExcludeSpec, PeopleSpec

FIRST = Answer(verdict=Verdict.FIRST)
MINUTE = 60.0


def shown_to(desk: Desk, rater: Rater, now: float = 0.0) -> Shown:
    view = desk.view(rater, now)
    assert view.shown is not None
    return view.shown


def counted(desk: Desk) -> Counter[int]:
    return Counter(place for rater in desk.raters.values() for place in rater.counted)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(1, 3), st.integers(1, 30), st.integers(0, 10**6))
def test_however_raters_come_and_go_every_match_gets_its_ratings_and_never_more(
    prompts: int, ratings: int, per_rater: int, seed: int
) -> None:
    """Some vote, some vote late, some leave; at the end steady raters come until nothing is left."""
    drawn = random.Random(seed)
    desk = Desk(people(ratings=ratings, per_rater=per_rater, timeout=1), ballots(prompts))
    now = 0.0
    here = [desk.enter(None, {}, now) for _ in range(6)]
    for _ in range(60):
        now += drawn.choice((1, 20, 70))
        rater = drawn.choice(here)
        view = desk.view(rater, now)
        if view.shown and drawn.random() < 0.6:
            desk.vote(rater, view.shown.token, FIRST, now + drawn.choice((1, 90)))
            now += 90
        assert desk.load.max(initial=0) <= ratings
    now += 100
    for _ in range(prompts * 2 * ratings + 20):
        rater = desk.enter(None, {}, now)
        while (view := desk.view(rater, now)).shown:
            desk.vote(rater, view.shown.token, FIRST, now)
    assert [counted(desk)[place] for place in range(prompts * 2)] == [ratings] * (prompts * 2)


def test_two_hundred_raters_at_once_fill_all_matches_evenly() -> None:
    asked = ballots(60)
    desk = Desk(people(ratings=3, per_rater=10), asked)
    here = [desk.enter(None, {}, 0) for _ in range(200)]
    drawn = random.Random(0)
    done = 0
    while here:
        rater = drawn.choice(here)
        view = desk.view(rater, 0)
        if view.shown is None:
            here.remove(rater)
            continue
        assert desk.load.max() - desk.load.min() <= 1
        desk.vote(rater, view.shown.token, FIRST, 1)
        done += 1
    assert done == 60 * 2 * 3
    assert set(counted(desk).values()) == {3}


def test_no_rater_sees_a_prompt_twice_and_sides_are_even_per_rater_and_pair() -> None:
    desk = Desk(people(ratings=50, per_rater=40), ballots(40))
    for _ in range(5):
        rater = desk.enter(None, {}, 0)
        seen, balance = [], Counter[str]()
        while (view := desk.view(rater, 0)).shown:
            one = view.shown
            seen.append(one.prompt_id)
            challenger = one.second if one.first == "master" else one.first
            balance[challenger] += 1 if one.first == challenger else -1
            assert all(abs(value) <= 1 for value in balance.values())
            desk.vote(rater, one.token, FIRST, 1)
        assert len(seen) == len(set(seen)) == 40


def test_what_is_sent_twice_is_one_vote_and_the_first_stands() -> None:
    desk = Desk(people(), ballots(3))
    rater = desk.enter(None, {}, 0)
    one = shown_to(desk, rater)
    assert desk.vote(rater, one.token, FIRST, 1) == one
    assert desk.vote(rater, one.token, Answer(verdict=Verdict.SECOND), 2) == one
    cast = [values for statement, values in desk.writes if statement == votes.VOTE]
    assert [values[:2] for values in cast] == [(one.token, "first")]


def test_nobody_votes_on_what_another_was_shown() -> None:
    desk = Desk(people(), ballots(3))
    one, other = desk.enter(None, {}, 0), desk.enter(None, {}, 0)
    mine = shown_to(desk, one)
    assert desk.vote(other, mine.token, FIRST, 1) is None
    assert desk.vote(other, "made up", FIRST, 1) is None


def test_the_same_pair_comes_back_after_a_reload() -> None:
    desk = Desk(people(), ballots(5))
    rater = desk.enter(None, {}, 0)
    assert (
        shown_to(desk, rater, 0) == shown_to(desk, rater, 20 * MINUTE) == shown_to(desk, rater, 90 * MINUTE)
    )


def test_abandoned_work_returns_to_the_pool_and_a_late_vote_counts_only_where_there_is_room() -> None:
    desk = Desk(people(ratings=1), ballots(1, ["pupil"]))
    slow, quick = desk.enter(None, {}, 0), desk.enter(None, {}, 0)
    mine = shown_to(desk, slow)
    assert desk.view(quick, 1).kind == "done"
    third = desk.enter(None, {}, 31 * MINUTE)
    theirs = shown_to(desk, third, 31 * MINUTE)
    desk.vote(third, theirs.token, FIRST, 32 * MINUTE)
    desk.vote(slow, mine.token, FIRST, 33 * MINUTE)
    late = {values[0]: values[-1] for statement, values in desk.writes if statement == votes.VOTE}
    assert late == {theirs.token: 0, mine.token: 1}
    assert desk.load.tolist() == [1]


def test_a_late_vote_that_nobody_replaced_counts() -> None:
    desk = Desk(people(ratings=1), ballots(1, ["pupil"]))
    rater = desk.enter(None, {}, 0)
    mine = shown_to(desk, rater)
    desk.vote(rater, mine.token, FIRST, 99 * MINUTE)
    assert counted(desk) == {0: 1}


def test_an_excluded_raters_votes_are_given_to_others() -> None:
    spec = people(ratings=1, per_rater=9, exclude=ExcludeSpec(faster_than=3.0))
    desk = Desk(spec, ballots(9, ["pupil"]))
    hasty = desk.enter(None, {}, 0)
    for now in range(5):
        desk.vote(hasty, shown_to(desk, hasty, now).token, FIRST, now + 0.5)
    assert hasty.excluded == "took less than 3 s per pair (median)"
    assert desk.view(hasty, 9).kind == "done"
    assert desk.load.sum() == 0
    assert sum(statement == votes.VOTE for statement, _ in desk.writes) == 5


def test_training_comes_first_and_counts_for_nothing() -> None:
    desk = Desk(people(per_rater=2), ballots(5), training=(known("t1", "training"), known("t2", "training")))
    rater = desk.enter(None, {}, 0)
    for place in range(2):
        view = desk.view(rater, 0)
        assert (view.kind, view.place, view.length) == ("training", place, 2)
        assert view.shown is not None
        desk.vote(rater, view.shown.token, FIRST, 1)
    view = desk.view(rater, 2)
    assert (view.kind, view.place, view.length, desk.load.sum()) == ("pair", 0, 2, 1)


def test_checks_stand_among_the_pairs_and_gold_pairs_are_turned_for_some() -> None:
    spec = people(per_rater=10, check_every=5, ratings=99)
    desk = Desk(spec, ballots(20), checks=tuple(known(f"g{number}", "gold") for number in range(2)))
    sides = set()
    for _ in range(12):
        rater = desk.enter(None, {}, 0)
        kinds = []
        while (view := desk.view(rater, 0)).shown:
            kinds.append(view.shown.kind)
            if view.shown.kind == "gold":
                sides.add(view.shown.first)
                answer = Answer(verdict=Verdict.FIRST if view.shown.first == "first" else Verdict.SECOND)
                desk.vote(rater, view.shown.token, answer, 1)
            else:
                desk.vote(rater, view.shown.token, FIRST, 1)
        assert Counter(kinds) == {"match": 10, "gold": 2}
        assert [act.right for act in rater.acts if act.kind == "gold"] == [True, True]
    assert sides == {"first", "second"}


def test_the_same_person_is_the_same_rater_and_a_nameless_one_always_new() -> None:
    desk = Desk(people(), ballots(3))
    assert desk.enter("ann", {}, 0) is desk.enter("ann", {}, 9)
    assert desk.enter(None, {}, 0) is not desk.enter(None, {}, 0)
    token = desk.log_in(desk.enter("ann", {}, 0))
    assert desk.rater_of(token) is desk.enter("ann", {}, 0)
    assert desk.rater_of("guess") is None


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_a_restart_changes_nothing(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    drawn = random.Random(seed)
    spec = people(ratings=2, per_rater=6, timeout=1, check_every=2, exclude=ExcludeSpec(failed_gold=2))
    asked, checks = ballots(6), tuple(known(f"g{number}", "gold") for number in range(3))
    desk = Desk(spec, asked, checks=checks, training=(known("t", "training"),))
    now = 0.0
    here = [desk.enter(f"person {number}", {}, now) for number in range(4)]
    for _ in range(40):
        now += drawn.choice((5, 5, 40))
        rater = drawn.choice(here)
        view = desk.view(rater, now)
        if view.shown and drawn.random() < 0.7:
            desk.vote(rater, view.shown.token, Answer(verdict=drawn.choice(list(Verdict))), now + 4)
            now += 4
    after = restarted(desk, spec, asked, checks, tmp_path_factory.mktemp("votes") / "votes.sqlite")
    for rater in here:
        again = after.raters[rater.number]
        assert (again.acts, again.trained, again.finished, again.excluded, again.plan) == (
            rater.acts, rater.trained, rater.finished, rater.excluded, rater.plan,
        )  # fmt: skip
        assert np.array_equal(again.seen, rater.seen)
        assert np.array_equal(again.balance, rater.balance)
    later = now + 2 * MINUTE
    desk.view(desk.raters[1], later)
    after.view(after.raters[1], later)
    assert counted(desk) == counted(after)


def restarted(desk: Desk, spec: PeopleSpec, asked: Ballots, checks: tuple[Known, ...], path: Path) -> Desk:
    base = votes.connect(path)
    for statement, values in desk.writes:
        base.execute(statement, values)
    past = votes.history(base)
    base.close()
    assert [json.loads(one.visit) for one in past.people] == [{}] * 4
    return Desk(spec, asked, checks=checks, training=(known("t", "training"),), past=past)


def test_votes_on_texts_that_were_made_anew_fill_nothing(tmp_path: Path) -> None:
    spec, before = people(ratings=1), ballots(1, ["pupil"])
    desk = Desk(spec, before)
    rater = desk.enter(None, {}, 0)
    desk.vote(rater, shown_to(desk, rater).token, FIRST, 1)
    base = votes.connect(tmp_path / "votes.sqlite")
    for statement, values in desk.writes:
        base.execute(statement, values)
    texts = {
        place: type(text)(contestant=text.contestant, prompt_id=text.prompt_id, text="new", digest="new")
        for place, text in before.texts.items()
    }
    changed = Ballots(key="other", prompts=before.prompts, texts=texts, matches=before.matches)
    after = Desk(spec, changed, past=votes.history(base))
    base.close()
    assert after.load.tolist() == [0]


def known(name: str, kind: str) -> Known:
    return Known(
        item_id=name, kind=kind, prompt="p", first="good", second="bad", answer=Verdict.FIRST, why="so",  # type: ignore[arg-type]
    )  # fmt: skip
