"""Batched decoding, token by token: greedy or sampled, every row with its own random numbers and its own end."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from inspect import signature
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from veneer import disk
from veneer.errors import ModelError
from veneer.models.cache import cache_of, forward, keeps_every_token, sums_up
from veneer.models.prefix import Memory, common
from veneer.records import Stop

WORTH_SHARING = 8
"""A shared beginning of fewer tokens is read by every row for itself."""
REFILL = 4
"""Waiting rows join when one slot in so many is free: reading a few prompts at once costs little more than one."""
NO_NUMBER = -1
"""In place of a token where a probability is not a number: weights that ran off while training, or too few bits."""


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
    """FAILED where the model's probabilities were not numbers."""
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
    name = disk.canonical([seed, prompt_id, sample]).encode()
    entropy = int.from_bytes(hashlib.sha256(name).digest(), "big")
    return np.random.default_rng(entropy).random(count)


@dataclass(slots=True)
class _Batch:
    """Rows that are continued side by side. A column of the cache holds one token of each, or padding."""

    numbers: list[int]
    cache: DynamicCache
    mask: Tensor
    """Of shape (rows, columns): which columns are the row's own tokens."""
    positions: Tensor
    """Of shape (rows, 1): where the next token stands in its row."""
    draws: Tensor
    """Of shape (rows, most new tokens): a number in [0, 1) for each; no columns when decoding greedily."""
    logits: Tensor
    """Of shape (rows, vocabulary): of the token after the last column."""


@torch.inference_mode()
def decode(
    network: Any, rows: Sequence[Row], *, slots: int, temperature: float, ending: Ending, shares: bool
) -> Iterator[tuple[int, Written]]:
    """Continue every row; yield its number and what was written after it, as rows end.

    Rows that ended leave, and others that wait take their places, so that few long completions do not cost as much as
    many. What the rows that join together begin with alike (few-shot examples, for instance) is read once. Where the
    cache does not keep every token, batch follows batch; where it sums them up, the rows of a batch are of one length.

    Args:
        network: A transformers causal language model.
        rows: What to continue, in any order.
        slots: How many are continued side by side.
        temperature: 0 is greedy.
        ending: What ends a completion.
        shares: Whether a beginning can be read once for several rows: whether `prefix.why_not` finds nothing.

    Raises:
        ModelError: The model keeps what it has read where rows cannot be told apart.
    """
    joins, pads = keeps_every_token(network), not sums_up(network, cache_of(network))
    waiting = _order(rows, shares)
    memory = Memory(cache_of(network)) if shares else None
    new: list[list[int]] = [[] for _ in rows]
    batch: _Batch | None = None
    while waiting or batch:
        room = slots - (len(batch.numbers) if batch else 0)
        if waiting and (batch is None or (joins and REFILL * room >= slots)):
            room = room if pads else min(room, _as_long(rows, waiting))
            numbers, waiting = waiting[:room], waiting[room:]
            batch = _joined(batch, _begun(network, memory, rows, numbers, bool(temperature)))
        assert batch is not None
        draws = _next_draws(batch, new) if temperature else None
        chosen = _choose(batch.logits, draws, temperature)
        gone = set()
        for place, (number, token) in enumerate(zip(batch.numbers, chosen.tolist(), strict=True)):
            if token == NO_NUMBER:
                written: Written | None = Written(tokens=tuple(new[number]), stop=Stop.FAILED, met="")
            else:
                new[number].append(token)
                written = ended(new[number], rows[number].limit, ending)
            if written:
                gone.add(place)
                yield number, written
        if gone:
            kept = [place for place in range(len(batch.numbers)) if place not in gone]
            batch, chosen = _only(batch, kept, joins), chosen[kept]
        if batch:
            _step(network, batch, chosen)


def _order(rows: Sequence[Row], shares: bool) -> list[int]:
    """Return the rows' numbers: with neighbours that begin alike where that is worth it, else by length, long first."""
    alike = sorted(range(len(rows)), key=lambda number: (tuple(rows[number].tokens), number))
    shared = sum(common(rows[one].tokens, rows[other].tokens) for one, other in pairwise(alike))
    if shares and 2 * shared > sum(len(row.tokens) for row in rows):
        return alike
    return sorted(range(len(rows)), key=lambda number: (-len(rows[number].tokens), number))


def _as_long(rows: Sequence[Row], waiting: Sequence[int]) -> int:
    """Return how many of the rows that wait first are of one length."""
    length = len(rows[waiting[0]].tokens)
    return next((n for n, row in enumerate(waiting) if len(rows[row].tokens) != length), len(waiting))


def _begun(
    network: Any, memory: Memory | None, rows: Sequence[Row], numbers: Sequence[int], drawn: bool
) -> _Batch:
    """Return rows that have been read and wait for their first new token.

    Rows are padded on the left of what each reads for itself: with a shared beginning that is in its middle, which
    only a cache that keeps every token with its position can take.
    """
    own = [rows[number].tokens for number in numbers]
    shared = min(common(min(map(tuple, own)), max(map(tuple, own))), min(map(len, own)) - 1)
    if memory is None or shared < WORTH_SHARING or len(own) == 1:
        shared, cache = 0, cache_of(network)
    else:
        memory.read(network, own[0], shared)
        cache = deepcopy(memory.cache)
        cache.batch_repeat_interleave(len(own))
    width = max(map(len, own))
    ids = torch.zeros((len(own), width - shared), dtype=torch.long)
    mask = torch.ones((len(own), width), dtype=torch.long)
    for place, tokens in enumerate(own):
        ids[place, width - len(tokens) :] = torch.tensor(tokens[shared:])
        mask[place, shared : shared + width - len(tokens)] = 0
    mask = mask.to(network.device)
    places = (mask.cumsum(1) - 1).clamp(min=0)
    cache, logits = _read(network, ids.to(network.device), mask, places[:, shared:], cache)
    draws = torch.zeros((len(own), max(rows[number].limit for number in numbers) if drawn else 0)).double()
    for place, number in enumerate(numbers if drawn else ()):
        draws[place, : rows[number].limit] = torch.from_numpy(rows[number].uniforms[: rows[number].limit])
    return _Batch(
        numbers=list(numbers),
        cache=cache,
        mask=mask,
        positions=places[:, -1:] + 1,
        draws=draws.to(network.device),
        logits=logits,
    )


