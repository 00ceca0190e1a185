"""The journal: every request to an endpoint and what came back, on disk before it counts; one file a study."""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from veneer import lease
from veneer.errors import StoreError
from veneer.records import Stop
from veneer.store import ASKING

_TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL, stop TEXT NOT NULL, detail TEXT NOT NULL,
    tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, model TEXT NOT NULL, cost REAL
);
CREATE TABLE IF NOT EXISTS failures (key TEXT PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS totals (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (tag TEXT PRIMARY KEY, batch TEXT, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch_requests (tag TEXT, key TEXT, PRIMARY KEY (tag, key)) WITHOUT ROWID;
"""
"""Texts are long and keys are hashes: with a row id, texts are written one after the other, and the keys alone at
random places; less than half of the bytes go to disk."""
_BATCH = "batch "
"""How the totals are called that hold the most which a batch under way may cost."""
# Many keys at once: asked one by one, they would keep the threads that ask endpoints waiting.
_KNOWN = "SELECT key FROM answers WHERE key IN (SELECT value FROM json_each(?))"
_MENDED = "DELETE FROM failures WHERE key IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back from one request."""

    text: str
    stop: Stop
    """END, LENGTH or REFUSED: what failed is no answer."""
    detail: str
    tokens_in: int
    tokens_out: int
    model: str
    """The model's name and fingerprint, as the server reported them."""
    cost: float | None
    """US dollars; None where no price is known."""
    counted: bool = True
    """Whether the server said what was used; not kept, for the cost follows from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a study's requests have cost, in US dollars."""

    paid: float
    """Of the answers that came."""
    maybe: float
    """The most that may be paid beyond: attempts that broke off, what was in flight at a kill, batches under way."""
    unpriced: int
    """Answers whose price is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """An open journal; only one process at a time writes, any may read."""

    path: Path
    base: sqlite3.Connection

    def find(self, key: str) -> Answer | None:
        """Return the answer of a request, if it has one."""
        row = self.base.execute(
            "SELECT text, stop, detail, tokens_in, tokens_out, model, cost FROM answers WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        text, stop, detail, tokens_in, tokens_out, model, cost = row
        return Answer(
            text=text,
            stop=Stop(stop),
            detail=detail,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            model=model,
            cost=cost,
        )

    def has(self, key: str) -> bool:
        """Return whether a request has its answer."""
        return self.base.execute("SELECT 1 FROM answers WHERE key = ?", (key,)).fetchone() is not None

    def record(self, answers: Sequence[tuple[str, Answer]]) -> None:
        """Take answers down: one transaction, durable when it returns."""
        keys = (json.dumps([key for key, _ in answers]),)
        known = {key for (key,) in self.base.execute(_KNOWN, keys)}
        fresh: dict[str, Answer] = {}
        for key, one in answers:
            if key not in known:
                fresh.setdefault(key, one)  # The first stands: what is told twice is paid once.
        rows = [
            (key, one.text, one.stop.value, one.detail, one.tokens_in, one.tokens_out, one.model, one.cost)
            for key, one in fresh.items()
        ]
        with self._writing():
            self.base.executemany("INSERT OR IGNORE INTO answers VALUES (?,?,?,?,?,?,?,?)", rows)
            self.base.execute(_MENDED, keys)
            self._add("answers", len(rows))
            self._add("paid", sum(row[-1] or 0.0 for row in rows))
            self._add("unpriced", sum(row[-1] is None for row in rows))

    def charge(self, lost: float) -> None:
        """Note US dollars that an attempt without an answer may have cost."""
        with self._writing():
            self._add("maybe", lost)

    def fail(self, failures: Iterable[tuple[str, str]]) -> None:
        """Note why requests have no answer; they are asked again on the next run."""
        with self._writing():
            for key, reason in failures:
                self.base.execute("INSERT OR REPLACE INTO failures VALUES (?, ?)", (key, reason))

    def failed(self) -> frozenset[str]:
        """Return the requests that were asked in vain and have no answer."""
        return frozenset(key for (key,) in self.base.execute("SELECT key FROM failures"))

    def failure(self, key: str) -> str:
        """Return why a request has no answer; empty where it was not asked yet."""
        row = self.base.execute("SELECT reason FROM failures WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else ""

    def spent(self) -> Spent:
        """Return what the study's requests have cost so far."""
        totals = dict(self.base.execute("SELECT name, value FROM totals").fetchall())
        under_way = sum(value for name, value in totals.items() if name.startswith(_BATCH))
        return Spent(
            paid=totals.get("paid", 0.0),
            maybe=totals.get("maybe", 0.0) + under_way,
            unpriced=int(totals.get("unpriced", 0)),
        )

    def answered(self) -> int:
        """Return how many answers there are."""
        row = self.base.execute("SELECT value FROM totals WHERE name = 'answers'").fetchone()
        return int(row[0]) if row else 0

    def add_batch(self, tag: str, keys: Iterable[str], most: float) -> None:
        """Note that a batch is about to be made of these requests, which may cost so many US dollars at most."""
        with self._writing():
            self._add(_BATCH + tag, most)
            self.base.execute("INSERT OR REPLACE INTO batches VALUES (?, NULL, 'made')", (tag,))
            self.base.executemany(
                "INSERT OR IGNORE INTO batch_requests VALUES (?, ?)", ((tag, key) for key in keys)
            )

    def submitted(self, tag: str, batch: str) -> None:
        """Note the id that the provider gave a batch."""
        with self._writing():
            self.base.execute("UPDATE batches SET batch = ?, state = 'open' WHERE tag = ?", (batch, tag))

    def open_batches(self) -> list[tuple[str, str | None]]:
        """Return the tags of batches that are not collected yet, with their ids where they are known."""
        rows = self.base.execute(
            "SELECT tag, batch FROM batches WHERE state IN ('made', 'open') ORDER BY tag"
        )
        return [(tag, batch) for tag, batch in rows]

    def keys_of(self, tag: str) -> list[str]:
        """Return the requests of a batch."""
        return [
            key
            for (key,) in self.base.execute(
                "SELECT key FROM batch_requests WHERE tag = ? ORDER BY key", (tag,)
            )
        ]

    def close_batch(self, tag: str, state: str) -> None:
        """Note that a batch is collected, or lost."""
        with self._writing():
            self.base.execute("UPDATE batches SET state = ? WHERE tag = ?", (state, tag))
            self.base.execute("DELETE FROM totals WHERE name = ?", (_BATCH + tag,))

    def _add(self, name: str, value: float) -> None:
        self.base.execute(
            "INSERT INTO totals VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = value + excluded.value",
            (name, value),
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if lease.elsewhere(self.path.with_name(ASKING.name)):
            raise StoreError(
                f"{self.path}: another machine asks meanwhile: this one slept, or could not reach the folder. What was "
                "in flight here may be lost; all else is kept. Run again."
            )
        try:
            self.base.execute("BEGIN IMMEDIATE")
            yield
            self.base.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"{self.path}: cannot be written ({error}). Make room on the disk, or look what is wrong with it, and "
                "run again: all answers in it are kept."
            ) from error
        finally:
            if self.base.in_transaction:  # SQLite may have rolled back by itself, as on a full disk.
                self.base.execute("ROLLBACK")


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """Open a journal, made if need be.

    Raises:
        StoreError: It is no journal, or damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        _explained(path),
        closing(sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)) as base,
    ):
        # FULL: a commit has reached the disk when it returns. WAL: one write to it a commit, and readers never wait.
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = FULL")
        # All or none: whoever finds some of the tables takes the file for damaged.
        if not base.execute("SELECT 1 FROM sqlite_master WHERE name = 'batch_requests'").fetchone():
            base.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
        yield Journal(path=path, base=base)


def progress(path: Path) -> tuple[int, float]:
    """Return how many answers a journal holds and the US dollars that they cost, while another process writes it."""
    if not path.exists():
        return 0, 0.0
    try:
        with reading(path) as journal:
            return journal.answered(), journal.spent().paid
    except StoreError:
        return 0, 0.0  # It is being made this moment, or damaged: whoever asks says so.


@contextmanager
def reading(path: Path) -> Iterator[Journal]:
    """Open a journal that is there, to read it while another process may write it.

    While a process of another machine does, the newest answers are not seen: SQLite keeps them where only that
    machine sees them whole.

    Raises:
        StoreError: It is no journal, or damaged.
    """
    away = lease.elsewhere(path.with_name(ASKING.name))
    # Where nothing can be written and no log lies beside it, the file is all there is; SQLite would want to make one.
    whole = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
    how = "immutable=1" if away or whole else "mode=ro"
    with (
        _explained(path, away=away),
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=5)) as base,
        closing(sqlite3.connect(":memory:")) as empty,
    ):
        # Just made, or all that is in it is where only the other machine sees it.
        new = base.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        if new:
            empty.executescript(_TABLES)
        else:
            base.execute("SELECT count(*) FROM totals").fetchone()
        yield Journal(path=path, base=empty if new else base)


@contextmanager
def _explained(path: Path, *, away: bool = False) -> Iterator[None]:
    """Raise what SQLite finds wrong with a journal as an error that says what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if away:
            raise StoreError(
                f"{path}: cannot be read while another machine writes it ({error}). Try again in a while."
            ) from error
        raise StoreError(
            f"{path}: is no journal that can be read ({error}). It holds answers that were paid for: keep it, look "
            "what is wrong with the disk, and move it away only if you accept to pay again."
        ) from error
