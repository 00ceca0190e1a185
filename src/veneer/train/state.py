"""Training states on disk: whole or not at all, so that a run goes on where it was, to the same bit."""

import os
import re
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from safetensors.torch import load_file, save_file

from veneer.disk import Row, read_json, sync, write_json
from veneer.errors import ModelError
from veneer.train.learner import Learner

STEP = re.compile(r"step-\d{9}")
WRITING = ".writing-"
"""How folders are called that are being written, before a word of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far a run has come."""

    step: int
    """Steps that are done."""
    losses: tuple[Row, ...]
    """One row a step."""
    amounts: tuple[int, ...]
    """The ladder's amounts up to the one whose run wrote this: they shape the order of the examples so far."""


def save(learner: Learner, state: State, folder: Path) -> None:
    """Write a state into a folder and remove older ones; whatever interrupts it, a whole one stays."""
    final = folder / f"step-{state.step:09d}"
    if final.exists():
        return
    # A name of its own: a process that slept until its lease was another's may wake while that one saves.
    (word,) = broadcast_object_list([secrets.token_hex(4)])
    writing = folder / f"{WRITING}{word}"
    main = learner.accelerator.is_main_process
    if main:
        writing.mkdir(parents=True)
    learner.accelerator.wait_for_everyone()
    if is_sharded(learner):
        learner.accelerator.save_state(str(writing / "shards"))
    elif main:
        _write(learner, writing)
    learner.accelerator.wait_for_everyone()
    if main:
        write_json(writing / "state.json", asdict(state))
        for file in writing.rglob("*"):
            if file.is_file():
                sync(file)
        try:
            os.replace(writing, final)
        except OSError:
            if not final.exists():
                raise
            shutil.rmtree(writing)  # That other one has saved the same step, to the same bit.
        sync(folder)
        for older in _states(folder):
            if older != final:
                shutil.rmtree(older)
    learner.accelerator.wait_for_everyone()


def tidy(folder: Path) -> None:
    """Remove what a save that was killed has left."""
    for left in folder.glob(f"{WRITING}*"):
        shutil.rmtree(left, ignore_errors=True)


def newest(folder: Path) -> State | None:
    """Return the newest state in a folder, without loading it."""
    found = _states(folder)
    if not found:
        return None
    row = read_json(found[-1] / "state.json")
    return State(step=row["step"], losses=tuple(row["losses"]), amounts=tuple(row["amounts"]))


def restore(learner: Learner, folder: Path) -> None:
    """Load the newest state of a folder into a learner.

    Raises:
        ModelError: It was saved with the weights spread over the processes, and they are not now, or the reverse.
    """
    place = _states(folder)[-1]
    spread = (place / "shards").exists()
    if spread != is_sharded(learner):
        ways = ["whole in each process", "spread over the processes (FSDP, DeepSpeed)"]
        raise ModelError(
            f"{place}: saved with the weights {ways[spread]}, and by train.hardware they are {ways[not spread]} now. "
            f"Go on with the train.hardware that it was saved with, or delete {folder} to begin anew."
        )
    if spread:
        learner.accelerator.load_state(str(place / "shards"))
        return
    weights = load_file(place / "weights.safetensors")
    with torch.no_grad():
        for name, weight in _trained(learner):
            weight.copy_(weights[name])
    saved = _unpacked(place, learner.optimizer.state_dict())
    learner.optimizer.load_state_dict(saved)
    # torch has rounded the averages to the weights' precision; Adafactor keeps those of weights in bf16 in fp32.
    ordered = [weight for group in learner.optimizer.param_groups for weight in group["params"]]
    for number, values in saved["state"].items():
        own = learner.optimizer.state[ordered[number]]
        own |= {name: value.to(own[name].device) for name, value in values.items() if torch.is_tensor(value)}


def is_sharded(learner: Learner) -> bool:
    """Return whether the weights are spread over the processes (FSDP, DeepSpeed)."""
    return str(learner.accelerator.distributed_type).rpartition(".")[2] in {"FSDP", "DEEPSPEED"}


def _write(learner: Learner, folder: Path) -> None:
    weights = {name: weight.detach().contiguous() for name, weight in _trained(learner)}
    save_file(weights, folder / "weights.safetensors")
    tensors: dict[str, torch.Tensor] = {}
    others: dict[str, dict[str, Any]] = {}
    for place, values in learner.optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{place}.{name}"] = value.contiguous()
            else:
                others.setdefault(str(place), {})[name] = value
    save_file(tensors, folder / "optimizer.safetensors")
    write_json(folder / "optimizer.json", others)


def _unpacked(folder: Path, fresh: dict[str, Any]) -> dict[str, Any]:
    """Return an optimizer's state dict with what was saved of its state."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in load_file(folder / "optimizer.safetensors").items():
        place, _, field = name.partition(".")
        state.setdefault(int(place), {})[field] = value
    for place, values in read_json(folder / "optimizer.json").items():
        state.setdefault(int(place), {}).update(values)
    return {"state": state, "param_groups": fresh["param_groups"]}


def _trained(learner: Learner) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, weight) for name, weight in learner.model.named_parameters() if weight.requires_grad]


def _states(folder: Path) -> list[Path]:
    return sorted(each for each in folder.glob("step-*") if STEP.fullmatch(each.name))
