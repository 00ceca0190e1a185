"""Which confident and wrong answers the page shows, each whole, in an article of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from veneer.report import pick
from veneer.report.pick import Data, Row

MOST = 12
"""So many are shown; the others stand in the file beside the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One prompt that a student answered wrong in the teacher's style."""

    title: str
    writings: tuple[tuple[str, str], ...]
    """Headings and full texts: what was asked, what is right, who wrote what."""


def examples(data: Data, rows: Sequence[Row]) -> list[Example]:
    """Return the most teacher-like wrong answers, one a contestant in turn.

    Headline students (the main source at its largest amount) come first, strongest base first; of one contestant
    those first that the classifier of style takes most surely for the teacher's.

    Args:
        data: The content of report.json.
        rows: The rows of `confident_wrong.jsonl`.
    """
    students = {row["student"] for row in pick.at_largest(data, rows, pick.main_source(data))}
    place = pick.by_base(data)
    by_contestant: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row["student"] not in students, -place(row))):
        by_contestant.setdefault(row["contestant"], []).append(row)
    queues = [sorted(own, key=lambda row: -float(row["log_odds_teacher"])) for own in by_contestant.values()]
    depth = max(map(len, queues), default=0)
    turns = [queue[turn] for turn in range(depth) for queue in queues if turn < len(queue)]
    wanted = [row for row in turns if row["student"] in students] or turns
    return [_example(data, row) for row in wanted[:MOST]]


def _example(data: Data, row: Row) -> Example:
    base = f"{row['base']}, the base" + (f" ({row['base_outcome']})" if row["base_outcome"] else "")
    writings = [
        ("asked", row["question"]),
        ("right", ", ".join(row["references"])),
        (f"{row['contestant']}, the student (wrong{_read(row['student_answer'])})", row["student_text"]),
        (
            f"{_teacher(data)} (correct{_read(row['teacher_answer'])})",
            row["teacher_text"],
        ),
        (base, row["base_text"]),
    ]
    kept = tuple((title, text) for title, text in writings if text)
    return Example(title=f"{row['contestant']} on {row['prompt_id']}", writings=kept)


def _teacher(data: Data) -> str:
    name = str(data["study"]["teacher"])
    return "the teacher" if name == "teacher" else f"{name}, the teacher"


def _read(answer: str) -> str:
    """Return what was read as the answer."""
    return f": {answer}" if answer else ""
