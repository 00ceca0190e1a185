"""Brings everything that a study names into one folder, with checksums: models, data sets, prompts, items."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from veneer import absent, belongings, disk, pipeline, rows
from veneer.errors import DataError, StoreError, StudyError
from veneer.study import Study, load
from veneer.study_data import HubSpec, SourceSpec

SUMS = "SHA256SUMS"
"""As `sha256sum` writes and checks it."""
OTHERS = ["*.h5", "*.msgpack", "*.onnx", "*.ot", "*.tflite"]
"""Files of models that no library here reads."""
Say = Callable[[str], None]


def fetch(study_file: Path, folder: Path, say: Say) -> Path:
    """Write a study that needs no network into a new folder, and return its study file.

    What is on the hub is fetched at its revision: models, data sets, the data of lm-eval's tasks, which become files of
    items. What is on this machine is copied. A model behind an endpoint stays where it is.

    Args:
        study_file: The study; a path in it may be `hub:ORG/NAME@REVISION`.
        folder: Where the bundle goes; nothing may lie there.
        say: Is told what comes from where.

    Raises:
        StoreError: There is something in the folder.
        StudyError: A model is not to be had.
        DataError: A data set is not to be had.
    """
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder}: is not empty; name a new folder.")
    # Of one name, so that the next call removes what a killed one left.
    work = folder.with_name(f".{folder.name}.fetching")
    fresh, place = work / "bundle", work / "data"
    shutil.rmtree(work, ignore_errors=True)
    fetched: dict[Path, str] = {}

    def model(name: str, revision: str) -> Path:
        path = _model(name, revision)
        fetched[path] = f"hub:{name}@{revision}"
        return path

    try:
        place.mkdir(parents=True)
        study = _without_hub(load(study_file, model), place, fetched)
        models = [
            *study.bases.values(),
            *study.students.values(),
            study.teacher,
            *study.judges_own.values(),
        ]
        for url in sorted({spec.endpoint.url for spec in models if spec.endpoint}):
            say(f"{url}: an endpoint stays where it is; a run must reach it")
        moved = belongings.of(pipeline.with_items(study, place))
        for where, path in moved.paths.items():
            _copy(path, fresh / where)
            local = "made from the tasks' data" if path.is_relative_to(place) else f"copied from {path}"
            say(f"{where}: {fetched.get(path, local)}")
        disk.write_text(fresh / study_file.name, moved.text)
        disk.write_text(fresh / SUMS, "".join(_sums(fresh)))
        if folder.exists():
            folder.rmdir()
        fresh.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder / study_file.name


def _model(name: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, ignore_patterns=OTHERS))
    except (OSError, ValueError) as error:
        raise StudyError(
            f"hub:{name}@{revision}: cannot be had from the hub ({error}). Check the name, the revision, the network, "
            "and whether the model asks for a login (`hf auth login`)."
        ) from error


def _without_hub(study: Study, place: Path, fetched: dict[Path, str]) -> Study:
    """Return a study with its sources on the hub replaced by files in `place`."""
    if not study.collect:
        return study
    sources = {name: _source(name, spec, place, fetched) for name, spec in study.collect.sources.items()}
    return study.model_copy(update={"collect": study.collect.model_copy(update={"sources": sources})})


def _source(name: str, spec: SourceSpec, place: Path, fetched: dict[Path, str]) -> SourceSpec:
    if spec.hub:
        asked = islice(rows.of_hub(spec.hub), spec.limit)
        # A row without an id has its number for one, as when it is read from the hub.
        numbered = ({spec.id_field: number, **row} for number, (_, row) in enumerate(asked, 1))
        path = _written(f"{name}.jsonl", spec.hub, numbered, place, fetched)
        return spec.model_copy(update={"queries": path, "hub": None})
    recorded = tuple(
        one.model_copy(
            update={
                "path": _written(
                    f"{name}-{number}.jsonl",
                    one.hub,
                    (row for _, row in rows.of_hub(one.hub)),
                    place,
                    fetched,
                ),
                "hub": None,
            }
        )
        if one.hub
        else one
        for number, one in enumerate(spec.recorded)
    )
    return spec.model_copy(update={"recorded": recorded})


def _written(
    name: str, hub: HubSpec, content: Iterable[Mapping[str, Any]], place: Path, fetched: dict[Path, str]
) -> Path:
    path = place / name
    try:
        disk.write_rows(path, content)
    except TypeError as error:
        raise DataError(
            f"{hub.name}@{hub.revision[:12]}: a row holds what JSON does not know ({error}). Name a data set of texts "
            "and numbers, or a file made of it."
        ) from error
    fetched[path] = f"hub:{hub.name}@{hub.revision}"
    return path


def _copy(path: Path, place: Path) -> None:
    for name, file in belongings.files_of(path):
        there = place / name if name else place
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, there)
    if gone := absent.of(path):
        disk.write_text(place / absent.NOTE, absent.text(gone))


def _sums(folder: Path) -> Iterator[str]:
    for name, file in belongings.files_of(folder):
        yield f"{disk.sha256(file).hex()}  {name}\n"
