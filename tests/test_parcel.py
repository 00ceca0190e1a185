"""A finished study goes to others as one file, whole and unchanged, and is graded anew there without a model."""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import copy_of, veneer
from veneer import absent, belongings, parcel, pipeline
from veneer.analyze.effort import parameters_of
from veneer.disk import digest
from veneer.errors import DataError, ModelError, StoreError, StudyError, VeneerError
from veneer.models.model import ModelRef
from veneer.models.open import open_model
from veneer.rate import votes
from veneer.rate.people import digest_of as digest_of_votes
from veneer.study import load


@pytest.fixture(scope="module")
def export(finished_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("export") / "study.tar"
    parcel.pack(finished_study / "study.yaml", file, checkpoints=False)
    return file


@pytest.fixture
def imported(export: Path, tmp_path: Path) -> Path:
    return parcel.unpack(export, tmp_path / "there").path


def made(study: Path) -> dict[str, int]:
    return {
        str(path.relative_to(study.parent)): path.stat().st_mtime_ns
        for path in study.parent.glob("study/artefacts/*/*/artefact.json")
    }


def artefacts(study: Path) -> set[str]:
    return {name.rpartition("/")[0] for name in made(study)}


def test_a_study_comes_out_as_it_went_in(finished_study: Path, tmp_path: Path) -> None:
    file = tmp_path / "study.tar"
    packed = parcel.pack(finished_study / "study.yaml", file)
    there = parcel.unpack(file, tmp_path / "there")
    assert there.manifest == packed.manifest
    assert there.sha256 == packed.sha256
    for part in ("artefacts", "report"):
        assert digest(there.path.parent / "study" / part) == digest(finished_study / "study" / part)
    states = pipeline.survey(load(there.path), pipeline.store_of(there.path))
    assert all(state.done == state.cells > 0 for state in states)


def test_two_exports_of_one_study_are_the_same_bytes(
    export: Path, finished_study: Path, tmp_path: Path
) -> None:
    again = parcel.pack(finished_study / "study.yaml", tmp_path / "again.tar", checkpoints=False)
    assert again.sha256 == digest_of(export)


def digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_without_checkpoints_no_weights_go_along_and_a_run_there_makes_nothing(
    imported: Path, finished_study: Path
) -> None:
    assert not list(imported.parent.rglob("*.safetensors"))
    assert artefacts(imported) == artefacts(finished_study / "study.yaml")
    before = made(imported)
    done = veneer("run", imported)
    assert done.returncode == 0, done.stderr
    assert made(imported) == before


def test_a_plan_of_an_import_says_that_its_models_can_be_asked_nothing_new(imported: Path) -> None:
    said = veneer("plan", imported)
    assert said.returncode == 0, said.stdout
    assert "teacher: its weights were left out of the export" in said.stdout


def test_another_lab_grades_anew_without_a_model(imported: Path) -> None:
    before = made(imported)
    # The chosen answer must now stand after a mark, so that answers are graded otherwise.
    text = imported.read_text()
    assert "grading: choice" in text
    imported.write_text(text.replace("grading: choice", "grading: match", 1))
    done = veneer("run", imported)
    assert done.returncode == 0, done.stderr
    anew = {name.split("/")[2] for name in made(imported).keys() - before.keys()}
    assert "grade" in anew
    assert anew <= {"grade", "judge", "rate", "analyze", "report"}
    assert before.items() <= made(imported).items()


def test_a_model_without_its_weights_says_so_when_it_is_asked_something_new(imported: Path) -> None:
    base = load(imported).bases["small"].checkpoint
    assert base
    ref = ModelRef(name="small", kind="checkpoint", path=base, digest=digest(base))
    with pytest.raises(ModelError, match="came without its weights.*Put model.safetensors there"):
        open_model(ref)
    student = next(imported.parent.glob("study/artefacts/train/*/checkpoint"))
    with pytest.raises(ModelError, match="came without its weights"):
        open_model(ModelRef(name="s", kind="checkpoint", path=student, digest="-"))


def test_a_folder_keeps_its_fingerprint_and_size_without_its_weights_and_when_they_come_back(
    imported: Path, finished_study: Path
) -> None:
    ours = load(finished_study / "study.yaml").bases["small"].checkpoint
    theirs = load(imported).bases["small"].checkpoint
    assert ours
    assert theirs
    assert digest(theirs) == digest(ours)
    assert parameters_of(theirs) == parameters_of(ours) > 0
    shutil.copy(ours / "model.safetensors", theirs)
    assert absent.of(theirs) == {}
    assert digest(theirs) == digest(ours)
    (theirs / "model.safetensors").write_bytes(b"others")
    assert digest(theirs) != digest(ours)


def test_an_import_can_be_exported_again_as_it_is(imported: Path, tmp_path: Path) -> None:
    again = parcel.pack(imported, tmp_path / "again.tar")
    there = parcel.unpack(tmp_path / "again.tar", tmp_path / "there again")
    assert digest(there.path.parent / "study" / "artefacts") == digest(
        imported.parent / "study" / "artefacts"
    )
    assert again.manifest.files.keys() == there.manifest.files.keys()


def test_a_study_that_can_be_moved_is_the_same_study(finished_study: Path, imported: Path) -> None:
    moved = belongings.of(load(imported))
    assert moved.text == imported.read_text()
    assert load(imported).model_dump().keys() == load(finished_study / "study.yaml").model_dump().keys()


def test_an_unfinished_study_is_not_exported(written_study: Path, tmp_path: Path) -> None:
    folder = copy_of(written_study, tmp_path)
    with pytest.raises(StudyError, match="is not finished: collect lacks broad"):
        parcel.pack(folder / "study.yaml", tmp_path / "study.tar")
    assert not (tmp_path / "study.tar").exists()


def test_an_export_for_which_there_is_no_room_leaves_nothing(
    finished_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=9))
    with pytest.raises(StoreError, match="has 9 bytes free"):
        parcel.pack(finished_study / "study.yaml", tmp_path / "study.tar", checkpoints=False)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(export: Path, finished_study: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="exists already"):
        parcel.pack(finished_study / "study.yaml", export)
    (tmp_path / "mine.txt").touch()
    with pytest.raises(StoreError, match="is not empty"):
        parcel.unpack(export, tmp_path)


