"""What a training takes: floating-point operations against what the machine can do, tokens a second, memory, time."""

import json
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch

from veneer.disk import Row, write_json
from veneer.train.learner import Learner

EVERY = 1.0
"""Seconds between two lines of the log."""
PROBE = 0.2
"""Seconds for which the machine's fastest matrix product is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a model that decide how much one token costs."""

    body: int
    """Weights outside the embeddings, positions' included, and the output layer."""
    head: int
    """Weights of the output layer."""
    layers: int
    width: int
    """Of all heads of a layer together."""
    passes: float
    """Operations per weight and token: 6 where all weights learn (Kaplan et al. 2020, section 2.1), 4 where they are
    frozen under adapters."""

    def operations(self, lengths: Sequence[int], learned: int) -> float:
        """Return the floating-point operations of one training pass, recomputation not counted.

        Args:
            lengths: Tokens of each document.
            learned: Tokens that the output layer is asked about.
        """
        # Products of queries and keys, and of their weights and values, for the half of them that is seen. There is
        # nothing frozen in it: going back takes twice as much as going forth, with adapters too.
        attention = 2 * self.layers * self.width * sum(length**2 for length in lengths)
        return self.passes * (self.body * sum(lengths) + self.head * learned) + 3 * attention


def shape_of(learner: Learner) -> Shape:
    """Return a learner's shape."""
    return shape_of_model(learner.model, adapters=learner.recipe.method != "full")


def shape_of_model(model: Any, *, adapters: bool) -> Shape:
    """Return a model's shape; its weights are not looked at.

    Args:
        model: With or without adapters in it.
        adapters: Whether only they learn.
    """
    config = model.config.get_text_config()
    looked_up = {id(weight): weight for layer in _ends(model) for weight in layer.parameters()}
    whole = sum(weight.numel() for weight in model.parameters())
    head = model.get_output_embeddings()
    return Shape(
        body=whole - sum(weight.numel() for weight in looked_up.values()),
        head=head.weight.numel() if head is not None else 0,
        layers=config.num_hidden_layers,
        width=attention_of(config)[1],
        passes=4.0 if adapters else 6.0,
    )


