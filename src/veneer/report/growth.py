"""What more imitation data and a larger base bring, as the paper draws it: ratings over data, scores over bases."""

from collections.abc import Sequence
from typing import Any

from veneer.report import marks, pick
from veneer.report.marks import GREY, INK, Drawing
from veneer.report.pick import Data, Row
from veneer.report.shown import Shown, tokens
from veneer.stats import Estimate

Point = tuple[float, Shown]


def rating_panels(data: Data) -> list[Drawing]:
    """Draw how often students are at least the teacher's equal over their imitation data (paper, Figures 1 and 3).

    A panel for each judge and source; nothing where students differ by no amount of data.
    """
    if len(marks.amounts(data)) < 2:
        return []
    return [
        drawn
        for judge in data["study"]["judges"]
        for source in pick.source_names(data)
        if (drawn := _rating_panel(data, judge, source))
    ]


def base_panels(data: Data) -> list[Drawing]:
    """Draw scores over bases at the largest amount, a panel for each benchmark (paper, Figures 1 and 5)."""
    if pick.is_audit(data) or len(data["study"]["bases"]) < 2:
        return []
    return [drawn for benchmark in pick.benchmarks(data) if (drawn := _base_panel(data, benchmark))]


def _rating_panel(data: Data, judge: Row, source: str) -> Drawing | None:
    teacher, amounts = data["study"]["teacher"], marks.amounts(data)
    rows = pick.find(
        data["preference"], judge=judge["name"], opponent=teacher, source=source, role="student", replay=0.0
    )
    rows = [row for row in rows if isinstance(row["at_least_equal"].number, Estimate)]
    if not rows:
        return None
    with marks.canvas(3.9, 3.2) as figure:
        axes = figure.subplots()
        axes.axhline(0.5, color=GREY, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0)
        for place, base in enumerate(data["study"]["bases"]):
            shift = 0.1 * (place - (len(data["study"]["bases"]) - 1) / 2)
            points = [
                (amounts.index(row["amount"]) + shift, row["at_least_equal"])
                for row in sorted(pick.find(rows, base=base), key=lambda row: int(row["amount"]))
            ]
            _line(
                axes, points, color=marks.colour(data, base), marker=marks.SHAPES[place % len(marks.SHAPES)]
            )
        axes.set_xticks(range(len(amounts)), [tokens(amount).text for amount in amounts])
        axes.set_ylim(-0.03, 1.03)
        marks.percents(axes.yaxis)
        axes.set_xlabel(f"tokens of {source} imitation")
        axes.set_ylabel(f"equal to {teacher} or better")
        axes.set_title(pick.judge_name(judge))
        figure.legend(handles=_bases(data), loc="outside lower center", ncols=4, handletextpad=0)
        alt = f"How often students are equal to {teacher} or better by {pick.judge_name(judge)}, over tokens of "
        return marks.drawing(figure, f"rating-{judge['name']}-{source}", f"{alt}{source} imitation.", rows)


def _base_panel(data: Data, benchmark: Row) -> Drawing | None:
    bases, name = data["study"]["bases"], benchmark["name"]
    scores = {
        row["contestant"]: row[pick.GRADING]
        for row in pick.find(data["scores"], benchmark=name, form=benchmark["forms"][0])
        if isinstance(row[pick.GRADING].number, Estimate)
    }
    kinds: list[tuple[str, list[Row]]] = [("no imitation", pick.find(data["contestants"], role="base"))]
    for source in pick.source_names(data):
        students = pick.find(data["contestants"], role="student", source=source)
        kinds.append((f"{source} imitation", pick.at_largest(data, students, source)))
    with marks.canvas(3.9, 3.2) as figure:
        axes, drawn = figure.subplots(), []
        for place, (kind, rows) in enumerate(kinds):
            look: dict[str, Any] = {
                "color": marks.COLOURS[-place - 1],
                "marker": marks.SHAPES[place % len(marks.SHAPES)],
            }
            own = [row for row in rows if row["name"] in scores]
            shift = 0.08 * (place - (len(kinds) - 1) / 2)
            _line(axes, [(bases.index(row["base"]) + shift, scores[row["name"]]) for row in own], **look)
            axes.plot([], [], label=kind, linestyle="none", markersize=5.5, **look)
            drawn += [{"kind": kind, **row, "score": scores[row["name"]]} for row in own]
        if data["study"]["teacher"] in scores:
            height = scores[data["study"]["teacher"]].number.value
            axes.axhline(height, color=INK, linewidth=1.2, linestyle=(0, (1, 1)), zorder=0)
            spot: dict[str, Any] = {
                "xytext": (0, 3),
                "textcoords": "offset points",
                "fontsize": 7.5,
                "ha": "right",
            }
            axes.annotate("teacher", (len(bases) - 0.4, height), color=INK, **spot)
        axes.set_xticks(range(len(bases)), bases)
        axes.set_xlim(-0.3, len(bases) - 0.4)
        axes.set_ylim(-0.03, 1.06)
        marks.percents(axes.yaxis)
        axes.set_title(name)
        axes.set_xlabel("base")
        figure.legend(loc="outside lower center", ncols=2, handletextpad=0)
        alt = f"Score on {name} over the bases, without imitation and at the largest amount of each source."
        return marks.drawing(figure, f"bases-{name}", alt, drawn) if drawn else None


def _line(axes: Any, points: Sequence[Point], **look: Any) -> None:
    """Draw points with their intervals, and a line through the means of those at one place."""
    heights: dict[float, list[float]] = {}
    for x, shown in points:
        assert isinstance(shown.number, Estimate)
        axes.plot([x, x], [shown.number.low, shown.number.high], color=look["color"], linewidth=0.8)
        axes.plot([x], [shown.number.value], linestyle="none", markersize=5.5, zorder=3, **look)
        heights.setdefault(x, []).append(shown.number.value)
    ys = [sum(values) / len(values) for values in heights.values()]
    axes.plot(list(heights), ys, color=look["color"], linewidth=1.3, zorder=2)


def _bases(data: Data) -> list[Any]:
    return [
        marks.key(
            name, marker=marks.SHAPES[place % len(marks.SHAPES)], color=marks.colour(data, name), markersize=6
        )
        for place, name in enumerate(data["study"]["bases"])
    ]
