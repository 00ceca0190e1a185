"""Which rows of report.json a headline, a figure or a table speaks of."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from veneer.report.shown import tokens

Row = Mapping[str, Any]
Data = Mapping[str, Any]
"""The content of report.json, as `shown.read` returns it."""

CAPABILITIES = ("knowledge", "skill")
GRADING = "lenient"
"""The grading that headlines use, as analyze does: a wrong format is not missing knowledge."""


def find(rows: Sequence[Row], **wanted: Any) -> list[Row]:
    """Return the rows whose named fields have these values."""
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def is_audit(data: Data) -> bool:
    """Return whether the study's students existed already."""
    return bool(data["study"]["kind"] == "audit")


def sources(data: Data, kind: str) -> list[Row]:
    """Return the study's sources of a kind (`broad` or `local`)."""
    return find(data["study"]["sources"], kind=kind)


def source_names(data: Data) -> list[str]:
    """Return the sources of all students, the study's own order first."""
    named = [source["name"] for source in data["study"]["sources"]]
    met = [row["source"] for row in data["contestants"] if row["role"] == "student"]
    return list(dict.fromkeys([*named, *met]))


def main_source(data: Data) -> str:
    """Return the source that headlines speak of: the first broad one; empty in an audit."""
    ranked = [*sources(data, "broad"), *data["study"]["sources"]]
    return ranked[0]["name"] if ranked and not is_audit(data) else ""


def at_largest(data: Data, rows: Sequence[Row], source: str) -> list[Row]:
    """Return a source's students at their largest amount, without replay, weakest base first.

    An audit has no amounts: all of its students are returned, whatever the source.
    """
    if is_audit(data):
        return list(rows)
    own = find(rows, source=source, replay=0.0)
    most = max((row["amount"] for row in own), default=0)
    return sorted(find(own, amount=most), key=by_base(data))


def by_base(data: Data) -> Callable[[Row], int]:
    """Return a sorting key: the place of a row's base among the study's."""
    order = {name: place for place, name in enumerate(data["study"]["bases"])}
    return lambda row: order.get(row["base"], len(order))


def who(data: Data, row: Row) -> str:
    """Return what tells apart students of one source and amount: the base, or in an audit the student."""
    return named(row) if is_audit(data) else str(row["base"])


def named(row: Row) -> str:
    """Return the name of the student, or of the contestant, that a row is about."""
    return str(row["student"] if "student" in row else row["contestant"])


def label(data: Data, row: Row) -> str:
    """Return a student in words: `large · broad · 80k`."""
    if is_audit(data) or not row["source"]:
        return named(row)
    amount = [tokens(row["amount"]).text] if row["amount"] else []
    replay = ["replay"] if row["replay"] else []
    return " · ".join([row["base"], row["source"], *amount, *replay])


def benchmarks(data: Data, *measures: str) -> list[Row]:
    """Return the benchmarks that measure one of these; all of them if none is named."""
    return [row for row in data["study"]["benchmarks"] if not measures or row["measures"] in measures]


def headline_form(data: Data, benchmark: str) -> str:
    """Return the form that headlines use of a benchmark; empty for what is none."""
    found = find(data["study"]["benchmarks"], name=benchmark)
    return str(found[0]["forms"][0]) if found else ""


FORMS = {"choose": "likeliest choice", "plain": "plain", "chat": "chat"}
"""What the forms of a benchmark are called, in the order in which they are shown."""


def gap_row(data: Data, student: str, benchmark: str, items: str) -> Row | None:
    """Return a student's gap on a benchmark in its headline form."""
    form = headline_form(data, benchmark)
    key = (student, benchmark, form, GRADING, items)
    for row in data["gap_closed"]:
        if (row["student"], row["benchmark"], row["form"], row["grading"], row["items"]) == key:
            return dict(row)
    return None


def style_of(data: Data, student: str) -> Any:
    """Return the style gap that a student closed, or None where there is no row of it."""
    found = find(data["style_gap_closed"], student=student)
    return found[0]["style_gap_closed"] if found else None


def judge_name(row: Row) -> str:
    """Return a judge's name; simulated raters are called simulated wherever they appear."""
    name = str(row.get("judge", row.get("name")))
    return f"{name} (simulated)" if row["kind"] == "simulated" and "simulated" not in name else name
