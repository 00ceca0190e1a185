"""A bundle is a folder that holds the data of lm-eval's tasks, so that no run needs the hub.

Each split of a data set is looked for in two places:
- the general layout, `<data set, "/" as "__">/<configuration, or default>/<split>` with the ending `.jsonl`,
  `.jsonl.gz`, `.parquet` or `.csv` (or the hub's own `<split>-00000-of-00002.parquet` and so on);
- the publisher's own files, for the data sets that `veneer.benchmarks.upstream` knows.

If the folder holds `SHA256SUMS` (as `sha256sum` writes it), every file that is used is checked against it.
"""

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from veneer import disk
from veneer.benchmarks import upstream
from veneer.errors import DataError

SUMS = "SHA256SUMS"
ENDINGS = (".jsonl", ".jsonl.gz", ".parquet", ".csv")

Wanted = tuple[str, str | None, str]
"""A split: the data set's path on the hub, its configuration, and the split's name."""


def names(dataset_path: str, dataset_name: str | None, split: str) -> list[str]:
    """Return the file names that would hold a split, relative to the bundle; the first that is there is used."""
    general = f"{dataset_path.replace('/', '__')}/{dataset_name or 'default'}/{split}"
    return [
        *(general + ending for ending in ENDINGS),
        general + "-*.parquet",
        *upstream.names(dataset_path, dataset_name, split),
    ]


def files(folder: Path, dataset_path: str, dataset_name: str | None, split: str) -> tuple[Path, ...]:
    """Return the files that hold a split, checked against the bundle's checksums if it has some.

    Raises:
        DataError: No file holds the split, or a file has another checksum than the bundle lists, or none.
    """
    found = _found(folder, (dataset_path, dataset_name, split))
    if not found:
        raise DataError(
            f"{folder}: the split {split!r} of {dataset_path}, configuration {dataset_name or 'default'}, is missing; "
            f"one of these files is wanted there: {', '.join(names(dataset_path, dataset_name, split))}."
        )
    for path in found:
        _check(folder, path)
    return found


def _found(folder: Path, wanted: Wanted) -> tuple[Path, ...]:
    for name in names(*wanted):
        found = sorted(folder.glob(name)) if "*" in name else [folder / name]
        if found and all(path.is_file() for path in found):
            return tuple(found)
    return ()


def rows(folder: Path, dataset_path: str, dataset_name: str | None, split: str) -> list[dict[str, Any]]:
    """Return the rows of a split, with the columns of the hub's data set.

    Raises:
        DataError: The split is missing, a checksum differs, or a file cannot be read.
    """
    found = files(folder, dataset_path, dataset_name, split)
    if str(found[0].relative_to(folder).as_posix()) in upstream.names(dataset_path, dataset_name, split):
        return upstream.read(dataset_path, dataset_name, found[0])
    return [row for path in found for row in _read(path)]


def fingerprint(folder: Path, wanted: Iterable[Wanted]) -> dict[str, str]:
    """Return the SHA-256 of just the files that hold these splits, by their name in the bundle.

    Raises:
        DataError: Splits are missing, all of which are named, or a checksum differs.
    """
    wanted = list(wanted)
    if len(missing := [one for one in wanted if not _found(folder, one)]) > 1:
        # A publisher's file of all configurations is last among its names, before its gzipped form.
        files_wanted = dict.fromkeys((upstream.names(*one) or names(*one)[:2])[-2] for one in missing)
        raise DataError(
            f"{folder}: {len(missing)} splits are missing; these files are wanted there (or with another of the "
            f"endings {', '.join(ENDINGS)}): {', '.join(files_wanted)}."
        )
    used = {path for one in wanted for path in files(folder, *one)}
    return {path.relative_to(folder).as_posix(): _digest(path) for path in sorted(used)}


def _read(path: Path) -> list[dict[str, Any]]:
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    if path.name.endswith((".jsonl", ".jsonl.gz")):
        return [row for _, row in disk.read_rows(path)]
    try:
        if path.suffix == ".parquet":
            return list(pyarrow.parquet.read_table(path).to_pylist())
        quoted = pyarrow.csv.ParseOptions(newlines_in_values=True)
        return list(pyarrow.csv.read_csv(path, parse_options=quoted).to_pylist())
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}). A whole {path.suffix[1:]} file is wanted."
        ) from error


def _check(folder: Path, path: Path) -> None:
    """Raise unless the file has the checksum that the bundle lists, if it lists any."""
    listed = folder / SUMS
    if not listed.is_file():
        return
    name = path.relative_to(folder).as_posix()
    sums = _sums(listed)
    if name not in sums:
        raise DataError(f"{listed}: does not list {name}, which is used; add its line (sha256sum {name}).")
    if (found := _digest(path)) != sums[name]:
        raise DataError(
            f"{path}: has the SHA-256 {found}, and {SUMS} says {sums[name]}; fetch the file anew."
        )


def _sums(listed: Path) -> dict[str, str]:
    found = {}
    for number, line in enumerate(listed.read_text(encoding="utf-8").splitlines(), 1):
        digest, _, name = line.partition(" ")
        if line.strip() and (len(digest) != 64 or not name.strip()):
            raise DataError(
                f"{listed}:{number}: found {line!r}; a SHA-256, two blanks and a file name are wanted."
            )
        found[name.strip().removeprefix("*").removeprefix("./")] = digest.lower()
    return found


def _digest(path: Path) -> str:
    stat = path.stat()
    return _digest_once(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=256)
def _digest_once(path: Path, _changed: int, _size: int) -> str:
    """Return a file's SHA-256; 57 subjects of one file read it once."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
