"""Judge and people: PPI as its authors' library has it, valid with a wrong judge, and the ratings still wanted."""

import numpy as np
import pytest

from tests.analyze.opinions import replies, said
from veneer.analyze.together import Joined, joined_of, more_ratings, power_weight, rows_of
from veneer.analyze.votes import votes_of
from veneer.stats import Draws, Estimate, Undefined, share_of
from veneer.study import AnalyzeSpec

SPEC = AnalyzeSpec(resamples=400)
PEOPLE = "1010010101100101001011100110010001000100"
JUDGE = "1010010101100000101001011010010011100100"
ELSEWHERE = (
    "1110001111101110101100010011011010101100110110101000101011000001000101110001011000001011111010110010111100011110"
    "101001001101010100111111010111101111010100000111"
)


def marks(wins: str) -> str:
    return wins.replace("0", "2")


def joined(people: str, judge: str, spec: AnalyzeSpec = SPEC) -> Joined:
    crowd = votes_of(said("s", "t", people, by="r0"), ["t"])
    model = votes_of(said("s", "t", judge), ["t"])
    return joined_of(("people", crowd), ("judge", model), "t", (), spec)["s"]


def test_the_estimate_is_that_of_the_authors_library() -> None:
    """ppi-python 0.2.3 gives 0.470208, from 0.332351 to 0.608065, for these 40 + 160 prompts."""
    found = joined(marks(PEOPLE), marks(JUDGE + ELSEWHERE))
    assert (found.rated, found.judged) == (40, 160)
    together = share_of(found.together, 0.95)
    assert isinstance(together, Estimate)
    assert together.value == pytest.approx(0.470208, abs=1e-6)
    assert (together.low, together.high) == pytest.approx((0.332351, 0.608065), abs=0.02)


def test_the_judges_help_narrows_the_interval_and_saves_ratings() -> None:
    found = joined(marks(PEOPLE), marks(PEOPLE + ELSEWHERE))
    alone, together = share_of(found.alone, 0.95), share_of(found.together, 0.95)
    assert isinstance(alone, Estimate)
    assert isinstance(together, Estimate)
    assert together.high - together.low < 0.7 * (alone.high - alone.low)
    assert found.weight > 0.7


def test_a_judge_that_says_the_same_of_everything_is_given_no_weight() -> None:
    found = joined(marks(PEOPLE), "1" * 200)
    assert found.weight == 0.0
    assert isinstance(found.together, Draws)
    assert isinstance(found.alone, Draws)
    assert found.together.value == pytest.approx(found.alone.value)


def test_a_judge_that_contradicts_people_is_given_no_weight() -> None:
    people, other = np.array([0.0, 1.0] * 20), np.array([1.0, 0.0] * 20)
    assert power_weight(people, other, np.array([0.0, 1.0] * 50)) == 0.0


def test_a_judge_that_is_biased_does_not_move_the_estimate() -> None:
    """It favours the student by far on all prompts alike: people's own rate stands."""
    misses = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = rng.random(300)
        judge = "".join(np.where(rng.random(300) < 0.5 + truth / 2, "1", "2"))
        people = "".join(np.where(rng.random(60) < truth[:60], "1", "2"))
        found = share_of(joined(people, judge).together, 0.95)
        assert isinstance(found, Estimate)
        misses.append(found.value - 0.5)
    assert abs(np.mean(misses)) < 0.03


def test_what_people_say_alone_is_the_same_whatever_judge_is_asked() -> None:
    one, other = joined(marks(PEOPLE), marks(JUDGE + ELSEWHERE)), joined(marks(PEOPLE), "1" * 77)
    assert share_of(one.alone, 0.95) == share_of(other.alone, 0.95)
    assert one.more_alone == other.more_alone


def test_where_people_rated_every_prompt_the_judge_adds_nothing() -> None:
    found = joined(marks(PEOPLE), marks(JUDGE))
    assert isinstance(found.alone, Draws)
    assert isinstance(found.together, Undefined)
    assert "the judge saw 0 prompts" in found.together.reason


def test_prompts_that_people_rated_without_a_verdict_are_no_unrated_ones() -> None:
    assert joined("?" * 10 + marks(PEOPLE), marks(JUDGE + ELSEWHERE)).judged == 150


def test_a_judges_missing_verdict_stays_what_it_said() -> None:
    assert joined(marks(PEOPLE), "?" * 5 + marks(JUDGE[5:] + ELSEWHERE)).rated == 40


def test_completions_that_failed_do_not_draw_the_estimate_towards_one_half() -> None:
    """They fail only where people did not rate, for a pair without its completions is put before nobody."""
    judge = marks(JUDGE + ELSEWHERE).replace("1", "2")[:190] + "1" * 10
    people = votes_of(said("t-again", "t", marks(PEOPLE)), ["t"])
    wrote = replies({"t-again": [0.0] * 200, "t": [0.0] * 200})

    def together(verdicts: str) -> tuple[int, float]:
        cast = {"people": people, "j": votes_of(said("t-again", "t", verdicts), ["t"])}
        (found,) = rows_of(cast, ["people"], ["t"], (), wrote, SPEC)
        return found["judged"], found["together"]["value"]

    whole = together(judge)
    for place in range(200, 300):
        wrote["t"][f"p{place}"] = wrote["t"]["p0"]
    assert together(judge + "?" * 100) == whole


def number(spread: float) -> Draws:
    return Draws(value=0.5, draws=0.5 + np.random.default_rng(0).normal(0, spread, size=2000), n=100)


def test_twice_the_width_takes_four_times_the_ratings() -> None:
    spec = AnalyzeSpec(target_width=0.1)
    whole = number(0.05)
    assert more_ratings(whole, whole.draws, 3.0, spec) == pytest.approx(100 * 3 * 3, rel=0.15)


def test_ratings_do_not_mend_what_raters_and_the_judge_leave_open() -> None:
    whole = number(0.05)
    assert more_ratings(whole, 0.5 + 0.1 * (whole.draws - 0.5), 3.0, AnalyzeSpec(target_width=0.1)) is None


def test_an_interval_that_is_narrow_enough_wants_none() -> None:
    assert more_ratings(number(0.01), number(0.01).draws, 3.0, AnalyzeSpec(target_width=0.1)) == 0


def test_people_whom_no_judge_joined_have_a_row_that_says_so() -> None:
    cast = {"people": votes_of(said("s", "t", marks(PEOPLE)) + said("t-again", "t", marks(PEOPLE)), ["t"])}
    (found,) = rows_of(cast, ["people"], ["t"], (), {}, SPEC)
    assert found["judge"] is None
    assert found["contestant"] == "t-again"
    assert found["together"]["undefined"] == "no judge compared the same contestants"
    assert found["more_ratings_alone"] > 0
