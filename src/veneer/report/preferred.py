"""Preference on the page: raw beside equal style, votes beside majorities, people alone beside people with a judge."""

from collections.abc import Callable, Sequence
from typing import Any

from veneer.report import marks, pick
from veneer.report.marks import GREY, Drawing
from veneer.report.pick import Data, Row
from veneer.report.shown import whole
from veneer.report.tables import Cell, Table, table
from veneer.stats import Estimate

Line = tuple[Cell, ...]
WAYS = ("alone", "together")
ASKED = {"style": "better written", "correctness": "more correct"}
"""What people may be asked beside which completion is better overall."""


def rates(data: Data, judge: Row, *, largest: bool) -> Table:
    """Return a judge's win rates as they are and at equal style, with the counts behind them."""
    columns = (
        "contestant", "win rate", "at equal style", "style explains", "at least equal", "it is", "wins", "ties",
        "losses", "no verdict",
    )  # fmt: skip

    def line(row: Row) -> Line:
        counts = (whole(row[key]) for key in ("wins", "ties", "losses", "none"))
        numbers = (row[key] for key in ("win_rate", "style_controlled", "style_share", "at_least_equal"))
        return (pick.label(data, row), *numbers, row["standing"], *counts)

    caption = f"Preference by {pick.judge_name(judge)}"
    return table(caption, columns, _groups(data, _rows(data, judge, largest=largest), line))


def ways(data: Data, judge: Row) -> Table:
    """Return win rates counted in other ways: at equal length, and by the majority of a prompt's votes."""
    columns = (
        "contestant", "won", "tied", "lost", "at equal length", "by majority", "at least equal by majority",
        "prompts won", "tied", "lost", "no verdict",
    )  # fmt: skip

    def line(row: Row) -> Line:
        counts = (whole(row[f"majority_{key}"]) for key in ("wins", "ties", "losses", "none"))
        keys = ("won", "tied", "lost", "length_controlled", "majority_win_rate", "majority_at_least_equal")
        return (pick.label(data, row), *(row[key] for key in keys), *counts)

    caption = f"Preference by {pick.judge_name(judge)}, counted in other ways"
    return table(caption, columns, _groups(data, _rows(data, judge, largest=False), line))


def apart(data: Data) -> Table:
    """Return people's win rates by what they were asked, side by side; no rows where nothing was asked apart."""
    asked = data.get("asked_apart", [])
    rates = {
        (row.get("question", ""), row["contestant"], row["opponent"]): row["win_rate"]
        for row in (*pick.find(data["preference"], judge="people"), *asked)
    }

    def line(row: Row) -> Line:
        pair = (row["contestant"], row["opponent"])
        return (pick.label(data, row), *(rates.get((question, *pair), "") for question in ("", *ASKED)))

    rows = list({(row["contestant"], row["opponent"]): row for row in asked}.values())
    columns = ("contestant", "better overall", *ASKED.values())
    return table("People's win rates, by what they were asked", columns, _groups(data, rows, line))


def apart_ways(data: Data) -> Table:
    """Return people's votes on style and on correctness, counted in all ways."""
    columns = (
        "contestant", "at least equal", "won", "tied", "lost", "by majority", "at least equal by majority", "wins",
        "ties", "losses", "no verdict",
    )  # fmt: skip

    def line(row: Row) -> Line:
        keys = ("at_least_equal", "won", "tied", "lost", "majority_win_rate", "majority_at_least_equal")
        counts = (whole(row[key]) for key in ("wins", "ties", "losses", "none"))
        return (pick.label(data, row), *(row[key] for key in keys), *counts)

    groups = [
        (f"{name}: {title}", lines)
        for question, name in ASKED.items()
        for title, lines in _groups(data, pick.find(data.get("asked_apart", []), question=question), line)
    ]
    return table("People's votes on style and on correctness", columns, groups)


def rises(data: Data) -> Table:
    """Return how far students rose above their base's win rate, and how much of that is style."""
    groups = []
    rows = data.get("rise", [])
    for judge, opponent in dict.fromkeys((row["judge"], row["opponent"]) for row in rows):
        own = pick.find(rows, judge=judge, opponent=opponent)
        most = max(row["amount"] for row in own)
        lines = [
            (pick.label(data, row), *(row[key] for key in ("rise", "rise_at_equal_style", "style_share")))
            for row in pick.find(own, amount=most)
        ]
        groups.append((f"by {pick.judge_name(own[0])}, against {opponent}", lines))
    columns = ("student", "points above its base", "at equal style", "style explains")
    return table("How far students rose above their base's win rate", columns, groups)


