"""A finished study as one file that says the SHA-256 of all it holds, and back into a folder, to be graded elsewhere.

The file is a plain tar archive. Its first member, `MANIFEST.json`, names every other with its size and SHA-256. The
archive may hold what the manifest names and nothing else: regular files, below the folder that it is unpacked into.
"""

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Literal

from pydantic import Field, ValidationError

from veneer import absent, belongings, disk, pipeline
from veneer.errors import DataError, StoreError, StudyError
from veneer.rate import votes
from veneer.store import Artefact, Order, Store
from veneer.study import Study, load
from veneer.study_data import Closed
from veneer.study_rate import PlatformSpec

MANIFEST = "MANIFEST.json"
MOST = 1 << 28
"""Bytes that a manifest may have."""
CHUNK = 1 << 20
LONGEST = 240
"""Bytes that a name may have: file systems take 255, and some are lengthened while they are written."""


class Listed(Closed):
    """A file of an export."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(Closed):
    """What an export says of itself."""

    format: Literal[1] = 1
    veneer: str
    """The version that wrote it: others may make artefacts anew that have changed since."""
    study: str
    """The study file."""
    files: dict[str, Listed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """An export that was written or read."""

    manifest: Manifest
    path: Path
    """The export; when read, the study file in its new place."""
    sha256: str
    """Of the whole export."""


Member = tuple[str, Path | bytes]
"""A file's name in the export, and the file, or its content."""


def pack(study_file: Path, file: Path, *, checkpoints: bool = True) -> Parcel:
    """Write a finished study into one file.

    The journal of requests stays here. Of the votes goes what results are made of: not what platforms call people, nor
    how anybody logs in, nor the code by which a platform pays.

    Args:
        study_file: The study.
        file: What is written; it must not be there yet.
        checkpoints: Whether weights go along: of the models that the study names, and of its students. Without them
            everything can be graded, judged by recordings and analyzed anew, and nobody can be asked anything new.

    Raises:
        StoreError: The file exists already.
        StudyError: The study is not finished, or a file of it has a name that is none elsewhere.
    """
    if file.exists():
        raise StoreError(f"{file}: exists already; name a file that does not, or remove it.")
    kept = pipeline.store_of(study_file)
    study = pipeline.with_items(load(study_file), kept.root.parent)
    made = _finished(study, kept)
    moved = belongings.of(_without_pay(study))
    members: list[Member] = [(study_file.name, moved.text.encode())]
    for where, path in moved.paths.items():
        members += _members(where, path, checkpoints)
    for one in made:
        where = f"{study_file.stem}/artefacts/{one.path.relative_to(kept.root).as_posix()}"
        members += _members(where, one.path, checkpoints or one.stage != "train")
    members += _members(f"{study_file.stem}/report", kept.root.parent / "report", weights=True)
    if (cast := votes.path_of(kept.root.parent)).exists():
        members.append((f"{study_file.stem}/{votes.FOLDER}/{votes.FILE}", votes.nameless(cast)))
    if odd := [name for name, _ in members if not _is_name(name)]:
        raise StudyError(f"{odd[0]!r}: no folder elsewhere could hold a file of this name. Rename the file.")
    listed = {name: _listed(content) for name, content in members}
    file.parent.mkdir(parents=True, exist_ok=True)
    _room(sum(one.bytes for one in listed.values()), file.absolute().parent)
    manifest = Manifest(veneer=metadata.version("veneer"), study=study_file.name, files=listed)
    writing = file.with_name(f".{file.name}.writing")
    try:
        with tarfile.open(writing, "w", format=tarfile.PAX_FORMAT) as archive:
            for name, content in [(MANIFEST, manifest.model_dump_json(indent=1).encode()), *members]:
                _add(archive, name, content)
        os.replace(writing, file)
    finally:
        writing.unlink(missing_ok=True)
    return Parcel(manifest=manifest, path=file, sha256=disk.sha256(file).hex())


