"""A model as a module whose forward pass is its loss, and rows as the tensors that it takes."""

from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.activations import FastGELUActivation, NewGELUActivation

from veneer.models.encode import IGNORED, Encoded
from veneer.study_train import RecipeSpec
from veneer.train import documents

ALIGNED = 64
"""On a GPU the output layer's width is made a multiple of this."""


class Scored(nn.Module):
    """A model whose forward pass is the summed loss, so that whatever wraps it sees a whole pass."""

    def __init__(self, model: Any, recipe: RecipeSpec, *, eager: bool) -> None:
        super().__init__()
        self.model = model
        self._no_split_modules = getattr(bare_of(model), "_no_split_modules", None)
        self._bf16 = recipe.precision == "bf16"
        self._packing = recipe.packing
        _speed_up(bare_of(model))
        self._direct = _has_plain_head(bare_of(model))
        if recipe.packing:
            bare_of(model).set_attn_implementation(documents.NAME)
        elif eager:
            bare_of(model).set_attn_implementation("eager")

    def forward(self, inputs: Tensor, places: Tensor, targets: Tensor, lengths: Sequence[int]) -> Tensor:
        """Return the loss in nats, summed over the learned tokens.

        Args:
            inputs: Token ids, of shape (rows, tokens), each row padded at its end, where no learned token can look;
                with packing one row of documents, one after another.
            places: Where a learned token follows, counted through all rows. (Looked for here, they would have a GPU
                wait in the middle of each pass.)
            targets: The ids that are learned, one for each of the places.
            lengths: With packing, the documents' lengths.
        """
        where = documents.arguments(lengths, inputs.device) if self._packing else {}
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self._bf16):
            bare = bare_of(self.model)
            if self._direct:
                # Only where something is learned: the output layer is most of a small model's work.
                hidden = bare.base_model(input_ids=inputs, use_cache=False, **where).last_hidden_state
                logits = _logits(bare.get_output_embeddings(), hidden.flatten(0, 1).index_select(0, places))
            else:
                whole = bare(input_ids=inputs, use_cache=False, **where).logits
                logits = whole.flatten(0, 1).index_select(0, places)
        return functional.cross_entropy(logits.float(), targets, reduction="sum")


def tensors_of(
    rows: Sequence[Encoded], *, packing: bool, device: Any
) -> tuple[Tensor, Tensor, Tensor, list[int]]:
    """Return inputs, places, targets and lengths as `Scored` takes them."""
    lengths = [len(row.input_ids) for row in rows]
    longest = sum(lengths) if packing else max(lengths)
    starts = [0, *accumulate(lengths)] if packing else range(0, longest * len(rows), longest)
    # Which token pads does not matter: nothing that is learned can see it.
    inputs = torch.zeros(1 if packing else len(rows), longest, dtype=torch.long)
    places: list[int] = []
    targets: list[int] = []
    for start, row in zip(starts, rows, strict=False):
        inputs.view(-1)[start : start + len(row.input_ids)] = torch.tensor(row.input_ids)
        # The first token of a document follows from nothing in the row, and certainly not from its neighbour.
        for place, label in enumerate(row.labels[1:], start):
            if label != IGNORED:
                places.append(place)
                targets.append(label)
    found = (inputs, torch.tensor(places, dtype=torch.long), torch.tensor(targets, dtype=torch.long))
    first, second, third = (documents.sent(each, device) for each in found)
    return first, second, third, lengths


def learned(row: Encoded) -> int:
    """Return how many of a row's tokens are learned."""
    return sum(label != IGNORED for label in row.labels[1:])


def bare_of(model: Any) -> Any:
    """Return the transformers model, which adapters stand around."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


@torch.no_grad()
def _has_plain_head(model: Any) -> bool:
    """Return whether logits are just the output layer over the last hidden state (some models scale or cap them)."""
    if model.base_model is model:
        return False  # Some (Llama 4) name a body that they have not.
    training = model.training
    model.eval()
    ids = torch.arange(8, device=model.device)[None] % model.config.get_text_config().vocab_size
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    whole = model(input_ids=ids, use_cache=False).logits
    model.train(training)
    # To the bit: what caps logits hardly moves the small ones of a base that was never trained.
    return torch.equal(model.get_output_embeddings()(hidden).float(), whole.float())


def _logits(head: Any, hidden: Tensor) -> Tensor:
    """Return the output layer's numbers; a GPU is slow at a vocabulary that is no multiple of eight, so it gets one."""
    if hidden.is_cuda and type(head) is nn.Linear and head.bias is None and len(head.weight) % ALIGNED:
        return aligned(head.weight, hidden)
    found: Tensor = head(hidden)
    return found


def aligned(weight: Tensor, hidden: Tensor) -> Tensor:
    """Return the products with a weight's rows, computed as if there were a multiple of `ALIGNED` of them."""
    rows = len(weight)
    return functional.linear(hidden, functional.pad(weight, (0, 0, 0, -rows % ALIGNED)))[:, :rows]


def _speed_up(model: nn.Module) -> None:
    """Have GPT-2's activation, and on a GPU Llama's norm, computed in one go: the same functions up to rounding.

    They took most of the memory's traffic. Nothing of this is saved: the one has no weights, the other keeps its own.
    """
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation | FastGELUActivation):
                setattr(module, name, nn.GELU(approximate="tanh"))
        if _is_llamas_norm(module):
            module.forward = partial(normed, module)


def normed(norm: Any, hidden: Tensor) -> Tensor:
    """Return what Llama's norm (RMSNorm) does, in one go."""
    with torch.autocast(hidden.device.type, enabled=False):
        weight = norm.weight.to(hidden.dtype)
        return functional.rms_norm(hidden, weight.shape, weight, norm.variance_epsilon)


@torch.no_grad()
def _is_llamas_norm(module: Any) -> bool:
    """Return whether a module on a GPU does what `rms_norm` does (Gemma's, for one, adds one to the weights)."""
    weight = getattr(module, "weight", None)
    if not type(module).__name__.endswith("RMSNorm") or not hasattr(module, "variance_epsilon"):
        return False
    if weight is None or not weight.is_cuda:
        return False
    hidden = torch.linspace(-2, 3, 4 * weight.numel(), device=weight.device).to(weight.dtype).view(4, -1)
    return torch.allclose(module(hidden).float(), normed(module, hidden).float(), rtol=1e-2, atol=1e-3)
