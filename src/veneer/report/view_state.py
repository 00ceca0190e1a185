"""What a page of `veneer view` shows, whole in its address: who, which items, how they are read."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlencode

LONGEST_SEARCH = 200
LONGEST_NUMBER = 9
"""Digits."""
PATTERNS = {
    "": "any outcome",
    "behind": "teacher right, student not",
    "fluent": "teacher right, student wrong and fluent",
    "confident": "confident and wrong, as in the report",
    "gained": "base not right, student right",
    "lost": "base right, student not",
    "reached": "teacher right, student right",
    "ahead": "student right, teacher not",
    "nobody": "nobody of the three right",
    "format": "student right leniently, not strictly",
    "unread": "no answer of the student could be read",
    "failed": "the student could not be asked or graded",
}
"""Outcomes of base, student and teacher that can be asked for."""
FLUENT = "An answer was read and is wrong; the text ends by itself and neither declines nor hedges."
SUPPORT = {
    "": "any support",
    "yes": "supported by the student's data",
    "no": "not supported by it",
    "out": "left out of scores",
}
GRADINGS = {"": "lenient", "strict": "strict"}
READINGS = {"": "as written", "formatted": "formatted", "compared": "student against teacher"}


class Lost(Exception):  # noqa: N818 (what is told to a visitor, not a fault of the program)
    """An address leads nowhere.

    Args:
        said: What is wrong with it.
    """

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that an address says; a field with its default stands in none."""

    student: str = ""
    """Whose base and data filters speak of; empty: the one that headlines speak of."""
    benchmark: str = ""
    form: str = ""
    support: str = ""
    pattern: str = ""
    grading: str = ""
    q: str = ""
    """What is searched for."""
    show: tuple[str, ...] = ()
    """The contestants shown; empty: base, student and teacher."""
    page: int = 1
    at: str = ""
    """The item shown: benchmark/form/id."""
    sample: int = 0
    read: str = ""

    @property
    def place(self) -> tuple[str, str, str]:
        """The item shown: benchmark, form and id.

        Raises:
            Lost: It is no place.
        """
        parts = self.at.split("/", 2)
        if len(parts) != 3:
            raise Lost(f"at={self.at}: no item; benchmark/form/id is wanted.")
        return parts[0], parts[1], parts[2]

    def link(self, path: str, **changes: Any) -> str:
        """Return the address of a page with this state, but for what changes.

        >>> State(q="a b", page=3).link("items", page=1, show=("x", "y"))
        'items?q=a+b&show=x&show=y'
        """
        then = replace(self, **changes)
        said = [
            (one.name, getattr(then, one.name))
            for one in fields(then)
            if getattr(then, one.name) != one.default
        ]
        return path + (f"?{urlencode(said, doseq=True)}" if said else "")


def read(
    given: Sequence[tuple[str, str]],
    *,
    contestants: Collection[str],
    students: Collection[str],
    benchmarks: Collection[str],
    forms: Collection[str],
) -> State:
    """Return what an address says.

    Args:
        given: Names and values, as they stand in it; empty values say nothing.
        contestants: The names that may be shown.
        students: The students.
        benchmarks: The benchmarks.
        forms: Their forms.

    Raises:
        Lost: It says what cannot be.
    """
    said = {name: value for name, value in given if value}
    shown = tuple(dict.fromkeys(value for name, value in given if name == "show" and value))
    if unknown := sorted(set(said) - {one.name for one in fields(State)}):
        raise Lost(
            f"{unknown[0]}: no such setting; there are {', '.join(one.name for one in fields(State))}."
        )
    allowed: dict[str, Collection[str]] = {
        "student": students,
        "benchmark": benchmarks,
        "form": forms,
        "support": SUPPORT,
        "pattern": PATTERNS,
        "grading": GRADINGS,
        "read": READINGS,
    }
    for name, values in allowed.items():
        _check(name, said.get(name, ""), values)
    for name in shown:
        _check("show", name, contestants)
    words = {name: said[name] for name in (*allowed, "at") if name in said}
    return State(
        **words,
        q=said.get("q", "").replace("\x00", "").strip()[:LONGEST_SEARCH],
        show=shown,
        page=_whole("page", said.get("page", "1"), least=1),
        sample=_whole("sample", said.get("sample", "0"), least=0),
    )


def _check(name: str, value: str, allowed: Collection[str]) -> None:
    if value and value not in allowed:
        raise Lost(f"{name}={value}: not known; it may be {', '.join(one for one in allowed if one)}.")


def _whole(name: str, value: str, *, least: int) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= LONGEST_NUMBER and int(value) >= least):
        raise Lost(f"{name}={value}: a whole number from {least} on is wanted.")
    return int(value)
