"""Rows come out of files of any kind as they went in, piece by piece; what is damaged is named."""

import gzip
import json
import sys
import tracemalloc
import types
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from veneer import rows
from veneer.errors import DataError
from veneer.study_data import HubSpec

HUB = HubSpec(name="a/b", revision="0" * 40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'[{"a": 1}, {"a"', "no JSON array from row 2 on"),
        (b'[{"a": 1} {"a": 1}]', "row 2 on .a comma is missing"),
        (b'[{"a": 1}, ', "ends within its array, after row 1"),
        (b"[" * 200000, "no JSON array from row 1 on"),
        (b'[{"a": 1}] [2]', "goes on after the end"),
        (gzip.compress(b'{"a": 1}\n' * 500, mtime=0)[:-9], "cannot be read"),
        (b"\x1f\x8b\x08\x00" + b"\xff" * 50, "cannot be read"),
        (b"PAR1 and no more", "cannot be read as Parquet"),
        (b"PK\x03\x04 and more", "is a zip archive. JSON or JSONL in UTF-8, plain or gzipped, or Parquet"),
        ('{"a": 1}\n'.encode("utf-16"), "is UTF-16. JSON or JSONL in UTF-8"),
        (b"\x28\xb5\x2f\xfd and more", "is packed with zstd"),
    ],
    ids=[
        "cut row",
        "no comma",
        "cut array",
        "deep",
        "two arrays",
        "cut gzip",
        "no gzip",
        "no parquet",
        "zip",
        "utf-16",
        "zstd",
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "rows"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path}.*{said}"):
        list(rows.of_file(path))


@given(values=st.lists(VALUES, max_size=6), chunk=st.integers(1, 9), indent=st.sampled_from([None, 1]))
@settings(deadline=None)
def test_an_array_is_read_alike_in_pieces_of_any_size(
    values: list[Any], chunk: int, indent: int | None
) -> None:
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "CHUNK", chunk)
        path = Path(name) / "rows.json"
        path.write_text(json.dumps(values, indent=indent))
        found = [json.dumps(row) for _, row in rows.of_file(path)]
    assert found == [json.dumps(value) for value in values]


def test_an_array_on_one_line_is_never_held_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    row = json.dumps({"text": "x" * 1000})
    path.write_text("[" + ",".join([row] * 20_000) + "]")
    tracemalloc.start()
    try:
        count = sum(1 for _ in rows.of_file(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 20_000
    assert peak < 12e6


@pytest.mark.parametrize("name", ["rows.parquet", "ROWS.PARQUET", "rows.bin"])
def test_parquet_is_told_by_its_first_bytes_whatever_its_name(tmp_path: Path, name: str) -> None:
    parquet.write_table(pyarrow.table({"id": [3, 4]}), tmp_path / name)
    assert list(rows.of_file(tmp_path / name)) == [
        (f"{name}, row 1", {"id": 3}),
        (f"{name}, row 2", {"id": 4}),
    ]


def test_a_hub_that_cannot_be_reached_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: Any, **__: Any) -> None:
        raise ConnectionError("Couldn't reach 'a/b' on the Hub")

    package, errors = types.ModuleType("datasets"), types.ModuleType("datasets.exceptions")
    package.load_dataset = load_dataset  # type: ignore[attr-defined]
    errors.DatasetsError = type("DatasetsError", (Exception,), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", package)
    monkeypatch.setitem(sys.modules, "datasets.exceptions", errors)
    with pytest.raises(DataError, match="a/b@000000000000, split 'train': cannot be had .*Couldn't reach"):
        list(rows.of_hub(HUB))


def test_the_package_datasets_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'veneer\[hub\]'"):
        list(rows.of_hub(HUB))
