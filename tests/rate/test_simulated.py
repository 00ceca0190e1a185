import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.disk import read_rows, write_rows
from veneer.errors import DataError
from veneer.rate.ballots import Ballot
from veneer.rate.simulated import Impression, compare, orders, rate
from veneer.records import Comparison, Contestant, Grade, Outcome, Role, Style, Verdict, from_row, to_row
from veneer.store import Artefact, Store
from veneer.study_rate import SimulatedSpec

BALLOT = Ballot(prompt_id="p", first="one", second="two")
CALM = SimulatedSpec(style_attention=2.0, fact_attention=3.0, tie=0.5)


def verdict(one: Impression | str, two: Impression | str, noise: float = 0.0) -> Verdict:
    return compare(CALM, BALLOT, {("one", "p"): one, ("two", "p"): two}, noise, "simulated-rater-1").verdict


def seen(appeal: float, right: bool | None = None) -> Impression:
    return Impression(appeal=appeal, right=right)


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        (seen(1.0), seen(0.0), Verdict.FIRST),
        (seen(0.0), seen(1.0), Verdict.SECOND),
        (seen(0.6), seen(0.4), Verdict.TIE),
        (seen(0.0, False), seen(1.0, True), Verdict.SECOND),
        (seen(0.0, True), seen(1.0, False), Verdict.FIRST),
        (seen(0.0, None), seen(1.0, False), Verdict.SECOND),
        ("there is no completion", seen(1.0), Verdict.NONE),
        (seen(1.0), "its completion failed", Verdict.NONE),
    ],
)
def test_a_rater_without_noise_weighs_style_and_facts(
    one: Impression | str, two: Impression | str, expected: Verdict
) -> None:
    assert verdict(one, two) is expected


@given(st.floats(0, 1), st.floats(0, 1), st.floats(-5, 5))
def test_swapping_the_two_swaps_the_verdict(one: float, two: float, noise: float) -> None:
    swapped = {Verdict.FIRST: Verdict.SECOND, Verdict.SECOND: Verdict.FIRST, Verdict.TIE: Verdict.TIE}
    assert verdict(seen(two), seen(one), -noise) is swapped[verdict(seen(one), seen(two), noise)]


def test_the_win_rate_is_that_of_the_choice_model() -> None:
    spec = SimulatedSpec(raters=1, style_attention=1.0, fact_attention=0.0, tie=0.0)
    prompts = [str(number) for number in range(4000)]
    found = {("pupil", prompt): seen(1.0) for prompt in prompts} | {
        ("master", prompt): seen(0.5) for prompt in prompts
    }
    verdicts = rate(spec, found, ["pupil"], "master", prompts)
    wins = sum((one.first if one.verdict is Verdict.FIRST else one.second) == "pupil" for one in verdicts)
    expected = 1 / (1 + math.exp(-0.5))
    assert abs(wins / 4000 - expected) < 4 * math.sqrt(expected * (1 - expected) / 4000)


def test_another_challenger_changes_nothing_for_the_rest() -> None:
    prompts = ["a", "b", "c"]
    found = {(name, prompt): seen(0.5) for name in ("x", "y", "master") for prompt in prompts}
    both = rate(SimulatedSpec(), found, ["x", "y"], "master", prompts)
    alone = rate(SimulatedSpec(), found, ["y"], "master", prompts)
    assert [one for one in both if "y" in (one.first, one.second)] == alone


def test_every_ballot_has_a_verdict_of_every_rater_in_the_file(tmp_path: Path) -> None:
    comparisons = _rated(tmp_path)
    assert len(comparisons) == 2 * 3 * 2  # raters x (base, student, teacher again) x prompts
    assert {one.by for one in comparisons} == {"simulated-rater-1", "simulated-rater-2"}
    reasons = {
        one.reason for one in comparisons if one.verdict is Verdict.NONE and "base" in (one.first, one.second)
    }
    assert reasons == {"base: its completion failed"}
    assert all("simulated" in one.reason for one in comparisons if one.verdict is not Verdict.NONE)


def test_a_contestant_without_a_second_sample_has_no_verdict_and_says_why(tmp_path: Path) -> None:
    again = [
        one for one in _rated(tmp_path) if "teacher-again" in (one.first, one.second) and one.prompt_id == "q"
    ]
    assert {(one.verdict, one.reason) for one in again} == {
        (Verdict.NONE, "teacher-again: there is no completion")
    }


def test_an_appeal_out_of_range_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="style.jsonl:1: the feature `appeal` is 1.5"):
        _rated(tmp_path, appeal=1.5)


def _rated(folder: Path, appeal: float = 0.5) -> list[Comparison]:
    """Rate two prompts: the base failed on `p`, and the teacher has a second sample of `p` alone."""
    roles = {"base": Role.BASE, "student": Role.STUDENT, "teacher": Role.TEACHER}
    samples = {
        "base": [("p", 0), ("q", 0)],
        "student": [("p", 0), ("q", 0)],
        "teacher": [("p", 0), ("p", 1), ("q", 0)],
    }
    graded = {}
    for name, asked in samples.items():
        rows = [_style(name, prompt, sample, appeal) for prompt, sample in asked]
        write_rows(folder / name / "style.jsonl", map(to_row, rows))
        outcome = Outcome.FAILED if name == "base" else Outcome.CORRECT
        write_rows(folder / name / "grades.jsonl", [to_row(_grade(name, "p", outcome))])
        graded[name] = Artefact(stage="grade", name=name, key=name, path=folder / name)
    contestants = [
        Contestant(name=name, role=role, student=name, base="", source="", amount=0, seed=0, replay=0.0)
        for name, role in roles.items()
    ]
    (order,) = orders(SimulatedSpec(raters=2), graded, contestants)
    made = Store(root=folder / "store").build(order)
    return [from_row(Comparison, row, where) for where, row in read_rows(made.path / "comparisons.jsonl")]


def _style(name: str, prompt: str, sample: int, appeal: float) -> Style:
    return Style(contestant=name, prompt_id=prompt, sample=sample, features={"words": 3.0, "appeal": appeal})


def _grade(name: str, prompt: str, outcome: Outcome) -> Grade:
    return Grade(
        contestant=name, benchmark="prompts", form="chat", prompt_id=prompt, cluster=prompt, sample=0,
        strict=outcome, lenient=outcome, answer="", reference_loglikelihood=None,
    )  # fmt: skip
