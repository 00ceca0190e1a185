"""The dry run finds before anything is made what would stop a run on its third day."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import copy_of
from veneer import dry_run, pipeline, planning
from veneer.benchmarks import sandbox
from veneer.dry_run import Finding
from veneer.study import load


def found(folder: Path) -> list[Finding]:
    study, store = load(folder / "study.yaml"), pipeline.store_of(folder / "study.yaml")
    prepared = planning.prepared_of(study, store)
    training = planning.training(study, store.root, prepared, on="h100")
    return dry_run.findings(study, prepared, training)


def test_a_study_without_a_mistake_has_none_found(written_study: Path) -> None:
    assert found(written_study) == []


def edit(folder: Path, old: str, new: str) -> None:
    file = folder / "study.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def no_weights(folder: Path) -> None:
    (folder / "bases" / "small" / "model.safetensors").unlink()


def no_tokenizer(folder: Path) -> None:
    (folder / "bases" / "medium" / "tokenizer.json").write_text("{")


def stop_is_padding(folder: Path) -> None:
    file = folder / "bases" / "small" / "tokenizer_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "pad_token": config["eos_token"]}))


def a_broken_item(folder: Path) -> None:
    with (folder / "benchmarks" / "city.jsonl").open("a") as lines:
        lines.write('{"id": "last"}\n')


def too_much(folder: Path) -> None:
    edit(folder, "amounts: [200, 400]", "amounts: [200, 4M]")
    edit(folder, "amounts: [400]", "amounts: [4M]")


def a_package(folder: Path) -> None:
    edit(folder, "  recipe:\n", "  hardware: {trackers: [trackio]}\n  recipe:\n")


@pytest.mark.parametrize(
    ("mistake", "where", "said"),
    [
        (no_weights, "small", "holds no weights"),
        (no_tokenizer, "medium", "cannot be read"),
        (stop_is_padding, "small", "stop token and padding are both"),
        (a_broken_item, "evaluate.benchmarks.city", "city.jsonl"),
        (too_much, "collect.sources.broad", "at most"),
        (a_package, "packages", "pip install trackio"),
    ],
)
def test_a_mistake_is_found_and_would_stop_the_run(
    mistake: Callable[[Path], None], where: str, said: str, written_study: Path, tmp_path: Path
) -> None:
    folder = copy_of(written_study, tmp_path)
    mistake(folder)
    stopping = [one for one in found(folder) if one.stops]
    assert where in [one.where for one in stopping if said in one.message], stopping


def test_a_prompt_that_leaves_no_room_is_counted_and_stops_nothing(
    written_study: Path, tmp_path: Path
) -> None:
    folder = copy_of(written_study, tmp_path)
    edit(folder, "max_tokens: 64}}\n\njudges", "max_tokens: 250}}\n\njudges")
    (first, *_) = found(folder)
    assert not first.stops
    assert "prompts (chat)" in first.message
    assert "window of 256 tokens" in first.message


def test_programs_without_a_sandbox_would_stop_the_run(
    written_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_of(written_study, tmp_path)
    program = {"before": "def f():\n", "after": "assert f() == 1", "entry": "f"}
    (folder / "code.jsonl").write_text(
        json.dumps({"id": "a", "question": "def f():\n", "program": program}) + "\n"
    )
    edit(
        folder,
        "  benchmarks:\n",
        "  benchmarks:\n    code: {items: code.jsonl, measures: skill, grading: program}\n",
    )
    monkeypatch.setattr(sandbox, "why_not", lambda: "no bubblewrap")
    assert [one.message for one in found(folder)] == ["no bubblewrap"]
