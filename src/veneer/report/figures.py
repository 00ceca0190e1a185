"""The report's figures, each drawn from report.json alone: one function a figure."""

from collections.abc import Mapping, Sequence
from typing import Any

from veneer.report import growth, marks, pick, preferred, reach, second
from veneer.report.marks import GREY, INK, PALE, Drawing
from veneer.report.pick import Data, Row
from veneer.report.sentences import headline
from veneer.report.shown import Shown, plain, read, signed, tokens
from veneer.stats import Estimate


def headline_plane(answers: Mapping[str, Any]) -> str:
    """Return the headline figure as SVG: style gap closed across, capability gap closed up."""
    return plane(read(answers)).svg


def every_figure(data: Data) -> dict[str, list[Drawing]]:
    """Return all figures, by the section of the page that shows them."""
    return {
        "headline": [plane(data)] if any(_known(row["style_gap_closed"]) for row in data["veneer"]) else [],
        "scores": score_panels(data),
        "bases": growth.base_panels(data),
        "gaps": gap_panels(data),
        "second": second.panels(data),
        "support": reach.panels(data),
        "preference": preference_panels(data),
        "ratings": growth.rating_panels(data),
        "equal": preferred.panels(data),
        "leverage": leverage_panels(data),
    }


def plane(data: Data) -> Drawing:
    """Draw one mark a student: style gap closed across, capability gap closed on unsupported items up.

    A student whose capability gap is Undefined stands in a strip of its own below the plane.
    """
    rows = [row for row in data["veneer"] if _known(row["style_gap_closed"])]
    full = [row for row in rows if _known(row["capability_gap_closed"])]
    bare = [row for row in rows if not _known(row["capability_gap_closed"])]
    strong = {row["student"] for row in rows if _is_largest(data, row)}
    bare = [row for row in bare if len(bare) <= 12 or row["student"] in strong]
    with marks.canvas(5.0, 5.7 if full else 1.4 + 0.3 * len(bare)) as figure:
        heights = [5 if full else 0.01, 0.22 * len(bare) + 0.25] if bare else [1]
        grid = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
        xs = marks.span([row["style_gap_closed"] for row in rows], 0, 1, room=0.2)
        if full:
            _frame_plane(grid[0], xs, [row["capability_gap_closed"] for row in full])
            _trails(grid[0], data, full)
            for row in full:
                pair = (row["style_gap_closed"], row["capability_gap_closed"])
                marks.cross(grid[0], *pair, marks.style(data, row), strong=row["student"] in strong)
            if pick.is_audit(data) or len(full) <= 4:
                pairs = [(row["style_gap_closed"], row["capability_gap_closed"]) for row in full]
                _name_marks(
                    grid[0], [(pick.label(data, row), *pair) for row, pair in zip(full, pairs, strict=True)]
                )
        else:
            grid[0].set_axis_off()
        if bare:
            _strip(grid[-1], data, bare)
        grid[-1].set_xlim(*xs)
        grid[-1].set_xlabel("style gap closed")
        marks.percents(grid[-1].xaxis)
        figure.legend(handles=marks.legend(data, rows), loc="outside lower center", ncols=4)
        alt = "Style gap closed across, capability gap closed on unsupported items up, one mark a student. "
        alt += " ".join(plain(sentence) for sentence in headline(data))
        return marks.drawing(figure, "headline-plane", alt, data["veneer"])


