"""What training a base takes, told by its config.json alone: weights, memory on a device, floating-point operations."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from veneer.errors import ModelError
from veneer.study_train import HardwareSpec, RecipeSpec
from veneer.train.hardware import Shape, attention_of, shape_of_model
from veneer.train.learner import SHORT, with_adapters

BYTES = {"fp32": 4, "bf16": 2}
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
    """Of the feed-forward layer, experts' left out."""
    picked: int
    """Of the feed-forward layers of all experts that one token goes to, together."""
    experts: int
    """How many these are; 0 where a layer has none."""
    fed: int
    """Inputs of a layer's matrices that are fed by norms, added up: autocast copies them for each."""
    normed: int
    """What a layer's norms are given, added up, if they are computed in one go."""
    written: int
    """The same of norms that are written out step by step (Gemma's)."""
    doubled: bool
    """Whether autocast has norms computed in fp32, whatever the weights (LayerNorm)."""
    gated: bool
    relu: bool
    """Whether what comes out of the activation function is enough for the way back."""
    fused: bool
    """Whether attention can do without writing out the weights of every pair."""
    capped: bool
    """Whether the products of queries and keys are capped, for which pairs are written out."""
    whole: bool
    """Whether the output layer is asked about every token, since its numbers are scaled or capped."""
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
    merged: int
    """Weights of experts with adapters: they are added up anew, and kept so, in each pass."""
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
    except (
        OSError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
        ImportError,
        AssertionError,
    ) as error:
        said = (str(error).strip() or repr(error)).splitlines()[0]
        raise ModelError(
            f"{checkpoint}: no causal language model can be made of its config.json: {said} The folder of one is "
            "wanted, as written by `save_pretrained`."
        ) from error
    # Tied weights are one.
    weights = list({id(weight): weight for weight in model.parameters()}.values())
    head = model.get_output_embeddings()
    # Of a model that sees or hears too, the part that reads.
    linear = [
        each
        for each in model.get_decoder().modules()
        if isinstance(each, nn.Linear | Conv1D) and each is not head
    ]
    full = recipe.method == "full"
    shape = shape_of_model(model, adapters=not full)
    whole = sum(weight.numel() for weight in weights)
    base = Base(
        parameters=whole,
        trained=whole,
        linear=sum(each.weight.numel() for each in linear) + (head.weight.numel() if head else 0),
        copied=0,
        merged=0,
        shape=shape,
        body=_body(model, linear, weights),
    )
    return base if full else _adapted(base, model, recipe)


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
    copies += own * base.merged
    # Of what is spread out, a layer at a time is whole.
    copies = copies // base.body.layers if over.sharded else copies
    return Memory(
        weights=round(held / share + copies),
        gradients=round(twice * base.trained * learning / share),
        optimizer=round(states / share),
        activations=_activations(base, recipe, hardware, tokens, row)
        + base.body.vocabulary * (learned * LAST + (2 * _product(recipe) * tokens if base.body.whole else 0)),
    )


def _activations(base: Base, recipe: RecipeSpec, hardware: HardwareSpec, tokens: int, row: int) -> int:
    """Return the bytes that a pass forward keeps of its layers for the way back, counted layer by layer.

    Kept are what norms are given, what goes into each matrix product whose weights learn, queries, keys, values and
    what attention makes of them, and what goes into and out of the activation function.
    """
    body = base.body
    stream = BYTES[recipe.weights]
    product = _product(recipe)
    full = recipe.method == "full"
    given = 4 if body.doubled and recipe.precision == "bf16" else stream
    # Only what reads the residual stream itself is given its precision.
    norms = given * min(body.normed, 2 * body.width) + product * max(0, body.normed - 2 * body.width)
    # In fp32 whatever the weights: what it is given and, if its weights learn, what they are multiplied with.
    norms += (8 if full else 4) * body.written
    layer = norms + product * (2 * body.queries + 2 * body.keys) + (2 * body.width if body.drops else 0)
    if full or (recipe.weights, recipe.precision) == ("fp32", "fp32"):
        fed = body.fed if product < given else min(2 * body.width, body.normed + body.written)
        layer += product * (fed + (4 if body.gated else 1 if body.relu else 2) * body.inner)
    else:
        layer += (2 if recipe.precision == "bf16" else 4) * base.copied // body.layers
        layer += product * (3 if body.gated else 1) * body.inner
    # Experts are gone through in the weights' own precision; what they are given and what they return is kept too.
    layer += stream * ((4 if body.gated else 2) * body.picked + 2 * body.width * body.experts)
    layer += body.heads * row * _pair(body, recipe, product, row)
    if hardware.gradient_checkpointing:
        return tokens * (stream * body.width * body.layers + layer)
    return tokens * layer * body.layers


