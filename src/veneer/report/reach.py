"""The support curve: each student's gain over how near its imitation data comes to what an item asks."""

from collections.abc import Sequence

from veneer.report import marks, pick
from veneer.report.marks import GREY, Drawing
from veneer.report.pick import Data, Row
from veneer.report.shown import signed
from veneer.stats import Estimate

MEASURES = ("queries_meaning", "queries")
"""What support is measured by, the first that a study has."""


def panels(data: Data) -> list[Drawing]:
    """Draw a panel for each benchmark: a line and its band for each student with the largest amount of its source."""
    rows = data.get("support_curve", [])
    measure = next((one for one in MEASURES if any(row["measure"] == one for row in rows)), "")
    found = []
    for benchmark in pick.benchmarks(data, "knowledge", "skill"):
        own = pick.find(rows, measure=measure, benchmark=benchmark["name"], replay=0.0)
        own = [row for source in pick.source_names(data) for row in _largest(own, source)]
        known = [row for row in own if isinstance(row["gain"].number, Estimate)]
        if known:
            found.append(_panel(data, benchmark["name"], known))
    return found


def _largest(rows: Sequence[Row], source: str) -> list[Row]:
    own = pick.find(rows, source=source)
    most = max((row["amount"] for row in own), default=0)
    return pick.find(own, amount=most)


def _panel(data: Data, benchmark: str, rows: Sequence[Row]) -> Drawing:
    kinds = {source["name"]: source["kind"] for source in data["study"]["sources"]}
    with marks.canvas(4.4, 3.2) as figure:
        axes = figure.subplots()
        axes.axhline(0, color=GREY, linewidth=0.9, zorder=0)
        for student in dict.fromkeys(row["student"] for row in rows):
            own = pick.find(rows, student=student)
            colour = marks.colour(data, own[0]["base"])
            places = [row["nearness"] for row in own]
            axes.fill_between(
                places,
                [row["gain"].number.low for row in own],
                [row["gain"].number.high for row in own],
                alpha=0.15,
                linewidth=0,
                color=colour,
            )
            dash = "--" if kinds.get(own[0]["source"]) == "local" else "-"
            axes.plot(
                places, [row["gain"].number.value for row in own], linewidth=1.6, linestyle=dash, color=colour
            )
        axes.set_title(benchmark)
        axes.set_xlabel("nearness of the imitation data to the item")
        axes.set_ylabel("gain, in points")
        axes.yaxis.set_major_formatter(lambda value, _: signed(100 * value, 0, plus=True))
        figure.legend(handles=marks.base_legend(data), loc="outside lower center", ncols=4)
        alt = f"The gain on items of {benchmark} over how near the imitation data comes to them, with bands."
        return marks.drawing(figure, f"support-{benchmark}", alt, rows)
