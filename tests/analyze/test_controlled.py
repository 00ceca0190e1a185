"""Equal style: what was planted is found, and what a study cannot tell is Undefined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.analyze.opinions import replies, said, votes_on
from veneer.analyze.controlled import PLACE, Fit, fit
from veneer.analyze.preference import differences, style_share
from veneer.analyze.votes import Votes, votes_of
from veneer.records import Comparison
from veneer.stats import Draws, Estimate, Floats, Undefined, interval, resample


def fitted(votes: Votes, *columns: Floats, seed: int = 0, resamples: int = 300) -> Fit:
    """The fit of votes on columns of differences, one value a prompt and column."""
    weights = resample(len(votes.prompts), resamples, rng=np.random.default_rng(seed))
    names = ["length", "lists", "bold"][: len(columns)]
    return fit(votes, np.column_stack([one[votes.prompt] for one in columns]), names, weights)


def test_a_planted_taste_for_length_is_taken_out_of_the_win_rate() -> None:
    rng = np.random.default_rng(1)
    apart = rng.normal(0.8, 1.0, size=3000)
    found = fitted(votes_on(apart, strength=-1.0, taste=2.0, place=0.8, rng=rng), apart)
    assert found.missing == {}
    assert found.values[0] == pytest.approx(1 / (1 + np.exp(1.0)), abs=0.03)
    length, place = found.slopes["length"], found.slopes[PLACE]
    assert isinstance(length, Draws)
    assert isinstance(place, Draws)
    assert length.value == pytest.approx(2.0 * apart.std(), rel=0.1)
    assert place.value == pytest.approx(0.8, abs=0.15)


def test_a_strong_taste_lies_in_its_interval_as_often_as_promised() -> None:
    """On few of the prompts is there any length to taste, so that it foretells nearly all that could tell of it."""
    held = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        apart = np.concatenate([rng.normal(size=20), np.zeros(100)])
        votes = votes_on(apart, strength=0, taste=3, place=0, rng=rng, rounds=1)
        slope = interval(fitted(votes, apart, resamples=200).slopes["length"], 0.95)
        assert isinstance(slope, Estimate)
        held.append(slope.low <= 3 * apart.std() <= slope.high)
    assert np.mean(held) > 0.9


@pytest.mark.parametrize("mark", ["1", "=", "2"])
def test_a_judge_that_follows_one_rule_throughout_has_no_taste_that_could_be_measured(mark: str) -> None:
    """Resamples of what is always the same do not differ: an interval would have no width."""
    apart = np.random.default_rng(9).normal(size=40)
    both = said("s", "t", mark * 40) + said("t", "s", mark * 40)
    found = fitted(votes_of(both, ["t"]), apart).slopes
    assert list(found) == ["length", PLACE]
    assert all(isinstance(slope, Undefined) for slope in found.values())


def test_without_a_taste_equal_style_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    apart = rng.normal(1.0, 1.0, size=1000)
    votes = votes_on(apart, strength=0.5, taste=0.0, place=0.0, rng=rng)
    raw = float((votes.result == 0).mean())
    assert fitted(votes, apart).values[0] == pytest.approx(raw, abs=0.05)


def test_resamples_spread_as_much_as_fits_of_fresh_studies() -> None:
    """A Newton step from the whole fit stands for refitting."""
    values, spreads = [], []
    for seed in range(60):
        rng = np.random.default_rng([3, seed])
        apart = rng.normal(0.5, 1.0, size=120)
        found = fitted(votes_on(apart, strength=0.0, taste=1.5, place=0.5, rng=rng), apart)
        values.append(found.values[0])
        spreads.append(found.draws.std())
    assert np.mean(spreads) == pytest.approx(np.std(values), rel=0.25)


def test_style_that_differs_alike_on_all_prompts_cannot_be_told_from_the_contestant() -> None:
    rng = np.random.default_rng(4)
    apart = rng.normal(0, 1, size=60)
    votes = votes_on(apart, strength=0, taste=1, place=0, rng=rng)
    found = fitted(votes, apart, np.ones(60))
    assert "difference in lists" in found.missing[0]
    assert fitted(votes, apart, np.zeros(60)).missing == {}


def test_a_contestant_that_is_always_the_longer_was_never_seen_at_equal_length() -> None:
    rng = np.random.default_rng(5)
    apart = rng.uniform(1, 2, size=200)
    votes = votes_on(apart, strength=-2, taste=2, place=0, rng=rng)
    assert "was not seen" in fitted(votes, apart).missing[0]


def test_a_contestant_that_hardly_ever_won_tells_nothing_of_style() -> None:
    apart = np.random.default_rng(8).normal(size=80)
    lost, often = (
        fitted(votes_of(said("s", "t", "1" * wins + "2" * (80 - wins)), ["t"]), apart) for wins in (4, 9)
    )
    assert "too few" in lost.missing[0]
    assert often.missing == {}


def test_a_completion_of_unknown_style_is_told() -> None:
    rng = np.random.default_rng(6)
    apart = rng.normal(size=60)
    votes = votes_on(apart, strength=0, taste=1, place=0, rng=rng)
    apart[:3] = np.nan
    assert fitted(votes, apart).missing[0] == "on 3 of its prompts the style of a completion is not known"


def test_no_verdict_at_all_is_undefined() -> None:
    assert "verdict" in fitted(votes_of(said("s", "t", "?" * 20), ["t"]), np.zeros(20)).missing[0]


def test_one_order_only_tells_nothing_of_place() -> None:
    rng = np.random.default_rng(7)
    apart = rng.normal(size=40)
    marks = "".join(rng.choice(list("12="), size=40))
    assert PLACE not in fitted(votes_of(said("s", "t", marks), ["t"]), apart).slopes


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="12=?", min_size=12, max_size=40), st.integers(0, 100), st.booleans())
def test_any_verdicts_give_rates_between_none_and_all(marks: str, seed: int, perfectly: bool) -> None:
    """Also where style foretells every verdict."""
    rng = np.random.default_rng(seed)
    apart = rng.normal(size=len(marks))
    if perfectly:
        marks = "".join("1" if one > 0 else "2" for one in apart)
    found = fitted(votes_of(said("s", "t", marks), ["t"]), apart, resamples=100)
    assert np.isfinite(found.draws).all()
    assert 0 < found.values[0] < 1


def test_differences_are_from_the_contestants_side_whoever_is_first() -> None:
    verdicts: list[Comparison] = said("s", "t", "1") + said("t", "s", " 1")
    known = replies({"s": [5.0, 6.0], "t": [4.0, 4.0]})
    assert differences(votes_of(verdicts, ["t"]), known, ["log_words"]).tolist() == [[1.0], [2.0]]


def draws(value: float, spread: float = 0.02) -> Draws:
    noise = np.random.default_rng(0).normal(0, spread, size=400)
    return Draws(value=value, draws=value + noise, n=100)


@pytest.mark.parametrize(
    ("raw", "equal", "share"), [(0.3, 0.15, 0.5), (-0.3, -0.15, 0.5), (-0.2, -0.3, -0.5)]
)
def test_the_share_that_style_explains_is_of_the_raw_advantage(
    raw: float, equal: float, share: float
) -> None:
    found = interval(style_share(draws(raw), draws(equal), 0.95, "nothing"), 0.95)
    assert isinstance(found, Estimate)
    assert found.value == pytest.approx(share)


def test_without_a_raw_advantage_there_is_nothing_to_explain() -> None:
    assert isinstance(style_share(draws(0.01), draws(-0.1), 0.95, "nothing"), Undefined)
