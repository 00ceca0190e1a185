"""Nested amounts: how many examples of a source, in ladder order, make each number of tokens."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from veneer.records import Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """One amount of a source: how many examples of its ladder order make it."""

    amount: int
    """Tokens that were asked for."""
    examples: int
    tokens: int
    """Tokens that it has: at least `amount`, and less than that without its last example."""


def prefixes(tokens: Sequence[int], amounts: Sequence[int]) -> list[Prefix] | None:
    """Return each amount's prefix: whole examples, in ladder order, until the amount is reached.

    None where there is too little for the largest amount.

    Args:
        tokens: The examples' lengths in ladder order.
        amounts: Growing.

    >>> prefixes([30, 30, 30, 30], [50, 90])
    [Prefix(amount=50, examples=2, tokens=60), Prefix(amount=90, examples=3, tokens=90)]
    """
    found: list[Prefix] = []
    examples = total = 0
    for amount in amounts:
        while total < amount and examples < len(tokens):
            total += tokens[examples]
            examples += 1
        if total < amount:
            return None
        found.append(Prefix(amount=amount, examples=examples, tokens=total))
    return found


def take(examples: Iterable[Example], amount: int) -> Iterator[Example]:
    """Yield the examples of one amount: the same prefix that `prefixes` counts."""
    total = 0
    for example in examples:
        if total >= amount:
            return
        total += example.tokens
        yield example


def parted(examples: Iterable[Example], amounts: Sequence[int]) -> Iterator[tuple[int, Example]]:
    """Yield every example with the place of the smallest amount that holds it; beyond the largest, `len(amounts)`."""
    total = place = 0
    for example in examples:
        while place < len(amounts) and total >= amounts[place]:
            place += 1
        total += example.tokens
        yield place, example
