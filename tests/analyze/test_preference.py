"""Win rates: everything counted, from the right side, with prompts resampled and seeds pooled."""

import numpy as np
import pytest

from tests.analyze.opinions import replies, said
from veneer.analyze.measure import Rung
from veneer.analyze.preference import preferences_of, rise_rows, rows_of, standing, taste_rows
from veneer.analyze.votes import votes_of
from veneer.records import Comparison
from veneer.stats import Estimate, Undefined
from veneer.study import AnalyzeSpec

SPEC = AnalyzeSpec(resamples=200)
RUNGS = [Rung(student="s", base="b", source="broad", amount=1, replay=0.0, seeds=("s-0", "s-1"))]
ORDER = ["teacher", "b"]


def rows(*comparisons: list[Comparison]) -> list[dict[str, object]]:
    whole = [one for part in comparisons for one in part]
    found = preferences_of("j", "recorded", votes_of(whole, ORDER), {}, ORDER, RUNGS, SPEC)
    return rows_of(found, ["b"], "teacher", RUNGS, SPEC)


def test_wins_count_from_the_contestants_side_whoever_is_shown_first() -> None:
    shown = said("s-0", "teacher", "1" * 6 + "2" * 6), said("teacher", "s-1", "2" * 9 + "=" * 2 + "?")
    (found,) = rows(*shown)
    assert [found[key] for key in ("wins", "ties", "losses", "none")] == [15, 2, 6, 1]
    assert found["win_rate"]["value"] == pytest.approx(16 / 23)  # type: ignore[index]
    assert found["at_least_equal"]["value"] == pytest.approx(17 / 23)  # type: ignore[index]


def test_winning_always_is_not_certain_to_go_on() -> None:
    (found,) = rows(said("b", "teacher", "1" * 20))
    assert found["win_rate"]["value"] == found["win_rate"]["high"] == 1.0  # type: ignore[index]
    assert 0.75 < found["win_rate"]["low"] < 0.9  # type: ignore[index]


def test_no_verdict_at_all_is_undefined() -> None:
    (found,) = rows(said("b", "teacher", "?" * 20))
    assert found["none"] == 20
    assert "no comparison had a verdict" in found["win_rate"]["undefined"]  # type: ignore[index]


def test_teacher_and_base_are_told_once_and_students_against_both() -> None:
    found = rows(
        said("b", "teacher", "12" * 10),
        *(said(seed, other, "12" * 10) for seed in ("s-0", "s-1") for other in ("teacher", "b")),
        said("teacher-again", "teacher", "12" * 10),
    )
    pairs = [(one["contestant"], one["opponent"]) for one in found]
    assert pairs == [("b", "teacher"), ("s", "teacher"), ("teacher-again", "teacher"), ("s", "b")]


def test_seeds_that_disagree_widen_the_interval() -> None:
    def width(one: str, other: str) -> float:
        (found,) = rows(said("s-0", "teacher", one), said("s-1", "teacher", other))
        rate: dict[str, float] = found["win_rate"]  # type: ignore[assignment]
        return rate["high"] - rate["low"]

    assert width("1" * 36 + "2" * 4, "1" * 4 + "2" * 36) > 1.5 * width("12" * 20, "21" * 20)


def test_the_three_results_are_shares_that_add_up() -> None:
    (found,) = rows(said("b", "teacher", "1" * 6 + "2" * 10 + "=" * 4))
    shares = [found[key]["value"] for key in ("won", "tied", "lost")]  # type: ignore[index]
    assert shares == pytest.approx([0.3, 0.2, 0.5])


def panel(lines: list[str]) -> list[Comparison]:
    return [one for rater, line in enumerate(lines) for one in said("b", "teacher", line, by=f"r{rater}")]


def test_votes_and_majorities_stand_side_by_side() -> None:
    (found,) = rows(panel(["1" * 20, "1" * 10 + "2" * 10, "2" * 20]))
    assert [found[key] for key in ("raters", "wins", "losses")] == [3, 30, 30]
    assert [found[f"majority_{key}"] for key in ("wins", "ties", "losses", "none")] == [10, 0, 10, 0]
    assert found["majority_win_rate"]["value"] == pytest.approx(0.5)  # type: ignore[index]


def width(kind: str, lines: list[str], rate: str = "win_rate") -> float:
    votes = votes_of(panel(lines), ORDER)
    (found,) = rows_of(
        preferences_of("j", kind, votes, {}, ORDER, RUNGS, SPEC), ["b"], "teacher", RUNGS, SPEC
    )
    return float(found[rate]["high"] - found[rate]["low"])


APART = ["1" * 27 + "2" * 3, "12" * 15, "2" * 27 + "1" * 3]


