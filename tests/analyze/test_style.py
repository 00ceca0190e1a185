"""Style against the teacher's: Table 2's metrics, and a distance that resampling describes truly."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.answer_worlds import Styled, styles
from veneer.analyze import distance
from veneer.analyze.measure import Rung
from veneer.analyze.reading import Asked, Reply
from veneer.analyze.style import styles_of, unigram_overlap
from veneer.stats import Draws, Estimate, Undefined, interval, resample
from veneer.study import AnalyzeSpec

SPEC = AnalyzeSpec(resamples=200)
BAG = st.lists(st.sampled_from("abcd")).map(Counter)


def reply(words: int, *, lists: bool = False, other: float = 0.0) -> Reply:
    flags = {"has_list": float(lists), "has_closing": 0.0, "has_hedge": 0.0, "appeal": 0.0}
    features = {"words": float(words), "other": other, **flags}
    return Reply(text="word " * words, features=features, outcome=None, answer="")


def asked(*, constant: bool = False) -> Asked:
    """Thirty prompts: the teacher lists in every third; the student in all of these but one, and is twice as long."""
    prompts = tuple(f"p{place}" for place in range(30))
    rng = np.random.default_rng(0)

    def said(times: int, lists: int) -> dict[str, Reply]:
        return {
            prompt: reply(
                times * (5 if constant else 5 + place),
                lists=place % 3 == 0 and place >= lists,
                other=float(rng.normal() + 3 * (times == 3)),
            )
            for place, prompt in enumerate(prompts)
        }

    replies = {"teacher": said(1, 0), "student": said(2, 3), "base": said(3, 99)}
    missing = {"teacher-again": "the teacher answered once"}
    return Asked(prompts=prompts, teacher="teacher", replies=replies, missing=missing)


RUNG = Rung(student="student", base="base", source="broad", amount=1, replay=0.0, seeds=("student",))


@given(one=BAG, other=BAG)
def test_unigram_overlap_is_a_symmetric_share(one: Counter[str], other: Counter[str]) -> None:
    assert 0 <= unigram_overlap(one, other) == unigram_overlap(other, one) <= 1
    assert unigram_overlap(one, one) == (1.0 if one else 0.0)


def test_lists_are_counted_where_the_teacher_lists() -> None:
    styles = styles_of(asked(), ["base", "student", "teacher"], [RUNG], SPEC)
    lists = styles.table["lists"]["student"]
    assert isinstance(lists, Draws)
    assert lists.value == pytest.approx(0.9)
    assert lists.n == 10


def test_what_the_teacher_never_does_is_undefined() -> None:
    closing = styles_of(asked(), ["base", "student", "teacher"], [RUNG], SPEC).table["closing"]["student"]
    assert isinstance(closing, Undefined)
    assert "0 of the teacher's answers" in closing.reason


def test_proportional_lengths_correlate_fully_and_constant_ones_not_at_all() -> None:
    names = ["base", "student", "teacher"]
    full = styles_of(asked(), names, [RUNG], SPEC).table["length_correlation"]["student"]
    none = styles_of(asked(constant=True), names, [RUNG], SPEC).table["length_correlation"]["student"]
    assert isinstance(full, Draws)
    assert full.value == pytest.approx(1.0)
    assert isinstance(none, Undefined)


def test_without_a_second_sample_the_ceiling_is_chance_and_its_row_undefined() -> None:
    styles = styles_of(asked(), ["base", "student", "teacher"], [RUNG], SPEC)
    assert not styles.has_ceiling
    assert isinstance(styles.distance["teacher-again"], Undefined)
    assert isinstance(styles.closed["student"], Draws)


def test_without_prompts_everything_is_undefined_with_the_reason() -> None:
    nothing = "the study has no prompts for style"
    names = ["base", "student", "teacher"]
    empty = Asked(
        prompts=(), teacher="teacher", replies={}, missing=dict.fromkeys([*names, "teacher-again"], nothing)
    )
    closed = styles_of(empty, names, [RUNG], SPEC).closed["student"]
    assert isinstance(closed, Undefined)
    assert nothing in closed.reason


def test_the_distance_of_equal_completions_is_zero_and_of_plainly_other_ones_one() -> None:
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(40, 3))
    weights, parts = resample(40, 50, rng=rng), distance.folds(40, rng=rng)
    told = [distance.tell_apart(teacher, theirs, parts, weights) for theirs in (teacher.copy(), teacher - 20)]
    values, draws = distance.distances(told, weights)
    assert values.tolist() == [0.0, 1.0]
    assert draws.shape == (50, 2)


def test_no_classifier_sees_the_prompt_that_it_judges() -> None:
    parts = distance.folds(23, rng=np.random.default_rng(0))
    for tests in parts:
        assert sorted(place for test in tests for place in test.tolist()) == list(range(23))


def test_the_distance_covers_its_mean() -> None:
    rng = np.random.default_rng(8)
    world = Styled(closed=0.5, prompts=60, features=10, resamples=200)
    found = [interval(styles(world, rng=rng)[0]["student"], 0.95) for _ in range(60)]
    known = [one for one in found if isinstance(one, Estimate)]
    truth = np.mean([one.value for one in known])
    assert np.mean([one.low <= truth <= one.high for one in known]) >= 0.87


@pytest.mark.parametrize("many", [0, 1])
def test_a_classifier_is_not_trained_on_nothing(many: int) -> None:
    whole = asked()
    few = Asked(prompts=whole.prompts[:many], teacher="teacher", replies=whole.replies, missing=whole.missing)
    found = styles_of(few, ["base", "student", "teacher"], [RUNG], SPEC).closed["student"]
    assert isinstance(found, Undefined)
    assert found.n == many
