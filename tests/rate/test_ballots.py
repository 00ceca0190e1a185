import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from veneer.rate.ballots import challengers, pair, teacher
from veneer.records import Contestant, Role


def contestant(name: str, role: Role) -> Contestant:
    return Contestant(name=name, role=role, student=name, base="", source="", amount=0, seed=0, replay=0.0)


PLAYERS = [
    contestant("small", Role.BASE),
    contestant("pupil", Role.STUDENT),
    contestant("master", Role.TEACHER),
]


def test_everybody_and_the_teacher_again_meets_the_teacher() -> None:
    assert (challengers(PLAYERS), teacher(PLAYERS)) == (["small", "pupil", "master-again"], "master")


@given(st.integers(0, 40), st.integers(0, 10))
def test_each_of_two_is_shown_first_on_half_of_the_prompts(prompts: int, seed: int) -> None:
    names = [str(number) for number in range(prompts)]
    ballots = pair("pupil", "master", names, rng=np.random.default_rng(seed))
    leads = sum(ballot.first == "pupil" for ballot in ballots)
    assert [ballot.prompt_id for ballot in ballots] == names
    assert all({ballot.first, ballot.second} == {"pupil", "master"} for ballot in ballots)
    assert leads in {prompts // 2, (prompts + 1) // 2}


def test_the_order_is_random_and_repeats_by_seed() -> None:
    names = [str(number) for number in range(40)]
    drawn = [pair("pupil", "master", names, rng=np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