CONTENT = b"name: x\n"
SUM = "c4a9c5c5ea0f3ad23f5bd0bb7cc06e7a1d5d5b2a6a6f0e0e0e0e0e0e0e0e0e0e"


def sealed(
    file: Path,
    files: dict[str, bytes],
    change: Callable[[tarfile.TarInfo], None] | None = None,
    said: Mapping[str, object] | None = None,
) -> Path:
    """Write an export by hand; `change` alters the head of its last member."""
    listed = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    }
    manifest = {"format": 1, "veneer": "0", "study": "study.yaml", "files": listed, **(said or {})}
    with tarfile.open(file, "w") as archive:
        members = [("MANIFEST.json", json.dumps(manifest).encode()), *files.items()]
        for name, content in members:
            about = tarfile.TarInfo(name)
            about.size = len(content)
            if change and name == members[-1][0]:
                change(about)
            archive.addfile(about, io.BytesIO(content))
    return file


def test_a_small_export_is_read(tmp_path: Path) -> None:
    file = sealed(tmp_path / "a.tar", {"study.yaml": CONTENT, "a/b": b"1"})
    assert parcel.unpack(file, tmp_path / "out").path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "name",
    [
        "/etc/x",
        "../x",
        "a/../../x",
        "a//b",
        "./a",
        "a\\b",
        "a\nb",
        "study.yaml/x",
        ".",
        "",
        "a" * 300,
        "a/" * 900 + "a",
    ],
)
def test_names_that_lead_elsewhere_are_refused(name: str, tmp_path: Path) -> None:
    file = sealed(tmp_path / "a.tar", {"study.yaml": CONTENT, name: b"1"})
    refused(file, tmp_path, "which is no file below a folder")


def refused(file: Path, folder: Path, said: str) -> None:
    with pytest.raises(DataError, match=said):
        parcel.unpack(file, folder / "out")
    assert not (folder / "out").exists()
    assert not list(folder.glob(".*"))


def changed(**fields: object) -> Callable[[tarfile.TarInfo], None]:
    def change(about: tarfile.TarInfo) -> None:
        for name, value in fields.items():
            setattr(about, name, value)

    return change


