"""Mixtures and ladder order: examples in the one order of which every amount is a prefix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """The order of a source's conversations, and what the weights left over."""

    order: tuple[int, ...]
    """Places in the given sequences, in ladder order."""
    left_over: Mapping[str, int]
    """Conversations by source that are in no amount, since another source ran out; empty without weights."""
    ran_out: str
    """The source that ended a mixture; empty without weights."""


def ladder_order(
    sources: Sequence[str],
    tokens: Sequence[int],
    weights: Mapping[str, float],
    *,
    rng: np.random.Generator,
) -> Mixed:
    """Return the order in which every amount is a prefix: shuffled, so that a prefix is a sample.

    With weights, the next conversation comes from the source that is furthest behind its share of tokens, so that
    every prefix has the shares as nearly as whole conversations can; the order ends where that source is used up,
    since beyond it the shares could not be kept.

    Args:
        sources: The source of every conversation.
        tokens: The length of every conversation.
        weights: Shares of tokens by source, in any unit; empty for one source.
        rng: Shuffles each source.
    """
    if not weights:
        return Mixed(order=tuple(rng.permutation(len(tokens)).tolist()), left_over={}, ran_out="")
    names = np.array(sources, dtype=object)
    queues = {name: rng.permutation(np.flatnonzero(names == name)).tolist()[::-1] for name in weights}
    taken = dict.fromkeys(weights, 0)
    order: list[int] = []
    while True:
        behind = min(weights, key=lambda name: taken[name] / weights[name])
        if not queues[behind]:
            break
        order.append(queues[behind].pop())
        taken[behind] += tokens[order[-1]]
    left = {name: len(queue) for name, queue in queues.items()}
    return Mixed(order=tuple(order), left_over=left, ran_out=behind)
