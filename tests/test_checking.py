"""A finished study held against what a pipeline requires of it, from the command line."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from veneer.cli import app


def check(study: Path, *requirements: str) -> tuple[int, str]:
    arguments = [part for one in requirements for part in ("--require", one)]
    done = CliRunner().invoke(app, ["check", str(study), *arguments])
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("requirement", "status", "word"),
    [
        ("score[instructions, teacher] >= 0", 0, "met"),
        ("score[instructions, teacher] > 1", 1, "not met"),
        ("score[city/plain, teacher, lenient] > score[city/plain, teacher, lenient]", 1, "not met"),
        (
            "gap_closed[city, nobody] > 0",
            2,
            "veneer: gap_closed[city, nobody]: 'nobody' is none of the students",
        ),
        ("beauty[city, teacher] > 0", 2, "veneer: beauty[city, teacher]: there is no such measure"),
    ],
)
def test_the_exit_status_says_what_the_study_says(
    finished_study: Path, requirement: str, status: int, word: str
) -> None:
    found, said = check(finished_study / "study.yaml", requirement)
    assert (found, said[: len(word)]) == (status, word)


def test_what_is_not_met_outweighs_what_is(finished_study: Path) -> None:
    wanted = ["score[instructions, teacher] >= 0", "score[instructions, teacher] > 1"]
    found, said = check(finished_study / "study.yaml", *wanted)
    assert (found, len(said.splitlines())) == (1, 2)


def test_a_study_that_is_not_finished_says_what_to_run(written_study: Path) -> None:
    found, said = check(written_study / "study.yaml", "score[city, teacher] > 0")
    assert found == 2
    assert "not finished" in said
    assert f"veneer run {written_study / 'study.yaml'}" in said
