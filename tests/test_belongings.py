"""What a study names goes along under its own name, and nothing that only lies beside it."""

from pathlib import Path

import pytest

from veneer import belongings
from veneer.disk import digest
from veneer.study import load

STUDY = """
name: audit
bases: {base: {replay: base.jsonl.gz}}
students: {student: {replay: ./sub/../base.jsonl.gz, base: base}}
teacher: {replay: sub/..}
evaluate:
  benchmarks:
    sums: {items: base.jsonl.gz, measures: skill, grading: match, forms: [plain]}
"""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A model that was cloned by one who has a token."""
    folder = tmp_path / ".cache" / "model"
    for name in ("config.json", "onnx/model.onnx", ".git/config", ".cache/huggingface/config.json.metadata"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("https://me:hf_token@hub")
    return folder


def test_of_a_folder_what_is_hidden_stays_where_it_is(checkpoint: Path) -> None:
    assert [name for name, _ in belongings.files_of(checkpoint)] == ["config.json", "onnx/model.onnx"]


def test_what_is_hidden_is_no_part_of_a_fingerprint(checkpoint: Path) -> None:
    before = digest(checkpoint)
    (checkpoint / ".git" / "config").write_text("fetched again")
    assert digest(checkpoint) == before
    (checkpoint / "config.json").write_text("another")
    assert digest(checkpoint) != before


def test_a_file_goes_by_the_name_that_the_study_uses_even_where_that_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "4f2a").write_text("")
    (tmp_path / "base.jsonl.gz").symlink_to("4f2a")
    (tmp_path / "audit.yaml").write_text(STUDY)
    names = belongings.of(load(tmp_path / "audit.yaml")).paths
    assert "files/bases.base.replay/base.jsonl.gz" in names
    assert f"files/teacher.replay/{tmp_path.name}" in names
