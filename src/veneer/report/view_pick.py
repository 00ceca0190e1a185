"""Which items fit: the patterns of outcomes, and the words of a search."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from veneer.records import Outcome
from veneer.report.view_index import OUTCOMES, Ints
from veneer.report.view_state import Lost

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Array = Callable[[str, str], Ints]
FEWEST_LETTERS = 3
"""Letters before the `*` of a search for words that begin alike: fewer find nearly everything."""
NEEDLE = re.compile(r'"([^"]*)"?|(\S+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Trio:
    """Base, student and teacher, whom filters compare; a study may lack some."""

    base: str
    student: str
    teacher: str


def patterns(trio: Trio, grading: str, array: Array) -> dict[str, Mask]:
    """Return which units fit each of `view_state.PATTERNS`, by the outcomes of each unit's first completion.

    Who could not be asked or graded is neither right nor not right.

    Args:
        trio: Whose outcomes.
        grading: `lenient` or `strict`.
        array: Gives a contestant's arrays.
    """
    base, student, teacher = (array(one, grading) for one in (trio.base, trio.student, trio.teacher))
    right, failed, unparsed, unanswered = (
        OUTCOMES.index(one) for one in (Outcome.CORRECT, Outcome.FAILED, Outcome.UNPARSED, Outcome.UNANSWERED)
    )

    def missed(outcomes: Ints) -> Mask:
        return np.asarray((outcomes != right) & (outcomes != failed) & (outcomes != 0))

    behind = np.asarray((teacher == right) & missed(student))
    return {
        "": np.ones(len(student), np.bool_),
        "behind": behind,
        "fluent": behind & (array(trio.student, "fluent") == 1),
        "confident": np.asarray(array(trio.student, "confident") == 1),
        "gained": missed(base) & (student == right),
        "lost": (base == right) & missed(student),
        "reached": np.asarray((teacher == right) & (student == right)),
        "ahead": (student == right) & missed(teacher),
        "nobody": missed(base) & missed(student) & missed(teacher),
        "format": (array(trio.student, "lenient") == right) & missed(array(trio.student, "strict")),
        "unread": np.asarray((student == unparsed) | (student == unanswered)),
        "failed": np.asarray(student == failed),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Needle:
    """One thing that is searched for."""

    words: tuple[str, ...]
    begins: bool
    """Whether words that begin with the last one are found too."""

    @property
    def match(self) -> str:
        """The needle as FTS5 wants it."""
        return f'"{" ".join(self.words)}"' + ("*" if self.begins else "")


def needles(asked: str) -> list[Needle]:
    """Return what a search is for: words, "several words in a row", and beginnings*; all must be found.

    Raises:
        Lost: A beginning is too short.

    >>> [needle.match for needle in needles('Paris "the capital of" fran*')]
    ['"Paris"', '"the capital of"', '"fran"*']
    """
    found = []
    for phrase, word in NEEDLE.findall(asked):
        words = tuple(re.findall(r"\w+", phrase or word))
        begins = word.endswith("*")
        if begins and words and len(words[-1]) < FEWEST_LETTERS:
            raise Lost(f"q={asked}: at least {FEWEST_LETTERS} letters are wanted before a *.")
        if words:
            found.append(Needle(words=words, begins=begins))
    return found


def marker(asked: str) -> re.Pattern[str] | None:
    """Return what finds the words of a search in a text, for them to be marked; None where nothing is searched for.

    Case does not matter; what differs in diacritics alone is found by the search and not marked.
    """
    found = [
        r"\W+".join(map(re.escape, needle.words)) + (r"\w*" if needle.begins else "")
        for needle in needles(asked)
    ]
    return re.compile(rf"\b(?:{'|'.join(found)})\b", re.IGNORECASE) if found else None