def _read(
    network: Any, ids: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache
) -> tuple[DynamicCache, Tensor]:
    """Let a model read tokens; return its cache after them, and the logits of the token that follows."""
    if sums_up(network, cache):
        # Nothing is padded, and the cache is changed in place.
        taken = (
            "cache_params" if "cache_params" in signature(network.forward).parameters else "past_key_values"
        )
        out = forward(network, input_ids=ids, use_cache=True, **{taken: cache})
        if out.get(taken) is not cache:
            raise ModelError(
                f"{type(network).__name__}: keeps what it has read in a place of its own, where the rows of a batch "
                "cannot be told apart. Take `evaluate.engine: vllm` if it knows this architecture, or serve the model "
                "behind an endpoint."
            )
        return cache, out.logits[:, -1]
    out = forward(
        network,
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return out.past_key_values, out.logits[:, -1]


def _joined(batch: _Batch | None, joining: _Batch) -> _Batch:
    """Return both batches as one: the narrower one's columns are padded on the left."""
    if batch is None:
        return joining
    width = max(batch.mask.shape[1], joining.mask.shape[1])
    for one, other in zip(batch.cache.layers, joining.cache.layers, strict=True):
        one.keys = torch.cat([_widened(one.keys, width, -2), _widened(other.keys, width, -2)])
        one.values = torch.cat([_widened(one.values, width, -2), _widened(other.values, width, -2)])
    most = max(batch.draws.shape[1], joining.draws.shape[1])
    draws = [
        torch.nn.functional.pad(part.draws, (0, most - part.draws.shape[1])) for part in (batch, joining)
    ]
    return _Batch(
        numbers=[*batch.numbers, *joining.numbers],
        cache=batch.cache,
        mask=torch.cat([_widened(batch.mask, width, -1), _widened(joining.mask, width, -1)]),
        positions=torch.cat([batch.positions, joining.positions]),
        draws=torch.cat(draws),
        logits=torch.cat([batch.logits, joining.logits]),
    )


def _widened(values: Tensor, width: int, along: int) -> Tensor:
    missing = width - values.shape[along]
    return torch.nn.functional.pad(values, (0, 0, missing, 0) if along == -2 else (missing, 0))


def _only(batch: _Batch, kept: Sequence[int], trims: bool) -> _Batch | None:
    """Return a batch with some of its rows, and without columns that are none of theirs; None if nobody stays."""
    if not kept:
        return None
    keep = torch.tensor(kept, device=batch.mask.device)
    mask = batch.mask[keep]
    first = int(mask.any(0).int().argmax()) if trims else 0
    batch.cache.reorder_cache(keep)
    if first:
        for layer in batch.cache.layers:
            layer.keys, layer.values = layer.keys[:, :, first:], layer.values[:, :, first:]
    return _Batch(
        numbers=[batch.numbers[place] for place in kept],
        cache=batch.cache,
        mask=mask[:, first:],
        positions=batch.positions[keep],
        draws=batch.draws[keep],
        logits=batch.logits[keep],
    )


def _step(network: Any, batch: _Batch, chosen: Tensor) -> None:
    """Let a batch read the token that was chosen for each of its rows."""
    batch.mask = torch.nn.functional.pad(batch.mask, (0, 1), value=1)
    batch.cache, batch.logits = _read(network, chosen[:, None], batch.mask, batch.positions, batch.cache)
    batch.positions = batch.positions + 1


def _next_draws(batch: _Batch, new: Sequence[Sequence[int]]) -> Tensor:
    steps = torch.tensor([len(new[number]) for number in batch.numbers], device=batch.draws.device)
    return batch.draws.gather(1, steps[:, None])[:, 0]


def _choose(logits: Tensor, draws: Tensor | None, temperature: float) -> Tensor:
    """Return each row's next token: the likeliest, or the one at which the cumulative probability passes its draw."""
    if draws is None:
        top, chosen = logits.max(-1)
    else:
        cumulative = torch.softmax(logits.double() / temperature, -1).cumsum(-1)
        top = cumulative[:, -1]
        chosen = torch.searchsorted(cumulative, (draws * top)[:, None], right=True)[:, 0]
        chosen = chosen.clamp(max=logits.shape[-1] - 1)
    return torch.where(top.isnan(), NO_NUMBER, chosen)


def ended(tokens: list[int], limit: int, ending: Ending) -> Written | None:
    """Return the finished completion, or None if it goes on."""
    if tokens[-1] in ending.tokens:
        return Written(tokens=tuple(tokens), stop=Stop.END, met="")
    if met := ending.string_met(tokens):
        return Written(tokens=tuple(tokens), stop=Stop.END, met=met)
    if len(tokens) == limit:
        return Written(tokens=tuple(tokens), stop=Stop.LENGTH, met="")
    return None
