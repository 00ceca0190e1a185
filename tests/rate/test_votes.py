import sqlite3
import threading
from pathlib import Path

import pytest

from veneer.errors import StoreError
from veneer.rate import votes
from veneer.rate.votes import Scribe

JOIN = (votes.JOIN, (1, None, "{}", 0.0))


def written(scribe: Scribe, *writes: votes.Write, generation: int = 0) -> str:
    told = threading.Event()
    said: list[str] = []

    def tell(failed: str) -> None:
        said.append(failed)
        told.set()

    scribe.write(writes, tell, generation)
    assert told.wait(10)
    return said[0]


def test_what_is_told_to_be_written_is_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    scribe = Scribe(votes.connect(path))
    assert written(scribe, JOIN) == ""
    past = votes.read(path)
    assert past is not None
    assert [one.rater for one in past.people] == [1]
    scribe.close()


def test_after_a_failure_nothing_that_builds_on_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    scribe = Scribe(votes.connect(path))
    assert written(scribe, JOIN) == ""
    assert "UNIQUE" in written(scribe, JOIN)
    second = (votes.JOIN, (2, None, "{}", 0.0))
    assert written(scribe, second) == "a write before failed"
    assert written(scribe, second, generation=1) == ""
    scribe.close()


def test_every_commit_waits_for_the_disk(tmp_path: Path) -> None:
    base = votes.connect(tmp_path / "votes.sqlite")
    assert base.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert base.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_secret_is_made_once_and_kept(tmp_path: Path) -> None:
    base = votes.connect(tmp_path / "votes.sqlite")
    first = votes.setting(base, "owner")
    assert votes.setting(base, "owner") == first != votes.setting(base, "entry")
    assert len(first) == 24


def test_where_nobody_was_asked_there_is_no_history(tmp_path: Path) -> None:
    assert votes.read(tmp_path / "votes.sqlite") is None
    assert not (tmp_path / "votes.sqlite").exists()


def test_a_file_that_is_no_file_of_votes_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "votes.sqlite"
    path.write_bytes(b"no data base, but long enough to be looked at" * 40)
    with pytest.raises(StoreError, match="cannot be opened as a file of votes"):
        votes.connect(path)


def test_the_rows_are_strict_about_tokens(tmp_path: Path) -> None:
    base = votes.connect(tmp_path / "votes.sqlite")
    row = ("token", "first", "", "", "", "", 1.0, 0)
    base.execute(votes.VOTE, row)
    base.execute(votes.VOTE, row)
    assert base.execute("SELECT count(*) FROM votes").fetchone() == (1,)
    with pytest.raises(sqlite3.IntegrityError):
        base.execute("INSERT INTO votes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
