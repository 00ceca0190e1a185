"""Training items, attention checks and gold pairs, and the rules, fixed beforehand, by which a rater is excluded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal, get_args

from veneer.disk import Row, read_rows
from veneer.errors import DataError
from veneer.records import Verdict
from veneer.study_rate import ExcludeSpec

Kind = Literal["match", "attention", "gold", "training"]
"""What a rater is shown: a pair that is measured, or one whose answer is known."""
FIELDS = ("id", "prompt", "first", "second", "answer")
ANSWERS = (Verdict.FIRST, Verdict.SECOND, Verdict.TIE)
ENOUGH = 5
"""Pairs after which a rater's median time is looked at."""

AS_WRITTEN, OTHER = "first", "second"
"""Which of a check's two texts stands on a side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A pair whose answer is known."""

    item_id: str
    kind: Kind
    prompt: str
    first: str
    second: str
    answer: Verdict
    why: str
    """Training: what is said after the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One answer of a rater, as far as the rules look at it."""

    kind: Kind
    verdict: Verdict
    right: bool | None
    """Whether a check was passed; None for a match."""
    seconds: float


def read_checks(path: Path) -> tuple[Known, ...]:
    """Read attention checks and gold pairs.

    Raises:
        DataError: A row is malformed, or an id is given twice.
    """
    return _read(path, ("attention", "gold"))


def read_training(path: Path) -> tuple[Known, ...]:
    """Read training items.

    Raises:
        DataError: A row is malformed, or an id is given twice.
    """
    return _read(path, ("training",))


def passed(known: Known, verdict: Verdict, *, turned: bool) -> bool:
    """Return whether a verdict is the known answer.

    Args:
        known: The check or training item.
        verdict: What the rater said, first being what stood on the left.
        turned: Whether the second text stood on the left.
    """
    swapped = {Verdict.FIRST: Verdict.SECOND, Verdict.SECOND: Verdict.FIRST}
    return verdict == (swapped.get(known.answer, known.answer) if turned else known.answer)


def exclusion(acts: Sequence[Act], rules: ExcludeSpec) -> str:
    """Return by which rule a rater is excluded, or an empty text.

    Args:
        acts: All that the rater answered, in order.
        rules: The study's.
    """
    failed = {
        kind: sum(one.right is False for one in acts if one.kind == kind) for kind in ("attention", "gold")
    }
    if rules.failed_attention and failed["attention"] >= rules.failed_attention:
        return f"failed {failed['attention']} attention checks"
    if rules.failed_gold and failed["gold"] >= rules.failed_gold:
        return f"judged {failed['gold']} gold pairs against their known answer"
    times = [one.seconds for one in acts if one.kind == "match"]
    if rules.faster_than and len(times) >= ENOUGH and median(times) < rules.faster_than:
        return f"took less than {rules.faster_than:g} s per pair (median)"
    if rules.same_side and _longest_row(acts) >= rules.same_side:
        return f"chose the same side {rules.same_side} times in a row"
    return ""


def _longest_row(acts: Sequence[Act]) -> int:
    longest = row = 0
    last: Verdict | None = None
    for one in acts:
        if one.kind == "training":
            continue
        sided = one.verdict in (Verdict.FIRST, Verdict.SECOND)
        row = row + 1 if sided and one.verdict == last else int(sided)
        last = one.verdict if sided else None
        longest = max(longest, row)
    return longest


def _read(path: Path, kinds: tuple[Kind, ...]) -> tuple[Known, ...]:
    found: dict[str, Known] = {}
    for where, row in read_rows(path):
        one = _known(row, where, kinds)
        if one.item_id in found:
            raise DataError(
                f"{where}, field id: {one.item_id!r} stands there already; every row needs its own."
            )
        found[one.item_id] = one
    if not found:
        raise DataError(f"{path}: holds no rows; one JSON object a line is wanted.")
    return tuple(found.values())


def _known(row: Row, where: str, kinds: tuple[Kind, ...]) -> Known:
    allowed = {*FIELDS, "why"} | ({"kind"} if len(kinds) > 1 else set())
    if unknown := sorted(set(row) - allowed):
        raise DataError(f"{where}: unknown field {unknown[0]!r}; the fields are {sorted(allowed)}.")
    for field in FIELDS:
        if not isinstance(row.get(field), str) or not row[field].strip():
            raise DataError(f"{where}, field {field}: found {row.get(field)!r}; a text is wanted.")
    if row["answer"] not in ANSWERS:
        raise DataError(
            f"{where}, field answer: found {row['answer']!r}; allowed are {[str(one) for one in ANSWERS]}."
        )
    kind = row.get("kind", kinds[0])
    if kind not in kinds or ("kind" not in row and len(kinds) > 1):
        raise DataError(f"{where}, field kind: found {row.get('kind')!r}; allowed are {list(kinds)}.")
    assert kind in get_args(Kind)
    return Known(
        item_id=row["id"],
        kind=kind,
        prompt=row["prompt"],
        first=row["first"],
        second=row["second"],
        answer=Verdict(row["answer"]),
        why=str(row.get("why", "")),
    )
