"""Judges weigh completions, or repeat what was recorded; where there is no verdict they say why."""

import json
import math
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models.tiny import checkpoint
from veneer.errors import DataError, StudyError
from veneer.evaluate import judge_likelihood, judge_recorded
from veneer.models.model import ModelRef
from veneer.records import (
    Comparison,
    Completion,
    Contestant,
    Message,
    Prompt,
    Role,
    Stop,
    Verdict,
    from_row,
    to_row,
)
from veneer.store import Artefact, Store, read_rows, write_rows
from veneer.study_judges import LikelihoodJudgeSpec, RecordedJudgeSpec

SPEC = LikelihoodJudgeSpec(kind="likelihood", model="teacher")


def contestant(name: str, role: Role, base: str = "") -> Contestant:
    return Contestant(name=name, role=role, student=name, base=base, source="", amount=0, seed=0, replay=0.0)


PEOPLE = [
    contestant("base", Role.BASE, "base"),
    contestant("student", Role.STUDENT, "base"),
    contestant("teacher", Role.TEACHER),
]


def answers(folder: Path, name: str, *texts: tuple[str, int, str]) -> Artefact:
    """Write a contestant's answers: (prompt's id, sample, text)."""
    path = folder / name
    rows = [
        {"benchmark": "prompts", "form": "chat", "reference_loglikelihood": None,
         "completion": to_row(Completion(
            prompt_id=prompt_id, sample=sample, model=name, rendered="", text=text,
            stop=Stop.END, detail="", tokens_in=0, tokens_out=0))}
        for prompt_id, sample, text in texts
    ]  # fmt: skip
    write_rows(path / "completions.jsonl", rows)
    prompts = [Prompt(prompt_id=one, messages=(Message(role="user", content="w1"),)) for one in ("1", "2")]
    write_rows(path / "prompts.jsonl", map(to_row, prompts))
    return Artefact(stage="answer", name=name, key=name, path=path)


def comparisons(artefact: Artefact) -> list[Comparison]:
    rows = read_rows(artefact.path / "comparisons.jsonl")
    return [from_row(Comparison, row, where) for where, row in rows]


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


@pytest.mark.parametrize(
    "value", [None, -1, [], [1], [1, 2, 3], ["1", 2], [True, 2], [-1, -1], [8, -1], [math.nan, 1], "8 9", {}]
)
def test_scores_that_are_not_two_numbers_are_no_verdict_and_the_reason_is_kept(value: object) -> None:
    verdict, reason = judge_recorded.read_scores(value)
    assert verdict is Verdict.NONE
    assert "review" in reason


def reviews(folder: Path, *rows: dict[str, object], **settings: str) -> RecordedJudgeSpec:
    path = folder / "reviews.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = {"path": path, "first": "base", "second": "teacher", **settings}
    return RecordedJudgeSpec.model_validate({"kind": "recorded", "reviews": [file]})


def test_recorded_scores_become_verdicts_in_the_order_of_the_review(tmp_path: Path) -> None:
    scores = [[9, 8], [7, 8.5], [8, 8], [-1, -1]]
    rows = [{"question_id": place, "score": pair, "text": "said"} for place, pair in enumerate(scores)]
    (order,) = judge_recorded.recorded_orders("gpt4", reviews(tmp_path, *rows), PEOPLE)
    found = comparisons(Store(root=tmp_path / "store").build(order))
    assert [one.verdict for one in found] == [Verdict.FIRST, Verdict.SECOND, Verdict.TIE, Verdict.NONE]
    assert {(one.first, one.second, one.by) for one in found} == {("base", "teacher", "gpt4")}
    assert found[0].reason == "said"
    assert "review failed" in found[3].reason


def test_a_review_of_a_stranger_is_an_error_that_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"reviews\[0\]\.second: 'bard'.*'base', 'student', 'teacher'"):
        judge_recorded.recorded_orders("gpt4", reviews(tmp_path, second="bard"), PEOPLE)


def test_a_review_without_a_prompt_is_an_error_that_names_its_line(tmp_path: Path) -> None:
    (order,) = judge_recorded.recorded_orders("gpt4", reviews(tmp_path, {"score": [1, 2]}), PEOPLE)
    with pytest.raises(DataError, match=r"reviews\.jsonl:1.*question_id"):
        Store(root=tmp_path / "store").build(order)


@pytest.mark.skipif("VENEER_DATA" not in os.environ, reason="VENEER_DATA is not set: no reviews to read")
def test_real_reviews_all_have_a_verdict(tmp_path: Path) -> None:
    folder = Path(os.environ["VENEER_DATA"]) / "vicuna_bench" / "review" / "vicuna-13b_20230322-clean-lang"
    file = {"path": folder / "review_gpt35_vicuna-13b.jsonl.gz", "first": "teacher", "second": "student"}
    spec = RecordedJudgeSpec.model_validate({"kind": "recorded", "reviews": [file]})
    (order,) = judge_recorded.recorded_orders("gpt4", spec, PEOPLE)
    found = Counter(one.verdict for one in comparisons(Store(root=tmp_path).build(order)))
    assert sum(found.values()) == 80
    assert found[Verdict.NONE] == 0
    assert found[Verdict.FIRST] > found[Verdict.SECOND]
