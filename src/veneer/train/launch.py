"""Starts one training: in this process, or in several that share the work (torchrun, accelerate's launcher, Ray)."""

import ctypes
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from veneer import cells_ray
from veneer.disk import read_json, write_json
from veneer.errors import ModelError, VeneerError
from veneer.study_train import HardwareSpec, RecipeSpec
from veneer.train.ladder import Run, Rung, processes_of

ORDER, FAILED = ".run.json", ".failed.json"
PATHS = ("base", "prepared", "pretraining", "trunk", "log")


def train(run: Run, folder: Path) -> None:
    """Train one rung into a folder.

    Raises:
        VeneerError: As `sft.train`.
    """
    if run.hardware.processes == 1 and not run.hardware.accelerate:
        from veneer.train import sft

        sft.train(run, folder)
        return
    if run.hardware.accelerate:
        _refuse(run.hardware.accelerate)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / ORDER, row_of(run))
    (folder / FAILED).unlink(missing_ok=True)
    processes = processes_of(run.hardware)
    if processes > 1 and cells_ray.inside():
        work = partial(share, folder, _told(run.hardware.accelerate) if run.hardware.accelerate else {})
        cells_ray.together(work, processes, cpus=run.hardware.threads, shared=folder / ".ray")
    else:
        _start(run, folder)
    if (folder / FAILED).exists():
        raise ModelError(read_json(folder / FAILED)["said"])


def _start(run: Run, folder: Path) -> None:
    """Start the processes that share a training on this machine, and wait for them.

    Raises:
        ModelError: They ended, and have not said why.
    """
    done = subprocess.run(
        [*_command(run.hardware), "-m", "veneer.train.launch", str(folder)],
        env={**os.environ, **({} if torch.cuda.is_available() else {"ACCELERATE_USE_CPU": "true"})},
        preexec_fn=_die_with_parent,
        check=False,
    )
    if done.returncode and not (folder / FAILED).exists():
        raise ModelError(
            f"{run.rung.name}: the processes that train it ended with status {done.returncode}; what they said stands "
            "above. What was saved is kept: run again to go on from there."
        )


def _refuse(config: Path) -> None:
    """Raise if accelerate's launcher could not start by this config; it would say so far above our own error.

    Raises:
        ModelError: It cannot be read, or asks for DeepSpeed where that is not installed.
    """
    where = f"train.hardware.accelerate: {config}"
    try:
        row = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelError(
            f"{where} cannot be read: {' '.join(str(error).split())}. `accelerate config` writes such a file."
        ) from error
    if not isinstance(row, dict) or "distributed_type" not in row:
        raise ModelError(f"{where} names no `distributed_type`. `accelerate config` writes such a file.")
    if row["distributed_type"] == "DEEPSPEED" and not importlib.util.find_spec("deepspeed"):
        raise ModelError(
            f"{where} asks for DeepSpeed, and the package `deepspeed` is not installed: pip install deepspeed. FSDP "
            "spreads weights too, and needs no other package."
        )


def _told(config: Path) -> dict[str, str]:
    """Return what accelerate's launcher tells its processes of a config, by their environment."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    asked, _, _ = _validate_launch_command(
        launch_command_parser().parse_args(["--config_file", str(config), __file__])
    )
    told: dict[str, str] = prepare_multi_gpu_env(asked)
    return {name: value for name, value in told.items() if name.startswith(("ACCELERATE_", "FSDP_"))}


def _command(hardware: HardwareSpec) -> list[str]:
    if hardware.accelerate:
        return [
            sys.executable,
            "-m",
            "accelerate.commands.launch",
            "--config_file",
            str(hardware.accelerate),
        ]
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc_per_node={hardware.processes}",
    ]


def _die_with_parent() -> None:
    """Have the kernel end the launcher when the worker that started it dies, even by kill -9 (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def row_of(run: Run) -> dict[str, Any]:
    """Return a run as JSON, to hand to another process."""
    row = {field.name: getattr(run, field.name) for field in fields(run)}
    row |= {name: str(row[name]) if row[name] else None for name in PATHS}
    row |= {name: row[name].model_dump(mode="json") for name in ("recipe", "hardware")}
    return {**row, "rung": asdict(run.rung)}


def run_of(row: dict[str, Any]) -> Run:
    """Return the run of such a row."""
    row = {**row, **{name: Path(row[name]) if row[name] else None for name in PATHS}}
    row |= {"rung": Rung(**row["rung"]), "amounts": tuple(row["amounts"])}
    row |= {
        "recipe": RecipeSpec.model_validate(row["recipe"]),
        "hardware": HardwareSpec.model_validate(row["hardware"]),
    }
    return Run(**row)


def share(folder: Path, told: Mapping[str, str]) -> None:
    """Train, as one of the processes that share a rung; a failure is left where the starter looks for it.

    Args:
        folder: Where the training's order lies, and where it writes.
        told: What accelerate is to find in the environment.

    Raises:
        VeneerError: As `sft.train`, so that the other processes do not wait for this one.
    """
    from veneer.train import sft

    if (folder / FAILED).exists():
        return  # Started anew, after what would happen again.
    os.environ.update(told)
    if not torch.cuda.is_available():
        os.environ["ACCELERATE_USE_CPU"] = "true"
    try:
        sft.train(run_of(json.loads((folder / ORDER).read_text(encoding="utf-8"))), folder)
    except VeneerError as error:
        write_json(folder / FAILED, {"said": str(error)})
        raise


def main(folder: Path) -> None:
    """Train, as a process that a launcher started."""
    try:
        share(folder, {})
    except VeneerError:
        sys.exit(1)  # It is said by the starter.
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