def unpack(file: Path, folder: Path) -> Parcel:
    """Check everything in an export, and write it into a new folder, whole or not at all.

    Args:
        file: What `pack` wrote.
        folder: Where it goes; nothing may lie there.

    Raises:
        DataError: It is no export, or holds anything but the files that its manifest names, as they are named there.
        StoreError: There is something in the folder, or too little room.
    """
    folder = folder.resolve()
    if not file.is_file():
        raise DataError(f"{file}: is no file. Name an export, as `veneer export` writes it.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder}: is not empty; name a new folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f".{folder.name}.importing")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        with file.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            manifest = _unpacked(file, archive, fresh)
        if folder.exists():
            folder.rmdir()
        fresh.rename(folder)
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise DataError(
            f"{file}: is no export that can be read ({error}). `veneer export` writes one; if it was compressed "
            "for the way, unpack it first."
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return Parcel(manifest=manifest, path=folder / manifest.study, sha256=disk.sha256(file).hex())


def _finished(study: Study, kept: Store) -> list[Artefact]:
    """Return all artefacts of a study.

    Raises:
        StudyError: One is not made yet.
    """
    found: list[Artefact] = []

    def look(stage: str, orders: Sequence[Order]) -> pipeline.Made:
        made = {order.name: kept.find(order) for order in orders}
        if left := [name for name, one in made.items() if one is None]:
            raise StudyError(
                f"{study.name} is not finished: {stage} lacks {left[0]} ({len(left)} of {len(orders)} cells). "
                "`veneer run` makes them."
            )
        found.extend(one for one in made.values() if one)
        return {name: one for name, one in made.items() if one}

    for _ in pipeline.stages(study, kept.root.parent, look):
        pass
    return found


def _without_pay(study: Study) -> Study:
    """Return a study that says nothing of how raters came and were paid: whoever knows the code could be paid too."""
    if study.rate is None or study.rate.people is None:
        return study
    people = study.rate.people.model_copy(update={"platform": PlatformSpec()})
    return study.model_copy(update={"rate": study.rate.model_copy(update={"people": people})})


def _members(where: str, path: Path, weights: bool) -> Iterator[Member]:
    """Yield the files of what goes to `where`, with a note of the weights that are left out."""
    for name, file in belongings.files_of(path, weights=weights):
        yield (f"{where}/{name}" if name else where), file
    gone = absent.of(path) if weights else belongings.weights_of(path)
    if gone:
        yield f"{where}/{absent.NOTE}", absent.text(gone).encode()
    # A student is opened from the folder of its checkpoint, which says so too.
    inner = {name.partition("/")[2]: one for name, one in gone.items() if name.startswith("checkpoint/")}
    if inner:
        yield f"{where}/checkpoint/{absent.NOTE}", absent.text(inner).encode()


def _listed(content: Path | bytes) -> Listed:
    if isinstance(content, bytes):
        return Listed(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    return Listed(bytes=content.stat().st_size, sha256=disk.sha256(content).hex())


def _add(archive: tarfile.TarFile, name: str, content: Path | bytes) -> None:
    # Whose it was and when it was written is nobody's business, and would make two exports of one study differ.
    about = tarfile.TarInfo(name)
    about.mode = 0o644
    if isinstance(content, bytes):
        about.size = len(content)
        archive.addfile(about, io.BytesIO(content))
        return
    about.size = content.stat().st_size
    with content.open("rb") as stream:
        archive.addfile(about, stream)


def _unpacked(file: Path, archive: tarfile.TarFile, fresh: Path) -> Manifest:
    members = iter(archive)
    manifest = _manifest(file, archive, next(members, None))
    _check(file, manifest, fresh.parent)
    seen: set[str] = set()
    for member in members:
        listed = manifest.files.get(member.name)
        if listed is None or member.name in seen or not _is_plain(member) or member.size != listed.bytes:
            raise DataError(
                f"{file}: {member.name!r} is not as the manifest says: a file that stands there once, of that size. "
                "Nothing was imported: have it sent again."
            )
        seen.add(member.name)
        content = archive.extractfile(member)
        assert content is not None, "it is a regular file"
        path = fresh / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if _copied(content, path) != listed.sha256:
            raise DataError(f"{file}: {member.name}: its SHA-256 is not the manifest's. Have it sent again.")
    if left := sorted(set(manifest.files) - seen):
        raise DataError(f"{file}: ends before {left[0]} ({len(left)} files are missing). Have it sent again.")
    return manifest


def _manifest(file: Path, archive: tarfile.TarFile, member: tarfile.TarInfo | None) -> Manifest:
    if member is None or member.name != MANIFEST or not _is_plain(member) or member.size > MOST:
        raise DataError(
            f"{file}: is no export: it does not begin with {MANIFEST}. `veneer export` writes one."
        )
    content = archive.extractfile(member)
    assert content is not None, "it is a regular file"
    try:
        return Manifest.model_validate(json.loads(content.read()))
    except (ValidationError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{file}: its {MANIFEST} is not one of this version of Veneer ({error}).") from error


def _check(file: Path, manifest: Manifest, place: Path) -> None:
    """Raise if the files that a manifest names could lie elsewhere than in a folder of ours, or are too large."""
    names = [*manifest.files, manifest.study]
    if wrong := [name for name in names if not _is_name(name)] or _within(manifest.files):
        raise DataError(f"{file}: its {MANIFEST} names {wrong[0][:99]!r}, which is no file below a folder.")
    if manifest.study not in manifest.files or "/" in manifest.study:
        raise DataError(f"{file}: its study file {manifest.study!r} is not among its files.")
    size = sum(one.bytes for one in manifest.files.values())
    if size > file.stat().st_size:
        raise DataError(f"{file}: names {size:,} bytes and has {file.stat().st_size:,}. Have it sent again.")
    _room(size, place)


def _is_name(name: str) -> bool:
    """Return whether a file below a folder may have this name, wherever that folder is."""
    path = PurePosixPath(name)
    plain = name.isprintable() and "\\" not in name and str(path) == name and name != "."
    inside = not path.is_absolute() and ".." not in path.parts
    return plain and inside and len(name) < 4 * LONGEST and all(len(p.encode()) < LONGEST for p in path.parts)


def _within(names: Collection[str]) -> list[str]:
    """Return the names that are of a file and of a folder too."""
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    return [name for name in names if name in folders]


def _room(size: int, place: Path) -> None:
    if size > (free := shutil.disk_usage(place).free):
        raise StoreError(f"{place}: has {free:,} bytes free, and {size:,} are wanted. Make room.")


def _is_plain(member: tarfile.TarInfo) -> bool:
    """Return whether it is a regular file with all its bytes in the archive: no link, device, folder or sparse file."""
    return member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()


def _copied(content: IO[bytes], path: Path) -> str:
    whole = hashlib.sha256()
    with path.open("xb") as stream:
        while chunk := content.read(CHUNK):
            whole.update(chunk)
            stream.write(chunk)
    return whole.hexdigest()
