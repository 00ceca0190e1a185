"""Likelihoods of many continuations: what their texts share is read once, and branches share one pass.

The texts' tokens form a tree. A beginning that many share (a few-shot header) is read once into a key-value cache of
one row; the branches after it (questions, and the choices of each) are laid one after another into one sequence, where
every token sees the cache, its own branch and nothing else, at the position that it has in its own text. So every
token of the tree is read once, nothing is padded, no cache is copied a row at a time, and only the tokens that are
asked for reach the output layer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from veneer.models.cache import cache_of, forward
from veneer.models.model import LogLikelihood

WORTH_CACHING = 8
"""A shared beginning of fewer tokens is read again with every branch."""
LOGITS_AT_ONCE = 2**26
"""The plain way makes batches smaller rather than hold more logits than this (256 MB in fp32)."""

TRIAL_FP32, TRIAL_BF16 = 1e-2, 1.0
"""Nats by which sharing may move the log-likelihood of four tokens in the trial: rounding, and nothing worse."""

NOTHING = LogLikelihood(value=0.0, tokens=0, greedy=True)
"""Of a continuation without tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A text whose end is to be weighed."""

    tokens: tuple[int, ...]
    start: int
    """Where the continuation begins; at least 1, since the first token of all has nothing before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """Some neighbouring rows of the tree, read together after the tokens that they share with the cache."""

    first: int
    end: int
    depth: int
    """Tokens of every one of them that the cache holds by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packed:
    """Branches laid one after another."""

    ids: list[int]
    positions: list[int]
    seen: Tensor
    """Of shape (tokens, depth + tokens): whether the one sees the other."""
    places: list[list[int]]
    """For each row, where its tokens after `depth` lie."""


def score(network: Any, asks: Sequence[Ask], *, together: int) -> list[LogLikelihood]:
    """Return the log-likelihood of each continuation, in order, reading every shared token once.

    Args:
        network: A transformers causal language model for which `why_not` finds nothing.
        asks: Each no longer than the model's window.
        together: About how many tokens of branches to read at once: more make fewer and wider passes.
    """
    weighed = [number for number, ask in enumerate(asks) if ask.start < len(ask.tokens)]
    rows = sorted({asks[number].tokens[:-1] for number in weighed})
    place = {row: number for number, row in enumerate(rows)}
    by_row: list[list[int]] = [[] for _ in rows]
    for number in weighed:
        by_row[place[asks[number].tokens[:-1]]].append(number)
    wanted = [min((asks[number].start - 1 for number in numbers), default=0) for numbers in by_row]
    memory = Memory(cache_of(network))
    found: dict[int, LogLikelihood] = {}
    with torch.inference_mode():
        for part in _passes(rows, wanted, together):
            memory.read(network, rows[part.first], part.depth)
            numbers = [number for row in range(part.first, part.end) for number in by_row[row]]
            packed = _packed(rows, part)
            row_of = [row - part.first for row in range(part.first, part.end) for _ in by_row[row]]
            spots = [
                packed.places[row][asks[n].start - 1 - part.depth : len(asks[n].tokens) - 1 - part.depth]
                for n, row in zip(numbers, row_of, strict=True)
            ]
            targets = [asks[n].tokens[asks[n].start :] for n in numbers]
            found.update(zip(numbers, _weighed(network, memory, packed, spots, targets), strict=True))
    return [found.get(number, NOTHING) for number in range(len(asks))]


@torch.inference_mode()
def plain(network: Any, asks: Sequence[Ask], *, batch_size: int) -> list[LogLikelihood]:
    """Return the same as `score` the plain way: every text read whole, in padded batches of similar length."""
    weighed = [number for number, ask in enumerate(asks) if ask.start < len(ask.tokens)]
    order = sorted(weighed, key=lambda number: (len(asks[number].tokens), number))
    vocabulary = network.config.get_text_config().vocab_size
    found: dict[int, LogLikelihood] = {}
    while len(found) < len(order):
        left = order[len(found) :]
        count = min(batch_size, len(left))
        while count > 1 and count * len(asks[left[count - 1]].tokens) * vocabulary > LOGITS_AT_ONCE:
            count -= 1
        batch = left[:count]
        found.update(zip(batch, _plain_batch(network, [asks[number] for number in batch]), strict=True))
    return [found.get(number, NOTHING) for number in range(len(asks))]


def why_not(network: Any) -> str:
    """Return why a model's cache cannot be shared between branches; nothing if it can.

    Only a cache that keeps every token's keys and values can be cut back to a shared beginning: one that slides or
    sums up what came before cannot.
    """
    if getattr(network, "_is_stateful", False):
        return "its state sums up what came before (a recurrent architecture)"
    config = network.config.get_text_config()
    kinds = sorted({type(layer).__name__ for layer in DynamicCache(config=network.config).layers})
    if others := [kind for kind in kinds if kind != DynamicLayer.__name__]:
        return f"its cache does not keep every token ({', '.join(others)})"
    if "local" in getattr(config, "attention_layers", ()):
        return "some of its layers see near columns alone (GPT-Neo)"
    if getattr(config, "alibi", False) or getattr(config, "position_embedding_type", "") == "alibi":
        return "its attention finds positions by counting the mask (ALiBi)"
    return _tried(network, config)


def _tried(network: Any, config: Any) -> str:
    """Return how a small trial of sharing fails; nothing if it gives what the plain way gives."""
    start = [(7 * place + 3) % config.vocab_size for place in range(WORTH_CACHING + 4)]
    ends = [[(place + step) % config.vocab_size for step in range(4)] for place in range(6)]
    asks = [Ask(tokens=(*start, *end), start=len(start)) for end in ends]
    try:
        shared = score(network, asks, together=8)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        return f"its code does not take a shared cache ({type(error).__name__}: {error})"
    alone = plain(network, asks, batch_size=1)
    off = max(abs(one.value - other.value) for one, other in zip(shared, alone, strict=True))
    allowed = TRIAL_BF16 if network.dtype == torch.bfloat16 else TRIAL_FP32
    return "" if off <= allowed else f"sharing moved a log-likelihood by {off:.2g} in a trial"


def _passes(rows: Sequence[tuple[int, ...]], wanted: Sequence[int], together: int) -> Iterator[_Pass]:
    """Yield the passes that read all rows (sorted), in an order in which the cache only grows and is cut back."""
    alike = [0, *(common(one, other) for one, other in pairwise(rows))]

    def size(first: int, end: int, depth: int) -> int:
        own = len(rows[first]) - depth
        return own + sum(len(rows[n]) - max(depth, alike[n]) for n in range(first + 1, end))

    todo = [(0, len(rows), 0)] if rows else []
    while todo:
        first, end, depth = todo.pop()
        if end - first == 1 or size(first, end, depth) <= together:
            yield _Pass(first=first, end=end, depth=depth)
            continue
        shared = min(alike[first + 1 : end])
        # A position whose logits are asked for is read with its branch, never into the cache.
        kept = min(shared, *wanted[first:end])
        if kept - depth >= WORTH_CACHING:
            todo.append((first, end, kept))
            continue
        whole = [n for n in range(first + 1, end) if alike[n] <= max(shared, depth)] if kept == shared else []
        starts = [first, *(whole or range(first + 1, end))]
        todo += reversed(list(_grouped(starts, end, depth, together, size)))


def _grouped(
    starts: Sequence[int], end: int, depth: int, together: int, size: Any
) -> Iterator[tuple[int, int, int]]:
    """Yield runs of branches that fit into one pass together; a branch that is too large alone is a run of its own."""
    begin = starts[0]
    for start, following in pairwise([*starts, end]):
        if start > begin and size(begin, following, depth) > together:
            yield begin, start, depth
            begin = start
    yield begin, end, depth


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many first tokens two rows share."""
    both = min(len(one), len(other))
    if one[:both] == other[:both]:
        return both
    low, high = 0, both
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


