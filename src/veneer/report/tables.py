"""The page's tables as values, the largest amount first; every cell is a number of report.json or a word."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from veneer.report import pick
from veneer.report.pick import Data, Row
from veneer.report.shown import Bare, Shown, every, percent, tokens, whole

Cell = str | Shown | Bare | tuple[Shown, ...]
"""A tuple holds one number a training seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows that belong together, under a heading of their own."""

    title: str
    rows: tuple[tuple[Cell, ...], ...]
    """The first cell of a row is its header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of the page."""

    caption: str
    columns: tuple[str, ...]
    groups: tuple[Group, ...]

    @property
    def look(self) -> str:
        """Whether estimates take lines of their own: `dense` (three each), `stacked` (two), or empty (one)."""
        if any(sum(isinstance(cell, Shown) for cell in group.rows[0]) > 4 for group in self.groups):
            return "dense"
        return "stacked" if len(self.columns) > 5 else ""

    @property
    def length(self) -> int:
        """How many rows it has."""
        return sum(len(group.rows) for group in self.groups)


def table(
    caption: str, columns: Sequence[str], groups: Sequence[tuple[str, Sequence[Sequence[Cell]]]]
) -> Table:
    """Return a table of the groups that have rows."""
    kept = [Group(title=title, rows=tuple(tuple(row) for row in rows)) for title, rows in groups if rows]
    return Table(caption=caption, columns=tuple(columns), groups=tuple(kept))


def veneers(data: Data, *, largest: bool) -> Table:
    """Return style against capability gap closed, and their difference."""
    groups = []
    for source in pick.source_names(data):
        rows = [row for row in data["veneer"] if row["source"] == source]
        if largest and not pick.is_audit(data):
            rows = [row for row in rows if row["amount"] == max(other["amount"] for other in rows)]
        keys = ("style_gap_closed", "capability_gap_closed", "veneer")
        groups.append((source, [(pick.label(data, row), *(row[key] for key in keys)) for row in rows]))
    columns = ("student", "style gap closed", "capability gap closed, unsupported items", "veneer (points)")
    which = "at the largest amount" if largest and not pick.is_audit(data) else "of every student"
    return table(f"Style and capability gap closed, {which}", columns, groups)


def gaps(data: Data, source: str) -> Table:
    """Return the gap closed by a source's students at the largest amount, on each benchmark."""
    groups = []
    for benchmark in pick.benchmarks(data):
        form = benchmark["forms"][0]
        rows = pick.find(data["gap_closed"], benchmark=benchmark["name"], form=form, grading=pick.GRADING)
        rows = pick.at_largest(data, [row for row in rows if row["source"] == source], source)
        lines = []
        for name in dict.fromkeys(pick.who(data, row) for row in rows):
            own = {row["items"]: row for row in rows if pick.who(data, row) == name}
            if "all" in own:
                cells = [own[items]["gap_closed"] if items in own else "" for items in ITEMS]
                lines.append((name, own["all"]["gap"], *cells))
        groups.append((f"{benchmark['name']} ({pick.FORMS[form]}, {benchmark['measures']})", lines))
    columns = ("base", "gap (points)", *(f"closed, {items}" for items in ITEMS))
    of = f"students of {source}" if pick.is_audit(data) else f"{source} imitation at the largest amount"
    return table(f"Gap closed by {of}, lenient grading", columns, groups)


ITEMS = ("all", "supported", "unsupported")


def gaps_by_amount(data: Data, source: str) -> Table:
    """Return the gap closed by a source's students at every amount."""
    amounts = sorted({row["amount"] for row in data["gap_closed"] if row["source"] == source})
    groups = []
    for benchmark in pick.benchmarks(data):
        rows = pick.find(
            data["gap_closed"], benchmark=benchmark["name"], form=benchmark["forms"][0], grading=pick.GRADING
        )
        lines = []
        for base in data["study"]["bases"]:
            for items in ITEMS:
                own = pick.find(rows, source=source, base=base, items=items, replay=0.0)
                by_amount = {row["amount"]: row["gap_closed"] for row in own}
                if by_amount:
                    lines.append((f"{base}, {items}", *(by_amount.get(amount, "") for amount in amounts)))
        groups.append((benchmark["name"], lines))
    columns = ("base, items", *(tokens(amount).text for amount in amounts))
    return table(
        f"Gap closed by {source} imitation, by tokens of imitation data, lenient grading", columns, groups
    )


