"""What a study file may say of its judges, and how it says what it may not."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from veneer.errors import StudyError
from veneer.study import Study, load
from veneer.study_judges import ModelJudgeSpec, RecordedJudgeSpec

ENDPOINT = {"url": "http://host/v1", "model": "m"}


def read(folder: Path, judge: dict[str, Any], **more: Any) -> Study:
    (folder / "some.jsonl").write_text('{"id": "1", "question": "q"}\n')
    model = {"replay": "some.jsonl"}
    study = {
        "name": "judged",
        "bases": {"base": model},
        "teacher": model,
        "students": {"student": {"base": "base", **model}},
        "evaluate": {"prompts": {"items": "some.jsonl"}},
        "judges": {"j": judge},
        **more,
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return load(folder / "study.yaml")


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ({"kind": "model", "model": "bard"}, "judges.j.model is 'bard'; the models are ['teacher'"),
        ({"kind": "model", "modle": "base"}, "judges.j.modle: unknown key; the nearest known one is `model`"),
        (
            {"kind": "model", "model": {"endpoint": {**ENDPOINT, "urll": 1}}},
            "judges.j.model.endpoint.urll: unknown key; the nearest known one is `url`",
        ),
        ({"kind": "model", "model": {}}, "judges.j.model: name exactly one of `checkpoint`, `endpoint`"),
        ({"kind": "model", "model": 5}, "judges.j.model: Input should be a valid string (found 5)"),
        ({"kind": "model", "answers": "stars"}, "judges.j.answers"),
        ({"kind": "model", "prompt": "none.txt"}, "none.txt does not exist"),
        ({"kind": "reader"}, "judges.j"),
        ({"kind": "recorded", "reviews": []}, "judges.j.reviews"),
        (
            {"kind": "recorded", "reviews": [{"path": "some.jsonl", "first": "base"}]},
            "name both `first` and `second`, or neither",
        ),
        (
            {"kind": "recorded", "reviews": [{"path": "some.jsonl", "first": "base", "second": "base"}]},
            "`first` and `second` are both 'base'",
        ),
        (
            {"kind": "recorded", "reviews": [{"path": "some.jsonl", "words": {"first": "3"}}]},
            "three different words",
        ),
        ({"kind": "tone"}, "judges.j: name exactly one of `model` (one that reads) and `classifier`"),
        (
            {"kind": "tone", "model": "base", "classifier": {"checkpoint": ".", "label": "sure"}},
            "judges.j: name exactly one of `model` (one that reads) and `classifier`",
        ),
        (
            {"kind": "tone", "classifier": {"checkpoint": ".", "label": "sure"}, "sampling": {"seed": 1}},
            "judges.j: `prompt` and `sampling` belong to `model`",
        ),
        ({"kind": "tone", "classifier": {"checkpoint": "."}}, "judges.j.classifier.label: is missing"),
        ({"kind": "tone", "model": "bard"}, "judges.j.model is 'bard'; the models are ['teacher'"),
        (
            {"kind": "tone", "model": {"endpoint": {**ENDPOINT, "urll": 1}}},
            "judges.j.model.endpoint.urll: unknown key; the nearest known one is `url`",
        ),
    ],
)
def test_a_judge_that_cannot_be_is_refused_by_its_place(
    tmp_path: Path, judge: dict[str, Any], said: str
) -> None:
    with pytest.raises(StudyError) as error:
        read(tmp_path, judge)
    assert said in str(error.value)


def test_a_judge_that_reads_needs_something_to_read(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"judges\.j reads completions of `evaluate\.prompts`"):
        read(tmp_path, {"kind": "model"}, evaluate={})


def test_a_judge_of_tone_needs_something_to_hear_and_is_the_only_one(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"judges\.j reads completions of `evaluate\.prompts`"):
        read(tmp_path, {"kind": "tone", "model": "teacher"}, evaluate={})
    two = {name: {"kind": "tone", "model": "teacher"} for name in ("one", "two")}
    with pytest.raises(StudyError, match=r"judges\.two: `one` judges tone already"):
        read(tmp_path, {}, judges=two)


def test_a_study_knows_its_judge_of_tone_and_the_models_that_only_judges_have(tmp_path: Path) -> None:
    own = {"kind": "tone", "model": {"endpoint": ENDPOINT}}
    study = read(tmp_path, {}, judges={"gpt": {"kind": "model"}, "ear": own})
    assert study.tone == "ear"
    assert list(study.judges_own) == ["ear"]
    by_label = {"kind": "tone", "classifier": {"checkpoint": ".", "label": "sure"}}
    assert read(tmp_path, by_label).judges_own == {}
    assert read(tmp_path, {"kind": "model"}).tone is None


def test_a_judge_is_a_name_or_a_model_of_its_own(tmp_path: Path) -> None:
    for model in ("base", "teacher", {"endpoint": ENDPOINT}, {"replay": "some.jsonl", "maker": "acme"}):
        judge = read(tmp_path, {"kind": "model", "model": model}).judges["j"]
        assert isinstance(judge, ModelJudgeSpec)
        assert isinstance(judge.model, str) == isinstance(model, str)


def test_words_of_verdicts_have_defaults_one_by_one(tmp_path: Path) -> None:
    file = {"path": "some.jsonl", "verdict_field": "v", "words": {"tie": "0"}}
    judge = read(tmp_path, {"kind": "recorded", "reviews": [file]}).judges["j"]
    assert isinstance(judge, RecordedJudgeSpec)
    words = judge.reviews[0].words
    assert (words.first, words.second, words.tie) == ("1", "2", "0")
