import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.rate.conftest import ballots
from veneer.rate.assign import choose, leads, plan_checks, work_of


@given(st.integers(1, 12), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99))
def test_a_rater_gets_one_of_the_least_rated_matches_on_an_unseen_prompt(
    prompts: int, challengers: int, ratings: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    work = work_of(ballots(prompts, [f"c{number}" for number in range(challengers)]).matches)
    load = rng.integers(0, ratings + 1, size=len(work.matches))
    seen = rng.integers(0, 2, size=work.prompts).astype(np.bool_)
    given = rng.integers(0, 3, size=work.pairs)
    place = choose(work, load, seen, given, ratings, rng=rng)
    able = [one for one in range(len(load)) if load[one] < ratings and not seen[work.prompt_of[one]]]
    if place is None:
        assert able == []
        return
    assert place in able
    assert load[place] == min(load[one] for one in able)
    equals = [one for one in able if load[one] == load[place]]
    assert given[work.pair_of[place]] == min(given[work.pair_of[one]] for one in equals)


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(0, 99))
def test_each_side_is_first_as_often_as_second_but_for_one_time(pairs: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    balance = dict.fromkeys(range(4), 0)
    for pair in pairs:
        balance[pair] += 1 if leads(balance[pair], 0, rng=rng) else -1
        assert abs(balance[pair]) <= 1


def test_where_a_rater_is_even_the_raters_before_decide() -> None:
    rng = np.random.default_rng(0)
    assert not any(leads(0, 1, rng=rng) for _ in range(20))
    assert all(leads(0, -1, rng=rng) for _ in range(20))
    assert {leads(0, 0, rng=rng) for _ in range(20)} == {True, False}


@given(st.integers(1, 60), st.integers(2, 12), st.integers(0, 8), st.integers(0, 99))
def test_one_check_in_each_run_of_pairs_never_at_the_beginning_and_none_twice(
    pairs: int, every: int, checks: int, seed: int
) -> None:
    plan = plan_checks(pairs, every, checks, rng=np.random.default_rng(seed))
    assert len(plan) == min(checks, pairs // every)
    assert len(set(plan.values())) == len(plan)
    assert [place // (every + 1) for place in sorted(plan)] == list(range(len(plan)))
    assert 0 not in plan
    assert all(place < pairs + len(plan) for place in plan)
