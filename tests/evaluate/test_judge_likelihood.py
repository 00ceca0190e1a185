"""A likelihood judge weighs completions; where there is nothing to weigh it says why."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluate.judging import PEOPLE, answers, comparisons
from tests.models.tiny import checkpoint
from veneer.disk import read_rows
from veneer.errors import StudyError
from veneer.evaluate import judge_likelihood
from veneer.models.model import ModelRef
from veneer.records import Verdict
from veneer.store import Store
from veneer.study_judges import LikelihoodJudgeSpec

SPEC = LikelihoodJudgeSpec(kind="likelihood", model="teacher")


def test_a_likelihood_judge_weighs_everybody_against_the_teacher_and_students_against_their_base(
    tmp_path: Path,
) -> None:
    ref = ModelRef(name="teacher", kind="checkpoint", path=checkpoint(tmp_path / "model"), digest="-")
    answered = {
        "base": answers(tmp_path, "base", ("1", 0, "w3 w4"), ("2", 0, " ")),
        "student": answers(tmp_path, "student", ("1", 0, "one two"), ("2", 0, "w5")),
        "teacher": answers(
            tmp_path, "teacher", ("1", 0, "one two"), ("1", 1, "w9"), ("2", 0, "w7"), ("2", 1, "w8")
        ),
    }
    store = Store(root=tmp_path / "store")
    scored = {
        order.name: store.build(order)
        for order in judge_likelihood.score_orders("fair", SPEC, ref, PEOPLE, answered)
    }
    rows = [row for _, row in read_rows(scored["fair-base"].path / "scores.jsonl")]
    assert rows[0]["tokens"] == 3
    assert rows[0]["mean_logprob"] < 0
    assert (rows[1]["mean_logprob"], rows[1]["reason"]) == (None, "empty completion")
    (order,) = judge_likelihood.verdict_orders("fair", SPEC, PEOPLE, scored)
    found = comparisons(store.build(order))
    pairs = [(one.first, one.second, one.prompt_id) for one in found]
    assert pairs == [
        (first, second, prompt)
        for first, second in (
            ("base", "teacher"), ("student", "teacher"), ("teacher-again", "teacher"), ("student", "base"),
        )
        for prompt in ("1", "2")
    ]  # fmt: skip
    by_pair = dict(zip(pairs, found, strict=True))
    assert by_pair["student", "teacher", "1"].verdict is Verdict.TIE
    assert by_pair["base", "teacher", "2"].verdict is Verdict.NONE
    assert by_pair["base", "teacher", "2"].reason == "first: empty completion"
    assert by_pair["teacher-again", "teacher", "1"].verdict in {Verdict.FIRST, Verdict.SECOND}


def test_recordings_cannot_judge(tmp_path: Path) -> None:
    ref = ModelRef(name="teacher", kind="replay", path=tmp_path, digest="-")
    with pytest.raises(StudyError, match=r"judges\.fair\.model.*checkpoint"):
        judge_likelihood.score_orders("fair", SPEC, ref, PEOPLE, {})


@given(st.floats(-9, 0), st.floats(-9, 0), st.floats(0, 2))
def test_swapping_the_sides_swaps_the_verdict(one: float, other: float, tie: float) -> None:
    swapped = {Verdict.FIRST: Verdict.SECOND, Verdict.SECOND: Verdict.FIRST, Verdict.TIE: Verdict.TIE}
    verdict = judge_likelihood.weigh(one, other, tie)[0]
    assert judge_likelihood.weigh(other, one, tie)[0] == swapped[verdict]
    assert (verdict is Verdict.TIE) == (abs(one - other) <= tie)
