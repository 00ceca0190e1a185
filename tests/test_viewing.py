"""A study from its answers to its pages: the real commands, a real server."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import numpy as np
import pytest

from tests.conftest import veneer
from veneer import viewing
from veneer.disk import read_json, write_rows

STUDY = """
name: rivers
question: Who knows rivers?
bases: {small: {replay: small.jsonl}}
teacher: {name: master, replay: master.jsonl}
students: {pupil: {base: small, replay: pupil.jsonl}}
evaluate:
  prompts: {items: prompts.jsonl}
  benchmarks: {quiz: {items: quiz.jsonl, measures: knowledge, grading: match, forms: [chat]}}
"""
RIGHT = {"small": (), "pupil": (0, 2), "master": (0, 1, 2, 3)}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """An audit of three recorded models on a quiz of five questions and two prompts."""
    quiz = [{"id": f"q{n}", "question": f"River {n}?", "references": [f"river{n}"]} for n in range(5)]
    write_rows(tmp_path / "quiz.jsonl", quiz)
    write_rows(tmp_path / "prompts.jsonl", [{"id": f"p{n}", "question": f"Tell of {n}."} for n in range(2)])
    for name, right in RIGHT.items():
        rows = [{"prompt_id": f"q{n}", "text": f"river{n if n in right else 'less'}"} for n in range(5)]
        rows += [{"prompt_id": f"p{n}", "text": f"{name} tells of {n}."} for n in range(2)]
        write_rows(tmp_path / f"{name}.jsonl", rows)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path / "study.yaml"


@contextmanager
def served(study: Path) -> Iterator[str]:
    """Serve a study in a process of its own, and give its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "veneer.cli", "view", str(study), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, process.communicate()[1]
        assert process.stdout.readline() == "Ctrl-C stops.\n"
        yield found[0]
    finally:
        process.kill()
        process.communicate()


def indexes(study: Path) -> set[str]:
    return {path.name for path in (study.with_suffix("") / "view").iterdir()}


def test_a_study_is_seen_as_far_as_it_has_come(study: Path) -> None:
    done = veneer("view", study, "--port", "0")
    assert done.returncode == 2
    assert "nobody has answered" in done.stderr

    assert veneer("run", study, "--until", "answer", "--workers", "1").returncode == 0
    with served(study) as address:
        assert "There is no report yet" in httpx2.get(address).text
        assert "Nothing is graded yet" in httpx2.get(address).text
        assert "river0" in httpx2.get(f"{address}item?at=quiz/chat/q0").text
    answered = indexes(study)

    assert veneer("run", study, "--workers", "1").returncode == 0
    with served(study) as address:
        behind = httpx2.get(f"{address}items?benchmark=quiz&pattern=behind").text
        assert re.findall(r"chat · (q\d)", behind) == ["q1", "q3"]
        assert httpx2.get(f"{address}report/").status_code == 200
        figure = re.search(r'src="(report/figures/[^"]+)"', httpx2.get(address).text)
        assert figure is not None
        assert httpx2.get(address + figure[1]).headers["content-type"] == "image/svg+xml"
    made = indexes(study)
    assert len(made) == 1
    assert made != answered, "what has changed is indexed anew"

    with served(study):
        assert indexes(study) == made


def test_a_port_that_is_taken_is_said(study: Path) -> None:
    assert veneer("run", study, "--until", "answer", "--workers", "1").returncode == 0
    with served(study) as address:
        port = address.rstrip("/").rpartition(":")[2]
        done = veneer("view", study, "--port", port)
    assert done.returncode == 2
    assert "Name another --port" in done.stderr


def test_what_is_supported_is_what_the_report_counts(finished_study: Path) -> None:
    ready = viewing.ready(finished_study / "study.yaml", lambda *_: None)
    book, start = ready.book, 0
    report = read_json(finished_study / "study" / "report" / "report.json")
    said = {(row["source"], row["amount"], row["benchmark"]): row["share"] for row in report["support"]}
    checked = 0
    for benchmark, form in book.kinds:
        part = slice(start, start + book.sizes[benchmark, form])
        start = part.stop
        for name in book.students:
            one = book.contestants[name]
            share = said.get((one.source, one.amount, benchmark))
            if share and "value" in share:
                held = book.array(name, "supported")[part]
                assert np.mean(held[held >= 0]) == pytest.approx(share["value"])
                checked += 1
    book.close()
    assert checked > 10
