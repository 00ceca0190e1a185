"""A lease is one run's alone, is renewed while it works, and is another's once it is gone."""

import errno
import multiprocessing
import os
import signal
import socket
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import filelock
import pytest

from veneer import lease
from veneer.errors import StoreError

SPAWN = multiprocessing.get_context("spawn")


def hold(path: Path, host: str, length: float) -> None:
    """Hold a lease for a minute, as a process of another machine would."""
    if host:
        socket.gethostname = lambda: host
    lease.LEASE = length
    with lease.held(path, patience=0):
        time.sleep(60)


def started(path: Path, host: str = "", length: float = lease.LEASE) -> BaseProcess:
    process = SPAWN.Process(target=hold, args=(path, host, length))
    process.start()
    while not ((who := lease.holder(path)) and who.process):
        assert process.is_alive()
        time.sleep(0.02)
    return process


def kill(process: BaseProcess) -> None:
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def test_a_lease_is_held_by_one_at_a_time_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.lease"
    with lease.held(path, patience=0) as ours, lease.held(path, patience=0) as theirs:
        assert (ours, theirs) == (True, False)
    with lease.held(path, patience=0) as again:
        assert again
    assert list(path.parent.iterdir()) == []


def test_who_holds_a_lease_can_be_seen(tmp_path: Path) -> None:
    process = started(tmp_path / "a.lease", host="node7")
    found = lease.holder(tmp_path / "a.lease")
    kill(process)
    assert found
    assert (found.host, found.process) == ("node7", process.pid)
    assert not found.expired


def test_nobody_is_said_to_hold_what_a_process_held_that_was_killed_here(tmp_path: Path) -> None:
    process = started(tmp_path / "a.lease")
    assert lease.holder(tmp_path / "a.lease")
    kill(process)
    assert lease.holder(tmp_path / "a.lease") is None


def test_of_another_machine_nobody_knows_here_which_processes_are_gone(tmp_path: Path) -> None:
    kill(started(tmp_path / "a.lease", host="node7"))
    assert lease.holder(tmp_path / "a.lease")


def test_whether_another_machine_holds_a_lease_can_be_told(tmp_path: Path) -> None:
    here, there = tmp_path / "here.lease", tmp_path / "there.lease"
    processes = started(here), started(there, host="node7")
    found = [lease.elsewhere(path) for path in (here, there, tmp_path / "free.lease")]
    for process in processes:
        kill(process)
    assert found == [False, True, False]


def test_a_run_knows_what_its_own_workers_hold_from_what_another_run_holds(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.lease", tmp_path / "theirs.lease"
    processes = started(ours), started(theirs, host="node7")
    found = [lease.other(path) for path in (ours, theirs, tmp_path / "free.lease")]
    for process in processes:
        kill(process)
    assert [one and one.host for one in found] == [None, "node7", None]


def test_the_lease_of_a_process_that_was_killed_here_is_free_at_once(tmp_path: Path) -> None:
    kill(started(tmp_path / "a.lease"))
    with lease.held(tmp_path / "a.lease", patience=1) as ours:
        assert ours


def test_a_lease_is_renewed_while_it_is_held(tmp_path: Path) -> None:
    process = started(tmp_path / "a.lease", length=0.6)
    first = (tmp_path / "a.lease").stat().st_mtime_ns
    while (tmp_path / "a.lease").stat().st_mtime_ns == first:
        assert process.is_alive()
        time.sleep(0.02)
    kill(process)


def test_a_lease_of_another_machine_is_taken_over_when_nobody_renewed_it_for_its_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE", 0.6)
    kill(started(tmp_path / "a.lease", host="node7", length=0.6))
    # However long ago the holder died by its own clock: it must be seen not to renew, in whatever process looks.
    began, ours = time.monotonic(), False
    while not ours:
        with lease.held(tmp_path / "a.lease", patience=0) as ours:
            pass
        time.sleep(0.02)
    assert time.monotonic() - began >= 0.6


def test_a_holder_that_lost_its_lease_ends(tmp_path: Path) -> None:
    process = started(tmp_path / "a.lease", length=0.6)
    (tmp_path / "a.lease").unlink()
    process.join()
    assert process.exitcode == -signal.SIGTERM


@pytest.mark.parametrize("words", ["", "filelock/2\npid=4"], ids=["empty", "torn"])
@pytest.mark.parametrize("patience", [0, -1], ids=["in a hurry", "for ever"])
def test_a_lease_whose_holder_was_killed_before_it_wrote_its_name_is_taken_over(
    words: str, patience: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    path = tmp_path / "a.lease"
    path.write_text(words)
    os.utime(path, (0, 0))
    with lease.held(path, patience) as ours:
        assert ours
        assert (who := lease.holder(path))
        assert who.process == os.getpid()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["", "node7"])
def test_a_lease_is_taken_over_where_the_file_system_exchanges_no_names(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    kill(started(tmp_path / "a.lease", host, length=lease.LEASE))
    monkeypatch.setattr(filelock._soft, "exchange_names", refuse)
    with lease.held(tmp_path / "a.lease", patience=-1) as ours:
        assert ours
    assert list(tmp_path.iterdir()) == []


def test_what_became_anothers_lease_meanwhile_is_put_back(tmp_path: Path) -> None:
    path = tmp_path / "a.lease"
    path.touch()
    judged = path.stat()
    path.unlink()
    path.write_text("another's")
    os.utime(path, (0, 0))
    lease._put_aside(path, judged)
    assert path.read_text() == "another's"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_to_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "closed")

    monkeypatch.setattr(filelock.SoftFileLease, "acquire", closed)
    with pytest.raises(StoreError, match="Give this user the right"), lease.held(tmp_path / "a", patience=0):
        pass


def test_a_lease_stays_ours_under_another_name_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.lease"
    with lease.held(path, patience=0):
        monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
        lease.sure([path])
        assert not lease.elsewhere(path)
        path.unlink()
        kill(started(path))
        with pytest.raises(StoreError, match="lease was lost"):
            lease.sure([path])


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE", 0.6)
    monkeypatch.setattr(lease, "HEALED", 0.3)


def refuse(*_: object) -> None:
    raise OSError(errno.EINVAL, "no names are exchanged here")


def test_a_lease_that_has_just_been_made_is_left_to_whoever_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE", 0.1)
    path = tmp_path / "a.lease"
    path.touch()
    with lease.held(path, patience=0) as ours:
        assert not ours
    assert lease.other(path) is None
    who = lease.holder(path)
    assert str(who) == "a process that left no name (heard of 0 s ago)"
    os.utime(path, (0, 0))
    assert lease.other(path) is not None


def test_an_empty_lease_that_is_renewed_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a network file system another machine may see a file's renewals before its words."""
    quick(monkeypatch)
    path = tmp_path / "a.lease"
    path.touch()
    look, until = lease._Look(path=path), time.monotonic() + 1.5
    while time.monotonic() < until:
        look()
        os.utime(path)
        time.sleep(0.05)
    assert path.exists()
