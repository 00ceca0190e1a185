"""The lists of report.json, and the figures' data, as CSV that any program reads."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from veneer import disk
from veneer.report.shown import Shown
from veneer.stats import Estimate, to_json


def write(data: Mapping[str, Any], folder: Path) -> None:
    """Write one file for each list of report.json (as `shown.read` returns it); claims have a row for each part."""
    for name, rows in data.items():
        if isinstance(rows, list) and rows:
            write_sheet(folder / f"{name}.csv", claim_parts(rows) if name == "claims" else rows)


def claim_parts(claims: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for each part of each claim."""
    return [
        {
            "number": claim["number"],
            "claim": claim["claim"],
            "claim_verdict": claim["verdict"],
            **{f"part_{key}": value for key, value in part.items()},
        }
        for claim in claims
        for part in claim["parts"]
    ]


def write_sheet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV; a Number takes the columns value, low, high, n and undefined."""
    cells = [flat(row) for row in rows]
    columns = list(dict.fromkeys(name for row in cells for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(cells)
    disk.write_text(path, stream.getvalue())


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with every Number as the columns value, low, high, n and undefined, and nested keys joined."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Shown):
            found |= {f"{name}_{key}": part for key, part in _parts(value).items()}
        elif isinstance(value, Mapping):
            found |= {f"{name}_{key}": part for key, part in flat(value).items()}
        elif isinstance(value, list | tuple):
            found[name] = json.dumps(value, ensure_ascii=False, default=_bare)
        else:
            found[name] = value
    return found


def _bare(shown: Shown) -> dict[str, Any]:
    return to_json(shown.number)


def _parts(shown: Shown) -> dict[str, Any]:
    number = shown.number
    if isinstance(number, Estimate):
        ends = {"value": number.value, "low": number.low, "high": number.high}
        return {**ends, "n": number.n, "undefined": ""}
    return {"value": "", "low": "", "high": "", "n": number.n, "undefined": number.reason}
