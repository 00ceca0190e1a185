"""The tables and the figure that say how far Veneer's grades are from those that people, say, gave the same answers."""

from collections.abc import Sequence
from typing import Any

from veneer.report import marks, pick
from veneer.report.marks import Drawing
from veneer.report.pick import Data, Row
from veneer.report.tables import Table, table
from veneer.stats import Estimate


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


def panels(data: Data) -> list[Drawing]:
    """Draw every contestant's score by Veneer's grades and by the second ones, a panel for each benchmark."""
    rows = data.get("second_grades", [])
    return [
        _panel(pick.find(rows, benchmark=benchmark["name"], form=benchmark["forms"][0]))
        for benchmark in pick.benchmarks(data)
        if pick.find(rows, benchmark=benchmark["name"], form=benchmark["forms"][0])
    ]


def _panel(rows: Sequence[Row]) -> Drawing:
    names = list(dict.fromkeys(row["contestant"] for row in rows))
    looks: dict[str, tuple[str, dict[str, Any]]] = {
        "strict": ("score", {"marker": "v", "color": marks.COLOURS[4]}),
        "lenient": ("score", {"marker": "o", "color": marks.COLOURS[2]}),
        rows[0]["by"]: ("second_score", {"marker": "D", "color": marks.COLOURS[6]}),
    }
    with marks.canvas(4.4, 1.3 + 0.34 * len(names)) as figure:
        axes = figure.subplots()
        for place, (name, (key, look)) in enumerate(looks.items()):
            for row in pick.find(rows, grading=name if key == "score" else "lenient"):
                number, y = row[key].number, names.index(row["contestant"]) + 0.2 * (place - 1)
                if isinstance(number, Estimate):
                    axes.plot([number.low, number.high], [y, y], color=look["color"], linewidth=1.3)
                    axes.plot([number.value], [y], linestyle="none", markersize=6, zorder=3, **look)
            axes.plot([], [], label=f"graded by {name}" if key != "score" else name, ls="none", ms=6, **look)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(-0.03, 1.03)
        axes.tick_params(axis="y", length=0)
        axes.set_title(rows[0]["benchmark"])
        marks.percents(axes.xaxis)
        figure.legend(loc="outside lower center", ncols=3, handletextpad=0)
        alt = f"Score on {rows[0]['benchmark']} by strict and lenient grading, and by {rows[0]['by']}."
        return marks.drawing(figure, f"graded-twice-{rows[0]['benchmark']}", alt, rows)