def test_people_who_differ_make_the_interval_wide_as_few_of_them_must() -> None:
    assert width("people", APART) > 2 * width("simulated", APART)


def test_a_majority_of_few_people_is_no_surer_than_their_votes() -> None:
    assert width("people", APART, "majority_win_rate") > 2 * width("simulated", APART, "majority_win_rate")


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (0.46, 0.54, "indistinguishable"),
        (0.51, 0.54, "indistinguishable"),
        (0.51, 0.7, "preferred"),
        (0.2, 0.49, "not preferred"),
        (0.44, 0.54, "undecided"),
    ],
)
def test_indistinguishable_is_said_only_of_a_whole_interval_near_one_half(
    low: float, high: float, says: str
) -> None:
    assert standing(Estimate(value=(low + high) / 2, low=low, high=high, n=99), 0.05) == says
    assert standing(Undefined(reason="", n=0), 0.05) == "undecided"


def test_a_win_rate_that_length_made_is_gone_at_equal_length() -> None:
    """The contestant wins wherever it is the longer, on three prompts of four."""
    rng = np.random.default_rng(0)
    apart = rng.permutation(np.where(np.arange(200) % 4, 1.0, -1.0)) + rng.normal(0, 0.3, 200)
    longer = rng.random(200) < 1 / (1 + np.exp(-3 * apart))
    votes = votes_of(said("b", "teacher", "".join(np.where(longer, "1", "2"))), ORDER)
    known = replies({"b": (5 + apart).tolist(), "teacher": [5.0] * 200})
    (found,) = rows_of(
        preferences_of("j", "recorded", votes, known, ORDER, RUNGS, SPEC), ["b"], "teacher", RUNGS, SPEC
    )
    assert found["win_rate"]["low"] > 0.6
    assert found["length_controlled"]["low"] < 0.5 < found["length_controlled"]["high"]
    assert found["style_share"]["low"] > 0.4
    slopes = {
        row["feature"]: row["slope"]["value"]
        for row in taste_rows(preferences_of("j", "recorded", votes, known, ORDER, RUNGS, SPEC), 0.95)
    }
    assert list(slopes) == ["length"]
    assert slopes["length"] > 1


def test_without_the_completions_style_is_unknown_and_the_raw_rate_stands() -> None:
    (found,) = rows(said("b", "teacher", "12" * 10))
    assert "value" in found["win_rate"]  # type: ignore[operator]
    assert "style of a completion is not known" in found["style_controlled"]["undefined"]  # type: ignore[index]


def test_a_rise_over_the_base_that_length_made_is_told_apart() -> None:
    """Both are as good as the teacher; the student is mostly longer than it, the base mostly shorter."""
    rng = np.random.default_rng(1)
    lean = {"b": -1.0, "s": 1.0}
    rungs = [Rung(student="s", base="b", source="broad", amount=1, replay=0.0, seeds=("s",))]
    lengths = {name: (5 + one + rng.normal(0, 1, 200)).tolist() for name, one in lean.items()}
    known = replies({**lengths, "teacher": [5.0] * 200})
    marks = {
        name: "".join(np.where(rng.random(200) < 1 / (1 + np.exp(-2 * (np.array(own) - 5))), "1", "2"))
        for name, own in lengths.items()
    }
    votes = votes_of([one for name, line in marks.items() for one in said(name, "teacher", line)], ORDER)
    (found,) = rise_rows(preferences_of("j", "recorded", votes, known, ORDER, rungs, SPEC), rungs, 0.95)
    assert found["rise"]["low"] > 0.3
    assert found["rise_at_equal_style"]["low"] < 0 < found["rise_at_equal_style"]["high"]
    assert found["style_share"]["low"] > 0.6


def test_a_base_that_was_not_compared_leaves_no_rise() -> None:
    votes = votes_of([*said("s-0", "teacher", "12" * 10), *said("s-1", "teacher", "12" * 10)], ORDER)
    assert rise_rows(preferences_of("j", "recorded", votes, {}, ORDER, RUNGS, SPEC), RUNGS, 0.95) == []


def test_at_equal_style_nobody_is_surer_than_the_raw_rate_allows() -> None:
    """Few wins, none of which style foretells: refitting alone would hardly move the rate."""
    rng = np.random.default_rng(2)
    known = replies({"b": rng.normal(5, 1, 60).tolist(), "teacher": [5.0] * 60})
    votes = votes_of(said("b", "teacher", "1" * 5 + "2" * 55), ORDER)
    (found,) = rows_of(
        preferences_of("j", "recorded", votes, known, ORDER, RUNGS, SPEC), ["b"], "teacher", RUNGS, SPEC
    )
    raw, equal = (found[key]["high"] - found[key]["low"] for key in ("win_rate", "style_controlled"))
    assert equal > 0.8 * raw
