"""What is in flight: requests that were handed to the wire and not heard of yet, in a file that outlives kill -9.

Each of those who ask has a line of its own, which is overwritten the moment a request goes out and blanked the moment
its outcome is kept. What stands there after a kill was sent and may have been charged; what still waited was not.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from veneer.errors import StoreError
from veneer.models.journal import Journal

WIDTH = 96
"""Bytes of a line: a key, what the request may cost at most, and blanks."""
LINE = re.compile(rb"([0-9a-f]{64}) ([0-9.e+-]+) *\n")


@dataclass(slots=True, kw_only=True)
class Flight:
    """An open file of what is in flight."""

    file: Path
    handle: int
    fresh: bool = False
    """Whether a request has gone out since the last `sync`."""

    def depart(self, line: int, key: str, most: float) -> None:
        """Note that a request goes out now, and the most that it can cost in US dollars.

        Raises:
            StoreError: The disk does not take it; the request must not be sent.
        """
        self._put(line, f"{key} {most!r}")
        self.fresh = True

    def land(self, line: int) -> None:
        """Note that what became of a line's request is kept elsewhere."""
        self._put(line, "")

    def sync(self) -> None:
        """Wait until the file would outlive a power cut."""
        self.fresh = False
        os.fsync(self.handle)

    def _put(self, line: int, text: str) -> None:
        row = text.ljust(WIDTH - 1).encode() + b"\n"
        try:
            written = os.pwrite(self.handle, row, line * WIDTH)
        except OSError as error:
            raise StoreError(_full(self.file, str(error))) from error
        if written < WIDTH:
            raise StoreError(_full(self.file, "the disk is full"))


@contextmanager
def open_flight(journal: Path) -> Iterator[Flight]:
    """Open the file beside a journal; `settle` must have emptied it.

    Args:
        journal: The journal's file.
    """
    file = _beside(journal)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        yield Flight(file=file, handle=handle)
    finally:
        os.close(handle)


def settle(path: Path, journal: Journal) -> None:
    """Put what a killed process had in flight to what may have been paid; answers that it had heard are not of it.

    Args:
        path: The journal's file.
        journal: The same, open, with all that the inbox held.
    """
    file = _beside(path)
    if not file.exists():
        return
    sent = LINE.findall(file.read_bytes())
    if lost := sum(float(most) for key, most in sent if not journal.has(key.decode())):
        journal.charge(lost)
    file.unlink()


def _beside(journal: Path) -> Path:
    return journal.with_name(f"{journal.name}-flying")


def _full(file: Path, said: str) -> str:
    return f"{file}: cannot be written ({said}). Make room on the disk and run again: all answers are kept."
