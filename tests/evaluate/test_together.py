"""Gradings of many completions at once: a program is run in a sandbox, and what was not answered is never wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from veneer.benchmarks import sandbox
from veneer.benchmarks.benchmark import Item, Program
from veneer.evaluate import classify, together
from veneer.evaluate.together import Answered
from veneer.records import Completion, Outcome, Stop
from veneer.study_benchmarks import BenchmarkSpec

MAX = Program(
    before="def largest(a, b):\n",
    after="assert largest(1, 2) == 2\nassert largest(3, 2) == 3\n",
    entry="largest",
)


def answered(said: str, item: Item, *, stop: Stop = Stop.END, **row: Any) -> Answered:
    completion = Completion(
        prompt_id=item.item_id, sample=0, model="m", rendered="", text=said, stop=stop, detail="", tokens_in=0,
        tokens_out=0,
    )  # fmt: skip
    return Answered(item=item, completion=completion, row={"form": "plain", "choices": [], **row})


def spec(tmp_path: Path, grading: str, **settings: Any) -> BenchmarkSpec:
    (tmp_path / "items.jsonl").write_text(json.dumps({"metric": "acc"}) + "\n")
    return BenchmarkSpec.model_validate(
        {"items": tmp_path / "items.jsonl", "measures": "skill", "grading": grading, **settings}
    )


def outcomes(graded: together.Graded) -> list[Outcome]:
    return [mark.strict for mark in graded.marks]


@pytest.mark.skipif(bool(sandbox.why_not()), reason=f"no sandbox here: {sandbox.why_not()}")
def test_a_program_is_right_if_it_passes_its_tests(tmp_path: Path) -> None:
    item = Item(item_id="1", question="?", cluster="1", program=MAX)
    found = together.grade(
        spec(tmp_path, "program"),
        [
            answered("    return max(a, b)\n", item),
            answered("    return a\n", item),
            answered("```python\ndef largest(x, y):\n    return x if x > y else y\n```", item, form="chat"),
            answered("", item),
            answered("", item, stop=Stop.FAILED),
        ],
        [item],
    )
    assert outcomes(found) == ["correct", "wrong", "correct", "unanswered", "failed"]


def test_a_text_that_no_classifier_could_score_is_failed_and_has_no_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = {"kind": 0.1, "rude": 0.9, "odd": None}
    classifier = classify.Classifier(
        name="c",
        version="1",
        digest="-",
        label="toxic",
        window=None,
        score=lambda said: [scores[one] for one in said],
    )
    monkeypatch.setattr(classify, "load", lambda _: classifier)
    monkeypatch.setattr(
        classify, "check", lambda *_: classify.Canary(high=(1.0,), low=(0.0,), told_apart=1.0)
    )
    item = Item(item_id="1", question="?", cluster="1")
    said = [answered(one, item) for one in scores] + [answered("", item, stop=Stop.FAILED)]
    found = together.grade(spec(tmp_path, "toxicity"), said, [item])
    assert outcomes(found) == ["correct", "wrong", "failed", "failed"]
    assert [mark.points for mark in found.marks] == [pytest.approx(0.9), pytest.approx(0.1), None, None]
    assert [mark.unscored for mark in found.marks] == [False, False, True, False]


def test_silence_is_unanswered_and_not_toxic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "_toxicity", lambda *_: ([], {}))
    item = Item(item_id="1", question="?", cluster="1")
    said = [answered(" \n", item), answered("", item, stop=Stop.REFUSED)]
    found = together.grade(spec(tmp_path, "toxicity"), said, [item])
    assert [(mark.strict, mark.points) for mark in found.marks] == [("unanswered", 1.0)] * 2


def test_choices_are_graded_by_lm_eval_and_texts_by_the_choice_they_name(tmp_path: Path) -> None:
    doc = {"question": "2+2?", "subject": "maths", "choices": ["3", "4", "5", "6"], "answer": 1}
    item = Item(
        item_id="1", question="2+2?", references=("B",), choices=tuple("ABCD"), cluster="1", context="2+2? Answer:",
        continuations=(" A", " B", " C", " D"), task="mmlu_abstract_algebra", doc=doc,
    )  # fmt: skip
    right, wrong = [[-3.0, 1, False], [-1.0, 1, True]], [[-1.0, 1, True], [-3.0, 1, False]]
    rest = [[-9.0, 1, False]] * 2
    found = together.grade(
        spec(tmp_path, "lm-eval"),
        [
            answered("B", item, form="choose", choices=right + rest),
            answered("A", item, form="choose", choices=wrong + rest),
            answered(" B", item),
            answered("I think it is (C).", item),
        ],
        [item],
    )
    assert outcomes(found) == ["correct", "wrong", "correct", "unparsed"]
    assert found.marks[3].lenient == Outcome.WRONG
    assert found.by["metric"] == "acc"


def test_a_likelihood_that_is_not_the_greatest_is_wrong_and_not_unparsed(tmp_path: Path) -> None:
    item = Item(
        item_id="1", question="the cat sat on the", references=("mat",), cluster="1", context="the cat sat on the",
        continuations=(" mat",), task="lambada_openai", doc={"text": "the cat sat on the mat"},
    )  # fmt: skip
    found = together.grade(
        spec(tmp_path, "lm-eval"),
        [
            answered(" mat", item, form="choose", choices=[[-1.0, 1, True]]),
            answered(" mat", item, form="choose", choices=[[-1.0, 1, False]]),
        ],
        [item],
    )
    assert [(mark.strict, mark.lenient) for mark in found.marks] == [
        ("correct", "correct"),
        ("wrong", "wrong"),
    ]
