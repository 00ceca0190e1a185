"""Weights that an export left out: noted where they belong, so that a folder keeps its fingerprint without them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NOTE = ".absent.json"
"""Its name begins with a dot: it is no part of what it stands in."""


def of(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what belongs into a folder and was left out, by name: `bytes`, `sha256`, and `parameters` where known.

    What has been put in its place since is no longer absent.
    """
    note = folder / NOTE
    if not note.is_file():
        return {}
    found = json.loads(note.read_text(encoding="utf-8"))
    return {name: one for name, one in found.items() if not (folder / name).exists()}


def text(gone: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the content of the note for what is left out."""
    return json.dumps(gone, indent=1, sort_keys=True) + "\n"
