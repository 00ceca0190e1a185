"""What a study file names, and the same study file with all of it beside it: for exports and bundles."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from veneer import absent, disk
from veneer.study import Study

FOLDER = "files"
WEIGHTS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx"})
"""Endings of files of weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belongings:
    """A study that can be moved."""

    text: str
    """Its study file, every default written out, with all paths below `files/`."""
    paths: Mapping[str, Path]
    """The files and folders that it names, by where they go, beside the study file."""


def of(study: Study) -> Belongings:
    """Return a study as it can be moved: tasks of lm-eval as files of items (see `pipeline.with_items`).

    Files keep their names, for these are told in results; each lies in a folder that says where the study names it.
    """
    study = study.model_copy(update={"evaluate": study.evaluate.model_copy(update={"bundle": None})})
    places: dict[Path, str] = {}
    moved = _moved(study.model_dump(), "", places)
    text = (
        "# Written by Veneer: every setting is spelled out, and everything that is named lies below files/.\n"
        + yaml.safe_dump(moved, sort_keys=False, allow_unicode=True, width=110)
    )
    return Belongings(text=text, paths={where: path for path, where in places.items()})


def files_of(path: Path, *, weights: bool = True) -> Iterator[tuple[str, Path]]:
    """Yield the files of a folder that are part of its fingerprint, by their names in it; a file alone by no name.

    Args:
        path: A file or folder.
        weights: Whether files of weights in a folder are among them.
    """
    if path.is_file():
        yield "", path
        return
    for file in disk.files_below(path):
        if weights or file.suffix not in WEIGHTS:
            yield str(file.relative_to(path)), file


def weights_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what is to be noted of a folder's files of weights where they are left out (see `absent`)."""
    found = absent.of(folder)
    for name, file in files_of(folder) if folder.is_dir() else ():
        if file.suffix in WEIGHTS:
            found[name] = {"bytes": file.stat().st_size, "sha256": disk.sha256(file).hex()}
            if file.suffix == ".safetensors":
                found[name]["parameters"] = _parameters(file)
    return found


def _moved(value: Any, where: str, places: dict[Path, str]) -> Any:
    """Return a value of a study file as YAML knows it, with its paths below `files/`."""
    if isinstance(value, dict):
        return {key: _moved(item, f"{where}.{key}", places) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_moved(item, f"{where}.{number}", places) for number, item in enumerate(value)]
    if isinstance(value, Path):
        # By the name that the study uses: where that is a link, as in the hub's cache, its target may have no ending.
        name = os.path.basename(os.path.abspath(value))
        return places.setdefault(value, f"{FOLDER}/{where.removeprefix('.')}/{name}")
    return value.value if isinstance(value, Enum) else value


def _parameters(file: Path) -> int:
    """Return how many numbers a file of safetensors holds, by its header."""
    with file.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    return sum(math.prod(one["shape"]) for name, one in header.items() if name != "__metadata__")