@pytest.mark.parametrize(
    "change",
    [
        changed(type=tarfile.SYMTYPE, linkname="/etc/passwd", size=0),
        changed(type=tarfile.LNKTYPE, linkname="study.yaml", size=0),
        changed(type=tarfile.CHRTYPE, devmajor=1, size=0),
        changed(type=tarfile.FIFOTYPE, size=0),
        changed(type=tarfile.DIRTYPE, size=0),
        changed(name="b"),
        changed(name="study.yaml"),
        changed(size=2),
        changed(pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a"}),
    ],
)
def test_what_is_no_plain_file_of_the_manifest_is_refused(
    change: Callable[[tarfile.TarInfo], None], tmp_path: Path
) -> None:
    file = sealed(tmp_path / "a.tar", {"study.yaml": CONTENT, "a": b"11111"}, change)
    refused(file, tmp_path, "is not as the manifest says|cannot|can be read")


def test_a_wrong_sum_is_refused(tmp_path: Path) -> None:
    listed = {"study.yaml": {"bytes": len(CONTENT), "sha256": SUM}}
    file = sealed(tmp_path / "a.tar", {"study.yaml": CONTENT}, said={"files": listed})
    refused(file, tmp_path, "its SHA-256 is not the manifest's")


def test_more_bytes_than_the_file_has_are_refused(tmp_path: Path) -> None:
    listed = {"study.yaml": {"bytes": 10**15, "sha256": SUM}}
    file = sealed(tmp_path / "a.tar", {"study.yaml": CONTENT}, said={"files": listed})
    refused(file, tmp_path, "names 1,000,000,000,000,000 bytes and has")


def test_what_is_missing_at_the_end_is_told(tmp_path: Path) -> None:
    listed = {name: {"bytes": 1, "sha256": SUM} for name in ("b", "study.yaml")}
    file = sealed(tmp_path / "a.tar", {}, said={"files": listed})
    refused(file, tmp_path, "ends before b \\(2 files are missing\\)")


@pytest.mark.parametrize("said", [{"format": 2}, {"more": 1}, {"study": "other.yaml"}, {"files": []}])
def test_another_manifest_is_refused(said: dict[str, object], tmp_path: Path) -> None:
    refused(sealed(tmp_path / "a.tar", {"study.yaml": CONTENT}, said=said), tmp_path, "MANIFEST|not among")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8b\x08" + bytes(600), bytes(10240)])
def test_what_is_no_export_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    refused(tmp_path / "a.tar", tmp_path, "is no export")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 5000), byte=st.integers(0, 255), length=st.integers(0, 6000))
def test_whatever_happens_on_the_way_an_import_is_whole_or_none(
    place: int, byte: int, length: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("way")
    file = sealed(folder / "a.tar", {"study.yaml": CONTENT, "a": b"11111"})
    whole = bytearray(file.read_bytes())
    whole[place] = byte
    file.write_bytes(whole[: len(whole) - length])
    try:
        there = parcel.unpack(file, folder / "out")
    except VeneerError:
        assert [path.name for path in folder.iterdir()] == ["a.tar"]
    else:
        assert (there.path.read_bytes(), (folder / "out" / "a").read_bytes()) == (CONTENT, b"11111")


def test_the_commands_say_what_they_wrote(finished_study: Path, tmp_path: Path) -> None:
    sent = veneer("export", finished_study / "study.yaml", tmp_path / "a.tar", "--without-checkpoints")
    got = veneer("import", tmp_path / "a.tar", tmp_path / "there")
    assert (sent.returncode, got.returncode) == (0, 0), sent.stderr + got.stderr
    sums = [line for line in (sent.stdout + got.stdout).splitlines() if line.startswith("SHA-256")]
    assert len(sums) == 2
    assert len(set(sums)) == 1
    assert str(tmp_path / "there" / "study.yaml") in got.stdout


def test_what_was_paid_for_and_who_rated_stay_here(finished_study: Path, tmp_path: Path) -> None:
    folder = copy_of(finished_study, tmp_path)
    place = folder / "study"
    (place / "requests").mkdir()
    (place / "requests" / "journal.sqlite").touch()
    file = votes.path_of(place)
    base = votes.connect(file)
    base.execute(votes.JOIN, (1, "worker-4711", '{"from": "somewhere"}', 1.0))
    base.execute(votes.LOG_IN, ("digest", 1))
    base.execute(votes.SHOW, ("t", 1, "match", "p", "a", "b", "-", "-", 2.0))
    base.execute(votes.VOTE, ("t", "first", "", "", "", "because", 3.0, 0))
    base.execute(votes.INVITE, ("secret-link", 1.0))
    base.execute(votes.FIX, ("{}",))
    votes.setting(base, "owner", "secret-of-the-owner")
    base.close()
    parcel.pack(folder / "study.yaml", tmp_path / "a.tar", checkpoints=False)
    content = (tmp_path / "a.tar").read_bytes()
    for secret in (b"worker-4711", b"somewhere", b"secret", b"journal.sqlite"):
        assert secret not in content
    there = votes.read(
        votes.path_of(parcel.unpack(tmp_path / "a.tar", tmp_path / "there").path.with_suffix(""))
    )
    here = votes.read(file)
    assert here
    assert there
    assert digest_of_votes(there) == digest_of_votes(here)
    assert (there.votes, there.fixed) == (here.votes, "{}")


def test_by_which_code_raters_are_paid_stays_here(finished_study: Path, tmp_path: Path) -> None:
    file = copy_of(finished_study, tmp_path) / "study.yaml"
    people = {"ratings": 2, "platform": {"kind": "prolific", "code": "C1A2B3D4"}}
    told = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(told | {"rate": {**told.get("rate", {}), "people": people}}))
    study = load(file)
    sent = belongings.of(parcel._without_pay(study)).text
    assert "C1A2B3D4" in belongings.of(study).text
    assert "C1A2B3D4" not in sent
    assert "ratings: 2" in sent
