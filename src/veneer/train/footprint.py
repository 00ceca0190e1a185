"""What training a base takes, told by its config.json alone: weights, memory on a device, floating-point operations."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from veneer.errors import ModelError
from veneer.study_train import HardwareSpec, RecipeSpec
from veneer.train.hardware import Shape, shape_of_model
from veneer.train.learner import SHORT

BYTES = {"fp32": 4, "bf16": 2}
NUMBER = re.compile(r"\d+")
ADAPTERS = 4
"""Bytes of an adapter's weight: peft keeps them in fp32, whatever the base's are in."""
LAST = 12
"""Bytes of each of the output layer's numbers where the way back begins: its logarithm, and two gradients, in fp32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The sizes of a model that decide what it keeps of each token until the gradient comes by."""

    layers: int
    width: int
    """Of the hidden state."""
    queries: int
    keys: int
    heads: int
    inner: int
    """Of the feed-forward layer."""
    fed: int
    """Inputs of a layer's matrices that are fed by norms, added up: autocast copies them for each."""
    gated: bool
    drops: bool
    """Whether what a layer adds is thinned out by dropout."""
    vocabulary: int
    positions: int | None
    """Tokens that the model has places for, where it is limited."""
    factors: int
    """Rows and columns of all matrices together, and the other weights: what Adafactor keeps an average of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A base as its config describes it."""

    parameters: int
    trained: int
    """Weights that learn: all, or the adapters'."""
    linear: int
    """Weights of the layers that autocast copies."""
    copied: int
    """Inputs of all layers with adapters, each of which keeps a copy of its own; 0 without adapters."""
    shape: Shape
    body: Body


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on one device."""

    weights: int
    """With the copies in bf16 that autocast makes of weights in fp32."""
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All of it, where a pass turns back and it is most."""
        return self.weights + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Over how many devices one training goes."""

    devices: int
    sharded: bool
    """Whether weights, gradients and the optimizer are shared out among them (FSDP, DeepSpeed)."""


def read(checkpoint: Path, recipe: RecipeSpec) -> Base:
    """Return what a checkpoint's config says; no weight is read, and none need be there.

    Raises:
        ModelError: The config is missing, or transformers knows no such model.
    """
    try:
        config = AutoConfig.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(
            f"{checkpoint}: no model can be made of its config.json: {str(error).splitlines()[0]} A folder as written "
            "by `save_pretrained` is wanted."
        ) from error
    # Tied weights are one.
    weights = {id(weight): weight for weight in model.parameters()}.values()
    head = model.get_output_embeddings()
    linear = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    ]
    adapted = [module for name, module in linear if _has_adapter(name, recipe)]
    whole = sum(weight.numel() for weight in weights)
    full = recipe.method == "full"
    return Base(
        parameters=whole,
        trained=whole if full else recipe.lora.rank * sum(sum(module.weight.shape) for module in adapted),
        linear=sum(module.weight.numel() for _, module in linear) + (head.weight.numel() if head else 0),
        copied=0 if full else sum(_inputs(module) for module in adapted),
        shape=shape_of_model(model, adapters=not full),
        body=_body(config.get_text_config(), linear, list(weights)),
    )


def spread(hardware: HardwareSpec) -> Spread:
    """Return over how many devices one training goes, as `processes` or accelerate's config says.

    Raises:
        ModelError: The config is no YAML, or names no number of processes.
    """
    if not hardware.accelerate:
        return Spread(devices=hardware.processes, sharded=False)
    try:
        found = yaml.safe_load(hardware.accelerate.read_text(encoding="utf-8"))
        return Spread(
            devices=int(found["num_processes"]),
            sharded=found.get("distributed_type") in ("FSDP", "DEEPSPEED"),
        )
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError, ValueError) as error:
        raise ModelError(
            f"{hardware.accelerate}: is no config of accelerate that can be planned with ({error!r}); it must name "
            "`num_processes`. Write one with `accelerate config --config_file`."
        ) from error


def memory(
    base: Base, recipe: RecipeSpec, hardware: HardwareSpec, *, tokens: int, learned: int, row: int
) -> Memory:
    """Return what one device holds at most.

    Args:
        base: The model.
        recipe: How it is trained.
        hardware: Over how many devices, and whether activations are kept or made anew.
        tokens: Of the largest piece that goes through at once.
        learned: Of these, those that are learned.
        row: Tokens of the longest row.
    """
    own = BYTES[recipe.weights]
    learning = own if recipe.method == "full" else ADAPTERS
    held = base.parameters * (0.5 if recipe.method == "qlora" else own)
    held += 0 if recipe.method == "full" else base.trained * ADAPTERS
    copies = 2 * base.linear if own == 4 and recipe.precision == "bf16" and recipe.method != "qlora" else 0
    states = 4 * base.body.factors if recipe.method == "full" else 0
    if recipe.optimizer == "adamw":
        states = 2 * base.trained * learning
    over = spread(hardware)
    share = over.devices if over.sharded else 1
    # Without sharding, processes keep the gradients in the buckets that they send as well.
    twice = 2 if over.devices > 1 and not over.sharded else 1
    # Of what is spread out, a layer at a time is whole.
    copies = copies // base.body.layers if over.sharded else copies
    return Memory(
        weights=round(held / share + copies),
        gradients=round(twice * base.trained * learning / share),
        optimizer=round(states / share),
        activations=_activations(base, recipe, hardware, tokens, row) + learned * base.body.vocabulary * LAST,
    )


def _activations(base: Base, recipe: RecipeSpec, hardware: HardwareSpec, tokens: int, row: int) -> int:
    """Return the bytes that a pass forward keeps of its layers for the way back, counted layer by layer.

    Kept are what norms are given, what goes into each matrix product whose weights learn, queries, keys, values and
    what attention makes of them, and what goes into and out of the activation function.
    """
    body = base.body
    stream = BYTES[recipe.weights]
    product = 2 if "bf16" in (recipe.precision, recipe.weights) else 4
    layer = 2 * stream * body.width + product * (2 * body.queries + 2 * body.keys)
    if recipe.method == "full":
        fed = body.fed if product < stream else 2 * body.width
        layer += product * (fed + (4 if body.gated else 2) * body.inner)
    else:
        layer += product * (base.copied // body.layers + (3 if body.gated else 1) * body.inner)
    layer += 2 * body.width if body.drops else 0
    if not recipe.packing and row <= SHORT:
        layer += body.heads * row * (4 + product)  # Written out: the weights of every pair.
    if hardware.gradient_checkpointing:
        return tokens * (stream * body.width * body.layers + layer)
    return tokens * layer * body.layers


def _has_adapter(name: str, recipe: RecipeSpec) -> bool:
    if recipe.method == "full":
        return False
    targets = recipe.lora.targets
    return not targets or any(name == target or name.endswith(f".{target}") for target in targets)


def _inputs(module: Any) -> int:
    rows, columns = module.weight.shape
    return int(rows if isinstance(module, Conv1D) else columns)


def _body(config: Any, linear: list[tuple[str, Any]], weights: list[Any]) -> Body:
    width, heads = config.hidden_size, getattr(config, "num_attention_heads", 0)
    head = getattr(config, "head_dim", None) or (width // heads if heads else 0)
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * width
    kinds = {NUMBER.sub("", name): _inputs(module) for name, module in linear}
    dropout = getattr(config, "resid_pdrop", None) or getattr(config, "hidden_dropout", None) or 0
    return Body(
        layers=config.num_hidden_layers,
        width=width,
        queries=heads * head,
        keys=(getattr(config, "num_key_value_heads", None) or heads) * head,
        heads=heads,
        inner=inner,
        # Of a layer's other two, one is fed by attention, and one by the activation function.
        fed=max(2 * width, sum(kinds.values()) - heads * head - inner),
        gated=any("gate" in name for name in kinds),
        drops=dropout > 0,
        vocabulary=config.vocab_size,
        positions=getattr(config, "max_position_embeddings", None),
        factors=sum(sum(weight.shape[-2:]) if weight.ndim > 1 else weight.numel() for weight in weights),
    )
