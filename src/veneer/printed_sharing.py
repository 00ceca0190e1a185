"""What `clean`, `export` and `import` print."""

from collections.abc import Iterator, Sequence
from importlib import metadata

from veneer.cleaning import Leftover
from veneer.parcel import Parcel


def leftovers(found: Sequence[Leftover]) -> Iterator[str]:
    """Yield a line for each file or folder that nothing refers to, with its size, and one for all."""
    for one in found:
        yield f"{_bytes(one.size):>10}  {one.path}"
    yield f"{_bytes(sum(one.size for one in found)):>10}  in all, to which no study named refers"


def parcel(one: Parcel) -> Iterator[str]:
    """Yield the lines that say what an export holds and how it can be known again."""
    size = sum(each.bytes for each in one.manifest.files.values())
    yield f"{one.path}: {len(one.manifest.files):,} files, {_bytes(size)}, written by Veneer {one.manifest.veneer}"
    yield f"SHA-256 of the export: {one.sha256}"
    if one.manifest.veneer != (here := metadata.version("veneer")):
        yield f"This is Veneer {here}: a run makes anew what changed between the two."


def _bytes(size: int) -> str:
    for unit, suffix in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:,.1f} {suffix}"
    return f"{size} B"
