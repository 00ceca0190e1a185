"""A whole study end to end: made once, the same bytes every time, through kills at every stage."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import copy_of, veneer
from veneer import pipeline
from veneer.disk import digest
from veneer.study import load

SLOW_STAGES = {"collect", "train", "answer"}


def artefacts(folder: Path) -> dict[str, str]:
    """Return the digest of every artefact and of the report."""
    root = folder / "study"
    cells = {
        str(path.relative_to(root)): digest(path) for path in root.glob("artefacts/*/*") if path.is_dir()
    }
    return cells | {"report": digest(root / "report")}


def test_a_finished_study_has_every_stage_and_a_report(finished_study: Path) -> None:
    states = pipeline.survey(
        load(finished_study / "study.yaml"), pipeline.store_of(finished_study / "study.yaml")
    )
    assert [state.stage for state in states] == list(pipeline.STAGES)
    assert all(state.done == state.cells > 0 for state in states)
    assert (finished_study / "study" / "report" / "index.html").exists()


def test_the_second_run_makes_nothing_and_takes_no_time(finished_study: Path) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in (finished_study / "study").rglob("*") if path.is_file()
    }
    done = veneer("run", finished_study / "study.yaml")
    assert done.returncode == 0, done.stderr
    after = {
        path: path.stat().st_mtime_ns for path in (finished_study / "study").rglob("*") if path.is_file()
    }
    changed = [path for path in after if after[path] != before.get(path) and not path.name.endswith(".lock")]
    assert changed == []


def test_the_report_has_the_promised_keys(finished_study: Path) -> None:
    report = json.loads((finished_study / "study" / "report" / "report.json").read_text())
    promised = {
        "study", "contestants", "gap_closed", "style", "style_gap_closed", "preference", "leverage", "claims",
    }  # fmt: skip
    assert promised <= set(report)


def numbers(value: object) -> list[dict[str, object]]:
    if isinstance(value, dict):
        if {"value", "n"} <= set(value) or {"undefined", "n"} <= set(value):
            return [value]
        return [number for item in value.values() for number in numbers(item)]
    return [number for item in value for number in numbers(item)] if isinstance(value, list) else []


def test_every_number_has_its_interval_or_its_reason(finished_study: Path) -> None:
    report = json.loads((finished_study / "study" / "report" / "report.json").read_text())
    found = numbers(report)
    assert len(found) > 100
    assert all(set(number) in ({"value", "low", "high", "n"}, {"undefined", "n"}) for number in found)


def test_a_study_killed_in_every_stage_ends_with_the_same_bytes(
    written_study: Path, finished_study: Path, tmp_path: Path
) -> None:
    folder = copy_of(written_study, tmp_path)
    killed = {stage for stage in pipeline.STAGES if killed_in(stage, folder)}
    assert killed >= SLOW_STAGES
    done = veneer("run", str(folder / "study.yaml"), "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert artefacts(folder) == artefacts(finished_study)


def killed_in(stage: str, folder: Path) -> bool:
    """Run until a cell of the stage is half-made, kill -9, and return whether it was still half-made then."""
    command = [sys.executable, "-m", "veneer.cli", "run", str(folder / "study.yaml"), "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    cells = folder / "study" / "artefacts" / stage
    while process.poll() is None and not list(cells.glob("*.partial")) and not has_passed(stage, folder):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), said.decode()
    return bool(list(cells.glob("*.partial")))


def has_passed(stage: str, folder: Path) -> bool:
    later = pipeline.STAGES[pipeline.STAGES.index(stage) + 1 :]
    return any((folder / "study" / "artefacts" / name).exists() for name in later)


def test_two_runs_of_one_study_share_its_work_and_end_with_the_same_bytes(
    written_study: Path, finished_study: Path, tmp_path: Path
) -> None:
    folder = copy_of(written_study, tmp_path)
    command = [sys.executable, "-m", "veneer.cli", "run", str(folder / "study.yaml"), "--workers", "1"]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    at_work: set[str] = set()
    while any(run.poll() is None for run in runs):
        # What `veneer status` prints, while both are at work.
        states = pipeline.survey(load(folder / "study.yaml"), pipeline.store_of(folder / "study.yaml"))
        at_work |= {f"{state.stage} {name}" for state in states for name, _ in state.holders}
    assert [run.communicate()[1] for run in runs] == [b"", b""]
    assert [run.returncode for run in runs] == [0, 0]
    assert artefacts(folder) == artefacts(finished_study)
    assert at_work
    assert not list((folder / "study").rglob("*.lease"))
    assert made_twice(folder) == []


def made_twice(folder: Path) -> list[str]:
    """Return the students whose training was begun more than once, by their logs."""
    logs = sorted((folder / "study" / "logs" / "train").glob("*/log.jsonl"))
    assert logs
    begun = {log.parent.name: log.read_text().count('"event": "began"') for log in logs}
    return [name for name, times in begun.items() if times > 1]


def test_ctrl_c_ends_the_run_politely_and_the_same_command_carries_on(
    written_study: Path, tmp_path: Path
) -> None:
    folder = copy_of(written_study, tmp_path)
    command = [sys.executable, "-m", "veneer.cli", "run", str(folder / "study.yaml"), "--until", "collect"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )
    while not list((folder / "study").glob("artefacts/collect/*.partial")):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said.decode() == "Interrupted. Nothing finished is lost: the same command carries on.\n"
    assert veneer("run", str(folder / "study.yaml"), "--until", "collect").returncode == 0


def test_a_damaged_artefact_stops_the_run_and_says_what_to_do(finished_study: Path, tmp_path: Path) -> None:
    folder = copy_of(finished_study, tmp_path)
    grades = next((folder / "study" / "artefacts" / "grade").glob("*/grades.jsonl"))
    grades.write_text("")
    done = veneer("run", folder / "study.yaml")
    assert done.returncode == 2
    assert "has 0 bytes" in done.stderr
    assert "Delete" in done.stderr


@pytest.mark.parametrize("command", ["run", "plan", "status"])
def test_a_mistake_in_the_study_file_is_a_message_and_not_a_traceback(command: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("name: x\nbasis: {}\n")
    done = veneer(command, tmp_path / "study.yaml")
    assert done.returncode == 2
    assert "basis: unknown key; the nearest known one is `bases`" in done.stderr
    assert "Traceback" not in done.stderr
