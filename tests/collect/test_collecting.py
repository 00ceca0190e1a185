"""A study that asks an endpoint: what fails is asked again alone, and a signal to end loses nothing that was paid."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.collect.small import BROAD, ask, collected
from tests.conftest import veneer
from tests.models.server import Server, serving
from veneer.disk import digest, read_rows
from veneer.models.journal import open_journal


def made(folder: Path) -> Path:
    """Return the one artefact of collecting."""
    (place,) = (folder / "study" / "artefacts" / "collect").glob("broad-*")
    return place


def said_of(folder: Path) -> str:
    done = veneer("run", folder / "study.yaml", "--until", "collect", "--workers", "1")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_failed_is_said_and_asked_again_alone_on_the_next_run(tmp_path: Path) -> None:
    with serving() as server:
        collected(tmp_path, server.url, {"broad": BROAD}, {"may_fail": 0.5, "tries": 1})
        ask(tmp_path, "one", "500 once", "this is too long", "two")
        said = said_of(tmp_path)
        assert "collect: broad: 2 of 4 requests have no answer (" in said
        assert "1 x status 400: too long" in said
        assert "the next run asks these again" in said
        before = len(server.seen())
        assert "1 of 4 requests have no answer" in said_of(tmp_path)
        assert sorted(server.seen()[before:]) == ["500 once", "this is too long"]
        texts = [row["text"] for _, row in read_rows(made(tmp_path) / "completions.jsonl")]
        assert texts == ["eno", "enif", "", "owt"]
        whole, before = digest(made(tmp_path)), len(server.seen())
        said_of(tmp_path)
        assert (server.seen()[before:], digest(made(tmp_path))) == (["this is too long"], whole)


def test_what_failed_is_not_asked_again_where_that_would_train_anew_or_pay_twice(tmp_path: Path) -> None:
    with serving() as server:
        collected(tmp_path, server.url, {"broad": BROAD}, {"may_fail": 0.5, "tries": 1})
        ask(tmp_path, "one", "500 once")
        said_of(tmp_path)
        before = len(server.seen())
        (tmp_path / "study" / "artefacts" / "train").mkdir()
        assert "students are trained without them" in said_of(tmp_path)
        (tmp_path / "study" / "artefacts" / "train").rmdir()
        shutil.rmtree(tmp_path / "study" / "requests")
        assert "the journal of requests is gone" in said_of(tmp_path)
        assert len(server.seen()) == before


def test_a_server_that_is_gone_fails_no_run_of_what_is_made_already(tmp_path: Path) -> None:
    with serving() as server:
        collected(tmp_path, server.url, {"broad": BROAD}, {"may_fail": 0.5, "tries": 1, "key": "TEACHER_KEY"})
        ask(tmp_path, "one", "500 once")
        os.environ["TEACHER_KEY"] = "key"
        try:
            said_of(tmp_path)
        finally:
            del os.environ["TEACHER_KEY"]
    assert "asking again failed: " in said_of(tmp_path)


def begun(folder: Path, server: Server) -> "subprocess.Popen[bytes]":
    """Start a run of fifty queries, four at a time, and return it when the second four are on their way."""
    collected(folder, server.url, {"broad": BROAD}, {"concurrency": 4})
    ask(folder, *(f"query {number}" for number in range(50)))
    command = [sys.executable, "-m", "veneer.cli", "run", str(folder / "study.yaml"), "--until", "collect"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while len(server.seen()) < 8:
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.05)
    return process


def answered(folder: Path) -> int:
    with open_journal(folder / "study" / "requests" / "journal.sqlite") as journal:
        return journal.answered()


def test_sigterm_ends_a_run_politely_and_keeps_every_answer_on_its_way(tmp_path: Path) -> None:
    with serving(latency=1.0) as slow:
        process = begun(tmp_path, slow)
        process.terminate()
        _, said = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM
        assert said.decode() == "Ended by a signal. Nothing finished is lost: the same command carries on.\n"
        assert answered(tmp_path) == len(slow.seen())
        # Another machine goes on at once.
        assert not list((tmp_path / "study").rglob("*.lease"))


def test_even_after_kill_9_of_a_run_its_worker_takes_down_what_is_on_its_way(tmp_path: Path) -> None:
    with serving(latency=1.0) as slow:
        process = begun(tmp_path, slow)
        process.kill()
        process.communicate(timeout=60)
        deadline = time.monotonic() + 10
        while answered(tmp_path) < len(slow.seen()):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_two_machines_that_share_a_study_ask_each_query_once_and_never_beside_each_other(
    tmp_path: Path,
) -> None:
    elsewhere = ["unshare", "-ru", "sh", "-c", 'hostname node7 && exec "$@"', "sh"]
    if subprocess.run([*elsewhere, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody give a process another host name (unshare)")
    names = ("one", "two", "three")
    with serving(latency=0.05) as server:
        for name in names:
            ask(tmp_path, *(f"{name} {number}" for number in range(40)))
            (tmp_path / "queries.jsonl").rename(tmp_path / f"{name}.jsonl")
        collected(
            tmp_path,
            server.url,
            {name: BROAD | {"queries": f"{name}.jsonl"} for name in names},
            {"concurrency": 4},
        )
        run = [sys.executable, "-m", "veneer.cli", "run", str(tmp_path / "study.yaml"), "--until", "collect"]
        runs = [
            subprocess.Popen(each, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            for each in (run, [*elsewhere, *run])
        ]
        assert [one.communicate()[1] for one in runs] == [b"", b""]
        assert [one.returncode for one in runs] == [0, 0]
        assert len(server.seen()) == len(set(server.seen())) == 120
        assert server.most_at_once() == 4
    assert answered(tmp_path) == 120
    assert not list((tmp_path / "study").rglob("*.lease"))