def taste(data: Data) -> Table:
    """Return what each judge rewards of style."""
    rows = data.get("taste", [])
    features = list(dict.fromkeys(row["feature"] for row in rows))
    lines = []
    for judge in dict.fromkeys(row["judge"] for row in rows):
        own = {row["feature"]: row for row in rows if row["judge"] == judge}
        named = pick.judge_name(next(iter(own.values())))
        lines.append((named, *(own[one]["slope"] if one in own else "" for one in features)))
    columns = ("judge", *("being shown first" if one == "place" else one for one in features))
    return table("What each judge rewards, in logits for one standard deviation more", columns, [("", lines)])


def together(data: Data) -> Table:
    """Return people's win rates alone and with a judge, and how many more ratings the study's target takes."""
    groups = []
    rows = data.get("together", [])
    helped = [row for row in rows if not row["together"].reason]
    # Where no judge is of help, what people say alone is told once.
    rows = helped or [row for row in rows if row["judge"] == rows[0]["judge"]]
    for people, judge, opponent in dict.fromkeys(
        (row["people"], row["judge"], row["opponent"]) for row in rows
    ):
        own = pick.find(rows, people=people, judge=judge, opponent=opponent)
        lines = [
            (
                pick.label(data, row),
                row["alone"],
                row["together"],
                whole(row["rated"]),
                whole(row["judged"]),
                *("" if row[way].reason else _ratings(row[f"more_ratings_{way}"]) for way in WAYS),
            )
            for row in own
        ]
        who = f"{people} with {judge}" if judge else people
        groups.append((f"{who}, against {opponent}", lines))
    columns = (
        "contestant", "people alone", "with the judge", "prompts rated by both", "by the judge alone",
        "more ratings wanted, people alone", "with the judge",
    )  # fmt: skip
    return table("People's win rates with a judge's help", columns, groups)


def _ratings(more: int | None) -> Cell:
    return "no number would do" if more is None else whole(more)


def _rows(data: Data, judge: Row, *, largest: bool) -> list[Row]:
    rows = pick.find(data["preference"], judge=judge["name"])
    most = max((row["amount"] for row in rows), default=0)
    if largest and not pick.is_audit(data):
        rows = pick.find(rows, opponent=data["study"]["teacher"])
    return [row for row in rows if not largest or row["role"] != "student" or row["amount"] == most]


def _groups(data: Data, rows: Sequence[Row], line: Callable[[Row], Line]) -> list[tuple[str, list[Line]]]:
    return [
        (
            f"{source or 'no imitation'}, against {opponent}",
            [line(row) for row in pick.find(rows, opponent=opponent, source=source)],
        )
        for opponent, source in dict.fromkeys((row["opponent"], row["source"]) for row in rows)
    ]


def panels(data: Data) -> list[Drawing]:
    """Draw raw win rates beside those at equal style, a panel for each judge and crowd of raters."""
    return [drawn for judge in data["study"]["judges"] if (drawn := _panel(data, judge))]


def _panel(data: Data, judge: Row) -> Drawing | None:
    rows = [row for row in _rows(data, judge, largest=True) if isinstance(row["win_rate"].number, Estimate)]
    if not any(isinstance(row["style_controlled"].number, Estimate) for row in rows):
        return None
    with marks.canvas(4.4, 1.5 + 0.42 * len(rows)) as figure:
        axes = figure.subplots()
        axes.axvline(0.5, color=GREY, linewidth=0.9, zorder=0)
        for place, row in enumerate(rows):
            _line(axes, data, row, place)
        axes.set_yticks(range(len(rows)), [_name(data, row) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(-0.03, 1.03)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("win rate")
        axes.set_title(pick.judge_name(judge))
        marks.percents(axes.xaxis)
        handles = [
            marks.key(name, marker="o", color=GREY, markersize=6, markerfacecolor=face)
            for name, face in (("as it is", GREY), ("at equal style", "white"))
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2, handletextpad=0)
        alt = f"Win rates by {pick.judge_name(judge)}, as they are and at equal style, a line a contestant."
        return marks.drawing(figure, f"equal-style-{judge['name']}", alt, rows)


def _name(data: Data, row: Row) -> str:
    """Return a contestant in a few words; whom it met where that is not the teacher."""
    name = pick.label(data, row)
    return name if row["opponent"] == data["study"]["teacher"] else f"{name} against {row['opponent']}"


def _line(axes: Any, data: Data, row: Row, place: int) -> None:
    tone = marks.colour(data, row["base"])
    for key, y, face in (("win_rate", place - 0.14, tone), ("style_controlled", place + 0.14, "white")):
        number = row[key].number
        if not isinstance(number, Estimate):
            look = {"color": tone, "va": "center", "fontsize": 7.5, "style": "italic"}
            axes.annotate(
                "at equal style: Undefined", (0, y), xytext=(3, 0), textcoords="offset points", **look
            )
            continue
        look = {"marker": marks.shape(data, row["source"]), "markersize": 6.5, "markerfacecolor": face}
        axes.plot([number.low, number.high], [y, y], color=tone, linewidth=1.3)
        axes.plot([number.value], [y], color=tone, zorder=3, markeredgewidth=1.3, linestyle="none", **look)