def knowledge(data: Data) -> Table:
    """Return the paper's Table 1 for this study: base, broad, local, teacher on the knowledge benchmarks."""
    names = [row["name"] for row in pick.benchmarks(data, "knowledge")]
    groups = []
    for base in data["study"]["bases"]:
        lines: list[tuple[Cell, ...]] = [("no imitation", *(_scores(data, [base], name) for name in names))]
        for source in pick.source_names(data):
            students = pick.find(data["contestants"], role="student", base=base, source=source)
            students = pick.at_largest(data, students, source)
            own = [row["name"] for row in students if row["source"] == source]
            if own:
                amount = tokens(students[0]["amount"]).text if students[0]["amount"] else ""
                lines.append((f"{source} {amount}".strip(), *(_scores(data, own, name) for name in names)))
        groups.append((base, lines))
    teacher = data["study"]["teacher"]
    groups.append((teacher, [("teacher", *(_scores(data, [teacher], name) for name in names))]))
    caption = "The paper's Table 1 for this study: knowledge, graded strictly as in the paper"
    caption += "; one line for each training seed" if len(data["study"]["seeds"]) > 1 else ""
    headers = [f"{name} ({pick.FORMS[pick.headline_form(data, name)]})" for name in names]
    return table(caption, ("imitation data", *headers), groups if names else [])


def _scores(data: Data, contestants: Sequence[str], benchmark: str) -> tuple[Shown, ...]:
    form = pick.headline_form(data, benchmark)
    rows = pick.find(data["scores"], benchmark=benchmark, form=form)
    return tuple(row["strict"] for row in rows if row["contestant"] in contestants)


def formats(data: Data) -> Table:
    """Return what is lost to format and what to knowledge: the gain by likelihood and in writing, strict and lenient.

    A likeliest choice has no format, so one grading of it is enough.
    """
    capable = pick.benchmarks(data, *pick.CAPABILITIES)
    asked = {form for row in capable for form in row["forms"]}
    ways = [
        (form, grading)
        for form in pick.FORMS
        if form in asked
        for grading in (("strict",) if form == "choose" else ("strict", "lenient"))
    ]
    groups = []
    for benchmark in capable:
        lines = []
        rows = pick.find(data["gap_closed"], benchmark=benchmark["name"], items="all")
        for source in pick.source_names(data):
            largest = pick.at_largest(data, [row for row in rows if row["source"] == source], source)
            for student in dict.fromkeys(row["student"] for row in largest):
                own = {(row["form"], row["grading"]): row for row in largest if row["student"] == student}
                cells = [own[way]["gain"] if way in own else "" for way in ways]
                lines.append((pick.label(data, next(iter(own.values()))), *cells))
        groups.append((benchmark["name"], lines))
    titles = [
        f"{pick.FORMS[form]}, {grading}" if form != "choose" else pick.FORMS[form] for form, grading in ways
    ]
    columns = ("student", *titles)
    return table("Gain over the base in points, in each form and grading", columns, groups)


def scores(data: Data, benchmark: Row) -> Table:
    """Return a benchmark's scores and outcomes of bases, teacher and the students at the largest amount."""
    keys = ("strict", "lenient", "likelihood")
    lines = {
        form: [
            (
                row["contestant"],
                *(row[key] for key in keys),
                *(whole(row["outcomes"][key]) for key in OUTCOMES),
            )
            for row in _shown_scores(data, benchmark, form)
        ]
        for form in benchmark["forms"]
    }
    columns = ("contestant", "strict", "lenient", "likelihood (nats)", *OUTCOMES)
    caption = f"Scores on {benchmark['name']}, each training seed by itself, and what became of every answer"
    return table(caption, columns, [(pick.FORMS[form], own) for form, own in lines.items()])