@dataclass(slots=True)
class Memory:
    """A key-value cache of one row, and the tokens that it holds; the only thing here that changes."""

    cache: DynamicCache
    tokens: tuple[int, ...] = ()

    def read(self, network: Any, row: Sequence[int], depth: int) -> None:
        """Hold the first `depth` tokens of a row and nothing else, reading only what is not held already."""
        # A list is never equal to a tuple.
        wanted = tuple(row[:depth])
        kept = common(self.tokens, wanted)
        self.cut(kept)
        if kept < depth:
            forward(
                network,
                input_ids=torch.tensor([wanted[kept:]], device=network.device),
                position_ids=torch.arange(kept, depth, device=network.device)[None],
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=1,
            )
        self.tokens = wanted

    def cut(self, depth: int) -> None:
        """Forget all but the first `depth` tokens."""
        if (gone := self.cache.get_seq_length() - depth) > 0:
            self.cache.crop(-gone)


def _packed(rows: Sequence[tuple[int, ...]], part: _Pass) -> _Packed:
    """Lay a pass's branches one after another; what neighbours share after the cache lies there once."""
    ids: list[int] = []
    positions: list[int] = []
    places: list[list[int]] = []
    fresh: list[int] = []
    for number in range(part.first, part.end):
        row = rows[number]
        kept = max(common(rows[number - 1], row) - part.depth, 0) if places else 0
        own = range(len(ids), len(ids) + len(row) - part.depth - kept)
        places.append([*(places[-1][:kept] if places else ()), *own])
        fresh.append(kept)
        ids += row[part.depth + kept :]
        positions += range(part.depth + kept, len(row))
    seen = torch.zeros(len(ids), part.depth + len(ids), dtype=torch.bool)
    seen[:, : part.depth] = True
    for line, kept in zip(map(torch.tensor, places), fresh, strict=True):
        before = torch.ones(len(line), len(line), dtype=torch.bool).tril()[kept:]
        seen[line[kept:, None], part.depth + line[None, :]] = before
    return _Packed(ids=ids, positions=positions, seen=seen, places=places)


