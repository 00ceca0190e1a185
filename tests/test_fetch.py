"""A study and all it names come into one folder, and run there with the network off."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest

from tests.conftest import veneer
from veneer import absent, fetch, rows
from veneer.disk import digest
from veneer.errors import DataError, StoreError, StudyError
from veneer.study import load

REVISION = "0123456789abcdef0123456789abcdef01234567"
STUDY = f"""
name: far
bases:
  base: {{checkpoint: "hub:org/small@{REVISION}"}}
students:
  student: {{replay: student.jsonl, base: base}}
teacher: {{replay: teacher.jsonl}}
evaluate:
  benchmarks:
    sums: {{items: items.jsonl, measures: skill, grading: match, forms: [plain], max_tokens: {{plain: 4, chat: 4}}}}
analyze: {{resamples: 100}}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "far.yaml").write_text(STUDY)
    items = [
        {"id": str(number), "question": f"{number} + 1?", "references": [str(number + 1)]}
        for number in range(6)
    ]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in items))
    for name, right in (("teacher", 6), ("student", 3)):
        said = [{"prompt_id": f"sums/plain/{n}", "text": str(n + (1 if n < right else 2))} for n in range(6)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said))
    return folder / "far.yaml"


@pytest.fixture
def hub(written_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the hub's cache: its files are links, as there."""
    cache = tmp_path / "cache"
    cache.mkdir()
    for file in (written_study / "bases" / "small").iterdir():
        (cache / file.name).symlink_to(file)

    def snapshot_download(name: str, *, revision: str, ignore_patterns: list[str]) -> str:
        if (name, revision) != ("org/small", REVISION):
            raise FileNotFoundError(f"no {name} at {revision}")
        return str(cache)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return cache


def test_a_bundle_holds_what_the_study_names_with_its_sums(study: Path, hub: Path, tmp_path: Path) -> None:
    said: list[str] = []
    written = fetch.fetch(study, tmp_path / "bundle", said.append)
    moved = load(written)
    base = moved.bases["base"].checkpoint
    assert base
    assert base.is_relative_to(tmp_path / "bundle")
    assert digest(base) == digest(hub)
    assert not any(file.is_symlink() for file in base.iterdir())
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=written.parent,
        capture_output=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    files = [path for path in written.parent.rglob("*") if path.is_file()]
    assert len((written.parent / "SHA256SUMS").read_text().splitlines()) == len(files) - 1
    assert f"files/bases.base.checkpoint/cache: hub:org/small@{REVISION}" in said
    assert f"files/teacher.replay/teacher.jsonl: copied from {study.parent / 'teacher.jsonl'}" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "cache", "here"]


def test_a_bundle_runs_with_the_network_off(study: Path, hub: Path, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine permits no network namespaces")
    written = fetch.fetch(study, tmp_path / "bundle", lambda _: None)
    for gone in (hub, study.parent):
        shutil.rmtree(gone)
    run = ["unshare", "-rn", sys.executable, "-m", "veneer.cli", "run", str(written), "--workers", "1"]
    done = subprocess.run(run, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    report = json.loads((written.parent / "far" / "report" / "report.json").read_text())
    assert {row["contestant"] for row in report["scores"]} == {"base", "student", "teacher"}


def test_a_study_of_local_files_says_that_they_were_copied(written_study: Path, tmp_path: Path) -> None:
    said: list[str] = []
    written = fetch.fetch(written_study / "study.yaml", tmp_path / "bundle", said.append)
    assert all(": copied from /" in line for line in said)
    ours, theirs = load(written_study / "study.yaml"), load(written)
    assert ours.teacher.checkpoint
    assert theirs.teacher.checkpoint
    assert digest(ours.teacher.checkpoint) == digest(theirs.teacher.checkpoint)


def test_a_model_whose_weights_an_export_left_out_stays_the_same_model(study: Path, tmp_path: Path) -> None:
    folder = study.parent / "base"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / absent.NOTE).write_text(absent.text({"model.safetensors": {"bytes": 1, "sha256": 64 * "0"}}))
    study.write_text(STUDY.replace(f'"hub:org/small@{REVISION}"', "base"))
    moved = load(fetch.fetch(study, tmp_path / "bundle", lambda _: None)).bases["base"].checkpoint
    assert moved
    assert digest(moved) == digest(folder)


def test_a_source_on_the_hub_becomes_a_file(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        rows, "of_hub", lambda spec: ((f"{spec.name}, row {n}", {"text": f"{n}?"}) for n in range(9))
    )
    of = f"{{name: org/data, revision: {REVISION}}}"
    sources = (
        f"  asked: {{kind: broad, hub: {of}, query_field: text, limit: 3}}\n"
        f"    said: {{kind: broad, recorded: [{{format: pairs, hub: {of}}}]}}"
    )
    study.write_text(f"name: data\nteacher: {{replay: teacher.jsonl}}\ncollect:\n  sources:\n  {sources}\n")
    moved = load(fetch.fetch(study, tmp_path / "bundle", lambda _: None))
    assert moved.collect
    asked, said = moved.collect.sources["asked"].queries, moved.collect.sources["said"].recorded[0].path
    assert asked
    assert said
    assert [json.loads(line) for line in asked.read_text().splitlines()] == [
        {"id": n + 1, "text": f"{n}?"} for n in range(3)
    ]
    assert len(said.read_text().splitlines()) == 9


def test_what_json_does_not_know_is_refused(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "of_hub", lambda spec: iter([("row 1", {"text": b"x"})]))
    source = f"{{kind: broad, recorded: [{{format: pairs, hub: {{name: org/data, revision: {REVISION}}}}}]}}"
    study.write_text(
        f"name: data\nteacher: {{replay: teacher.jsonl}}\ncollect: {{sources: {{a: {source}}}}}\n"
    )
    with pytest.raises(DataError, match="org/data@0123456789ab: a row holds what JSON does not know"):
        fetch.fetch(study, tmp_path / "bundle", lambda _: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here"]


def test_what_is_not_to_be_had_is_told(study: Path, hub: Path, tmp_path: Path) -> None:
    study.write_text(STUDY.replace("org/small", "org/other"))
    with pytest.raises(StudyError, match="hub:org/other@0123.*cannot be had from the hub .no org/other"):
        fetch.fetch(study, tmp_path / "bundle", lambda _: None)


def test_a_run_says_how_a_model_on_the_hub_is_brought(study: Path) -> None:
    done = veneer("run", study)
    assert done.returncode == 2
    assert f"is on the hub. `veneer fetch {study} DIR` brings it" in done.stderr


def test_a_model_on_the_hub_is_named_with_its_commit(study: Path) -> None:
    study.write_text(STUDY.replace(REVISION, "main"))
    with pytest.raises(
        StudyError, match="hub:org/small@main: a model on the hub is named as hub:ORG/NAME@REVISION"
    ):
        load(study)


def test_what_a_killed_call_left_goes_with_the_next(
    study: Path, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, kept = tmp_path / "far" / "out", shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(StoreError):
        fetch.fetch(study, out, lambda _: killed())
    assert list(out.parent.iterdir())
    monkeypatch.setattr(shutil, "rmtree", kept)
    fetch.fetch(study, out, lambda _: None)
    assert list(out.parent.iterdir()) == [out]


def killed() -> None:
    raise StoreError("stands for kill -9, after which nothing is tidied up")


def test_nothing_is_written_over(study: Path, hub: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not empty"):
        fetch.fetch(study, tmp_path, lambda _: None)