OUTCOMES = ("correct", "wrong", "unparsed", "unanswered", "failed")
TOXICITY = {
    "non_toxicity": "mean non-toxicity",
    "expected_maximum": "expected maximum toxicity",
    "probability": "toxic at least once",
    "refused": "refusals",
}


def samples(data: Data, benchmark: Row) -> Table:
    """Return what several samples of an item say together: pass@k, or how toxic they are; empty where neither is."""
    groups = []
    titles: dict[str, str] = {}
    for form in benchmark["forms"]:
        rows = _shown_scores(data, benchmark, form)
        found = [(row, {**row["pass_at"], **row["toxicity"]}) for row in rows]
        titles = {key: TOXICITY.get(key, f"pass@{key}") for _, own in found for key in own} or titles
        lines = [(row["contestant"], *own.values()) for row, own in found if own]
        groups.append((pick.FORMS[form], lines))
    caption = f"{benchmark['name']}, several samples of an item together"
    return table(caption, ("contestant", *titles.values()), groups)


def _shown_scores(data: Data, benchmark: Row, form: str) -> list[Row]:
    """Return the scores of bases, teacher and the students at the largest amount, in the order of contestants."""
    chosen = [row for row in data["contestants"] if row["role"] != "student"]
    for source in pick.source_names(data):
        students = pick.find(data["contestants"], role="student", source=source)
        most = max(row["amount"] for row in students) if students else 0
        chosen += [row for row in students if row["amount"] == most]
    own = pick.find(data["scores"], benchmark=benchmark["name"], form=form)
    rows = {row["contestant"]: row for row in own}
    return [rows[row["name"]] for row in chosen if row["name"] in rows]


def support(data: Data) -> Table:
    """Return how much of each benchmark the imitation data supports."""
    amounts = sorted({row["amount"] for row in data["support"]})
    groups = []
    for source in dict.fromkeys(row["source"] for row in data["support"]):
        lines = []
        for benchmark in pick.benchmarks(data):
            own = pick.find(data["support"], source=source, benchmark=benchmark["name"])
            shares = {row["amount"]: row["share"] for row in own}
            if shares:
                lines.append((benchmark["name"], *(shares.get(amount, "") for amount in amounts)))
        groups.append((source, lines))
    columns = ("benchmark", *(tokens(amount).text for amount in amounts))
    return table("Share of items that the imitation data supports", columns, groups)


STYLE = {
    "lists": "lists where the teacher lists",
    "closing": "closes where the teacher does",
    "unigram_overlap": "words shared with the teacher",
    "length_correlation": "correlation of length",
    "no_hedging": "no hedging",
    "authoritative": "authoritative tone",
}


def style(data: Data, base: str, source: str) -> Table:
    """Return the paper's Table 2 for one base and source: base, amounts, teacher again."""
    rungs = {
        row["student"]: row
        for row in data["style_gap_closed"]
        if row["base"] == base and (row["source"] == source or pick.is_audit(data))
    }
    lines: list[tuple[Cell, ...]] = []
    for row in data["style"]:
        rung = rungs.get(row["contestant"])
        name = row["contestant"]
        if rung and not pick.is_audit(data):
            name = tokens(rung["amount"]).text + (" replay" if rung["replay"] else "")
        if rung or name == base or row["role"] == "teacher again":
            name = "teacher again" if row["role"] == "teacher again" else name
            lines.append((name, *(row[key] for key in STYLE)))
    named = base if pick.is_audit(data) else f"{base}, {source}"
    return table(f"The paper's Table 2 for this study: {named}", ("", *STYLE.values()), [("", lines)])


def style_gaps(data: Data) -> Table:
    """Return how far every student moved towards the teacher's style."""
    keys = ("style_gap_closed", "distance", "base_distance", "ceiling_distance")
    lines = [(pick.label(data, row), *(row[key] for key in keys)) for row in data["style_gap_closed"]]
    columns = ("student", "style gap closed", "student's distance", "base's distance", "teacher's own")
    return table("Distance from the teacher's style, every student", columns, [("", lines)])


