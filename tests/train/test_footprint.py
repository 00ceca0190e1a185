"""What training takes is told by a config alone, and is what was measured on a GPU."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import GPT2Config, LlamaConfig

from veneer.errors import ModelError
from veneer.study_train import HardwareSpec, RecipeSpec
from veneer.train import footprint

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
