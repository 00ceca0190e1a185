"""The inbox: answers that have come and are not in the journal yet; not even kill -9 loses one that was received.

A line is handed to the operating system the moment an answer is read: it outlives the process. The journal's
transactions, which outlive the machine's power, follow in groups. Two files take turns: while the answers in one go
into the journal, new ones come into the other, so that the first can be emptied however fast answers come. Some room on
the disk is kept in reserve: if it is full, the answers that are on their way find place there.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from veneer.errors import StoreError
from veneer.models.journal import Answer, Journal
from veneer.records import Stop

RESERVE = 1 << 21
"""Bytes that are set aside on the disk."""


@dataclass(slots=True, kw_only=True)
class Inbox:
    """An open inbox."""

    files: tuple[Path, Path]
    handles: tuple[int, int]
    reserve: Path
    """Takes up room on the disk that answers get when there is no other."""
    turn: int = 0
    """Which of the two takes answers in."""

    def put(self, key: str, answer: Answer) -> None:
        """Take an answer in.

        Raises:
            StoreError: The disk does not take it.
        """
        row = (key, answer.text, answer.stop, answer.detail, answer.tokens_in, answer.tokens_out)
        # A line break before it too: a line that a full disk cut takes no other with it.
        line = b"\n" + json.dumps((*row, answer.model, answer.cost)).encode() + b"\n"
        try:
            self._append(line)
        except StoreError:
            if not self.reserve.exists():
                raise
            self.reserve.unlink()
            self._append(line)

    def _append(self, line: bytes) -> None:
        try:
            written = os.write(self.handles[self.turn], line)
        except OSError as error:
            raise StoreError(_full(self.files[self.turn], str(error))) from error
        if written < len(line):
            raise StoreError(_full(self.files[self.turn], "the disk is full"))

    def swap(self) -> None:
        """Take in with the other file from now on; `clear` then empties this one."""
        self.turn = 1 - self.turn

    def clear(self) -> None:
        """Forget what came before the last `swap`: the journal has it."""
        os.ftruncate(self.handles[1 - self.turn], 0)


@contextmanager
def open_inbox(path: Path, journal: Journal) -> Iterator[Inbox]:
    """Open the inbox beside a journal; what a killed process left in it goes into the journal first.

    Args:
        path: The journal's file.
        journal: The same, open.

    Raises:
        StoreError: The disk is full.
    """
    files = (path.with_name(f"{path.name}-inbox"), path.with_name(f"{path.name}-inbox2"))
    # Both are read before either is emptied: the journal may refuse.
    for file in files:
        if file.exists():
            journal.record(list(_left(file)))
    how = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    one = os.open(files[0], how, 0o600)
    try:
        other = os.open(files[1], how, 0o600)
        try:
            with _reserved(path.with_name(f"{path.name}-reserve")) as reserve:
                yield Inbox(files=files, handles=(one, other), reserve=reserve)
        finally:
            os.close(other)
    finally:
        os.close(one)


@contextmanager
def _reserved(file: Path) -> Iterator[Path]:
    try:
        # Nothing that a file system could make smaller, or leave out.
        file.write_bytes(os.urandom(RESERVE))
    except OSError as error:
        file.unlink(missing_ok=True)
        raise StoreError(_full(file, str(error))) from error
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def _left(file: Path) -> Iterator[tuple[str, Answer]]:
    for line in file.read_bytes().splitlines():
        try:
            key, text, stop, detail, tokens_in, tokens_out, model, cost = json.loads(line)
        except ValueError:
            continue  # It was cut, by a kill or a full disk.
        yield (
            key,
            Answer(
                text=text,
                stop=Stop(stop),
                detail=detail,
                tokens_in=tokens_in,
                tokens_out=tokens_out,
                model=model,
                cost=cost,
            ),
        )


def _full(file: Path, said: str) -> str:
    return f"{file}: cannot be written ({said}). Make room on the disk and run again: all answers in it are kept."
