"""The visual grammar of all figures: bases by colour, sources by shape, amounts by size, fixed bytes as SVG and PDF."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from veneer.report import pick
from veneer.report.pick import Data, Row
from veneer.report.shown import Shown, tokens
from veneer.stats import Estimate

INK, GREY, PALE = "#222222", "#767676", "#d0d0d0"
COLOURS = ("#E69F00", "#009E73", "#0072B2", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
"""Okabe and Ito's, told apart by all common kinds of colour vision; the first three darken in grey print."""
SHAPES = ("o", "s", "^", "D", "v", "P", "X")
STYLE: Mapping[str, Any] = {
    "svg.hashsalt": "veneer",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    "axes.axisbelow": True,
}
"""Text is drawn as paths in matplotlib's own font, so that a figure looks the same everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure of the report."""

    name: str
    """The stem of its files."""
    alt: str
    """What it shows, for those who do not see it."""
    svg: str
    pdf: bytes
    rows: Sequence[Mapping[str, Any]]
    """Its data, one mapping a mark."""


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """Give a figure (sizes in inches) inside the house's settings, whatever the reader's own are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure


def drawing(figure: Figure, name: str, alt: str, rows: Sequence[Mapping[str, Any]]) -> Drawing:
    """Return the figure as SVG and PDF with equal bytes for equal data; call it inside `canvas`."""
    stream, pages = io.StringIO(), io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    # The layout is settled; settling it anew would take as long as drawing.
    figure.set_layout_engine("none")
    figure.savefig(pages, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    svg = _clean(stream.getvalue(), name, alt)
    return Drawing(name=name, alt=alt, svg=svg, pdf=pages.getvalue(), rows=rows)


def _clean(svg: str, name: str, alt: str) -> str:
    """Return the SVG fit to stand inside a page: own ids, no style that leaks, no metadata, a spoken label."""
    body = svg[svg.index("<svg ") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style [^>]*>.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    body = body.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    label = escape(alt, quote=True)
    opening = f'<svg role="img" aria-label="{label}" style="stroke-linejoin:round;stroke-linecap:butt" '
    return re.sub(r"\n\s*", "\n", body.replace("<svg ", opening, 1))


def colour(data: Data, base: str) -> str:
    """Return a base's colour."""
    bases = data["study"]["bases"]
    skipped = max(3 - len(bases), 0)
    return COLOURS[(bases.index(base) + skipped) % len(COLOURS)] if base in bases else INK


def shape(data: Data, source: str) -> str:
    """Return a source's marker."""
    names = pick.source_names(data)
    return SHAPES[names.index(source) % len(SHAPES)] if source in names else "o"


def amounts(data: Data) -> list[int]:
    """Return the amounts of all students, smallest first."""
    met = {row["amount"] for row in data["contestants"] if row["role"] == "student"}
    return sorted(met - {0})


def size(data: Data, amount: int) -> float:
    """Return a marker's diameter in points: larger for more imitation data."""
    met = amounts(data)
    if amount not in met or len(met) == 1:
        return 8.0
    return 4.0 + 5.5 * met.index(amount) / (len(met) - 1)


def style(data: Data, row: Row) -> dict[str, Any]:
    """Return the marker of a student: a replay twin is hollow."""
    tone = colour(data, row["base"])
    return {
        "marker": shape(data, row["source"]),
        "color": tone,
        "markersize": size(data, row["amount"]),
        "markerfacecolor": "white" if row["replay"] else tone,
        "markeredgecolor": tone if row["replay"] else "white",
        "markeredgewidth": 1.4 if row["replay"] else 0.6,
        "linestyle": "none",
    }


def cross(axes: Any, x: Shown, y: Shown, look: Mapping[str, Any], *, strong: bool) -> None:
    """Draw one student with both intervals; the numbers must be estimates."""
    assert isinstance(x.number, Estimate)
    assert isinstance(y.number, Estimate)
    line = {"color": look["color"], "linewidth": 1.3 if strong else 0.7, "alpha": 0.9 if strong else 0.35}
    axes.plot([x.number.low, x.number.high], [y.number.value] * 2, zorder=2, **line)
    axes.plot([x.number.value] * 2, [y.number.low, y.number.high], zorder=2, **line)
    axes.plot([x.number.value], [y.number.value], zorder=3, **look)


def legend(data: Data, rows: Sequence[Row]) -> list[Line2D]:
    """Return legend marks for what tells these students apart."""
    bases = [name for name in data["study"]["bases"] if any(row["base"] == name for row in rows)]
    names = [name for name in pick.source_names(data) if any(row["source"] == name for row in rows)]
    marks = [key(name, marker="o", color=colour(data, name), markersize=8) for name in bases]
    marks += [key(name, marker=shape(data, name), color=GREY, markersize=8) for name in names]
    shown = sorted({row["amount"] for row in rows} - {0})
    ends = [shown[0], shown[-1]] if len(shown) > 1 else []
    marks += [
        key(f"{tokens(amount).text} tokens", marker="o", color=GREY, markersize=size(data, amount))
        for amount in ends
    ]
    if any(row["replay"] for row in rows):
        look = {"markerfacecolor": "white", "markeredgewidth": 1.4}
        marks.append(key("with replay", marker="o", color=GREY, markersize=8, **look))
    return marks


def source_legend(data: Data, rows: Sequence[Row]) -> list[Line2D]:
    """Return legend marks for the sources of these students."""
    names = [name for name in pick.source_names(data) if any(row["source"] == name for row in rows)]
    return [key(name, marker=shape(data, name), color=GREY, markersize=6) for name in names]


def base_legend(data: Data, *, support: bool = False) -> list[Line2D]:
    """Return legend marks for the bases, and for items with and without support."""
    marks = [key(name, marker="o", color=colour(data, name), markersize=6) for name in data["study"]["bases"]]
    if support:
        marks.append(key("supported", marker="o", color=GREY, markersize=6))
        marks.append(key("unsupported", marker="o", color=GREY, markersize=6, markerfacecolor="white"))
    return marks


def key(name: str, **look: Any) -> Line2D:
    """Return a mark of a legend."""
    return Line2D([], [], label=name, linestyle="none", **look)


def span(numbers: Sequence[Shown], *fixed: float, room: float = 0.5) -> tuple[float, float]:
    """Return an axis' ends: all values and `fixed` are inside, intervals reach at most `room` further."""
    estimates = [shown.number for shown in numbers if isinstance(shown.number, Estimate)]
    values = [*fixed, *(number.value for number in estimates)]
    low, high = min(values), max(values)
    low = max(low - room, min([low, *(number.low for number in estimates)]))
    high = min(high + room, max([high, *(number.high for number in estimates)]))
    pad = 0.04 * (high - low)
    return low - pad, high + pad


def percents(axis: Any) -> None:
    """Write an axis of shares in percent, with a true minus sign."""
    axis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %".replace("-", "\u2212"))
