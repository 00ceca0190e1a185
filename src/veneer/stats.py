"""Numbers that know how sure they are: an estimate with its interval, or the reason why there is none."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A measured number with its confidence interval."""

    value: float
    low: float
    high: float
    n: int
    """How many independent units (clusters of items) it rests on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undefined:
    """A number that cannot be had, and why."""

    reason: str
    n: int


Number = Estimate | Undefined


def to_json(number: Number) -> dict[str, Any]:
    """Return `{value, low, high, n}` or `{undefined, n}`."""
    if isinstance(number, Undefined):
        return {"undefined": number.reason, "n": number.n}
    return {"value": number.value, "low": number.low, "high": number.high, "n": number.n}


def from_json(row: dict[str, Any]) -> Number:
    """Return the number that `to_json` wrote."""
    if "undefined" in row:
        return Undefined(reason=row["undefined"], n=row["n"])
    return Estimate(**row)
