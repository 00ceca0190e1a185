"""A finished study held against what a pipeline requires of it, from the command line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from veneer import checking
from veneer.analyze.measure import Measured, Sheet, measured
from veneer.cli import app
from veneer.disk import read_json
from veneer.errors import StudyError
from veneer.stats import to_json


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


def test_the_win_rate_of_every_judge_and_crowd_is_the_one_that_the_report_has(finished_study: Path) -> None:
    rows = read_json(finished_study / "study" / "report" / "report.json")["preference"]
    named = [f"win_rate[{row['judge']}, {row['contestant']}, {row['opponent']}] >= 0" for row in rows]
    found = [one.number for one in checking.check(finished_study / "study.yaml", named)]
    assert {row["judge"] for row in rows} >= {"simulated"}
    assert {row["opponent"] for row in rows} >= {"teacher"}
    assert [values(to_json(number)) for number in found] == [values(row["win_rate"]) for row in rows]


def values(number: dict[str, Any]) -> list[Any]:
    return [pytest.approx(part, abs=1e-8) if isinstance(part, float) else part for part in number.values()]


def test_a_win_rate_is_against_the_teacher_unless_a_base_is_named(finished_study: Path) -> None:
    (row, *_) = read_json(finished_study / "study" / "report" / "report.json")["preference"]
    of = f"{row['judge']}, {row['contestant']}"
    wanted = [f"win_rate[{of}] >= 0", f"win_rate[{of}, {row['opponent']}] >= 0"]
    short, long = checking.check(finished_study / "study.yaml", wanted)
    assert short.number == long.number


@pytest.mark.parametrize(
    ("term", "named"),
    [
        ("win_rate[nobody, teacher-again]", "'nobody' is none of the judges: .*'simulated'"),
        (
            "win_rate[simulated, teacher-again, nobody]",
            "'nobody' is none of the opponents by simulated: .*'teacher'",
        ),
        (
            "win_rate[simulated, nobody]",
            "'nobody' is none of the contestants that simulated compared with it",
        ),
    ],
)
def test_a_win_rate_that_the_study_lacks_is_refused_with_those_that_it_has(
    finished_study: Path, term: str, named: str
) -> None:
    with pytest.raises(StudyError, match=named):
        checking.check(finished_study / "study.yaml", [f"{term} > 0"])


def test_what_several_requirements_name_is_measured_once(
    finished_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def counted(sheets: Sequence[Sheet]) -> Measured:
        calls.append(len(sheets))
        return measured(sheets)

    monkeypatch.setattr("veneer.analyze.measures.measured", counted)
    of = ("score[city, teacher]", "score[instructions, teacher]")
    wanted = [f"{one} {compared} {bound}" for one in of for compared in "<>" for bound in (0.1, 0.2, 0.3)]
    checking.check(finished_study / "study.yaml", [*wanted, f"{of[0]} > {of[1]}"])
    assert len(calls) == 2


def test_a_study_that_is_not_finished_says_what_to_run(written_study: Path) -> None:
    found, said = check(written_study / "study.yaml", "score[city, teacher] > 0")
    assert found == 2
    assert "not finished" in said
    assert f"veneer run {written_study / 'study.yaml'}" in said
