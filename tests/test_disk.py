"""Files are written whole or not at all, and what cannot be read is refused with its place."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.disk import appending, canonical, mended_rows, read_rows, write_rows
from veneer.errors import DataError


def test_a_key_never_holds_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"a": float("nan")})


@given(
    rows=st.lists(
        st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9), max_size=4), max_size=6
    )
)
def test_rows_survive_the_disk(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    write_rows(path, rows)
    assert [row for _, row in read_rows(path)] == rows


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{oops", "not JSON"),
        ("[1]", "found list"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
        ("[" * 99_999, "not JSON"),
    ],
    ids=["no JSON", "a list", "a huge number", "too deep"],
)
def test_a_line_that_is_no_object_is_refused_with_its_place(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"a": 1}}\n{line}\n')
    with pytest.raises(DataError, match=f"rows.jsonl:2: {said}"):
        list(read_rows(path))


def test_a_file_may_begin_with_the_mark_that_windows_writes(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n', encoding="utf-8-sig")
    assert [row for _, row in read_rows(tmp_path / "a.jsonl")] == [{"a": 1}]


@pytest.mark.parametrize(("name", "content"), [("a.jsonl", b"\xff\xfe"), ("a.jsonl.gz", b"not gzip")])
def test_a_file_that_is_no_text_is_refused_with_what_is_wanted(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="A JSONL file in UTF-8 is wanted"):
        list(read_rows(tmp_path / name))


def test_a_folder_is_no_file_of_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        list(read_rows(tmp_path))


def test_half_a_character_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="half of a character"):
        write_rows(tmp_path / "rows.jsonl", [{"a": "\ud83d"}])
    assert list(tmp_path.iterdir()) == []


def test_rows_that_are_appended_survive_whatever_happens_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"

    def broken() -> Iterator[int]:
        yield from (1, 2)
        raise KeyboardInterrupt

    written = appending(path, broken(), lambda number: {"n": number})
    with pytest.raises(KeyboardInterrupt):
        list(written)
    assert mended_rows(path) == [{"n": 1}, {"n": 2}]
    assert list(appending(path, iter([3]), lambda number: {"n": number})) == [3]
    assert [row["n"] for row in mended_rows(path)] == [1, 2, 3]


def test_a_half_written_row_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert mended_rows(path) == []
    path.write_bytes(b'{"n": 1}\n{"n": "\xc3')
    assert mended_rows(path) == [{"n": 1}]
    assert path.read_bytes() == b'{"n": 1}\n'
