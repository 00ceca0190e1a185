"""Votes: told from one side, decided by majority, and as uncertain as their raters are few."""

import numpy as np
import pytest

from tests.analyze.opinions import said
from veneer.analyze.votes import RESULTS, majority, rater_shift, votes_of
from veneer.records import Comparison

WORTH = (1.0, 0.5, 0.0)


def by_majority(*marks: str) -> list[str]:
    """The majority's result of each prompt, one line of marks a rater."""
    whole = [one for rater, line in enumerate(marks) for one in said("s", "t", line, by=f"r{rater}")]
    votes = votes_of(whole, ["t"])
    found = majority(votes.tally([0]))[:, 0]
    return ["".join(name for name, one in zip(RESULTS, row, strict=True) if one) for row in found]


def test_the_majority_is_the_commonest_verdict_and_a_tie_where_there_is_none() -> None:
    assert by_majority("11=12", "1222=", "122=?") == ["win", "loss", "loss", "tie", "tie"]


def test_a_prompt_without_a_verdict_has_no_majority_and_is_counted() -> None:
    assert by_majority("1?", "??") == ["win", "none"]


def test_a_result_is_the_contestants_whoever_is_shown_first() -> None:
    votes = votes_of([*said("s", "t", "12="), *said("t", "s", "12=")], ["t"])
    assert [RESULTS[one] for one in votes.result] == ["win", "loss", "tie", "loss", "win", "tie"]
    assert votes.place.tolist() == [0.5] * 3 + [-0.5] * 3


def test_verdicts_on_nobody_that_is_an_opponent_are_no_votes() -> None:
    assert votes_of(said("s", "u", "12"), ["t"]).pairs == ()


def panel(rng: np.random.Generator, raters: int, leaning: float, each: int = 60) -> list[Comparison]:
    found: list[Comparison] = []
    for rater in range(raters):
        chance = np.clip(0.5 + rng.normal(0, leaning), 0, 1)
        marks = "".join(np.where(rng.random(each) < chance, "1", "2"))
        found += said("s", "t", marks, by=f"r{rater}")
    return found


def shift(raters: int, leaning: float, seed: int = 0) -> float:
    return rater_shift(votes_of(panel(np.random.default_rng(seed), raters, leaning), ["t"]), [0], WORTH)


def test_one_rater_says_nothing_of_others() -> None:
    assert shift(1, 0.2) == 0.0


def test_few_raters_that_lean_apart_are_far_less_sure_than_many() -> None:
    few, many = (np.mean([shift(raters, 0.2, seed) for seed in range(20)]) for raters in (3, 60))
    assert few > 5 * many


def test_the_shift_of_many_raters_is_that_of_their_leanings() -> None:
    assert np.mean([shift(100, 0.2, seed) for seed in range(20)]) == pytest.approx(0.2 / 10, rel=0.2)


def test_raters_who_do_not_differ_add_little() -> None:
    assert np.mean([shift(60, 0.0, seed) for seed in range(20)]) < 0.005