def _weighed(
    network: Any,
    memory: Memory,
    packed: _Packed,
    spots: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
) -> list[LogLikelihood]:
    """Read a pass and return the log-likelihood of each target.

    Args:
        network: The model.
        memory: What all branches begin with; it is left as it was.
        packed: The branches.
        spots: For each target, where in `packed` the tokens before its tokens lie.
        targets: The tokens of each continuation.
    """
    device = network.device
    kept = sorted({spot for own in spots for spot in own})
    depth = len(memory.tokens)
    mask = torch.zeros(packed.seen.shape, dtype=network.dtype)
    mask.masked_fill_(~packed.seen, torch.finfo(network.dtype).min)
    out = forward(
        network,
        input_ids=torch.tensor([packed.ids], device=device),
        attention_mask=mask[None, None].to(device),
        position_ids=torch.tensor([packed.positions], device=device),
        past_key_values=memory.cache,
        use_cache=True,
        logits_to_keep=torch.tensor(kept, device=device),
    )
    memory.cut(depth)
    logits = out.logits[0].float()
    place = {spot: number for number, spot in enumerate(kept)}
    lines = torch.tensor([place[spot] for own in spots for spot in own], device=device)
    wanted = torch.tensor([token for own in targets for token in own], device=device)
    chosen = (logits[lines, wanted] - logits.logsumexp(-1)[lines]).double().tolist()
    likeliest = (logits.argmax(-1)[lines] == wanted).tolist()
    found, start = [], 0
    for own in targets:
        end = start + len(own)
        found.append(
            LogLikelihood(value=sum(chosen[start:end]), tokens=len(own), greedy=all(likeliest[start:end]))
        )
        start = end
    return found


def _plain_batch(network: Any, asks: Sequence[Ask]) -> list[LogLikelihood]:
    # The last token is only looked for: a text may be longer than the window by it.
    width, first = max(len(ask.tokens) for ask in asks) - 1, min(ask.start for ask in asks) - 1
    # Padding on the right is never looked at: attention is causal.
    ids = torch.zeros((len(asks), width + 1), dtype=torch.long)
    mask = torch.zeros((len(asks), width), dtype=torch.long)
    for place, ask in enumerate(asks):
        ids[place, : len(ask.tokens)] = torch.tensor(ask.tokens)
        mask[place, : len(ask.tokens) - 1] = 1
    ids, mask = ids.to(network.device), mask.to(network.device)
    read = {"input_ids": ids[:, :-1], "attention_mask": mask}
    logits = forward(network, **read, use_cache=False, logits_to_keep=width - first).logits.float()
    targets = ids[:, first + 1 :]
    chosen = logits.gather(-1, targets[..., None])[..., 0] - logits.logsumexp(-1)
    likeliest = logits.argmax(-1) == targets
    results = []
    for place, ask in enumerate(asks):
        span = slice(ask.start - 1 - first, len(ask.tokens) - 1 - first)
        results.append(
            LogLikelihood(
                value=float(chosen[place, span].double().sum()),
                tokens=len(ask.tokens) - ask.start,
                greedy=bool(likeliest[place, span].all()),
            )
        )
    return results
