"""Model cards for the hub: each student's numbers as a `model-index`, and in words with their intervals."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from veneer import disk
from veneer.report import pick
from veneer.report.export_latex import one_line
from veneer.report.pick import Data, Row
from veneer.report.shown import Shown
from veneer.stats import Estimate

DIGITS = 4
Measured = tuple[dict[str, Any], dict[str, Any], str, str, Shown]
"""Task, data set, the metric's type and name, the number."""


def write(data: Data, folder: Path) -> None:
    """Write `NAME.md` for every student: front matter that the hub reads, and a table of the same numbers.

    What is Undefined is in the table alone, with its reason: a `model-index` has no word for it. With several training
    seeds each has a card with its own scores; what is told of the seeds together stands in all of them.
    """
    for row in pick.find(data["contestants"], role="student"):
        disk.write_text(folder / f"{row['name']}.md", card(data, row))


def card(data: Data, student: Row) -> str:
    """Return one student's card (the format is the hub's: hub-docs, `modelcard.md`)."""
    found = list(_measured(data, student))
    head: dict[str, Any] = {"tags": ["veneer"]}
    if results := _results(data, found):
        head["model-index"] = [{"name": student["name"], "results": results}]
    study = data["study"]
    level = f"{100 * study['level']:.3g} %"
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        "",
        f"# {_cell(student['name'])}",
        "",
        f"A student of {_cell(study['teacher'])}, made from {_cell(student['base'])}. Measured by Veneer "
        f"{study['version']} in the study {_cell(study['name'])}; {level} intervals in brackets.",
        "",
        "| on | measure | number | n |",
        "| --- | --- | --- | --- |",
    ]
    for _, dataset, _, name, shown in found:
        number = f"Undefined: {_cell(shown.reason)}" if shown.reason else f"{shown.value} {shown.interval}"
        lines.append(f"| {_cell(dataset['name'])} | {_cell(name)} | {number} | {shown.number.n} |")
    return "\n".join([*lines, ""])


def _measured(data: Data, student: Row) -> Iterator[Measured]:
    name, rung, teacher = student["name"], student["student"], data["study"]["teacher"]
    for benchmark in pick.benchmarks(data):
        place = benchmark["name"]
        task = {"type": "text-generation", "name": benchmark["measures"]}
        dataset = {"type": _slug(place), "name": place, "args": {"items": benchmark.get("items", 0)}}
        form = pick.headline_form(data, place)
        for row in pick.find(data["scores"], contestant=name, benchmark=place, form=form):
            for grading in ("strict", "lenient"):
                yield task, dataset, "accuracy", f"score, {grading} grading", row[grading]
        if (gap := pick.gap_row(data, rung, place, "all")) is not None:
            yield task, dataset, "gap_closed", f"gap to {teacher} closed", gap["gap_closed"]
    task = {"type": "text-generation", "name": "imitation"}
    dataset = {"type": _slug(data["study"]["name"]), "name": data["study"]["name"]}
    for row in pick.find(data["veneer"], student=rung):
        yield task, dataset, "style_gap_closed", f"style gap to {teacher} closed", row["style_gap_closed"]
        told = f"capability gap to {teacher} closed, unsupported items"
        yield task, dataset, "capability_gap_closed", told, row["capability_gap_closed"]
    for row in pick.find(data["preference"], contestant=rung, role="student", opponent=teacher):
        yield (
            task,
            dataset,
            "win_rate",
            f"win rate against {teacher}, {pick.judge_name(row)}",
            row["win_rate"],
        )


def _results(data: Data, found: list[Measured]) -> list[dict[str, Any]]:
    """Return the results of a `model-index`, one for each data set; one without metrics would be refused."""
    results: dict[str, dict[str, Any]] = {}
    for task, dataset, kind, name, shown in found:
        number = shown.number
        if isinstance(number, Estimate):
            ends = {"low": round(number.low, DIGITS), "high": round(number.high, DIGITS)}
            metric = {
                "type": kind,
                "name": name,
                "value": round(number.value, DIGITS),
                "args": {**ends, "level": data["study"]["level"], "n": number.n},
            }
            key = f"{dataset['type']} {task['name']}"
            result = {"task": dict(task), "dataset": dict(dataset), "metrics": []}
            results.setdefault(key, result)["metrics"].append(metric)
    return list(results.values())


def _slug(name: str) -> str:
    """Return a name as the hub takes it for a data set's."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_.") else "-" for sign in name)


def _cell(text: str) -> str:
    """Return a text that stays within a cell of a Markdown table and is not taken for markup."""
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#" else sign for sign in one_line(text))
