"""The command line says what it will do, does it, and says what comes next."""

import os
import time
from pathlib import Path

import pytest
import yaml

from tests.conftest import veneer
from veneer.study import Study

STUDIES = Path(__file__).parent.parent / "studies"


def test_help_names_every_command() -> None:
    said = veneer("--help").stdout
    assert all(
        command in said for command in ("pocket", "new", "plan", "run", "status", "rate", "view", "check")
    )


def test_new_writes_a_study_to_edit_and_never_overwrites_one(tmp_path: Path) -> None:
    assert veneer("new", tmp_path / "mine").returncode == 0
    assert Study.model_validate(yaml.safe_load((tmp_path / "mine" / "study.yaml").read_text()))
    again = veneer("new", tmp_path / "mine")
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_plan_shows_the_grid_and_makes_nothing(written_study: Path) -> None:
    said = veneer("plan", written_study / "study.yaml").stdout
    assert "students" in said
    assert "train" in said
    assert not (written_study / "study").exists()


def test_status_of_a_finished_study_has_nothing_left_to_do(finished_study: Path) -> None:
    rows = [line.split() for line in veneer("status", finished_study / "study.yaml").stdout.splitlines()[1:]]
    assert len(rows) == 9
    assert all(row[1] == row[2] and row[4] == "0" for row in rows)


def test_run_until_a_stage_names_its_artefacts(finished_study: Path) -> None:
    said = veneer("run", finished_study / "study.yaml", "--until", "prepare").stdout
    assert "prepare: " in said


@pytest.mark.skipif(
    "VENEER_DATA" not in os.environ, reason="VENEER_DATA is not set: no recorded answers to audit"
)
def test_the_audit_of_recorded_answers_runs_in_seconds(tmp_path: Path) -> None:
    study = tmp_path / "vicuna80.yaml"
    study.write_text((STUDIES / "vicuna80.yaml").read_text())
    began = time.monotonic()
    done = veneer("run", study)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "vicuna80" / "report" / "index.html").exists()
    assert time.monotonic() - began < 120
