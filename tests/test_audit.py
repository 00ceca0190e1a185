"""The study file of an audit, written in one line."""

from pathlib import Path

import pytest

from veneer import audit
from veneer.errors import StudyError
from veneer.study import load

NEWEST = audit.newest


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name in ("llama", "vicuna"):
        (tmp_path / "models" / name).mkdir(parents=True)
    (tmp_path / "models" / "gpt.jsonl").write_text("")
    (tmp_path / "data").mkdir()
    return tmp_path


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the hub tells of its data sets: nothing at first."""
    known: dict[str, str] = {}
    monkeypatch.setattr(audit, "newest", known.get)
    return known


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


DATA_SETS = (
    "cais/mmlu", "google-research-datasets/nq_open", "truthfulqa/truthful_qa", "openai/gsm8k",
    "openai/openai_humaneval", "google/IFEval", "allenai/real-toxicity-prompts",
)  # fmt: skip


def audit_from_the_hub(models: Path) -> Path:
    place = models / "models"
    return audit.write(
        models / "new", str(place / "llama"), [str(place / "vicuna")], str(place / "gpt.jsonl"), bundle=None
    )


def test_an_audit_without_a_bundle_pins_each_task_to_what_the_hub_holds_today(
    models: Path, hub: dict[str, str]
) -> None:
    hub.update({name: f"{place:040x}" for place, name in enumerate(DATA_SETS)})
    study = load(audit_from_the_hub(models))
    revisions = [spec.revision for spec in study.evaluate.benchmarks.values()]
    assert revisions == [f"{place:040x}" for place in range(7)]
    assert study.evaluate.benchmarks["knowledge"].limit == 4


def test_an_audit_says_that_revisions_are_to_be_filled_in_where_the_hub_did_not_tell_all(
    models: Path, hub: dict[str, str]
) -> None:
    hub.update(dict.fromkeys(DATA_SETS[:3], "0" * 40))
    written = audit_from_the_hub(models)
    assert "revision: '0" not in written.read_text()
    assert "or a `revision` for each task: the hub did not answer" in written.read_text()


def test_a_data_sets_newest_commit_is_none_where_the_hub_does_not_answer() -> None:
    assert NEWEST("openai/gsm8k") is None


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