def _frame_plane(axes: Any, xs: tuple[float, float], numbers: Sequence[Shown]) -> None:
    """Draw what the marks are read against: nothing closed, all closed, and as much of both."""
    ys = marks.span(numbers, 0, 1)
    axes.set_ylim(*ys)
    for line in (axes.axhline, axes.axvline):
        line(0, color=PALE, linewidth=1, zorder=0)
        line(1, color=PALE, linewidth=1, linestyle=(0, (2, 2)), zorder=0)
    axes.fill_between(xs, xs, ys[0], color="#f6f3ec", zorder=-1, linewidth=0)
    axes.plot(xs, xs, color=GREY, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
    turned = {"rotation": 45, "rotation_mode": "anchor", "transform_rotates_text": True}
    axes.text(0.36, 0.38, "as much substance as style", color=GREY, fontsize=8, **turned)
    axes.annotate("teacher", (1, 1), xytext=(-4, 5), textcoords="offset points", color=GREY, ha="right")
    axes.annotate("base", (0, 0), xytext=(4, 4), textcoords="offset points", color=GREY)
    axes.plot([0, 1], [0, 1], linestyle="none", marker="+", color=INK, markersize=7, zorder=2)
    axes.set_ylabel("capability gap closed, unsupported items")
    marks.percents(axes.yaxis)


def _trails(axes: Any, data: Data, rows: Sequence[Row]) -> None:
    """Join the amounts of one base and source, smallest first."""
    for base in data["study"]["bases"]:
        for source in pick.source_names(data):
            trail = pick.find(rows, base=base, source=source, replay=0.0)
            trail = sorted(trail, key=lambda row: int(row["amount"]))
            xs = [row["style_gap_closed"].number.value for row in trail]
            ys = [row["capability_gap_closed"].number.value for row in trail]
            if not pick.is_audit(data):
                axes.plot(xs, ys, color=marks.colour(data, base), linewidth=1, alpha=0.6, zorder=1)


def _name_marks(axes: Any, marked: Sequence[tuple[str, Shown, Shown]]) -> None:
    """Write each mark's name above its left arm; of many, those that stand clear of the others."""
    places = []
    for _, x, y in marked:
        assert isinstance(x.number, Estimate)
        assert isinstance(y.number, Estimate)
        places.append((x.number.value, y.number.value))
    for (name, _, _), place in zip(marked, places, strict=True):
        near = sum(abs(place[0] - x) < 0.08 and abs(place[1] - y) < 0.04 for x, y in places)
        if len(marked) > 8 and near > 1:
            continue
        axes.annotate(name, place, xytext=(-6, 5), textcoords="offset points", fontsize=8, ha="right")


def _strip(axes: Any, data: Data, rows: Sequence[Row]) -> None:
    """Draw the students whose capability gap is Undefined: their style, one under the other."""
    for place, row in enumerate(rows):
        style, look = row["style_gap_closed"].number, marks.style(data, row)
        axes.plot([style.low, style.high], [place, place], color=look["color"], linewidth=1.3)
        axes.plot([style.value], [place], **look)
    axes.set_yticks(range(len(rows)), [pick.label(data, row) for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_title("capability gap Undefined", fontsize=8.5, color=GREY, fontweight="normal")
    for end in (0, 1):
        axes.axvline(end, color=PALE, linewidth=1, linestyle=(0, (2, 2)) if end else "-", zorder=0)


def score_panels(data: Data) -> list[Drawing]:
    """Draw score against amount of imitation data, a panel for each benchmark and source (paper, Figure 1)."""
    if not marks.amounts(data):
        return []
    return [
        _score_panel(data, benchmark, source)
        for benchmark in pick.benchmarks(data)
        for source in pick.source_names(data)
    ]


def _score_panel(data: Data, benchmark: Row, source: str) -> Drawing:
    form, amounts = benchmark["forms"][0], marks.amounts(data)
    scores = {
        row["contestant"]: row[pick.GRADING]
        for row in pick.find(data["scores"], benchmark=benchmark["name"], form=form)
    }
    with marks.canvas(3.9, 3.2) as figure:
        axes = figure.subplots()
        for row in data["contestants"]:
            score = scores.get(row["name"])
            if score is None or not isinstance(score.number, Estimate):
                continue
            if row["role"] == "teacher":
                axes.axhline(score.number.value, color=INK, linewidth=1.2, linestyle=(0, (1, 1)))
                axes.annotate(
                    "teacher",
                    (-0.25, score.number.value),
                    color=INK,
                    xytext=(0, 3),
                    textcoords="offset points",
                    fontsize=7.5,
                )
            elif row["role"] == "base":
                tone = marks.colour(data, row["base"])
                axes.axhline(score.number.value, color=tone, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
                axes.plot([0], [score.number.value], marker="_", color=tone, markersize=10, linestyle="none")
        rows = _draw_ladders(axes, data, source, scores)
        axes.set_xticks(range(len(amounts) + 1), ["base", *(tokens(amount).text for amount in amounts)])
        axes.set_xlim(-0.3, len(amounts) + 0.3)
        axes.set_ylim(-0.03, 1.06)
        marks.percents(axes.yaxis)
        axes.set_xlabel(f"tokens of {source} imitation")
        axes.set_title(f"{benchmark['name']}, {source} imitation")
        figure.legend(handles=marks.base_legend(data), loc="outside lower center", ncols=4, handletextpad=0)
        alt = f"Score on {benchmark['name']} ({form}) against tokens of {source} imitation, for each base."
        return marks.drawing(figure, f"score-{benchmark['name']}-{source}", alt, rows)


def _draw_ladders(axes: Any, data: Data, source: str, scores: Mapping[str, Shown]) -> list[dict[str, Any]]:
    """Draw each base's students: a mark and interval for every seed, a line through the seeds' means."""
    amounts, rows = marks.amounts(data), []
    seeds = sorted({row["seed"] for row in data["contestants"] if row["role"] == "student"})
    for place, base in enumerate(data["study"]["bases"]):
        means: dict[int, list[float]] = {}
        for row in pick.find(data["contestants"], role="student", base=base, source=source):
            score = scores.get(row["name"])
            if score is None or not isinstance(score.number, Estimate) or not row["amount"]:
                continue
            shift = 0.14 * (place - 1) + 0.05 * (seeds.index(row["seed"]) - (len(seeds) - 1) / 2)
            x = amounts.index(row["amount"]) + 1 + shift + (0.07 if row["replay"] else 0)
            look = marks.style(data, row) | {"markersize": 4.6}
            axes.plot([x, x], [score.number.low, score.number.high], color=look["color"], linewidth=0.8)
            axes.plot([x], [score.number.value], zorder=3, **look)
            rows.append({**row, "score": score})
            if not row["replay"]:
                means.setdefault(row["amount"], []).append(score.number.value)
        xs = [amounts.index(amount) + 1 + 0.14 * (place - 1) for amount in sorted(means)]
        ys = [sum(means[amount]) / len(means[amount]) for amount in sorted(means)]
        axes.plot(xs, ys, color=marks.colour(data, base), linewidth=1.3, zorder=2)
    return rows


def gap_panels(data: Data) -> list[Drawing]:
    """Draw the gap closed at the largest amount, a panel for each source: supported filled, unsupported hollow."""
    return [_gap_panel(data, source) for source in _gap_sources(data)]


def _gap_sources(data: Data) -> list[str]:
    with_gaps = {row["source"] for row in data["gap_closed"]}
    if pick.is_audit(data):
        return [""] if with_gaps else []  # Students of an audit are few: all of them in one panel.
    return [name for name in pick.source_names(data) if name in with_gaps]


def _gap_panel(data: Data, source: str) -> Drawing:
    shown = [row for benchmark in pick.benchmarks(data) for row in _gap_rows(data, benchmark, source)]
    names = list(dict.fromkeys(row["benchmark"] for row in shown))
    lines = max((sum(row["benchmark"] == name for row in shown) for name in names), default=0)
    with marks.canvas(4.4, 1.7 + max(0.78, 0.16 * lines) * len(names)) as figure:
        axes = figure.subplots()
        xs = marks.span([row["gap_closed"] for row in shown], 0, 1)
        for end in (0, 1):
            axes.axvline(end, color=GREY, linewidth=0.9, linestyle="-" if not end else (0, (2, 2)), zorder=0)
        for place, name in enumerate(names):
            _gap_lines(axes, data, [row for row in shown if row["benchmark"] == name], place, xs[0])
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.45, -0.55)
        axes.set_xlim(*xs)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("gap closed (0: the base, 100 %: the teacher)")
        axes.set_title(f"{source} imitation, largest amount" if source else "gap closed")
        marks.percents(axes.xaxis)
        handles = marks.base_legend(data, support=any(row["items"] != "all" for row in shown))
        if not source:
            handles += marks.source_legend(data, shown)
        figure.legend(handles=handles, loc="outside lower center", ncols=3, handletextpad=0)
        of = f"the students of {source} imitation at the largest amount" if source else "every student"
        alt = f"Gap closed on each benchmark by {of}."
        return marks.drawing(figure, f"gap-{source}" if source else "gap", alt, shown)


def _gap_rows(data: Data, benchmark: Row, source: str) -> list[Row]:
    """Return a benchmark's supported and unsupported gaps, or those of all items where support is not told."""
    rows = pick.find(
        data["gap_closed"], benchmark=benchmark["name"], form=benchmark["forms"][0], grading=pick.GRADING
    )
    rows = pick.at_largest(data, [row for row in rows if source in ("", row["source"])], source)
    told = [row for row in rows if row["items"] != "all"]
    return told if any(_known(row["gap_closed"]) for row in told) else pick.find(rows, items="all")


def _gap_lines(axes: Any, data: Data, rows: Sequence[Row], place: int, left: float) -> None:
    step = 0.8 / max(len(rows), 3)
    blank = {pick.who(data, row) for row in rows} - {
        pick.who(data, row) for row in rows if _known(row["gap_closed"])
    }
    for index, row in enumerate(rows):
        y, tone = place + step * (index - (len(rows) - 1) / 2), marks.colour(data, row["base"])
        number = row["gap_closed"].number
        if not isinstance(number, Estimate):
            which = "" if pick.who(data, row) in blank else f", {row['items']}"
            if which or row["items"] != "supported":
                name = f"{pick.who(data, row)}{which}: Undefined"
                axes.annotate(
                    name,
                    (left, y),
                    color=tone,
                    va="center",
                    xytext=(3, 0),
                    textcoords="offset points",
                    fontsize=7.5,
                    style="italic",
                )
            continue
        look = marks.style(data, row) | {"markersize": 6.5}
        if row["items"] == "unsupported":
            look |= {"markerfacecolor": "white", "markeredgecolor": tone, "markeredgewidth": 1.3}
        axes.plot([number.low, number.high], [y, y], color=tone, linewidth=1.3)
        axes.plot([number.value], [y], zorder=3, **look)


def preference_panels(data: Data) -> list[Drawing]:
    """Draw win rate against the teacher over style gap closed, a panel for each judge."""
    return [drawn for judge in data["study"]["judges"] if (drawn := _preference_panel(data, judge))]


def _preference_panel(data: Data, judge: Row) -> Drawing | None:
    rows = pick.find(data["preference"], judge=judge["name"], opponent=data["study"]["teacher"])
    students = [row for row in rows if row["role"] == "student" and _known(row["win_rate"])]
    pairs = [(row, pick.style_of(data, row["contestant"])) for row in students]
    placed = [(row, style) for row, style in pairs if style is not None and _known(style)]
    if not placed:
        return None
    with marks.canvas(4.2, 4.4) as figure:
        axes = figure.subplots()
        for row in rows:
            if row["role"] == "base" and isinstance(row["win_rate"].number, Estimate):
                tone, rate = marks.colour(data, row["base"]), row["win_rate"].number.value
                axes.axhline(rate, color=tone, linewidth=0.9, linestyle=(0, (4, 2)), zorder=0)
                if pick.is_audit(data):
                    axes.annotate(
                        row["contestant"],
                        (1, rate),
                        color=tone,
                        fontsize=8,
                        ha="right",
                        xytext=(0, 3),
                        textcoords="offset points",
                    )
        axes.axhline(0.5, color=GREY, linewidth=1, zorder=0)
        axes.annotate(
            "as often as the teacher",
            (0, 0.5),
            color=GREY,
            fontsize=7.5,
            xytext=(0, 3),
            textcoords="offset points",
        )
        for row, style in placed:
            strong = _is_largest(data, row)
            marks.cross(axes, style, row["win_rate"], marks.style(data, row), strong=strong)
        if pick.is_audit(data):
            _name_marks(axes, [(row["contestant"], style, row["win_rate"]) for row, style in placed])
        axes.set_xlim(*marks.span([style for _, style in placed], 0, 1, room=0.2))
        axes.set_ylim(-0.03, max(0.75, marks.span([row["win_rate"] for row, _ in placed])[1]))
        axes.set_xlabel("style gap closed")
        axes.set_ylabel(f"win rate against {data['study']['teacher']}")
        axes.set_title(pick.judge_name(judge))
        marks.percents(axes.xaxis)
        marks.percents(axes.yaxis)
        figure.legend(
            handles=marks.legend(data, [row for row, _ in placed]), loc="outside lower center", ncols=3
        )
        alt = f"Win rate against the teacher by {pick.judge_name(judge)}, over style gap closed, a mark a student."
        return marks.drawing(figure, f"preference-{judge['name']}", alt, [row for row, _ in placed])


def leverage_panels(data: Data) -> list[Drawing]:
    """Draw what a doubling of data and a step of base buy, a panel for each source."""
    return [drawn for name in pick.source_names(data) if (drawn := _leverage_panel(data, name))]


def _leverage_panel(data: Data, source: str) -> Drawing | None:
    rows = [row for row in pick.find(data["leverage"], source=source, replay=0.0) if _is_headline(data, row)]
    if not any(_known(row[key]) for row in rows for key in ("per_doubling", "per_base_step")):
        return None
    looks: dict[str, tuple[str, dict[str, Any]]] = {
        "per_doubling": ("twice the data", {"marker": "o", "color": "#D55E00"}),
        "per_base_step": ("the next base", {"marker": "D", "color": "#0072B2"}),
    }
    with marks.canvas(4.4, 1.4 + 0.42 * len(rows)) as figure:
        axes = figure.subplots()
        axes.axvline(0, color=GREY, linewidth=0.9, zorder=0)
        for key, (name, look) in looks.items():
            for place, row in enumerate(rows):
                number, y = row[key].number, place + (-0.14 if key == "per_doubling" else 0.14)
                if not isinstance(number, Estimate):
                    continue
                axes.plot([number.low, number.high], [y, y], color=look["color"], linewidth=1.3)
                axes.plot([number.value], [y], linestyle="none", markersize=6.5, zorder=3, **look)
            axes.plot([], [], label=name, linestyle="none", markersize=6.5, **look)
        axes.set_yticks(range(len(rows)), [row["measure"] for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(*marks.span([row[key] for row in rows for key in looks], 0, room=0.2))
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_formatter(lambda value, _: signed(100 * value, 0, plus=True))
        axes.set_xlabel("change, in points")
        axes.set_title(f"{source} imitation")
        figure.legend(loc="outside lower center", ncols=2)
        alt = f"What twice the {source} data and the next base buy, for each measure."
        return marks.drawing(figure, f"leverage-{source}", alt, rows)


def _is_headline(data: Data, row: Row) -> bool:
    """Return whether a slope is of the form that headlines use; style and preference have one form only."""
    form = pick.headline_form(data, row["measure"])
    return not form or row["form"] == form


def _is_largest(data: Data, row: Row) -> bool:
    met = marks.amounts(data)
    return not met or row["amount"] == met[-1]


def _known(shown: Shown) -> bool:
    return isinstance(shown.number, Estimate)
