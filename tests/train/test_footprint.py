"""What training takes is told by a config alone, and is what was measured on a GPU."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    Gemma4TextConfig,
    GPT2Config,
    LlamaConfig,
    LlavaConfig,
    MixtralConfig,
    OPTConfig,
    Qwen3Config,
    ReformerConfig,
    StableLmConfig,
    T5Config,
)

from veneer.errors import ModelError
from veneer.models.encode import Encoded
from veneer.study_train import HardwareSpec, LoraSpec, RecipeSpec
from veneer.train import footprint, scored
from veneer.train.learner import Loaded, learner_of

BF16 = RecipeSpec(precision="bf16")


def llama(width: int, layers: int, inner: int) -> Any:
    heads = width // 128
    return LlamaConfig(
        vocab_size=32_000, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=inner, max_position_embeddings=2048, architectures=["LlamaForCausalLM"],
    )  # fmt: skip


MEASURED = {
    # On one H200, 2026-11-26: docs/performance.md, `gpu_train.py`.
    "gpt2-1.5b": (GPT2Config(n_positions=2048, n_embd=1600, n_layer=48, n_head=25), BF16, 16_384, 1.559e9, 81),
    "llama-7b": (
        llama(4096, 32, 11008), BF16.model_copy(update={"optimizer": "adafactor", "weights": "bf16"}), 16_384,
        6.738e9, 111,
    ),
    "llama-13b": (
        llama(5120, 40, 13824), BF16.model_copy(update={"method": "lora", "weights": "bf16"}), 8192, 13.016e9, 105,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MEASURED)
def test_memory_is_what_a_gpu_held(name: str, tmp_path: Path) -> None:
    config, recipe, tokens, parameters, gb = MEASURED[name]
    config.save_pretrained(tmp_path)
    base = footprint.read(tmp_path, recipe)
    assert base.parameters == pytest.approx(parameters, rel=1e-3)
    hardware = HardwareSpec(micro_tokens=tokens)
    need = footprint.memory(base, recipe, hardware, tokens=tokens, learned=tokens // 2, row=2048)
    assert need.total / 1e9 == pytest.approx(gb, rel=0.01)


SIZES: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 160,
    "max_position_embeddings": 512,
}  # fmt: skip
GROUPED = SIZES | {"num_key_value_heads": 2}
KINDS: dict[str, Any] = {
    "gpt2": partial(
        GPT2Config, vocab_size=50, n_positions=512, n_embd=64, n_head=4, attn_pdrop=0, resid_pdrop=0
    ),
    "opt": partial(OPTConfig, vocab_size=50, hidden_size=64, num_attention_heads=4, ffn_dim=192, dropout=0.0),
    "stablelm": partial(StableLmConfig, **SIZES, num_key_value_heads=4),
    "qwen3": partial(Qwen3Config, **GROUPED, head_dim=24),
    "gemma2": partial(Gemma2Config, **GROUPED, head_dim=16),
    "gemma3": partial(Gemma3TextConfig, **GROUPED, head_dim=24),
    "mixtral": partial(MixtralConfig, **GROUPED, num_local_experts=4),
}
RECIPES = {
    "fp32": RecipeSpec(packing=False, max_length=320),
    "bf16": RecipeSpec(packing=False, max_length=320, weights="bf16"),
    "lora": RecipeSpec(
        packing=False, max_length=320, weights="bf16", precision="bf16", method="lora", lora=LoraSpec(rank=1)
    ),
}


class InOneGo(torch.autograd.Function):
    """Llama's norm, which keeps here what it keeps on a GPU."""

    @staticmethod
    def forward(ctx: Any, hidden: Any, weight: Any) -> Any:
        ctx.save_for_backward(hidden, weight)
        return torch.nn.functional.rms_norm(hidden, weight.shape, weight)


def kept(config: Any, recipe: RecipeSpec, tokens: int) -> int:
    """Return the bytes that a pass forward keeps beside weights and what autocast makes of them."""
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
    model = AutoModelForCausalLM.from_config(config, dtype=kinds[recipe.weights])
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
            module.forward = lambda hidden, own=module: InOneGo.apply(hidden, own.weight)  # type: ignore[no-untyped-call]
    learner = learner_of(Loaded(tokenizer=None, model=model, new=()), recipe, HardwareSpec(), tokens)
    row = Encoded(input_ids=(1,) * tokens, labels=(*(-100,) * (tokens - 1), 1))
    weights = [*learner.scored.parameters(), *learner.scored.buffers()]
    shapes = [sorted(weight.shape) for weight in weights]
    own = {weight.untyped_storage().data_ptr() for weight in weights}
    found: dict[int, Any] = {}

    def note(tensor: Any) -> Any:
        place = tensor.untyped_storage().data_ptr()
        if place not in own and sorted(tensor.shape) not in shapes:
            found[place] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = learner.scored(*scored.tensors_of([row], packing=False, device="cpu"))
    assert loss.isfinite()
    return sum(storage.nbytes() for storage in found.values())


