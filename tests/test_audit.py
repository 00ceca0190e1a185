"""The study file of an audit, written in one line."""

from pathlib import Path

import pytest

from veneer import audit
from veneer.errors import StudyError
from veneer.study import load


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name in ("llama", "vicuna"):
        (tmp_path / "models" / name).mkdir(parents=True)
    (tmp_path / "models" / "gpt.jsonl").write_text("")
    (tmp_path / "data").mkdir()
    return tmp_path


def test_an_audit_is_a_study_that_loads(models: Path) -> None:
    place = models / "models"
    students = [str(place / "vicuna"), "http://localhost:8000/v1#vicuna"]
    written = audit.write(
        models / "new", str(place / "llama"), students, str(place / "gpt.jsonl"), bundle=models / "data"
    )
    study = load(written)
    assert list(study.bases) == ["llama"]
    assert list(study.students) == ["vicuna", "vicuna-student"]
    assert study.students["vicuna-student"].endpoint
    assert study.teacher.name == "gpt"
    assert study.evaluate.benchmarks["knowledge"].limit == 4
    assert study.evaluate.bundle == models / "data"
    assert study.evaluate.prompts
    assert "differ by 14%" in written.read_text()


def test_an_endpoint_elsewhere_gets_its_key_from_the_environment(models: Path) -> None:
    written = audit.write(
        models / "new",
        str(models / "models" / "llama"),
        [str(models / "models" / "vicuna")],
        "https://api.openai.com/v1#gpt-4.1",
        bundle=None,
    )
    endpoint = load(written).teacher.endpoint
    assert endpoint
    assert (endpoint.model, endpoint.key) == ("gpt-4.1", "OPENAI_API_KEY")


def test_a_model_that_is_nowhere_is_an_error_that_says_what_a_model_is(models: Path) -> None:
    with pytest.raises(StudyError, match="hf download meta/llama --local-dir") as raised:
        audit.write(models / "new", str(models / "models" / "llama"), ["meta/llama"], "b", bundle=None)
    assert "URL#MODEL" in str(raised.value)
    assert not (models / "new").exists()


def test_a_file_that_exists_is_left_as_it_is(models: Path) -> None:
    (models / "study.yaml").write_text("name: mine")
    with pytest.raises(StudyError, match="exists already"):
        audit.write(models, "a", ["b"], "c", bundle=None)
    assert (models / "study.yaml").read_text() == "name: mine"


def test_more_items_detect_less() -> None:
    assert audit.detectable(800) == pytest.approx(audit.detectable(200) / 2)


def test_one_of_the_hub_is_named_with_its_revision(models: Path) -> None:
    place, named = models / "models", f"hub:meta/llama-7b@{'a' * 40}"
    written = audit.write(
        models / "new", named, [str(place / "vicuna")], str(place / "gpt.jsonl"), bundle=None
    )
    assert f"llama-7b: {{checkpoint: '{named}'}}" in written.read_text()


@pytest.mark.parametrize(
    "model",
    ["https://host/v1", "https://host/v1#", "http://#gpt", "https://me:secret@host/v1#gpt", "https://host/v1?key=secret#gpt"],
)  # fmt: skip
def test_an_address_that_no_study_may_hold_is_refused_before_anything_is_written(
    models: Path, model: str
) -> None:
    with pytest.raises(StudyError, match="URL#MODEL") as raised:
        audit.write(
            models / "new", str(models / "models" / "llama"), [model], str(models / "models"), bundle=None
        )
    assert "secret" not in str(raised.value)
    assert not (models / "new").exists()


@pytest.mark.parametrize("name", ["a ${HOME} b", "two\nlines"])
def test_a_path_that_a_study_file_would_read_otherwise_is_refused(models: Path, name: str) -> None:
    (models / name).mkdir()
    with pytest.raises(StudyError, match="another name"):
        audit.write(
            models / "new", str(models / name), [str(models / "models" / "llama")], "https://h#m", bundle=None
        )


def test_a_folder_that_cannot_be_made_is_said(models: Path) -> None:
    with pytest.raises(StudyError, match="cannot be written"):
        audit.blank(models / "models" / "gpt.jsonl" / "new")