def attention_of(config: Any) -> tuple[int, int, int]:
    """Return how many heads a layer's attention has, and how wide all its queries and all its keys are.

    Args:
        config: Of a text model; where layers differ, they are averaged.
    """
    found = []
    for layer in getattr(config, "per_layer_config", None) or [config]:
        heads = getattr(layer, "num_attention_heads", None) or 0  # Recurrent models have none.
        # Where positions are kept apart (DeepSeek), `head_dim` is of one part.
        own = getattr(layer, "qk_head_dim", None) or getattr(layer, "head_dim", None)
        width = own or (layer.hidden_size // heads if heads else 0)
        keys = getattr(layer, "num_key_value_heads", None) or heads
        found.append((heads, heads * width, keys * width))
    heads, queries, keys = (sum(each) // len(found) for each in zip(*found, strict=True))
    return heads, queries, keys


def _ends(model: Any) -> list[Any]:
    found = [model.get_input_embeddings(), model.get_output_embeddings()]
    found += [layer for layer in model.modules() if isinstance(layer, torch.nn.Embedding)]
    return [layer for layer in found if layer is not None]


@cache
def matmul_peak(device: str, precision: str, threads: int) -> float:
    """Return the operations a second of this device's matrix products, measured once a process.

    Args:
        device: As torch names it.
        precision: fp32 or bf16.
        threads: Of the processor; they change what is found.
    """
    size = 8192 if device.startswith("cuda") else 2048
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    # Of random numbers, since of equal ones a GPU is faster than it ever is; from a generator of their own.
    generator = torch.Generator(device).manual_seed(0)
    left, right = (torch.randn(size, size, generator=generator, device=device).to(kind) for _ in range(2))
    best, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < PROBE:
        start = time.perf_counter()
        torch.mm(left, right)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


@dataclass(slots=True, kw_only=True)
class Log:
    """A run's log: a line now and then, and what the hardware did."""

    folder: Path
    learner: Learner
    shape: Shape
    of: str = ""
    """Which training this is: a student of one name is trained anew where the recipe changes."""
    began: float = field(default_factory=time.perf_counter)
    before: int = 0
    """Tokens of the run that were done when this session of it began."""
    tokens: int = 0
    """Of this session, with replay."""
    operations: float = 0.0
    said: float = float("-inf")

    def open(self, name: str, step: int, before: int) -> None:
        """Begin: trackers are told the run's name.

        Args:
            name: The run's.
            step: Steps that are done.
            before: Tokens of the run that are done, without replay.
        """
        self.before = before
        if self.learner.hardware.trackers:
            self.learner.accelerator.init_trackers(name)
        self._write({"event": "began", "step": step, "of": self.of})
        self.began = time.perf_counter()

    def stepped(self, row: Row, lengths: Sequence[int], learned: int, total: int) -> None:
        """Count a step; write a line if the last one is a while ago.

        Args:
            row: The step's tokens, rate and loss.
            lengths: Tokens of its documents.
            learned: Tokens that were learned.
            total: Tokens of the whole run, without replay, as the step's are.
        """
        self.tokens += sum(lengths)
        self.operations += self.shape.operations(lengths, learned)
        if self.learner.hardware.trackers:
            self.learner.accelerator.log({"loss": row["loss"], "lr": row["lr"]}, step=row["step"])
        now = time.perf_counter()
        if now - self.said < EVERY:
            return
        self.said = now
        passed = now - self.began
        self._write(
            {
                "event": "step",
                **row,
                "tokens_per_s": round(self.tokens / passed, 1),
                "share_of_matmul_peak": round(self.utilisation(now), 4),
                "seconds_left": round(passed * (total - row["tokens"]) / (row["tokens"] - self.before)),
            }
        )

    def close(self) -> None:
        """End: write `hardware.json`."""
        if self.learner.hardware.trackers:
            self.learner.accelerator.end_training()
        self._write({"event": "ended"})
        if not self.learner.accelerator.is_main_process:
            return
        seconds = time.perf_counter() - self.began
        device = self.learner.accelerator.device
        here = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
        write_json(
            self.folder / "hardware.json",
            {
                "device": here,
                "processes": self.learner.accelerator.num_processes,
                "shared": str(self.learner.accelerator.distributed_type).rpartition(".")[2],
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "seconds": round(seconds, 1),
                "seconds_in_all": round(_seconds_in_all(self.folder / "log.jsonl", self.of), 1),
                "tokens": self.tokens,
                "tokens_per_s": round(self.tokens / seconds, 1),
                "operations": self.operations,
                "matmul_peak": self._peak(),
                "share_of_matmul_peak": round(self.utilisation(time.perf_counter()), 4),
                "peak_memory_gb": round(peak_memory(device), 3),
                "settings": self.learner.hardware.model_dump(mode="json", exclude={"accelerate"}),
            },
        )

    def utilisation(self, now: float) -> float:
        """Return the model's operations a second as a share of what the machine's matrix products reach."""
        peak = self._peak() * self.learner.accelerator.num_processes
        return float(self.operations / (now - self.began) / peak)

    def _peak(self) -> float:
        recipe = self.learner.recipe
        precision = "bf16" if "bf16" in (recipe.precision, recipe.weights) else "fp32"
        return matmul_peak(str(self.learner.accelerator.device), precision, torch.get_num_threads())

    def _write(self, row: Row) -> None:
        if not self.learner.accelerator.is_main_process:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"time": round(time.time(), 1), **row}) + "\n")


def _seconds_in_all(log: Path, of: str) -> float:
    """Return how long a training has taken, sessions that were interrupted included, by the times in its rung's log.

    The log holds other trainings of the same name too, by other recipes, and earlier ones that came to their end.
    """
    total = began = last = 0.0
    mine = ended = False
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # The process was killed while it wrote this line.
        if row["event"] == "began":
            total += last - began if mine else 0.0
            mine = row.get("of", "") == of
            if mine and ended:
                total, ended = 0.0, False
            began = row["time"]
        last = row["time"]
        ended = ended or (mine and row["event"] == "ended")
    return total + (last - began if mine else 0.0)


def peak_memory(device: Any) -> float:
    """Return the most memory that this process has held, in GB: the device's, or without one its own."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device) / 1e9)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
