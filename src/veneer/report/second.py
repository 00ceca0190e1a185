"""The tables that say how far Veneer's grades are from those of people, or of whoever else graded the same answers."""

from collections.abc import Sequence

from veneer.report.pick import Data, Row
from veneer.report.tables import Table, table


def grades(data: Data) -> Table:
    """Return every contestant's score by both graders, and how far they agree item by item."""
    return _table(
        data.get("second_grades", []),
        "The same answers graded twice",
        ("contestant", "score", "second_score", "off", "same", "kappa"),
        ("contestant", "Veneer's grades", "second grades", "off (points)", "the same grade", "Cohen's kappa"),
    )


def gaps(data: Data) -> Table:
    """Return the gap that every student closed by both graders."""
    return _table(
        data.get("second_gaps", []),
        "The gap closed by grades given twice",
        ("student", "gap_closed", "second_gap_closed", "off"),
        ("student", "by Veneer's grades", "by second grades", "off (points)"),
    )


def _table(rows: Sequence[Row], caption: str, keys: Sequence[str], columns: Sequence[str]) -> Table:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(f"{row['benchmark']}, {row['grading']}; second: {row['by']}", []).append(row)
    return table(
        caption,
        columns,
        [(title, [[row[key] for key in keys] for row in own]) for title, own in groups.items()],
    )
