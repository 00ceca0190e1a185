"""Raw rows: whatever a JSON, JSONL or Parquet file, or a hub data set, holds, one by one."""

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

from veneer.errors import DataError
from veneer.study_data import HubSpec

Raw = tuple[str, Any]
"""Where a row stands, and what it is: any JSON value, or the text of a line that is no JSON."""
CHUNK = 1 << 20
"""Characters of a JSON array that are read at once."""
BLANK = re.compile(r"[ \t\r\n]*")
KINDS = "JSON or JSONL in UTF-8, plain or gzipped, or Parquet is wanted."


OTHERS = {
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    b"\xfd7zXZ": "packed with xz",
    b"BZh": "packed with bzip2",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
"""What else a file may be, by its first bytes."""


class Unreadable(str):
    """A line that is no JSON, as it stands."""

    __slots__ = ()


def of_file(path: Path) -> Iterator[Raw]:
    """Yield the rows of a JSON array, a JSONL file (both plain or gzipped) or a Parquet file.

    What a file is is told by its first bytes: its name may be wrong. A byte that is no UTF-8 becomes half a
    surrogate, so that it costs its row and not the file.

    Raises:
        DataError: The file is none of these, or damaged.
    """
    with _reading(path):
        if path.suffix.lower() == ".parquet" or _opens_with(path, b"PAR1"):
            yield from _parquet(path)
            return
        if other := next((kind for magic, kind in OTHERS.items() if _opens_with(path, magic)), ""):
            raise DataError(f"{path}: is {other}. {KINDS}")
        with _open(path) as stream:
            # A whole file may be one line: only a piece of it is looked at.
            pieces = iter(lambda: stream.read(CHUNK), "")
            first = next((piece.lstrip()[0] for piece in pieces if piece.strip()), "")
        with _open(path) as stream:
            yield from _array(path, stream) if first == "[" else _lines(path, stream)


def of_hub(spec: HubSpec) -> Iterator[Raw]:
    """Yield the rows of a hub data set at its revision.

    Raises:
        DataError: The package `datasets` is missing, or the data set cannot be had.
    """
    try:
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError
    except ImportError as error:
        raise DataError(
            f"{spec.name}: hub data sets need the package `datasets`: pip install 'veneer[hub]'"
        ) from error
    try:
        rows = load_dataset(spec.name, spec.config, split=spec.split, revision=spec.revision, streaming=False)
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        raise DataError(
            f"{spec.name}@{spec.revision[:12]}, split {spec.split!r}: cannot be had from the hub ({error}). Check the "
            "name, the config, the split, the revision and the network, or name a file that you have."
        ) from error
    for number, row in enumerate(rows, 1):
        yield f"{spec.name}, row {number}", row


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say of a file that cannot be read where it lies and what is wanted."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}). {KINDS}") from error


def _opens_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(magic)) == magic


def _open(path: Path) -> TextIO:
    # Lines end at "\n" alone: other line separators may stand inside a JSON text.
    how: dict[str, Any] = {"encoding": "utf-8-sig", "errors": "surrogateescape", "newline": "\n"}
    if _opens_with(path, b"\x1f\x8b"):
        return cast(TextIO, gzip.open(path, "rt", **how))
    return cast(TextIO, path.open(**how))


def _lines(path: Path, stream: TextIO) -> Iterator[Raw]:
    for number, line in enumerate(stream, 1):
        if line.strip():
            yield f"{path.name}:{number}", _parsed(line)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return Unreadable(line.rstrip("\r\n"))


def _array(path: Path, stream: TextIO) -> Iterator[Raw]:
    """Yield the rows of a JSON array piece by piece, so that memory does not grow with the file."""
    decoder = json.JSONDecoder()
    text = ""
    while not text.lstrip():
        text = stream.read(CHUNK)
    at, number, between = text.index("[") + 1, 0, False
    while True:
        at = _skip(text, at)
        if at == len(text):
            text, at = stream.read(CHUNK), 0
            if not text:
                raise DataError(f"{path}: ends within its array, after row {number}. {KINDS}")
            continue
        if text[at] == "]" and (between or not number):
            break
        if between and text[at] == ",":
            at, between = at + 1, False
            continue
        row, end, fault = (None, at, "a comma is missing") if between else _value(decoder, text, at)
        # What ends at the edge of the piece may go on in the next: 1 may be 1.5e+3.
        if (
            not between
            and (fault or len(text) - end < 4)
            and (more := stream.read(max(CHUNK, len(text) - at)))
        ):
            text, at = text[at:] + more, 0
            continue
        if fault:
            raise DataError(f"{path}: is no JSON array from row {number + 1} on ({fault}). {KINDS}")
        at, number, between = end, number + 1, True
        yield f"{path.name}, row {number}", row
    if text[at + 1 :].strip() or stream.read(CHUNK).strip():
        raise DataError(f"{path}: goes on after the end of its array, which has {number} rows. {KINDS}")


def _skip(text: str, at: int) -> int:
    found = BLANK.match(text, at)
    assert found, "the pattern matches nothing as well"
    return found.end()


def _value(decoder: json.JSONDecoder, text: str, at: int) -> tuple[Any, int, str]:
    """Return the JSON value that begins at a place, where it ends, and what is wrong with it."""
    try:
        row, end = decoder.raw_decode(text, at)
    except (ValueError, RecursionError) as error:
        return None, at, str(error)
    return row, end, ""


def _parquet(path: Path) -> Iterator[Raw]:
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path.name}, row {number}", row
    except (ValueError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet after row {number} ({error}).") from error
