"""A few steps of a base's training, taken to learn how fast this machine is at it, and thrown away."""

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from veneer.models.encode import Encoded
from veneer.study_train import HardwareSpec, RecipeSpec
from veneer.train import sft  # noqa: F401 (not called: what it brings is part of what a training holds)
from veneer.train.hardware import peak_memory
from veneer.train.learner import Loaded, learner_of, step

MOST = 300
"""Steps; no more are taken, however short they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How a base trained here for a while."""

    tokens_per_s: float
    process_gb: float
    """What this process held before it had the model: on a processor it is part of a training's memory, and 0 on a
    GPU."""
    peak_gb: float
    """The most that it held."""


def try_out(
    checkpoint: Path,
    recipe: RecipeSpec,
    hardware: HardwareSpec,
    steps: Sequence[Sequence[Encoded]],
    limit: float,
) -> Trial:
    """Train for some seconds on weights of chance, which are as fast as any.

    Args:
        checkpoint: Its config alone is read.
        recipe: As the study has it.
        hardware: Likewise; one process of it.
        steps: Rows of the first steps; they are gone round.
        limit: Seconds after which no further step is begun; the first step warms up and is not counted.
    """
    # What a GPU's process holds elsewhere is none of the GPU's memory.
    before = 0.0 if torch.cuda.is_available() else _held()
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[recipe.weights]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        threads = torch.get_num_threads()
        torch.set_num_threads(hardware.threads)
        try:
            config = AutoConfig.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
            with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
                model = AutoModelForCausalLM.from_config(config, dtype=kind, trust_remote_code=False)
            longest = max(len(row.input_ids) for rows in steps for row in rows)
            own = hardware.model_copy(update={"accelerate": None, "processes": 1, "trackers": ()})
            learner = learner_of(Loaded(tokenizer=None, model=model, new=()), recipe, own, longest)
            tokens, began = 0, 0.0
            for number in range(MOST + 1):
                rows = steps[number % len(steps)]
                step(learner, rows, recipe.learning_rate)
                if not number:
                    began = time.perf_counter()
                    continue
                tokens += sum(len(row.input_ids) for row in rows)
                if time.perf_counter() - began > limit:
                    break
            passed = time.perf_counter() - began
            peak = peak_memory(learner.accelerator.device)
            learner.accelerator.free_memory()
        finally:
            torch.set_num_threads(threads)
    return Trial(tokens_per_s=tokens / passed, process_gb=before, peak_gb=peak)


def _held() -> float:
    """Return the GB that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e9
