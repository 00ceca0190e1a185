"""Answers that have come outlive the process, whatever became of the line before theirs."""

import errno
import os
from pathlib import Path

import pytest

from veneer.errors import StoreError
from veneer.models.inbox import open_inbox
from veneer.models.journal import Answer, open_journal
from veneer.records import Stop

ANSWER = Answer(
    text="yes\x00\u2028", stop=Stop.END, detail="", tokens_in=1, tokens_out=1, model="m", cost=0.5
)


def test_what_was_put_goes_into_the_journal_when_the_inbox_is_opened_again(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j") as journal:
        with open_inbox(tmp_path / "j", journal) as inbox:
            inbox.put("a", ANSWER)
            inbox.swap()
            inbox.put("b", ANSWER)
        with open_inbox(tmp_path / "j", journal):
            assert (journal.find("a"), journal.find("b")) == (ANSWER, ANSWER)
        assert journal.spent().paid == 1.0


def test_a_full_disk_still_takes_what_is_on_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_journal(tmp_path / "j") as journal:
        with open_inbox(tmp_path / "j", journal) as inbox:
            write = os.write

            def full(handle: int, line: bytes) -> int:
                if inbox.reserve.exists():
                    raise OSError(errno.ENOSPC, "No space left on device")
                return write(handle, line)

            monkeypatch.setattr(os, "write", full)
            inbox.put("a", ANSWER)
        with open_inbox(tmp_path / "j", journal):
            assert journal.find("a") == ANSWER


def test_a_disk_that_is_full_beforehand_is_said_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path, __: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with (
        open_journal(tmp_path / "j") as journal,
        pytest.raises(StoreError, match="Make room on the disk"),
        open_inbox(tmp_path / "j", journal),
    ):
        pass


def test_a_line_that_was_cut_takes_no_other_with_it(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j") as journal:
        with open_inbox(tmp_path / "j", journal) as inbox:
            inbox.put("cut", ANSWER)
            os.truncate(inbox.files[0], inbox.files[0].stat().st_size - 9)
            inbox.put("whole", ANSWER)
        with open_inbox(tmp_path / "j", journal):
            assert (journal.has("cut"), journal.has("whole")) == (False, True)
