"""What an artefact lacks: requests without an answer, noted in it, so that the next run asks them again."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FAILED = "failed.json"


def write(folder: Path, asked: int, failed: Mapping[str, str]) -> None:
    """Note which requests have no answer, whole or not at all; nothing is written where all have theirs.

    Args:
        folder: The artefact in the making.
        asked: How many requests it is made of.
        failed: Why there is no answer, by what tells the request from the others.
    """
    if failed:
        temporary = folder / f".{FAILED}.writing"
        temporary.write_text(json.dumps({"asked": asked, "failed": dict(failed)}, indent=1) + "\n")
        os.replace(temporary, folder / FAILED)
    else:
        (folder / FAILED).unlink(missing_ok=True)


def names(folder: Path) -> list[str]:
    """Return what tells the requests without an answer from the others, sorted."""
    return sorted(_read(folder)["failed"])


def said(folder: Path) -> str:
    """Return how many requests have no answer, and why; empty where all have theirs."""
    there = _read(folder)
    reasons = Counter(there["failed"].values())
    most = "; ".join(f"{count:,} x {reason}" for reason, count in reasons.most_common(3))
    return f"{reasons.total():,} of {there['asked']:,} requests have no answer ({most})" if reasons else ""


def _read(folder: Path) -> dict[str, Any]:
    file = folder / FAILED
    return dict(json.loads(file.read_text())) if file.exists() else {"asked": 0, "failed": {}}
