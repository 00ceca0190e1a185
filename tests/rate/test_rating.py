"""A study from its answers to its report, with people in between: the real commands, a real server, a real kill."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.conftest import veneer
from tests.rate.conftest import hidden
from veneer import pipeline
from veneer.disk import Row, read_json, read_rows, write_rows
from veneer.errors import StudyError
from veneer.rating import agreement, ballots, forecast
from veneer.study import load

STUDY = """
name: asked
bases: {small: {replay: small.jsonl}}
teacher: {name: master, replay: master.jsonl}
students: {pupil: {base: small, replay: pupil.jsonl}}
evaluate: {prompts: {items: prompts.jsonl}}
rate:
  people: {ratings: 2, per_rater: 6, port: 0, exclude: {faster_than: null}, ask: {style: true}}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """An audit of three recorded models on six prompts; one completion of the base is missing."""
    ids = [f"q{number}" for number in range(6)]
    write_rows(tmp_path / "prompts.jsonl", [{"id": one, "question": f"What of {one}?"} for one in ids])
    for name in ("small", "pupil", "master"):
        rows = [{"prompt_id": one, "text": f"By {one}, {len(name)} words."} for one in ids]
        write_rows(tmp_path / f"{name}.jsonl", rows[1:] if name == "small" else rows)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path / "study.yaml"


@contextmanager
def served(study: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Serve a study in a process of its own, and give the raters' link."""
    process = subprocess.Popen(
        [sys.executable, "-m", "veneer.cli", "rate", str(study)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    said = ""
    while "Ctrl-C stops" not in said:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        said += line
    found = re.search(r"Raters: (http://\S+)", said)
    assert found is not None
    try:
        yield found[1], process
    finally:
        process.kill()
        process.communicate()


def begun(browser: httpx2.Client, link: str) -> httpx2.Response:
    return browser.post(link, data={**hidden(browser.get(link).text), "consent": "yes"})


def voted(browser: httpx2.Client, seen: httpx2.Response) -> httpx2.Response:
    return browser.post(str(seen.url), data={**hidden(seen.text), "verdict": "first", "style": "second"})


def preferences(study: Path, which: str = "preference") -> list[Row]:
    report = json.loads((study.with_suffix("") / "report" / "report.json").read_text())
    return [row for row in report[which] if row["judge"] == "people"]


def notes(study: Path) -> list[str]:
    report = json.loads((study.with_suffix("") / "report" / "report.json").read_text())
    return [str(one) for one in report["study"]["notes"]]


def artefact(study: Path, name: str) -> Path:
    return max(
        (study.with_suffix("") / "artefacts" / "rate").glob(f"{name}-*"),
        key=lambda path: path.stat().st_mtime,
    )


def test_people_are_asked_a_server_is_killed_and_every_vote_is_in_the_report(study: Path) -> None:
    done = veneer("run", study)
    assert done.returncode == 0, done.stderr
    assert preferences(study) == []
    assert any("none has voted yet" in one for one in notes(study))
    with served(study) as (link, process), httpx2.Client(follow_redirects=True) as browser:
        seen = voted(browser, begun(browser, link))
        process.send_signal(signal.SIGKILL)
        process.wait()
        address = seen.url
    with served(study) as (link, process), httpx2.Client(follow_redirects=True) as browser:
        browser.cookies = httpx2.Cookies()
        entry = begun(browser, link)
        assert entry.url != address
        while 'name="pair"' in entry.text:
            entry = voted(browser, entry)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    done = veneer("run", study)
    assert done.returncode == 0, done.stderr
    made = artefact(study, "people")
    summary = read_json(made / "summary.json")
    assert (summary["votes"], summary["counted"], summary["raters"]) == (7, 7, 2)
    assert (summary["matches"], summary["ratings_wanted"], summary["skipped_matches"]) == (11, 22, 1)
    rows = [row for _, row in read_rows(made / "comparisons.jsonl")]
    assert {row["by"] for row in rows} == {"rater-1", "rater-2"}
    assert [row["verdict"] for _, row in read_rows(made / "style.jsonl")] == ["second"] * 7
    assert sum(row["wins"] + row["losses"] for row in preferences(study)) == 7
    told = " ".join(notes(study))
    assert "2 people cast 7 votes, of which 7 count; " in told
    assert {row["question"] for row in preferences(study, "asked_apart")} == {"style"}
    assert sum(row["wins"] + row["losses"] for row in preferences(study, "asked_apart")) == 7
    assert "1 prompts and pairs could not be put before people" in told
    assert [row["reason"] for _, row in read_rows(artefact(study, "ballots") / "skipped.jsonl")]


def test_without_answers_or_without_a_section_nobody_is_asked(study: Path) -> None:
    with pytest.raises(StudyError, match="Run `veneer run STUDY --until rate` first"):
        ballots(load(study), pipeline.store_of(study))
    study.write_text(STUDY[: STUDY.index("rate:")])
    with pytest.raises(StudyError, match="asks no people"):
        ballots(load(study), pipeline.store_of(study))
    done = veneer("rate", study)
    assert (done.returncode, "asks no people" in done.stderr) == (2, True)


def test_a_contestant_that_is_none_is_named(study: Path) -> None:
    study.write_text(STUDY.replace("ratings: 2", "ratings: 2, contestants: [pupli]"))
    with pytest.raises(StudyError, match="'pupli' is no base or student of this study; they are"):
        ballots(load(study), pipeline.store_of(study))


def test_without_its_packages_the_page_says_what_to_install(study: Path) -> None:
    program = (
        "import sys, pathlib; sys.modules['nh3'] = None\n"
        "from veneer import rating\n"
        f"rating.serve(pathlib.Path({str(study)!r}), print)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "StudyError: The raters' page needs the package nh3: pip install 'veneer[rate]'" in done.stderr


def test_the_plan_says_how_many_raters_it_takes_and_what_they_cost(study: Path) -> None:
    study.write_text(
        STUDY.replace("ratings: 2", "ratings: 3, pay: {each: 4.5, currency: GBP}, ceiling: true")
    )
    said = forecast(load(study), pipeline.store_of(study))
    assert "3 pairs x 6 prompts x 3 ratings = 54 ratings: 9 raters of 6 pairs each, 40.50 GBP" in said


def test_agreement_is_told_in_a_sentence() -> None:
    cast = [
        ((f"p{unit}", "a", "b"), verdict)
        for unit in range(20)
        for verdict in ("win", "win", "loss")[: 2 + unit % 2]
    ]
    assert agreement([]).startswith("Agreement so far cannot be told: ")
    assert re.match(
        r"Agreement so far \(Krippendorff's alpha; .*\): -?0\.\d\d \[-?0\.\d\d, -?0\.\d\d\]", agreement(cast)
    )
