"""The journal holds each answer once, counts what was paid, and can be read while it is written."""

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from veneer import lease
from veneer.errors import StoreError
from veneer.models import journal as journal_module
from veneer.models.journal import Answer, open_journal, progress, reading
from veneer.records import Stop

ANSWER = Answer(text="yes", stop=Stop.END, detail="", tokens_in=3, tokens_out=1, model="m-1 fp_9", cost=0.25)


def test_an_answer_is_found_again_as_it_was_recorded(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j") as journal:
        journal.record([("k", ANSWER)])
    with open_journal(tmp_path / "j") as journal:
        assert (journal.find("k"), journal.find("other")) == (ANSWER, None)


def test_the_first_answer_stands_and_is_paid_once(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j") as journal:
        journal.record([("k", ANSWER), ("k", replace(ANSWER, text="no"))])
        journal.record([("k", replace(ANSWER, text="never"))])
        assert journal.find("k") == ANSWER
        assert (journal.answered(), journal.spent().paid) == (1, 0.25)


def test_an_answer_without_a_price_is_counted_as_such(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j") as journal:
        journal.record([("k", replace(ANSWER, cost=None))])
        assert (journal.spent().paid, journal.spent().unpriced) == (0.0, 1)


def test_an_attempt_without_an_answer_may_have_been_paid(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j") as journal:
        journal.charge(2.0)
    with open_journal(tmp_path / "j") as journal:
        assert (journal.spent().paid, journal.spent().maybe) == (0.0, 2.0)


def test_an_answer_takes_the_place_of_a_failure(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j") as journal:
        journal.fail([("k", "status 500: busy")])
        assert (journal.failure("k"), journal.failed()) == ("status 500: busy", frozenset({"k"}))
        journal.record([("k", ANSWER)])
        assert (journal.failure("k"), journal.failed()) == ("", frozenset())


def test_a_record_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j") as journal:
        with pytest.raises(UnicodeEncodeError):
            journal.record([("a", ANSWER), ("b", replace(ANSWER, text="\ud800"))])
        assert (journal.find("a"), journal.answered()) == (None, 0)
        journal.record([("a", ANSWER)])
        assert journal.answered() == 1


def test_a_full_disk_is_said_plainly(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j") as journal:
        (pages,) = journal.base.execute("PRAGMA page_count").fetchone()
        journal.base.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreError, match="j: cannot be written .*full"):
            journal.record([("k", replace(ANSWER, text="long " * 100_000))])
        assert not journal.base.in_transaction


def test_another_process_can_read_while_one_writes(tmp_path: Path) -> None:
    with open_journal(tmp_path / "a #1?.sqlite") as journal:
        journal.record([("k", ANSWER)])
        journal.base.execute("BEGIN IMMEDIATE")
        assert progress(tmp_path / "a #1?.sqlite") == (1, 0.25)


def test_no_journal_yet_is_no_progress(tmp_path: Path) -> None:
    assert progress(tmp_path / "none") == (0, 0.0)
    assert not (tmp_path / "none").exists()


def test_a_file_that_is_no_journal_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"something else" * 100)
    with pytest.raises(StoreError, match="no journal that can be read"), open_journal(tmp_path / "j"):
        pass
    assert (tmp_path / "j").read_bytes().startswith(b"something else")
    assert progress(tmp_path / "j") == (0, 0.0)


def test_commits_are_fsynced(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j") as journal:
        assert journal.base.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert journal.base.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_batch_is_open_until_it_is_closed(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j") as journal:
        journal.add_batch("t1", ["b", "a"], 0.5)
        journal.add_batch("t2", ["c"], 0.25)
        assert journal.spent().maybe == 0.75
        journal.submitted("t1", "batch_7")
        assert journal.open_batches() == [("t1", "batch_7"), ("t2", None)]
        journal.close_batch("t1", "completed")
        assert (journal.open_batches(), journal.spent().maybe) == ([("t2", None)], 0.25)
        assert journal.keys_of("t1") == ["a", "b"]


def test_the_file_is_plain_sqlite(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j") as journal:
        journal.record([("k", ANSWER)])
    base = sqlite3.connect(tmp_path / "j")
    try:
        assert base.execute("SELECT text, stop FROM answers").fetchall() == [("yes", "end")]
    finally:
        base.close()


def test_a_journal_that_another_machine_writes_is_read_without_touching_what_that_one_keeps_in_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j"
    with open_journal(path) as journal:
        journal.record([("old", ANSWER)])
    with open_journal(path) as journal:
        journal.record([("new", ANSWER)])
        monkeypatch.setattr(lease, "elsewhere", lambda asking: asking == tmp_path / ".asking.lease")
        before = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
        with reading(path) as seen:
            assert (seen.has("old"), seen.has("new")) == (True, False)
        assert {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == before


def test_a_journal_that_another_machine_has_just_made_holds_no_answers_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j"
    with open_journal(path) as journal:
        journal.record([("new", ANSWER)])
        monkeypatch.setattr(lease, "elsewhere", lambda _: True)
        with reading(path) as seen:
            assert (seen.has("new"), seen.answered(), seen.spent().paid) == (False, 0, 0.0)


def test_a_journal_whose_making_was_killed_holds_no_answers(tmp_path: Path) -> None:
    (tmp_path / "j").touch()
    with reading(tmp_path / "j") as journal:
        assert journal.answered() == 0


def test_a_journal_has_all_of_its_tables_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where its making is killed: a transaction that has begun is never committed."""
    monkeypatch.setattr(journal_module, "_TABLES", f"{journal_module._TABLES} and then what cannot be")
    with pytest.raises(StoreError, match="syntax error"), open_journal(tmp_path / "j"):
        pass
    with closing(sqlite3.connect(tmp_path / "j")) as base:
        assert base.execute("SELECT name FROM sqlite_master").fetchall() == []


def test_nothing_is_written_while_another_machine_holds_the_right_to_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_journal(tmp_path / "j") as journal:
        monkeypatch.setattr(lease, "elsewhere", lambda _: True)
        with pytest.raises(StoreError, match="another machine asks meanwhile"):
            journal.record([("k", ANSWER)])
        assert not journal.has("k")


def damaged(folder: Path) -> Path:
    """Return a journal that opens, and whose answers are overwritten on the disk."""
    with open_journal(folder / "j") as journal:
        journal.record([(f"{number:064}", replace(ANSWER, text="x" * 500)) for number in range(200)])
    with (folder / "j").open("r+b") as file:
        file.seek(16 * 4096)
        file.write(b"\xff" * (folder / "j").stat().st_size)
    return folder / "j"


@pytest.mark.parametrize(
    ("elsewhere", "said"), [(False, "move it away only if"), (True, "while another machine writes it")]
)
def test_damage_that_shows_while_a_journal_is_read_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool, said: str
) -> None:
    path = damaged(tmp_path)
    monkeypatch.setattr(lease, "elsewhere", lambda _: elsewhere)
    with pytest.raises(StoreError, match=said), reading(path) as journal:
        [journal.has(f"{number:064}") for number in range(200)]


def test_damage_that_shows_while_requests_are_asked_says_what_to_do(tmp_path: Path) -> None:
    path = damaged(tmp_path)
    with pytest.raises(StoreError, match="move it away only if"), open_journal(path) as journal:
        [journal.find(f"{number:064}") for number in range(200)]


def test_a_journal_in_a_folder_that_is_not_to_be_written_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_journal(tmp_path / "j") as journal:
        journal.record([("k", ANSWER)])
    # Whoever may write anything, as in a container, is refused nothing: what SQLite leaves behind shows how it is read.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with reading(tmp_path / "j") as journal:
        assert journal.has("k")
        assert [file.name for file in tmp_path.iterdir()] == ["j"]
