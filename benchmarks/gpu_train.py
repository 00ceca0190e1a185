"""How fast the paper's base sizes train here: tokens a second, utilisation, memory, and hours for 150M tokens.

    python benchmarks/gpu_train.py [--models gpt2-1.5b llama-7b llama-13b] [--tokens-per-step 65536] [--steps 4]
    python benchmarks/gpu_train.py --models tiny                        # a check of the script, on any machine

Weights are random: speed does not depend on them. Rows are packed documents of lognormal lengths in blocks of 2,048,
half of their tokens learned. `mfu` is the model's operations a second (recomputation not counted, the output layer only
where something is learned) over the data sheet's dense bf16 peak, or the measured one where the sheet is not known. The
last line is JSON.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

from veneer.models.encode import IGNORED, Encoded
from veneer.study_train import HardwareSpec, RecipeSpec
from veneer.train.hardware import matmul_peak, peak_memory, shape_of
from veneer.train.learner import Learner, Loaded, learner_of, step
from veneer.train.packing import pack
from veneer.train.scored import learned

BLOCK, VOCABULARY, AMOUNT = 2048, 32_000, 150e6
SHEETS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bf16 peaks by data sheet (SXM), in operations a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One architecture and how it is trained."""

    config: Any
    method: str
    recipe: RecipeSpec
    hardware: HardwareSpec


def llama(width: int, layers: int, heads: int, inner: int) -> LlamaConfig:
    """Return LLaMA's architecture at a size (Touvron et al. 2023, table 2)."""
    return LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=inner, max_position_embeddings=BLOCK, tie_word_embeddings=False,
    )  # fmt: skip


def cases() -> dict[str, Case]:
    """Return what can be measured, by name."""
    recipe = RecipeSpec(learning_rate=1e-5, precision="bf16", max_length=BLOCK)
    small = RecipeSpec(learning_rate=1e-5, precision="fp32", max_length=128, step_tokens=512)
    # Nothing is computed twice where 141 GB hold all of it.
    wide, narrow = HardwareSpec(micro_tokens=16_384), HardwareSpec(micro_tokens=8192)
    return {
        "gpt2-1.5b": Case(
            config=GPT2Config(n_positions=BLOCK, n_embd=1600, n_layer=48, n_head=25),
            method="full, AdamW, fp32 master weights",
            recipe=recipe,
            hardware=wide,
        ),
        "llama-7b": Case(
            config=llama(4096, 32, 32, 11008),
            method="full, Adafactor, bf16 weights",
            recipe=recipe.model_copy(update={"optimizer": "adafactor", "weights": "bf16"}),
            hardware=wide,
        ),
        "llama-13b": Case(
            config=llama(5120, 40, 40, 13824),
            method="LoRA of rank 16, AdamW, bf16 weights",
            recipe=recipe.model_copy(update={"method": "lora", "weights": "bf16"}),
            hardware=narrow,
        ),
        "tiny": Case(
            config=llama(64, 2, 4, 128),
            method="full, AdamW, fp32",
            recipe=small,
            hardware=HardwareSpec(micro_tokens=512),
        ),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["gpt2-1.5b", "llama-7b", "llama-13b"])
    parser.add_argument("--tokens-per-step", type=int, default=65_536)
    parser.add_argument("--steps", type=int, default=4)
    asked = parser.parse_args()
    found = []
    for name in asked.models:
        case = cases()[name]
        tokens = case.recipe.step_tokens or asked.tokens_per_step
        found.append({"model": name, "method": case.method, **measure(case, tokens, asked.steps)})
        print(json.dumps(found[-1]), flush=True)
    print(json.dumps(found))


def measure(case: Case, tokens: int, steps: int) -> dict[str, float]:
    """Train a few steps and return the figures; the first step is not timed."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    kind = torch.bfloat16 if case.recipe.weights == "bf16" else torch.float32
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(case.config, dtype=kind)
    loaded = Loaded(tokenizer=[], model=model, new=())
    learner = learner_of(loaded, case.recipe, case.hardware, case.recipe.max_length)
    shape, rng = shape_of(learner), np.random.default_rng(0)
    batches = [list(rows_of(case, tokens, rng)) for _ in range(steps + 1)]
    timed_step(learner, batches[0])
    seconds = [timed_step(learner, rows) for rows in batches[1:]]
    lengths = [[len(row.input_ids) for row in rows] for rows in batches[1:]]
    trained = sum(map(sum, lengths))
    operations = sum(
        shape.operations(each, sum(map(learned, rows)))
        for each, rows in zip(lengths, batches[1:], strict=True)
    )
    measured = matmul_peak(str(learner.accelerator.device), case.recipe.precision, torch.get_num_threads())
    name = torch.cuda.get_device_name() if device == "cuda" else ""
    sheet = next((peak for device_name, peak in SHEETS.items() if device_name in name), measured)
    speed = trained / sum(seconds)
    return {
        "tokens_per_s": round(speed, 1),
        "mfu": round(operations / sum(seconds) / sheet, 4),
        "share_of_matmul_peak": round(operations / sum(seconds) / measured, 4),
        "peak_gb": round(peak_memory(learner.accelerator.device), 2),
        "hours_per_150m": round(AMOUNT / speed / 3600, 2),
    }


def timed_step(learner: Learner, rows: list[Encoded]) -> float:
    """Take a step; return its seconds."""
    began = time.perf_counter()
    step(learner, rows, 1e-6)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def rows_of(case: Case, tokens: int, rng: np.random.Generator) -> Iterator[Encoded]:
    """Yield the rows of as many full blocks as a step has."""
    size = case.recipe.max_length
    lengths = np.clip(rng.lognormal(5.5, 0.8, 2 * tokens // 100), 8, size).astype(int).tolist()
    blocks, _ = pack(lengths, size)
    for block in blocks[: tokens // size]:
        for place in block:
            ids = tuple(rng.integers(0, case.config.vocab_size, lengths[place]).tolist())
            half = lengths[place] // 2
            yield Encoded(input_ids=ids, labels=(*[IGNORED] * half, *ids[half:]))


if __name__ == "__main__":
    main()