@pytest.mark.filterwarnings("ignore:The following .*_pattern keys:RuntimeWarning")  # peft's own.
@pytest.mark.parametrize("method", RECIPES)
@pytest.mark.parametrize("kind", KINDS)
def test_memory_of_layers_is_what_a_pass_forward_keeps(kind: str, method: str, tmp_path: Path) -> None:
    recipe, tokens = RECIPES[method], 128 if kind == "gemma2" else 320
    found, counted = [], []
    for layers in (1, 3):
        config = KINDS[kind](num_hidden_layers=layers)
        config.save_pretrained(tmp_path)
        found.append(kept(config, recipe, tokens))
        base = footprint.read(tmp_path, recipe)
        need = footprint.memory(base, recipe, HardwareSpec(), tokens=tokens, learned=1, row=tokens)
        counted.append(need.activations)
    assert counted[1] - counted[0] == pytest.approx(found[1] - found[0], rel=0.15)


def small(folder: Path, recipe: RecipeSpec = BF16) -> footprint.Base:
    LlamaConfig(
        vocab_size=100, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        architectures=["LlamaForCausalLM"],
    ).save_pretrained(folder)  # fmt: skip
    return footprint.read(folder, recipe)


def test_sharding_divides_what_a_device_holds_and_processes_alone_do_not(tmp_path: Path) -> None:
    base = small(tmp_path)
    config = tmp_path / "fsdp.yaml"
    config.write_text("distributed_type: FSDP\nnum_processes: 8\n")
    alone, many, sharded = (
        footprint.memory(base, BF16, hardware, tokens=64, learned=64, row=64)
        for hardware in (HardwareSpec(), HardwareSpec(processes=8), HardwareSpec(accelerate=config))
    )
    assert sharded.optimizer == alone.optimizer // 8
    assert sharded.gradients == alone.gradients // 8
    assert (many.optimizer, many.gradients) == (alone.optimizer, 2 * alone.gradients)


def test_making_activations_anew_and_adapters_take_less(tmp_path: Path) -> None:
    base = small(tmp_path)
    kept, anew = (
        footprint.memory(base, BF16, HardwareSpec(gradient_checkpointing=one), tokens=64, learned=64, row=64)
        for one in (False, True)
    )
    assert anew.activations < kept.activations
    lora = BF16.model_copy(update={"method": "lora"})
    adapters = small(tmp_path, lora)
    # Seven layers in each of two blocks: rank 16 times inputs and outputs.
    assert adapters.trained == 16 * 2 * (4 * (16 + 16) + 3 * (16 + 32))
    need = footprint.memory(adapters, lora, HardwareSpec(), tokens=64, learned=64, row=64)
    assert need.gradients == 4 * adapters.trained


@pytest.mark.filterwarnings("ignore:The following .*_pattern keys:RuntimeWarning")
def test_adapters_of_experts_are_counted_and_so_are_the_copies_of_their_weights(tmp_path: Path) -> None:
    config = KINDS["mixtral"](num_hidden_layers=2)
    config.save_pretrained(tmp_path)
    base = footprint.read(tmp_path, RECIPES["lora"])
    model = AutoModelForCausalLM.from_config(config)
    learner = learner_of(Loaded(tokenizer=None, model=model, new=()), RECIPES["lora"], HardwareSpec(), 320)
    assert base.trained == sum(
        weight.numel() for weight in learner.model.parameters() if weight.requires_grad
    )
    # Two layers of four experts, each of three matrices.
    assert base.merged == 2 * 4 * 3 * 64 * 160


def test_layers_whose_heads_differ_are_averaged(tmp_path: Path) -> None:
    layers = {"1": {"head_dim": 32}, "3": {"head_dim": 32}}
    Gemma4TextConfig(
        **GROUPED, head_dim=16, num_hidden_layers=4, per_layer_config=layers, hidden_size_per_layer_input=0,
        layer_types=["sliding_attention", "full_attention"] * 2,
    ).save_pretrained(tmp_path)  # fmt: skip
    body = footprint.read(tmp_path, BF16).body
    assert (body.queries, body.keys) == (4 * 24, 2 * 24)


@pytest.mark.parametrize("kind", [LlavaConfig, T5Config, ReformerConfig])
def test_a_model_that_is_no_causal_language_model_is_an_error(kind: Any, tmp_path: Path) -> None:
    kind().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no causal language model"):
        footprint.read(tmp_path, BF16)


@pytest.mark.parametrize("text", ["{}", "no JSON", json.dumps({"model_type": "nothing-known"})])
def test_a_config_that_is_none_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config\.json"):
        footprint.read(tmp_path, BF16)


@pytest.mark.parametrize("text", ["- a list", "distributed_type: FSDP", "num_processes: many", "{"])
def test_a_config_of_accelerate_that_names_no_processes_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ModelError, match="num_processes"):
        footprint.spread(HardwareSpec(accelerate=tmp_path / "own.yaml"))
