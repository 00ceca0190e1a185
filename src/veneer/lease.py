"""Leases: the right to make something in a folder that several runs share, on one machine or on many.

A lease is a file beside what is made. Its holder renews it while it works. Whoever waits takes it over when the
holder's process is gone (on one machine that is seen at once), or when it was not renewed for `LEASE` seconds of the
waiter's own clock: the clocks of two machines need not agree. It needs no lock of the operating system, which not all
network file systems have.
"""

import errno
import multiprocessing
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import LeaseCompromise, LeaseSettingsMismatch, OwnerRecord, SoftFileLease, Timeout

from veneer.errors import StoreError

LEASE = 90.0
"""Seconds without renewal after which a lease may be taken over. It is renewed three times as often."""
PATIENCE = 1.0
"""Seconds that one try waits."""
POLL = 0.1
NAMED = 5.0
"""Seconds after which whoever takes a lease has long written its name into it, unless it was killed before."""
HEALED = 3.0
"""Seconds within which filelock takes over a lease whose holder is gone from this machine, where it can."""
_OURS: set[str] = set()
"""The words by which this process knows the leases that it holds; its machine's name may change meanwhile."""
_LOST = (
    "this run's lease was lost: the machine slept, or the folder could not be reached. What is half-made is kept: run "
    "again."
)


class Busy(Enum):
    """What comes back instead of a result where another run is at it."""

    BUSY = "another run is at it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a lease."""

    host: str
    process: int
    """0 where it has not written its name: it does so this moment, or was killed before it could."""
    age: float
    """Seconds since it was renewed, as far as the clocks of both machines agree."""

    def __str__(self) -> str:
        who = f"process {self.process} on {self.host}" if self.process else "a process that left no name"
        return f"{who} (heard of {self.age:.0f} s ago)"

    @property
    def expired(self) -> bool:
        """Whether nobody has renewed it for so long that it may be taken over."""
        return self.age > LEASE


@contextmanager
def held(path: Path, patience: float) -> Iterator[bool]:
    """Hold a lease while the block runs, and yield whether it was to be had.

    Should another run take it over while the block runs (this machine slept, or could not reach the folder for longer
    than `LEASE`), this process ends by SIGTERM: two may not write one thing.

    Args:
        path: The lease's file; its folder is made if need be.
        patience: Seconds to wait for it; -1 for as long as it takes. More where its holder seems gone.

    Raises:
        StoreError: Another version of Veneer, with leases of another length, works on the same folder, or this user may
            not write in it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = SoftFileLease(path, lease_duration=LEASE, on_compromise=_end)
    ours = _taken(lock, path, patience)
    word = lock.token if ours else None
    if word:
        _OURS.add(word)
    try:
        yield ours
    finally:
        if word:
            _OURS.remove(word)
            lock.release()


def _taken(lock: SoftFileLease, path: Path, patience: float) -> bool:
    # Whose clock is right is not known: that a holder is gone is told by looking for a whole lease, in one go, once it
    # seems to have missed a renewal.
    for seconds in (patience, 1.2 * LEASE + HEALED):
        try:
            lock.acquire(timeout=seconds, poll_interval=POLL, cancel_check=_Look(path=path))
        except Timeout:
            who = holder(path)
            if not path.exists() or (who and who.age <= (LEASE / 2 if who.process else NAMED)):
                return False
        except LeaseSettingsMismatch as error:
            raise StoreError(
                f"{path}: another version of Veneer works here ({error}). Let it end, or end it, and run again."
            ) from error
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
                raise
            raise StoreError(
                f"{path}: cannot be made, or what another user left there not be removed ({error}). Give this user the "
                f"right to write in {path.parent}, or work in a folder of your own."
            ) from error
        else:
            return True
    return False


@dataclass(slots=True, kw_only=True)
class _Look:
    """Looks at a lease again and again, and puts it aside once its holder is gone and filelock should have done so.

    filelock takes nothing over where the file system cannot exchange two names (NFS, SMB), and nowhere an empty file:
    it makes a lease's file and then writes into it who holds it, and between the two a process may be killed.
    """

    path: Path
    state: tuple[int, int, int] | None = None
    since: float = 0.0

    def __call__(self) -> bool:
        """Return whether the waiting is to end: never."""
        found = _found(self.path)
        if found is None:
            return False
        now, state = time.monotonic(), (found.st_ino, found.st_mtime_ns, found.st_ctime_ns)
        if state != self.state:
            self.state, self.since = state, now
        elif now - self.since >= HEALED + (0 if holder(self.path) is None else LEASE):
            _put_aside(self.path, found)
        return False


def _found(path: Path) -> os.stat_result | None:
    """Return what is known of a lease's file; it is opened, for NFS may tell old news of one that is not."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    except PermissionError:
        return path.lstat()  # It is another user's.


