"""Only what no study refers to is removed, after it was shown; what was paid for or voted stays."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import copy_of, veneer
from veneer import cleaning, lease, pipeline
from veneer.errors import StoreError
from veneer.study import load


def everything(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def study(finished_study: Path, tmp_path: Path) -> Path:
    """A finished study, with an answer that was paid for and a vote."""
    folder = copy_of(finished_study, tmp_path)
    for precious in ("requests/journal.sqlite", "rating/votes.sqlite", "logs/notes.txt"):
        (folder / "study" / precious).parent.mkdir(exist_ok=True)
        (folder / "study" / precious).touch()
    return folder / "study.yaml"


def test_of_a_finished_study_nothing_is_left_over(study: Path) -> None:
    assert cleaning.leftovers([study]) == []


def test_what_a_change_of_the_study_leaves_behind_is_found_and_removed(study: Path) -> None:
    place, before = study.with_suffix(""), everything(study.parent)
    old = place / "artefacts" / "answer" / "small-000000000000"
    left = [
        old / "completions.jsonl",
        place / "artefacts" / "train" / "gone-000000000000.partial" / ".states" / "weights",
        place / "artefacts" / "train" / ".gone-000000000000.fresh" / "a",
        place / "artefacts" / "train" / ".gone-000000000000.lease.break.1.ab",
        place / "trunks" / "0123456789abcdef" / "step" / "weights",
        place / "benchmarks" / "mmlu-0123456789ab" / "items.jsonl",
        place / "benchmarks" / "prompts-0123456789ab.jsonl",
        place / "view" / "index-0123456789ab.sqlite",
        place / "cards" / "gone" / "card.html",
    ]
    for file in left:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("12345")
    found = cleaning.leftovers([study])
    assert {file for one in found for file in left if file.is_relative_to(one.path)} == set(left)
    assert (len(found), {one.size for one in found}) == (len(left), {5})
    cleaning.remove([study], found)
    assert everything(study.parent) == before
    assert not old.exists()


def test_a_smaller_study_leaves_what_only_the_larger_one_had(study: Path) -> None:
    before = len(list(study.parent.glob("study/artefacts/*/*")))
    larger = study.with_suffix(".yml")
    shutil.copy(study, larger)
    text = study.read_text()
    assert "amounts: [200, 400]" in text
    study.write_text(text.replace("amounts: [200, 400]", "amounts: [400]"))
    found = cleaning.leftovers([study])
    assert {one.path.parent.name for one in found} >= {"train", "answer", "grade", "report"}
    assert cleaning.leftovers([study, larger]) == []
    cleaning.remove([study], found)
    assert len(list(study.parent.glob("study/artefacts/*/*"))) == before - sum(
        one.path.parent.parent.name == "artefacts" for one in found
    )


def test_what_a_study_names_of_another_stays(study: Path, tmp_path: Path) -> None:
    student = study.parent / "study" / "artefacts" / "train" / "old-000000000000" / "checkpoint"
    student.mkdir(parents=True)
    (tmp_path / "link").symlink_to(student.parent)
    items = next((study.parent / "benchmarks").glob("*.jsonl"))
    audit = tmp_path / "audit.yaml"
    audit.write_text(
        f"name: audit\nbases: {{base: {{replay: {tmp_path}/link/checkpoint}}}}\n"
        f"students: {{s: {{replay: {items}, base: base}}}}\nteacher: {{replay: {items}}}\n"
        f"evaluate: {{benchmarks: {{b: {{items: {items}, measures: skill, grading: match}}}}}}\n"
    )
    assert [one.path for one in cleaning.leftovers([study])] == [student.parent]
    assert cleaning.leftovers([study, audit]) == []


def test_a_link_is_removed_and_what_it_leads_to_is_not(study: Path, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.mkdir()
    link = study.parent / "study" / "artefacts" / "train" / "old-000000000000"
    link.symlink_to(large)
    cleaning.remove([study], cleaning.leftovers([study]))
    assert large.exists()
    assert not link.is_symlink()


def test_what_came_into_use_while_somebody_thought_it_over_stays(study: Path) -> None:
    text = study.read_text()
    study.write_text(text.replace("amounts: [200, 400]", "amounts: [400]"))
    before, found = everything(study.parent), cleaning.leftovers([study])
    assert found
    study.write_text(text)
    cleaning.remove([study], found)
    assert everything(study.parent) == before


def test_nothing_is_removed_while_a_run_works(study: Path) -> None:
    store = pipeline.store_of(study)
    with (
        lease.held(store.root / "train" / ".a-0.lease", patience=0),
        pytest.raises(StoreError, match="a run works here: process"),
    ):
        cleaning.leftovers([study])


def test_the_command_shows_asks_and_removes(study: Path) -> None:
    left = study.parent / "study" / "artefacts" / "answer" / "small-000000000000"
    left.mkdir()
    shown = veneer("clean", study)
    assert f"{left}" in shown.stdout
    assert shown.returncode == 1, "nobody has answered"
    assert left.exists()
    done = veneer("clean", study, "--yes")
    assert done.stdout.endswith("Removed.\n")
    assert not left.exists()
    assert load(study)
