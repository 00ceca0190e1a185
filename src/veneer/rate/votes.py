"""The file of votes: who came, what each was shown, what each answered; on disk before anybody is thanked.

It lies in `rating/votes.sqlite` beside the artefacts, and can never be made anew: keep it.
"""

import fcntl
import itertools
import queue
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from veneer.errors import StoreError

FOLDER, FILE = "rating", "votes.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS raters (
    rater INTEGER PRIMARY KEY, person TEXT UNIQUE, visit TEXT NOT NULL, joined REAL NOT NULL, finished REAL,
    excluded TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS sessions (session TEXT PRIMARY KEY, rater INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shown (
    token TEXT PRIMARY KEY, rater INTEGER NOT NULL, kind TEXT NOT NULL, prompt_id TEXT NOT NULL,
    first TEXT NOT NULL, second TEXT NOT NULL, first_digest TEXT NOT NULL, second_digest TEXT NOT NULL,
    shown_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS votes (
    token TEXT PRIMARY KEY, verdict TEXT NOT NULL, style TEXT NOT NULL, correctness TEXT NOT NULL,
    source TEXT NOT NULL, reason TEXT NOT NULL, voted_at REAL NOT NULL, late INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS invitations (token TEXT PRIMARY KEY, made REAL NOT NULL);
CREATE TABLE IF NOT EXISTS peeks (at REAL NOT NULL);
"""
_FIXED = "SELECT value FROM settings WHERE name = 'fixed'"
Value = str | int | float | None
Write = tuple[str, tuple[Value, ...]]
"""A statement and its values."""

JOIN = "INSERT INTO raters VALUES (?, ?, ?, ?, NULL, '')"
VISIT = "UPDATE raters SET visit = ? WHERE rater = ?"
LOG_IN = "INSERT OR IGNORE INTO sessions VALUES (?, ?)"
SHOW = "INSERT INTO shown VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
VOTE = "INSERT OR IGNORE INTO votes VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
FINISH = "UPDATE raters SET finished = ? WHERE rater = ? AND finished IS NULL"
EXCLUDE = "UPDATE raters SET excluded = ? WHERE rater = ? AND excluded = ''"
INVITE = "INSERT INTO invitations VALUES (?, ?)"
PEEK = "INSERT INTO peeks VALUES (?)"
FIX = "INSERT OR REPLACE INTO settings VALUES ('fixed', ?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What was put before a rater."""

    token: str
    """Says nothing; it stands in the page's form."""
    rater: int
    kind: str
    prompt_id: str
    """Checks: the check's id."""
    first: str
    """The contestant on the left, called A. Checks: which of the check's two texts."""
    second: str
    first_digest: str
    second_digest: str
    shown_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What a rater answered; verdicts are those of `records.Verdict`, empty where it was not asked."""

    token: str
    verdict: str
    style: str
    correctness: str
    source: str
    reason: str
    voted_at: float
    late: int
    """1 where the pair had been given to others in the meantime and has its ratings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who rates."""

    rater: int
    """1 for the first who came; what the results call them."""
    person: str | None
    """What the platform called them; it goes into no artefact."""
    visit: str
    """What else the platform said, as JSON."""
    joined: float
    finished: float | None
    excluded: str
    """By which rule; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All that a file of votes holds."""

    people: tuple[Person, ...]
    sessions: tuple[tuple[str, int], ...]
    """Digests of session tokens, and whose they are."""
    shown: tuple[Shown, ...]
    """In the order in which it was shown."""
    votes: tuple[Vote, ...]
    """In the order in which they came."""
    invitations: tuple[str, ...]
    """The secrets in invitation links, in the order in which they were made."""
    peeks: int
    """How often the owner looked at running win rates."""
    fixed: str
    """What is asked and who is excluded, as it was when rating began (see `people.fixed`); empty before."""


def path_of(place: Path) -> Path:
    """Return where a study's votes lie, below its folder."""
    return place / FOLDER / FILE


def connect(path: Path) -> sqlite3.Connection:
    """Open a file of votes, making it if need be; every commit is on disk when it returns.

    Raises:
        StoreError: The file cannot be opened, or is no file of votes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        base = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = FULL")
        base.executescript(_TABLES)
    except sqlite3.Error as error:
        raise StoreError(
            f"{path}: cannot be opened as a file of votes ({error}). Put back a copy, or move it away to begin anew."
        ) from error
    return base


def read(path: Path) -> History | None:
    """Return all that was voted so far; None where nobody has been asked yet.

    Raises:
        StoreError: The file cannot be read.
    """
    if not path.exists():
        return None
    base = connect(path)
    try:
        return history(base)
    finally:
        base.close()


def history(base: sqlite3.Connection) -> History:
    """Return all that an open file holds, at one moment."""
    base.execute("BEGIN")
    try:
        return History(
            people=tuple(_rows(base, Person, "raters", "rater")),
            sessions=tuple(base.execute("SELECT session, rater FROM sessions")),
            shown=tuple(_rows(base, Shown, "shown", "rowid")),
            votes=tuple(_rows(base, Vote, "votes", "rowid")),
            invitations=tuple(
                token for (token,) in base.execute("SELECT token FROM invitations ORDER BY made, rowid")
            ),
            peeks=base.execute("SELECT count(*) FROM peeks").fetchone()[0],
            fixed=next((value for (value,) in base.execute(_FIXED)), ""),
        )
    finally:
        base.execute("COMMIT")


def _rows(base: sqlite3.Connection, kind: type[Any], table: str, order: str) -> Iterator[Any]:
    names = [field.name for field in fields(kind)]
    for row in base.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY {order}"):  # noqa: S608
        yield kind(**dict(zip(names, row, strict=True)))


def nameless(path: Path) -> bytes:
    """Return a copy of a file of votes without what platforms call people, how they came, and how anybody logs in.

    Results are made of it as of the file itself.
    """
    copy = sqlite3.connect(":memory:", isolation_level=None)
    base = connect(path)
    try:
        base.backup(copy)
        copy.execute("PRAGMA secure_delete = ON")
        copy.execute("UPDATE raters SET person = NULL, visit = '{}'")
        for rows in ("sessions", "invitations", "settings WHERE name <> 'fixed'"):
            copy.execute(f"DELETE FROM {rows}")  # noqa: S608 (the three above)
        copy.execute("VACUUM")
        return copy.serialize()
    finally:
        base.close()
        copy.close()


def unguessable() -> str:
    """Return a fresh secret for a link: 144 random bits."""
    return secrets.token_urlsafe(18)


def setting(base: sqlite3.Connection, name: str, value: str | None = None) -> str:
    """Return a setting that is made once and then kept: the value given, or else an unguessable one."""
    base.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (name, value or unguessable()))
    found = base.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()[0]
    assert isinstance(found, str)
    return found


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a file of votes for one server.

    Raises:
        StoreError: Another process serves it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(".serving.lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(f"{path}: is served by another process. Stop that one first.") from error
        yield


class Scribe:
    """Writes in a thread of its own: whatever waits is committed together, so that one flush serves many raters."""

    def __init__(self, base: sqlite3.Connection) -> None:
        self._base = base
        self._waiting: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._dead = -1
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def write(self, writes: Sequence[Write], done: Callable[[str], None], generation: int) -> None:
        """Write in order; the thread calls `done` with an empty text once all is on disk, or with what failed.

        Args:
            writes: What to write.
            done: Is told.
            generation: After a failure nothing of the same generation is written any more: it would build on what is
                not there.
        """
        self._waiting.put((writes, done, generation))

    def close(self) -> None:
        """Write what waits, and end."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        open_for_more = True
        while open_for_more:
            taken = [self._waiting.get()]
            while not self._waiting.empty():
                taken.append(self._waiting.get())
            tasks = [one for one in taken if one is not None]
            open_for_more = len(tasks) == len(taken)
            for generation, together in itertools.groupby(tasks, key=lambda task: task[2]):
                batch = list(together)
                failed = "a write before failed" if generation <= self._dead else self._commit(batch)
                if failed:
                    self._dead = max(self._dead, generation)
                for _, done, _ in batch:
                    done(failed)

    def _commit(self, batch: Sequence["_Task"]) -> str:
        writes = [write for task in batch for write in task[0]]
        if not writes:
            return ""
        try:
            self._base.execute("BEGIN IMMEDIATE")
            for statement, values in writes:
                self._base.execute(statement, values)
            self._base.execute("COMMIT")
        except sqlite3.Error as error:
            if self._base.in_transaction:
                self._base.execute("ROLLBACK")
            return str(error)
        return ""


_Task = tuple[Sequence[Write], Callable[[str], None], int]