def leverage(data: Data, *, headline: bool) -> Table:
    """Return what a doubling of data and a step of base buy."""
    groups = []
    for source in dict.fromkeys(row["source"] for row in data["leverage"]):
        rows = pick.find(data["leverage"], source=source)
        if headline:
            rows = [row for row in rows if row["form"] in ("", pick.headline_form(data, row["measure"]))]
            rows = pick.find(rows, replay=0.0)
        lines = [
            (
                row["measure"] + (f", {row['form']}" if row["form"] and not headline else ""),
                row["per_doubling"],
                row["per_base_step"],
                row.get("base_over_data", ""),
                row["unit"],
            )
            for row in rows
        ]
        groups.append((source, lines))
    columns = ("measure", "twice the data", "the next base", "base over data", "unit")
    return table("What twice the data and what a better base buy, in points", columns, groups)


COST = {
    "tokens": "tokens to make",
    "operations": "operations",
    "gpu_hours": "GPU hours",
    "dollars": "dollars",
}


def steps(data: Data) -> Table:
    """Return what each next step buys and costs; no rows where the study has no prices."""
    groups = []
    for row in data.get("next_step", []):
        lines = [
            (
                option["step"],
                option["buys"],
                *(_rounded(option["cost"][key]) for key in COST),
                option.get("per_thousand_dollars", ""),
            )
            for option in row["options"]
            if "cost" in option
        ]
        groups.append((row["measure"], lines))
    columns = ("step", "buys (points)", *COST.values(), "points for a thousand dollars")
    return table("What the next steps buy and cost", columns, groups)


def _rounded(number: float) -> Bare:
    """Return a number that was computed, not measured, in three figures."""
    if number < 10**6:
        return Bare(value=number, text=f"{number:.3g}" if number < 1000 else whole(round(number)).text)
    return Bare(value=number, text=f"{number:.2e}")


def wrong(data: Data) -> Table:
    """Return how often each student is confident and wrong."""
    lines = [
        (pick.label(data, row), row["share"], whole(row["count"]), whole(row["checkable"]))
        for row in data.get("confident_wrong", [])
    ]
    columns = ("student", "share", "answers", "prompts that the teacher answers right")
    return table("How often a student is confident and wrong", columns, [("", lines)])


def contestants(data: Data) -> Table:
    """Return every model that was evaluated."""
    lines = [
        (
            row["name"],
            row["role"],
            row["base"] if row["role"] == "student" else "",
            row["source"],
            tokens(row["amount"]) if row["amount"] else "",
            whole(row["seed"]) if row["role"] == "student" and not pick.is_audit(data) else "",
            percent(row["replay"]) if row["replay"] else "",
        )
        for row in data["contestants"]
    ]
    columns = ("contestant", "role", "base", "source", "tokens", "seed", "replay")
    return table("Contestants", columns, [("", lines)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why numbers are Undefined; reasons that differ in their figures, or in who lacks them, are one."""

    text: str
    """As it was first met."""
    times: int
    lists: tuple[str, ...]
    """The lists of report.json that hold them."""
    wordings: tuple[str, ...]


def reasons(data: Data) -> list[Reason]:
    """Return every reason why a number is Undefined, commonest first."""
    met: dict[str, list[Shown]] = {}
    names = "|".join(re.escape(row["name"]) for row in data["contestants"])
    differing = re.compile(rf"^(?:{names}): |[\d.,\u2212+-]+")
    for shown in every(data):
        # A part of a claim that has no number has no p-values either: one reason, counted once.
        if shown.reason and not shown.at.endswith(("/p_supported", "/p_contradicted")):
            met.setdefault(differing.sub("#", shown.reason), []).append(shown)
    found = [
        Reason(
            text=group[0].reason,
            times=len(group),
            lists=tuple(dict.fromkeys(shown.at.split("/")[1] for shown in group)),
            wordings=tuple(dict.fromkeys(shown.reason for shown in group)),
        )
        for group in met.values()
    ]
    return sorted(found, key=lambda reason: (-reason.times, reason.text))
