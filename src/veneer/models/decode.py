"""Batched decoding, token by token: greedy or sampled, every row with its own random numbers and its own end."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers.cache_utils import DynamicCache

from veneer import store
from veneer.records import Stop

WORTH_SHARING = 8
"""A shared beginning of fewer tokens is read by every row for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one completion continues, and how far it may go."""

    tokens: Sequence[int]
    limit: int
    """The most new tokens."""
    uniforms: npt.NDArray[np.float64]
    """A number in [0, 1) for each new token; empty when decoding greedily."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a model wrote after a row."""

    tokens: tuple[int, ...]
    """The token that ended it included."""
    stop: Stop
    met: str
    """The stop string that ended it; empty otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What ends a completion."""

    tokens: frozenset[int]
    """Any of these ends it."""
    string_met: Callable[[list[int]], str]
    """Given all new tokens, returns the stop string that they hold, if any."""


def uniforms(seed: int, prompt_id: str, sample: int, count: int) -> npt.NDArray[np.float64]:
    """Return the random numbers of one completion: they depend on these arguments and on nothing else in the batch."""
    name = store.canonical([seed, prompt_id, sample]).encode()
    entropy = int.from_bytes(hashlib.sha256(name).digest(), "big")
    return np.random.default_rng(entropy).random(count)


@torch.inference_mode()
def decode(network: Any, rows: Sequence[Row], *, temperature: float, ending: Ending) -> list[Written]:
    """Continue every row of one batch.

    Rows that have ended leave the batch once they are half of it, so that few long completions do not cost as much as
    many.

    Args:
        network: A transformers causal language model.
        rows: The batch.
        temperature: 0 is greedy.
        ending: What ends a completion.
    """
    cache, shared = read_shared(
        network, [row.tokens for row in rows], min(len(row.tokens) for row in rows) - 1
    )
    width = max(len(row.tokens) for row in rows)
    longest = max(row.limit for row in rows)
    ids, mask = _left_padded(rows, shared, width, longest, network.device)
    positions = (mask[:, :width].cumsum(1) - 1)[:, shared:].clamp(min=0)
    draws = _draws(rows, longest, temperature, network.device)
    new: list[list[int]] = [[] for _ in rows]
    done: list[Written | None] = [None] * len(rows)
    batch = list(range(len(rows)))
    for step in range(longest):
        out = network(
            input_ids=ids,
            attention_mask=mask[:, : width + step],
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = out.past_key_values
        chosen = _choose(out.logits[:, -1], draws[:, step] if temperature else None, temperature)
        for index, token in zip(batch, chosen.tolist(), strict=True):
            if done[index] is None:
                new[index].append(token)
                done[index] = _ended(new[index], rows[index].limit, ending)
        left = [place for place, index in enumerate(batch) if done[index] is None]
        if not left:
            break
        # Rows that are done stay where they are: their next position might lie outside the model's window.
        alive = torch.tensor([[done[index] is None] for index in batch], device=network.device)
        ids, positions = chosen[:, None], positions[:, -1:] + alive
        if 2 * len(left) <= len(batch):
            keep = torch.tensor(left, device=network.device)
            cache.batch_select_indices(keep)
            ids, positions, mask, draws = ids[keep], positions[keep], mask[keep], draws[keep]
            batch = [batch[place] for place in left]
    assert all(written is not None for written in done)
    return [written for written in done if written is not None]


def read_shared(network: Any, rows: Sequence[Sequence[int]], most: int) -> tuple[Any, int]:
    """Let the model read once what all rows begin with: few-shot examples, for instance.

    Args:
        network: A transformers causal language model.
        rows: The tokens of every row.
        most: How many of their first tokens may be shared.

    Returns:
        The cache after those tokens, one copy a row, and how many they are; 0 where sharing is not worth it.
    """
    low, high = min(map(tuple, rows)), max(map(tuple, rows))
    pairs = zip(low, high, strict=False)
    common = next(
        (place for place, (one, other) in enumerate(pairs) if one != other), min(len(low), len(high))
    )
    shared = min(common, most)
    cache = DynamicCache(config=network.config)
    if shared < WORTH_SHARING or len(rows) == 1:
        return cache, 0
    ids = torch.tensor([list(low[:shared])], device=network.device)
    network(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    cache.batch_repeat_interleave(len(rows))
    return cache, shared


def _left_padded(
    rows: Sequence[Row], shared: int, width: int, longest: int, device: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the tokens after the shared ones, and the mask of all, wide enough for what will be written."""
    ids = torch.zeros((len(rows), width - shared), dtype=torch.long)
    mask = torch.ones((len(rows), width + longest), dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, width - len(row.tokens) :] = torch.tensor(row.tokens[shared:])
        mask[place, shared : shared + width - len(row.tokens)] = 0
    return ids.to(device), mask.to(device)


def _draws(rows: Sequence[Row], longest: int, temperature: float, device: Any) -> torch.Tensor:
    draws = torch.zeros((len(rows), longest if temperature else 0), dtype=torch.float64)
    if temperature:
        for place, row in enumerate(rows):
            draws[place, : row.limit] = torch.from_numpy(row.uniforms[: row.limit])
    return draws.to(device)


def _choose(logits: torch.Tensor, draws: torch.Tensor | None, temperature: float) -> torch.Tensor:
    """Return each row's next token: the likeliest, or the one at which the cumulative probability passes its draw."""
    if draws is None:
        return logits.argmax(-1)
    cumulative = torch.softmax(logits.double() / temperature, -1).cumsum(-1)
    reached = (draws * cumulative[:, -1])[:, None]
    return torch.searchsorted(cumulative, reached, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)


def _ended(tokens: list[int], limit: int, ending: Ending) -> Written | None:
    """Return the finished completion, or None if it goes on."""
    if tokens[-1] in ending.tokens:
        return Written(tokens=tuple(tokens), stop=Stop.END, met="")
    if met := ending.string_met(tokens):
        return Written(tokens=tuple(tokens), stop=Stop.END, met=met)
    if len(tokens) == limit:
        return Written(tokens=tuple(tokens), stop=Stop.LENGTH, met="")
    return None
