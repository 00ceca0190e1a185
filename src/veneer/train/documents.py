"""Attention that stays within documents: what shares a block never sees its neighbours, and nothing is padded.

Each document is attended to by itself, so that no mask of the whole block is ever made and no work is spent on pairs
that the mask would forbid; where a GPU has a kernel for documents of many lengths, all of them at once. Models reach it
by name, through transformers' own interface for attention functions, and are told where the documents end by the
argument `documents`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface

from veneer.models.encode import Encoded

NAME = "veneer_documents"
CHECK = "conversations that share a block do not see each other"
MIXED = (
    "this architecture's attention cannot be kept within documents. Set train.recipe.packing: false (and "
    "batch_examples in place of step_tokens)."
)
LOOKED_AT = 32
"""Tokens of a document that the check looks at."""
WIDEST = 192
"""Of a head, for the kernel that takes all documents at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """Where the documents of one block end."""

    lengths: tuple[int, ...]
    """Tokens of each; they add up to the block's."""
    bounds: Tensor
    """The places at which they begin, and the end of the last: 32-bit integers on the model's device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a layer attends; the fields are arguments of `attention`."""

    dropout: float
    scaling: float | None
    window: int | None
    softcap: float | None


def arguments(lengths: Sequence[int], device: Any) -> dict[str, Any]:
    """Return what a model is told beside its tokens: each token's position within its document, and the documents.

    Made once for a whole pass, since every copy to a GPU makes it wait.

    Args:
        lengths: Tokens of each document.
        device: The model's.
    """
    places = [place for length in lengths for place in range(length)]
    bounds = sent(torch.tensor([0, *accumulate(lengths)], dtype=torch.int32), device)
    there = Documents(lengths=tuple(lengths), bounds=bounds)
    return {"position_ids": sent(torch.tensor([places]), device), "documents": there}


def sent(tensor: Tensor, device: Any) -> Tensor:
    """Return a tensor on a device; a GPU goes on with what it does meanwhile."""
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def attention(  # noqa: PLR0913 (the arguments are transformers')
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    *,
    documents: Documents,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Return causal attention within each document, of shape (1, tokens, heads, width).

    Args:
        module: The attention layer; not used.
        query: Of shape (1, heads, tokens, width): the documents one after another.
        key: As `query`, with as many heads as there are keys.
        value: As `key`.
        attention_mask: None: no document sees another.
        dropout: Share of the weights that are dropped.
        scaling: Of the products; 1/sqrt(width) where there is none.
        documents: Where they end.
        sliding_window: How far back a token sees, itself included.
        softcap: Where products are bounded by a hyperbolic tangent.
    """
    how = How(dropout=dropout, scaling=scaling, window=sliding_window, softcap=softcap)
    kind = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else query.dtype
    if query.is_cuda and _fit_at_once(query, value, kind, documents, how):
        return at_once(query.to(kind), key.to(kind), value.to(kind), documents, how), None
    queries, keys, values = (
        torch.split(states, list(documents.lengths), dim=2) for states in (query, key, value)
    )
    outs = [_one(*part, how) for part in zip(queries, keys, values, strict=True)]
    return torch.cat(outs, dim=2).transpose(1, 2).contiguous(), None


def at_once(query: Tensor, key: Tensor, value: Tensor, documents: Documents, how: How) -> Tensor:
    """Return what `attention` does, by one call of the GPU's flash attention for documents of many lengths.

    A call a document, of which a block may have fifty, would have the GPU wait for the processor. This is the function
    that torch's own `scaled_dot_product_attention` ends in; no public name of it knows dropout.
    """
    longest = max(documents.lengths)
    states = (each[0].transpose(0, 1) for each in (query, key, value))
    out: Tensor = torch.ops.aten._flash_attention_forward(
        *states, documents.bounds, documents.bounds, longest, longest, how.dropout, True, False, scale=how.scaling
    )[0]  # fmt: skip
    return out[None]


def _fit_at_once(query: Tensor, value: Tensor, kind: torch.dtype, documents: Documents, how: How) -> bool:
    """Return whether the GPU has a kernel for all documents at once (Dao 2023, FlashAttention-2)."""
    width = query.shape[-1]
    return (
        kind in {torch.bfloat16, torch.float16}
        and width == value.shape[-1]
        and width % 8 == 0
        and width <= WIDEST
        and not how.softcap
        and (how.window is None or max(documents.lengths) <= how.window)
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )


@torch.no_grad()
def are_apart(model: Any, rows: Sequence[Encoded]) -> bool:
    """Return whether two documents give the same numbers in one block as each alone under the model's own attention.

    Args:
        model: As loaded; it is left with its own attention.
        rows: At least one.
    """
    texts = [torch.tensor([row.input_ids[:LOOKED_AT]], device=model.device) for row in (*rows, *rows)][:2]
    own, training = model.config._attn_implementation, model.training
    model.eval()
    alone = [model(input_ids=ids, use_cache=False).logits for ids in texts]
    model.set_attn_implementation(NAME)
    lengths = [ids.shape[1] for ids in texts]
    try:
        together = model(
            input_ids=torch.cat(texts, dim=1), use_cache=False, **arguments(lengths, model.device)
        ).logits
    except (TypeError, ValueError):  # Its forward pass knows no such argument.
        return False
    finally:
        model.set_attn_implementation(own)
        model.train(training)
    whole = torch.cat(alone, dim=1).float()
    tolerance = 1e-4 if model.dtype == torch.float32 else 5e-2
    return bool((whole - together.float()).abs().max() <= tolerance * whole.abs().max())


def _one(query: Tensor, key: Tensor, value: Tensor, how: How) -> Tensor:
    """Return one document's attention."""
    if how.softcap:
        return _capped(query, key, value, how)
    tokens = query.shape[2]
    near = how.window is not None and tokens > how.window
    return functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=_seen(tokens, how.window, query.device) if near else None,
        dropout_p=how.dropout,
        is_causal=not near,
        scale=how.scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _capped(query: Tensor, key: Tensor, value: Tensor, how: How) -> Tensor:
    """Attend with bounded products (Gemma 2), which the fused function does not know."""
    assert how.softcap
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scale = query.shape[-1] ** -0.5 if how.scaling is None else how.scaling
    scores = how.softcap * torch.tanh(query @ key.transpose(2, 3) * scale / how.softcap)
    scores = scores.masked_fill(~_seen(query.shape[2], how.window, query.device), float("-inf"))
    weights = functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    return functional.dropout(weights, how.dropout) @ value


def _seen(tokens: int, window: int | None, device: Any) -> Tensor:
    """Return which token sees which, of shape (tokens, tokens)."""
    seen = torch.ones(tokens, tokens, dtype=torch.bool, device=device).tril()
    return seen if window is None else seen.triu(1 - window)


AttentionInterface.register(NAME, attention)
