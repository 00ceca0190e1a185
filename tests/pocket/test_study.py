"""Writing the built-in study: an ordinary study, written once, resumed after a kill, never over another."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from veneer.disk import digest
from veneer.errors import VeneerError
from veneer.pocket import study as pocket
from veneer.pocket.recipe import RECIPES, Size
from veneer.study import load


def write(folder: Path, *, seed: int = 0) -> Path:
    return pocket.write(folder, seed=seed, size=Size.TINY, workers=2, progress=lambda line: None)


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): digest(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module", name="written")
def _written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pocket") / "study"
    write(folder)
    return folder


def test_it_is_a_study_that_veneer_reads(written: Path) -> None:
    study = load(written / "study.yaml")
    assert list(study.bases) == ["small", "medium", "large"]
    assert study.train is not None
    assert study.train.amounts == RECIPES[Size.TINY].amounts


def test_the_full_study_has_four_doublings_two_seeds_and_replay_at_its_largest_amount() -> None:
    recipe = RECIPES[Size.FULL]
    doublings = [larger / amount for amount, larger in zip(recipe.amounts, recipe.amounts[1:], strict=False)]
    assert doublings == [2, 2, 2, 2]
    assert len(recipe.seeds) == 2


def test_writing_again_changes_nothing(written: Path) -> None:
    before = contents(written)
    write(written)
    assert contents(written) == before


def test_edits_to_the_study_file_are_kept(written: Path) -> None:
    path = written / "study.yaml"
    original = path.read_text()
    path.write_text(original + "# mine\n")
    write(written)
    assert path.read_text().endswith("# mine\n")
    path.write_text(original)


def test_another_pockets_folder_is_refused_by_both_names(written: Path) -> None:
    with pytest.raises(VeneerError, match="seed 0.*seed 1"):
        write(written, seed=1)


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(VeneerError, match=r"thesis\.tex"):
        write(tmp_path)


def test_a_kill_between_models_is_made_good_by_the_same_call(written: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    code = (
        "from pathlib import Path; from veneer.pocket import study\n"
        "if __name__ == '__main__':\n"
        f"    study.write(Path({str(folder)!r}), seed=0, size=study.Size.TINY, workers=1)\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (folder / "teacher").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (folder / "teacher").exists()
    assert not (folder / "study.yaml").exists()
    write(folder)
    assert contents(folder) == contents(written)
