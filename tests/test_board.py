"""Progress counts what the stage at hand was left to ask, and is told to a log too."""

from io import StringIO

import pytest
from rich.console import Console

from veneer import board
from veneer.board import Board
from veneer.lease import Holder


def lines(monkeypatch: pytest.MonkeyPatch, every: float) -> list[str]:
    """Return what a log is told of two stages in which answers come."""
    monkeypatch.setattr(board, "LOGGED", every)
    told = StringIO()
    with Board(Console(file=told, soft_wrap=True), {"collect": 40, "judge": float("inf")}) as progress:
        progress.begin("collect", 1, 0)
        progress.heard(1000, 2.0)
        progress.heard(1010, 2.5)
        progress.begin("judge", 1, 0)
        progress.heard(1040, 3.0)
        progress.heard(1060, 4.0)
    return [line for line in told.getvalue().splitlines() if "answers" in line]


def test_answers_of_other_stages_and_earlier_runs_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    collect, judge = lines(monkeypatch, -1.0)
    assert collect.startswith("collect: 10 of 40 answers, ")
    assert collect.endswith(" s left")
    assert judge.startswith("judge: 20 answers, ")
    assert judge.endswith("/s, $4.00")


def test_a_log_is_told_about_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines(monkeypatch, 60.0) == []


def test_what_has_no_answer_is_said_with_what_becomes_of_it() -> None:
    told = StringIO()
    progress = Board(Console(file=told, soft_wrap=True), {})
    progress.lacks("collect", "broad", "1 of 4 requests have no answer (1 x cut)", "")
    progress.lacks("collect", "broad", "1 of 4 requests have no answer (1 x cut)", "the journal is gone")
    assert told.getvalue().splitlines() == [
        "collect: broad: 1 of 4 requests have no answer (1 x cut); the next run asks these again.",
        "collect: broad: 1 of 4 requests have no answer (1 x cut); the journal is gone.",
    ]


def test_who_is_waited_for_is_said_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "LOGGED", -1.0)
    told = StringIO()
    progress = Board(Console(file=told, soft_wrap=True), {})
    who = Holder(host="node7", process=4711, age=12.3)
    progress.waits("answer", "student", who, True)
    progress.waits("train", "student", who, False)
    assert told.getvalue().splitlines() == [
        "answer: student waits for process 4711 on node7 (heard of 12 s ago): one run asks endpoints at a time",
        "train: student waits for process 4711 on node7 (heard of 12 s ago), which makes it",
    ]
