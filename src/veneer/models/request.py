"""A request to an endpoint, ready to be sent, and what became of many."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, ready to be sent."""

    key: str
    """The fingerprint of everything that shapes its answer."""
    body: dict[str, Any]
    bound: float
    """The most that it can cost, in US dollars; 0 where no price is known."""
    tokens: int
    """About how many tokens it counts against a rate limit."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of requests."""

    already: int = 0
    """Had their answer."""
    twice: int = 0
    """Were among those that were being asked: one answer serves both."""
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """Reason to number."""
    capped: bool = False
    """The cap ended it."""


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of at most `size`, taking them as they are needed."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
