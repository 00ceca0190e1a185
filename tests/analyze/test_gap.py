"""The share of a gap closed comes out as planted, with an interval that covers as promised."""

import numpy as np
import pytest

from benchmarks.answer_worlds import LEVEL, QUESTIONS, SOURCE, TEACHER, Ladder, Styled, book, styles
from veneer.analyze.gap import closed_of, gap_closed
from veneer.stats import Estimate, Undefined, interval


def answers(right: int, n: int) -> list[int]:
    return [1] * right + [0] * (n - right)


@pytest.mark.parametrize(
    ("base", "student", "closed"), [(17, 10, -0.50), (20, 15, -0.45), (17, 22, 0.36), (20, 27, 0.64)]
)
def test_the_papers_table_1_comes_out(base: int, student: int, closed: float) -> None:
    n = 3610
    rng = np.random.default_rng(0)
    counts = [answers(round(n * share / 100), n) for share in (base, student, 31)]
    found = gap_closed(*[rng.permutation(count) for count in counts], rng=rng)
    assert isinstance(found, Estimate)
    assert found.value == pytest.approx(closed, abs=0.01)
    assert found.low < closed < found.high


def test_a_teacher_that_does_not_beat_the_base_leaves_it_undefined() -> None:
    same = answers(50, 100)
    found = gap_closed(same, answers(60, 100), same, rng=np.random.default_rng(0))
    assert isinstance(found, Undefined)
    assert "the teacher does not measurably beat the base" in found.reason


def test_a_student_equal_to_its_teacher_closed_all_of_it() -> None:
    found = gap_closed(answers(20, 100), answers(80, 100), answers(80, 100), rng=np.random.default_rng(0))
    assert isinstance(found, Estimate)
    assert found.value == 1.0


def test_the_same_generator_gives_the_same_interval() -> None:
    runs = [
        gap_closed(answers(20, 90), answers(50, 90), answers(80, 90), rng=np.random.default_rng(3))
        for _ in range(2)
    ]
    assert runs[0] == runs[1]


def covered(world: Ladder, studies: int) -> float:
    """Return how often the interval of a student's gap closed holds the truth, studies made up anew."""
    rng, held = np.random.default_rng(11), 0
    for _ in range(studies):
        made = book(world, rng=rng)
        rung = made.rungs[-1]
        values = made.means([(QUESTIONS, "plain")], "lenient", SOURCE)[rung.amount]
        found = interval(closed_of(values, rung.base, rung.student, TEACHER, LEVEL), LEVEL)
        assert isinstance(found, Estimate)
        held += found.low <= world.true_closed(rung) <= found.high
    return held / studies


@pytest.mark.parametrize(
    "world",
    [
        Ladder(
            clusters=200, bases=(0.35,), closed=((0.4, 0.4),), seeds=(1,), between_seeds=0.0, resamples=400
        ),
        Ladder(
            clusters=80,
            per_cluster=4,
            bases=(0.35,),
            closed=((0, 0),),
            seeds=(1,),
            between_seeds=0,
            resamples=400,
        ),
        Ladder(
            clusters=150, bases=(0.35,), closed=((-0.5, -0.5),), seeds=(1,), between_seeds=0, resamples=400
        ),
        Ladder(
            clusters=200, bases=(0.35,), closed=((0.4, 0.4),), seeds=(2,), between_seeds=0.03, resamples=400
        ),
    ],
    ids=["plain items", "clustered items", "a gap opened further", "two training seeds"],
)
def test_the_interval_covers_the_planted_truth(world: Ladder) -> None:
    # 400 studies: two standard errors are 2.2 points. Wider than promised is allowed, narrower is not.
    assert covered(world, 400) >= 0.928


@pytest.mark.parametrize("closed", [0.0, 1.0])
def test_the_style_gap_closed_covers_the_planted_truth(closed: float) -> None:
    rng = np.random.default_rng(2)
    world = Styled(closed=closed, prompts=80, features=12)
    found = [interval(styles(world, rng=rng)[1], LEVEL) for _ in range(60)]
    known = [one for one in found if isinstance(one, Estimate)]
    assert len(known) == 60
    assert np.mean([one.low <= closed <= one.high for one in known]) >= 0.88
    assert np.mean([one.value for one in known]) == pytest.approx(closed, abs=0.05)
