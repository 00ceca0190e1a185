"""Files on disk: written whole or not at all, known by their bytes, read with the place of each fault."""

import gzip
import hashlib
import json
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from veneer import absent
from veneer.errors import DataError

Row = dict[str, Any]
T = TypeVar("T")


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, NaN refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, or of a folder's file names and bytes; what is `absent` counts as there."""
    whole = hashlib.sha256()
    if path.is_file():
        contents = [(b"", sha256(path))]
    else:
        files = {file.relative_to(path): file for file in files_below(path)}
        known = {Path(name): one["sha256"] for name, one in absent.of(path).items()}
        contents = [
            (str(name).encode(), sha256(files[name]) if name in files else bytes.fromhex(known[name]))
            for name in sorted({*files, *known})
        ]
    for name, content in contents:
        whole.update(len(name).to_bytes(4, "big") + name + content)
    return whole.hexdigest()


def files_below(folder: Path) -> list[Path]:
    """Return a folder's files, sorted, but none that is hidden or lies in a hidden folder."""
    # A model that was cloned has `.git` in it, one that was downloaded `.cache`: other each time, and maybe a token.
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def sha256(file: Path) -> bytes:
    """Return the SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSONL row by row, whole or not at all, durable when it returns."""
    _write(path, map(_line, rows))


def write_json(path: Path, value: Any) -> None:
    """Write one indented JSON value, whole or not at all, durable when it returns."""
    write_text(path, json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all, durable when it returns."""
    _write(path, (text,))


def _write(path: Path, texts: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.writing")
    with temporary.open("wb") as stream:
        for text in texts:
            try:
                stream.write(_encoded(path, text))
            except DataError:
                temporary.unlink()
                raise
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(dict(row), ensure_ascii=False, allow_nan=False) + "\n"


def _encoded(path: Path, text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path}: a text holds half of a character ({error}). Mend the data that it came from."
        ) from error


def appending(path: Path, records: Iterable[T], to_row: Callable[[T], Row]) -> Iterator[T]:
    """Append records to JSONL as they come, and yield each once it is written.

    It survives the end of this process at once, and that of the machine within a second. The file's last line may be
    half-written after either (see `mended_rows`).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        synced = time.monotonic()
        for record in records:
            stream.write(_encoded(path, _line(to_row(record))))
            stream.flush()
            if time.monotonic() - synced > 1:
                os.fsync(stream.fileno())
                synced = time.monotonic()
            yield record
        os.fsync(stream.fileno())


def mended_rows(path: Path) -> list[Row]:
    """Return the rows of a file that `appending` wrote, and cut off what is half-written; none if there is no file."""
    if not path.exists():
        return []
    whole = path.read_bytes()
    end = whole.rfind(b"\n") + 1
    if end < len(whole):
        os.truncate(path, end)
    return [json.loads(line) for line in whole[:end].splitlines()]


def read_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield (`file:line`, row) for each line of a JSONL file, plain or gzipped.

    Raises:
        DataError: A line is not a JSON object.
    """
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (
            ValueError,
            RecursionError,
        ) as error:  # A number of thousands of digits is a plain ValueError.
            raise DataError(f"{path}:{number}: not JSON ({error}); one object a line is wanted.") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}:{number}: found {type(row).__name__}; one JSON object a line is wanted.")
        yield f"{path}:{number}", row


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, plain or gzipped, without the mark that Windows puts before the first.

    Raises:
        DataError: It is no file, or not UTF-8, or not gzip though its name says so.
    """
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig") as lines
        ):
            yield from lines
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(
            f"{path}: cannot be read ({error}). A JSONL file in UTF-8 is wanted, gzipped if its name ends in .gz."
        ) from error


def read_json(path: Path) -> Any:
    """Return the value of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def sync(path: Path) -> None:
    """Wait until a file or folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
