"""The verdicts on the eight claims that a replication of the paper must test."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from veneer.analyze.parts import Part
from veneer.stats import Direction, Undefined, holm, interval, p_value, to_json

CLAIMS = (
    "Imitation makes a base far better at following instructions",
    "Raters and judges put imitation outputs near the teacher's",
    "On tasks with little support in the imitation data, imitation closes little to none of the gap",
    "On a task that the data supports, local imitation closes much of that task's gap",
    "More broad imitation data barely moves capability or ratings",
    "A more capable base moves both capability and ratings",
    "Style converges to the teacher's ceiling with more data; factuality does not",
    "Toxicity falls towards the teacher's",
)
Verdict = Literal["supported", "contradicted", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weighed:
    """A part with its verdict."""

    part: Part
    p_supported: float
    """Against "the number is not on its side of the threshold", after Holm's correction."""
    p_contradicted: float
    """Against "the number is not on the other side", after Holm's correction."""
    verdict: Verdict


def weigh(parts: Sequence[Part], level: float) -> list[Weighed]:
    """Return all parts with verdicts, corrected together for how many could be measured (Holm 1979).

    A part is supported (contradicted) when its corrected one-sided p-value is below half of 1 - level: each of the two
    directions errs anywhere in the study in at most that share of studies.
    """
    known = [part for part in parts if not isinstance(part.number, Undefined)]
    supported = dict(zip(known, holm([_p(part, part.direction) for part in known]), strict=True))
    contradicted = dict(zip(known, holm([_p(part, _other(part.direction)) for part in known]), strict=True))
    alpha = (1 - level) / 2
    weighed = []
    for part in parts:
        yes, no = supported.get(part, 1.0), contradicted.get(part, 1.0)
        verdict: Verdict = "supported" if yes < alpha else "contradicted" if no < alpha else "undecided"
        weighed.append(Weighed(part=part, p_supported=yes, p_contradicted=no, verdict=verdict))
    return weighed


def _p(part: Part, direction: Direction) -> float:
    assert not isinstance(part.number, Undefined)
    return p_value(part.number, part.threshold, direction)


def _other(direction: Direction) -> Direction:
    return "below" if direction == "above" else "above"


def verdict_of(verdicts: Sequence[Verdict]) -> Verdict:
    """Return a claim's verdict: contradicted by one part, supported only by all.

    >>> verdict_of(["supported", "undecided"])
    'undecided'
    """
    if "contradicted" in verdicts:
        return "contradicted"
    return "supported" if verdicts and set(verdicts) == {"supported"} else "undecided"


def rows_of(weighed: Sequence[Weighed], level: float) -> list[dict[str, Any]]:
    """Return the report's `claims`."""
    rows = []
    for number, claim in enumerate(CLAIMS, 1):
        own = [one for one in weighed if one.part.claim == number]
        rows.append(
            {
                "number": number,
                "claim": claim,
                "verdict": verdict_of([one.verdict for one in own]),
                "parts": [_row(one, level) for one in own],
                "note": _note(own),
            }
        )
    return rows


def _row(one: Weighed, level: float) -> dict[str, Any]:
    part = one.part
    unknown = to_json(part.number) if isinstance(part.number, Undefined) else None
    return {
        "what": part.what,
        "number": to_json(interval(part.number, level)),
        "direction": part.direction,
        "threshold": part.threshold,
        "p_supported": unknown or one.p_supported,
        "p_contradicted": unknown or one.p_contradicted,
        "verdict": one.verdict,
        "where": part.where,
    }


def _note(weighed: Sequence[Weighed]) -> str:
    """Return what keeps a claim from being decided, in a sentence; empty where it is decided."""
    if verdict_of([one.verdict for one in weighed]) != "undecided":
        return ""
    unknown = [one.part.number.reason for one in weighed if isinstance(one.part.number, Undefined)]
    reasons = list(dict.fromkeys(unknown))
    wide = sum(one.verdict == "undecided" for one in weighed) - len(unknown)
    said = [f"Not measured: {'; '.join(reasons)}." if reasons else ""]
    said.append(
        f"{wide} of {len(weighed)} parts lie too near their threshold for this study to tell." if wide else ""
    )
    return " ".join(filter(None, said))
