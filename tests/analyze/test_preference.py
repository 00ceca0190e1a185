"""Win rates: everything counted, from the right side, with prompts resampled and seeds pooled."""

import pytest

from veneer.analyze.measure import Rung
from veneer.analyze.preference import preferences_of, rows_of
from veneer.analyze.votes import votes_of
from veneer.records import Comparison, Verdict
from veneer.study import AnalyzeSpec

SPEC = AnalyzeSpec(resamples=200)
RUNGS = [Rung(student="s", base="b", source="broad", amount=1, replay=0.0, seeds=("s-0", "s-1"))]
ORDER = ["teacher", "b"]


def verdicts(first: str, second: str, said: str) -> list[Comparison]:
    kinds = {"1": Verdict.FIRST, "2": Verdict.SECOND, "=": Verdict.TIE, "?": Verdict.NONE}
    return [
        Comparison(prompt_id=f"p{place}", first=first, second=second, verdict=kinds[mark], by="j", reason="")
        for place, mark in enumerate(said)
    ]


def rows(*comparisons: list[Comparison]) -> list[dict[str, object]]:
    whole = [one for part in comparisons for one in part]
    found = preferences_of("j", "recorded", votes_of(whole, ORDER), {}, ORDER, RUNGS, SPEC)
    return rows_of(found, ["b"], "teacher", RUNGS, SPEC)


def test_wins_count_from_the_contestants_side_whoever_is_shown_first() -> None:
    shown = verdicts("s-0", "teacher", "1" * 6 + "2" * 6), verdicts("teacher", "s-1", "2" * 9 + "=" * 2 + "?")
    (found,) = rows(*shown)
    assert [found[key] for key in ("wins", "ties", "losses", "none")] == [15, 2, 6, 1]
    assert found["win_rate"]["value"] == pytest.approx(16 / 23)  # type: ignore[index]
    assert found["at_least_equal"]["value"] == pytest.approx(17 / 23)  # type: ignore[index]


def test_winning_always_is_not_certain_to_go_on() -> None:
    (found,) = rows(verdicts("b", "teacher", "1" * 20))
    assert found["win_rate"]["value"] == found["win_rate"]["high"] == 1.0  # type: ignore[index]
    assert 0.75 < found["win_rate"]["low"] < 0.9  # type: ignore[index]


def test_no_verdict_at_all_is_undefined() -> None:
    (found,) = rows(verdicts("b", "teacher", "?" * 20))
    assert found["none"] == 20
    assert "no comparison had a verdict" in found["win_rate"]["undefined"]  # type: ignore[index]


def test_teacher_and_base_are_told_once_and_students_against_both() -> None:
    found = rows(
        verdicts("b", "teacher", "12" * 10),
        *(verdicts(seed, other, "12" * 10) for seed in ("s-0", "s-1") for other in ("teacher", "b")),
        verdicts("teacher-again", "teacher", "12" * 10),
    )
    pairs = [(one["contestant"], one["opponent"]) for one in found]
    assert pairs == [("b", "teacher"), ("s", "teacher"), ("teacher-again", "teacher"), ("s", "b")]


def test_seeds_that_disagree_widen_the_interval() -> None:
    def width(one: str, other: str) -> float:
        (found,) = rows(verdicts("s-0", "teacher", one), verdicts("s-1", "teacher", other))
        rate: dict[str, float] = found["win_rate"]  # type: ignore[assignment]
        return rate["high"] - rate["low"]

    assert width("1" * 36 + "2" * 4, "1" * 4 + "2" * 36) > 1.5 * width("12" * 20, "21" * 20)
