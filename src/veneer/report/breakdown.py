"""The tables that take gaps apart: format and knowledge, subject by subject, and what support has to do with them."""

from collections.abc import Sequence
from typing import Any

from veneer.report import pick
from veneer.report.pick import Data, Row
from veneer.report.shown import Bare, Shown, signed, tokens, whole
from veneer.report.tables import Cell, Table, table

NEARNESS = {
    "queries": "words of the nearest query",
    "answers": "words of the nearest answer",
    "queries_meaning": "meaning of the nearest query",
    "answers_meaning": "meaning of the nearest answer",
    "reference": "items whose reference it holds",
}


def gains(data: Data, *, largest: bool) -> Table:
    """Return what of each gain is knowledge and what format, the smallest that would be found, and a test."""
    rows = data.get("gains", [])
    if largest:
        rows = _largest(data, rows)
    keys = ("strict_gain", "knowledge_gain", "format_gain")
    lines = {
        name: [
            (
                pick.label(data, row),
                *(row[key] for key in keys),
                _bare(row["detectable"], points=True),
                _bare(row["p"]),
                row["verdict"],
            )
            for row in own
        ]
        for name, own in _by_benchmark(rows).items()
    }
    columns = (
        "student", "strict gain", "of it knowledge", "of it format", "smallest that would be found", "p",
        "knowledge gain against 0",
    )  # fmt: skip
    which = "at the largest amount" if largest and not pick.is_audit(data) else "of every student"
    return table(f"Gain over the base in points, taken apart, {which}", columns, list(lines.items()))


def subjects(data: Data, benchmark: Row) -> Table:
    """Return what each student at the largest amount gained and closed on each subject of a benchmark.

    It has no rows where the benchmark has no subjects.
    """
    lines: dict[str, list[tuple[Cell, ...]]] = {}
    for row in _largest(data, pick.find(data.get("subjects", []), benchmark=benchmark["name"])):
        numbers = (row[key] for key in ("gain", "gap", "gap_closed"))
        lines.setdefault(pick.label(data, row), []).append((row["subject"], whole(row["items"]), *numbers))
    columns = ("subject", "items", "gain (points)", "gap (points)", "gap closed")
    caption = f"Gap closed on each subject of {benchmark['name']}, lenient grading"
    return table(caption, columns, list(lines.items()))


def nearness(data: Data) -> Table:
    """Return how near each amount of each source's imitation data comes to each benchmark's items, on average."""
    rows = data.get("nearness", [])
    measures = [key for key in NEARNESS if any(key in row for row in rows)]
    lines: dict[str, list[tuple[Cell, ...]]] = {}
    for row in rows:
        cells = (row["benchmark"], tokens(row["amount"]) if row["amount"] else "")
        own = lines.setdefault(row["source"], [])
        own.append((*cells, *(row.get(key, "") for key in measures)))
    columns = ("benchmark", "tokens", *(NEARNESS[key] for key in measures))
    caption = "How near the imitation data comes to the items (cosines with the question, 1: the same words or meaning)"
    return table(caption, columns, list(lines.items()))


def differences(data: Data) -> Table:
    """Return the gap closed on supported items minus that on unsupported ones, and a test."""
    lines = {
        name: [(pick.label(data, row), row["difference"], _bare(row["p"]), row["verdict"]) for row in own]
        for name, own in _by_benchmark(data.get("support_difference", [])).items()
    }
    columns = ("student", "difference (points)", "p", "against 0")
    caption = "Gap closed on supported items minus gap closed on unsupported ones"
    return table(caption, columns, list(lines.items()))


def contaminated(data: Data) -> Table:
    """Return the gap closed on the items alone that stand in imitation data."""
    lines = {
        name: [
            (pick.label(data, row), whole(row["items"]), *(row[key] for key in ("gain", "gap", "gap_closed")))
            for row in own
        ]
        for name, own in _by_benchmark(data.get("contaminated", [])).items()
    }
    columns = ("student", "items", "gain (points)", "gap (points)", "gap closed")
    return table("Gap closed on the items alone that stand in imitation data", columns, list(lines.items()))


def _largest(data: Data, rows: Sequence[Row]) -> list[Row]:
    if pick.is_audit(data):
        return list(rows)
    return [row for source in pick.source_names(data) for row in pick.at_largest(data, rows, source)]


def _by_benchmark(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["benchmark"], []).append(row)
    return found


def _bare(value: Any, *, points: bool = False) -> Cell:
    """Return a number of report.json that has no interval; where it is Undefined it has a reason."""
    if isinstance(value, Shown):
        return value
    if points:
        return Bare(value=value, text=signed(100 * value, 1))
    return Bare(value=value, text=f"{value:.3f}" if value >= 0.0005 else "<\u202f0.001")
