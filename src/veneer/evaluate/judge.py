"""Who is judged, who is compared with whom, and what every judge leaves.

All artefacts lie under `judge`. The one of the judge's own name holds `comparisons.jsonl`: one `records.Comparison` a
prompt, pair and order. What a judge needs for it lies beside it: see `judge_likelihood`, `judge_model` and
`judge_recorded`. A judge of tone compares nobody: see `judge_tone`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from veneer.records import Contestant, Role
from veneer.store import Artefact

COMPARISONS, JUDGE = "comparisons.jsonl", "judge.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two that are compared."""

    name: str
    """The contestant; `<teacher>-again` for the teacher's second sample."""
    made: Artefact
    """What the judge reads of it: its answers, or its scores."""
    sample: int


Pair = tuple[Side, Side]


def sides(contestants: Sequence[Contestant], made: Mapping[str, Artefact]) -> list[Side]:
    """Return who is held against the teacher: every base, every student, and the teacher's second sample.

    Args:
        contestants: All of the study's, one of them the teacher.
        made: What the judge reads, by contestant.
    """
    teacher = next(one.name for one in contestants if one.role is Role.TEACHER)
    others = [one.name for one in contestants if one.role is not Role.TEACHER]
    found = [Side(name=name, made=made[name], sample=0) for name in others]
    return [*found, Side(name=f"{teacher}-again", made=made[teacher], sample=1)]


def pairs(
    contestants: Sequence[Contestant], made: Mapping[str, Artefact], *, against_base: bool
) -> list[Pair]:
    """Return who is compared with whom.

    Every base, every student and the teacher's second sample (`<teacher>-again`) with the teacher's first; and, where
    asked, every student with its base.

    Args:
        contestants: All of the study's, one of them the teacher.
        made: What the judge reads, by contestant.
        against_base: Whether students meet their bases.
    """
    teacher = next(one.name for one in contestants if one.role is Role.TEACHER)
    first = Side(name=teacher, made=made[teacher], sample=0)
    others = {side.name: side for side in sides(contestants, made)}
    found = [(side, first) for side in others.values()]
    if against_base:
        found += [(others[one.name], others[one.base]) for one in contestants if one.role is Role.STUDENT]
    return found
