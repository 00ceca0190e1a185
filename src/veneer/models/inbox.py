"""The inbox: answers that have come and are not in the journal yet; not even kill -9 loses one that was received.

A line is handed to the operating system the moment an answer is read: it outlives the process. The journal's
transactions, which outlive the machine's power, follow in groups; then the inbox is emptied.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from veneer.models.journal import Answer, Journal
from veneer.records import Stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """An open inbox."""

    handle: int

    def put(self, key: str, answer: Answer) -> None:
        """Take an answer in."""
        os.write(self.handle, json.dumps([key, asdict(answer)]).encode() + b"\n")

    def clear(self) -> None:
        """Forget all: the journal has it."""
        os.ftruncate(self.handle, 0)


@contextmanager
def open_inbox(path: Path, journal: Journal) -> Iterator[Inbox]:
    """Open the inbox beside a journal; what a killed process left in it goes into the journal first.

    Args:
        path: The journal's file.
        journal: The same, open.
    """
    file = path.with_name(f"{path.name}-inbox")
    if file.exists():
        journal.record(list(_left(file)))
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    try:
        yield Inbox(handle=handle)
    finally:
        os.close(handle)


def _left(file: Path) -> Iterator[tuple[str, Answer]]:
    for line in file.read_bytes().splitlines():
        try:
            key, row = json.loads(line)
        except ValueError:
            continue  # The last line, cut by the kill.
        yield key, Answer(**{**row, "stop": Stop(row["stop"])})