def _put_aside(path: Path, judged: os.stat_result) -> None:
    """Remove a lease, unless it has become another's meanwhile."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    moved = aside.lstat()
    if (moved.st_ino, moved.st_mtime_ns) != (judged.st_ino, judged.st_mtime_ns):
        try:
            os.link(aside, path)
        except FileExistsError:
            pass  # Somebody was faster; whose lease this was ends as one that was taken over.
        except OSError:  # No file has two names here.
            aside.rename(path)
            return
    aside.unlink()


def sure(paths: Iterable[Path]) -> None:
    """Raise unless this process still holds leases that it has taken: renewal tells of a loss up to a minute late.

    Raises:
        StoreError: Another run has taken one over.
    """
    for path in paths:
        if not _is_ours(path):
            time.sleep(POLL)  # Whoever looks whether a lease is to be had may put it aside for a moment.
            if not _is_ours(path):
                raise StoreError(f"{path}: {_LOST}")


def _is_ours(path: Path) -> bool:
    owner = _owner(path)
    return owner is not None and owner.token in _OURS


def holder(path: Path) -> Holder | None:
    """Return who holds a lease; None if nobody does, or its holder's process is gone as far as can be seen here."""
    owner = _owner(path)
    try:
        age = max(0.0, time.time() - path.stat().st_mtime)
    except FileNotFoundError:
        return None
    if owner is None:
        return Holder(host="", process=0, age=age)
    if _is_gone(owner.hostname, owner.pid):
        return None
    # Where processes have numbers of their own (containers), the host's name is followed by which numbers those are.
    return Holder(host=owner.hostname.partition("?pidns-")[0], process=owner.pid, age=age)


def other(path: Path) -> Holder | None:
    """Return who holds a lease, unless it is this process or a worker of its."""
    ours = {os.getpid(), *(child.pid for child in multiprocessing.active_children())}
    who = holder(path)
    if who and who.process == 0 and who.age <= NAMED:
        return None  # It writes its name this moment, whoever it is.
    return None if who and who.process in ours and not elsewhere(path) else who


def elsewhere(path: Path) -> bool:
    """Return whether somebody on another machine (or in a container of its own) holds a lease."""
    owner = _owner(path)
    return owner is not None and owner.token not in _OURS and owner.hostname != _machine()


def _owner(path: Path) -> OwnerRecord | None:
    """Return what stands in a lease; None where there is none, or nothing that can be read."""
    return SoftFileLease(path, lease_duration=LEASE).owner


@cache
def _machine() -> str:
    """Return how leases call this machine; where processes have numbers of their own, with which numbers those are."""
    with TemporaryDirectory() as place, SoftFileLease(Path(place) / "any", lease_duration=LEASE) as lock:
        assert lock.owner is not None, "it is held"
        return lock.owner.hostname


def _is_gone(host: str, process: int) -> bool:
    """Return whether a process was on this machine, and has ended."""
    if host != _machine():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # It is another user's.
    return False


def _end(loss: LeaseCompromise) -> None:
    sys.stderr.write(f"veneer: {loss.lock_file}: {_LOST}\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGTERM)
