"""Requirements of a pipeline on a study's numbers: met, not met, or not decided by what was measured."""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from veneer.errors import StudyError
from veneer.stats import Draws, Estimate, Number, Undefined, combine, interval, share_of

GRAMMAR = "MEASURE[WHAT, ...] OP NUMBER, or OP another such; OP is one of >, >=, <, <="
SHARES = ("score", "win_rate")
"""Measures that lie between 0 and 1, and so do their intervals."""
_TERM = re.compile(r"\s*(?P<measure>[a-z_]+)\s*\[(?P<of>[^\]]*)\]\s*")
_NUMBER = re.compile(r"\s*(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(?P<percent>%?)\s*")
_COMPARED = re.compile(r"(>=|<=|>|<)")
_HOLDS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class Decision(StrEnum):
    """What the interval says of a requirement."""

    MET = "met"
    NOT_MET = "not met"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A number of the study, by name."""

    measure: str
    of: tuple[str, ...]
    """Benchmark and contestant, for instance."""

    def __str__(self) -> str:
        return f"{self.measure}[{', '.join(self.of)}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """That one number of the study is above or below a value or another of its numbers."""

    text: str
    left: Term
    compared: str
    """`>`, `>=`, `<` or `<=`."""
    right: Term | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A requirement, and what the study says of it."""

    requirement: Requirement
    decision: Decision
    number: Number
    """The left side; where the right is a number of the study too, left minus right."""


def parse(text: str) -> Requirement:
    """Return the requirement that a text states, such as `gap_closed[nq_open, vicuna-13b] > 0.1`.

    Raises:
        StudyError: It states none; the message shows the grammar.
    """
    parts = _COMPARED.split(text)
    left = _term(parts[0]) if len(parts) == 3 else None
    right = _value(parts[2]) if len(parts) == 3 else None
    if left is None or right is None:
        raise StudyError(f"--require {text!r} is no requirement. Write {GRAMMAR}.")
    return Requirement(text=text.strip(), left=left, compared=parts[1], right=right)


def check(
    requirements: Sequence[Requirement], measure: Callable[[Term], Draws | Undefined], level: float
) -> list[Checked]:
    """Return what a study says of requirements.

    A requirement is met where its whole interval does what it asks, not met where none of it does, else undecided: a
    number that is Undefined decides nothing. Two numbers of a study are compared on the same resampled items.

    Args:
        requirements: As `parse` returns them.
        measure: Returns a term's number.
        level: Of the intervals.
    """
    return [_checked(one, measure, level) for one in requirements]


def _checked(requirement: Requirement, measure: Callable[[Term], Draws | Undefined], level: float) -> Checked:
    left, right, bound = measure(requirement.left), requirement.right, 0.0
    if isinstance(right, Term):
        left = combine(operator.sub, left, measure(right))
    else:
        bound = right
    is_share = requirement.left.measure in SHARES and not isinstance(right, Term)
    number = (share_of if is_share else interval)(left, level)
    decision = Decision.UNDECIDED
    if isinstance(number, Estimate):
        ends = [_HOLDS[requirement.compared](end, bound) for end in (number.low, number.high)]
        decision = Decision.MET if all(ends) else Decision.UNDECIDED if any(ends) else Decision.NOT_MET
    return Checked(requirement=requirement, decision=decision, number=number)


def _term(text: str) -> Term | None:
    if not (found := _TERM.fullmatch(text)):
        return None
    return Term(measure=found["measure"], of=tuple(part.strip() for part in found["of"].split(",")))


def _value(text: str) -> Term | float | None:
    if found := _NUMBER.fullmatch(text):
        return float(found["number"]) / (100 if found["percent"] else 1)
    return _term(text)