def _product(recipe: RecipeSpec) -> int:
    return 2 if "bf16" in (recipe.precision, recipe.weights) else 4


def _pair(body: Body, recipe: RecipeSpec, product: int, row: int) -> int:
    """Return the bytes kept of the weight of each pair of tokens; 0 where they are not written out."""
    eager = not recipe.packing and (row <= SHORT or not body.fused)
    if body.capped and (recipe.packing or eager):
        return 8
    if eager:
        return 4 if product == 4 else 6
    return 0


def _adapted(base: Base, model: Any, recipe: RecipeSpec) -> Base:
    """Return a base with the recipe's adapters; the model is changed in place."""
    with torch.device("meta"):
        found = with_adapters(model, recipe.model_copy(update={"method": "lora"}), ())
    layers = [each for each in model.get_decoder().modules() if isinstance(each, BaseTunerLayer)]
    # Experts have several adapters, one around another.
    held = {id(each.get_base_layer()): each.get_base_layer() for each in layers}.values()
    return replace(
        base,
        trained=sum(weight.numel() for weight in found.parameters() if weight.requires_grad),
        copied=sum(_inputs(each) for each in held if isinstance(each, nn.Linear | Conv1D)),
        merged=sum(weight.numel() for each in held for weight in _experts(each)),
    )


def _experts(module: Any) -> list[Any]:
    """Return the weights that a module holds of all experts at once."""
    if isinstance(module, nn.Conv1d):
        return []
    return [weight for weight in module.parameters(recurse=False) if weight.ndim == 3 and len(weight) > 1]


def _inputs(module: Any) -> int:
    rows, columns = module.weight.shape
    return int(rows if isinstance(module, Conv1D) else columns)


def _body(model: Any, linear: list[Any], weights: list[Any]) -> Body:
    config = model.config.get_text_config()
    width, layers = config.hidden_size, config.num_hidden_layers
    heads, queries, keys = attention_of(config)
    modules = dict(model.get_decoder().named_modules())
    gated = any("gate" in name for name, _ in model.get_decoder().named_parameters())
    # Of a feed-forward layer's matrices, each has the width on one side.
    inside = (3 if gated else 2) * width
    experts = [weight for module in modules.values() for weight in _experts(module)]
    picks = (getattr(config, "num_experts_per_tok", None) or 1) if experts else 0
    attention = 2 * width * (queries + keys)
    inner = max(0, sum(each.weight.numel() for each in linear) // layers - attention) // inside
    normed, written = _norms(modules, width, heads, queries, keys)
    dropouts = ("resid_pdrop", "hidden_dropout", "dropout")
    return Body(
        layers=layers,
        width=width,
        queries=queries,
        keys=keys,
        heads=heads,
        inner=inner,
        picked=sum(weight.numel() * picks // len(weight) for weight in experts) // layers // inside,
        experts=picks,
        # Of a layer's others, one is fed by attention, and one by the activation function.
        fed=max(0, sum(map(_inputs, linear)) // layers - queries - inner),
        normed=normed // layers,
        written=written // layers,
        doubled=any(isinstance(module, nn.LayerNorm) for module in modules.values()),
        gated=gated,
        relu=any(isinstance(module, nn.ReLU) for module in modules.values()),
        fused=bool(model._supports_sdpa),
        capped=bool(getattr(config, "attn_logit_softcapping", None)),
        whole=any(
            "logit" in name and not name.startswith("attn") and value and value != 1
            for name, value in config.to_dict().items()
        ),
        drops=any(getattr(config, name, None) for name in dropouts),
        vocabulary=config.vocab_size,
        positions=getattr(config, "max_position_embeddings", None),
        factors=sum(sum(weight.shape[-2:]) if weight.ndim > 1 else weight.numel() for weight in weights),
    )


def _norms(modules: Mapping[str, Any], width: int, heads: int, queries: int, keys: int) -> tuple[int, int]:
    """Return what all layers' norms are given of a token: those computed in one go, and those written out."""
    normed = written = 0
    for name, module in modules.items():
        kind = type(module).__name__
        # What belongs to a layer has the layer's number in its name.
        if not kind.endswith("Norm") or not any(part.isdigit() for part in name.split(".")):
            continue
        weight = getattr(module, "weight", None)
        size = width if weight is None else weight.numel()
        if heads and size == queries // heads:  # Head by head.
            size = queries if name.rpartition(".")[2].startswith("q") else keys
        llamas = kind.endswith("RMSNorm") and hasattr(module, "variance_epsilon")
        if isinstance(module, nn.LayerNorm) or llamas:
            normed += size
        else:
            written += size
    return normed, written
