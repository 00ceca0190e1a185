"""What several tests share: one tiny study, written and run once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Tests compare bytes with the processor's. Those of a GPU run where one is named: CUDA_VISIBLE_DEVICES=0 pytest -k gpu
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# Nothing is asked of the hub.
os.environ["HF_HUB_OFFLINE"] = "1"

# How long an example takes says more of the machine than of the code.
settings.register_profile("veneer", deadline=None)
settings.load_profile("veneer")


def veneer(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "veneer.cli", *map(str, arguments)],
        capture_output=True, text=True, check=False, cwd=cwd,
    )  # fmt: skip


@pytest.fixture(scope="session")
def written_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny built-in study, written and not run: copy it before you run it."""
    folder = tmp_path_factory.mktemp("written")
    done = veneer("pocket", folder, "--size", "tiny")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def finished_study(written_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny study, run to its report."""
    folder = copy_of(written_study, tmp_path_factory.mktemp("finished"))
    done = veneer("run", folder / "study.yaml", "--workers", "2")
    assert done.returncode == 0, done.stderr
    return folder


def copy_of(study: Path, place: Path) -> Path:
    """Return a copy of a written study in `place`."""
    import shutil

    shutil.copytree(study, place / "copy")
    return place / "copy"
