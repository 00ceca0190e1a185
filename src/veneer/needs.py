"""What a cell needs of a machine, and what this machine has."""

import json
import os
import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

WIDTHS = {"bfloat16": 2, "float16": 2}
"""Bytes of a weight, by the names in a checkpoint's config.json; others have 4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a cell takes while it runs; or, of a machine, what it has to give."""

    cpus: int = 1
    """Threads."""
    gpus: int = 0
    """GPUs, where there are any: a cell that wants more than a machine has takes all of them."""
    memory: int = 0
    """Bytes, as far as they are known beforehand, where no GPU holds them."""
    processes: int = 1
    """Processes that share the work. On a cluster they may sit on several machines, each with its part of the rest."""
    home: bool = False
    """Whether it asks endpoints. It then takes next to nothing, and stays on the machine where the run was started: the
    keys are there, and the journal of requests has one writer."""

    def within(self, has: "Needs") -> "Needs":
        """Return what of these needs a machine can meet."""
        gpus = min(self.gpus, has.gpus)
        return Needs(
            cpus=0 if self.home else min(self.cpus, has.cpus),
            gpus=gpus,
            memory=0 if gpus else min(self.memory, has.memory),
            processes=self.processes,
            home=self.home,
        )


ONE_CORE = Needs()


def here(cpus: int | None = None) -> Needs:
    """Return what this machine has.

    Args:
        cpus: As many of its cores as may be used; all by default.
    """
    return Needs(cpus=cpus or cores(), gpus=len(gpus()), memory=memory())


def cores() -> int:
    """Return how many cores this process may use: the machine's, or what its job or container was given of them."""
    given = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = Path("/sys/fs/cgroup/cpu.max")
    share, _, period = limit.read_text().strip().partition(" ") if limit.is_file() else ("max", "", "")
    return max(1, min(given, int(share) // int(period))) if share.isdigit() else given


def gpus() -> list[str]:
    """Return the names of this machine's GPUs for CUDA_VISIBLE_DEVICES: what it holds already, or their numbers."""
    if (held := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        names = [name.strip() for name in held.split(",")]
        # As CUDA reads it: what follows a name that is none is not seen. `-1` and Slurm's `NoDevFiles` hide all.
        return [*takewhile(re.compile(r"\d+|(GPU|MIG)-.+").fullmatch, names)]
    # Counted without torch, which takes seconds to load and would take memory on each. In a container the first is
    # what it may use.
    found = [*Path("/dev").glob("nvidia[0-9]*")] or [*Path("/proc/driver/nvidia/gpus").glob("*")]
    return [str(number) for number, _ in enumerate(found)]


def weights_of(checkpoint: Path) -> int:
    """Return how many weights a checkpoint's files hold, by their sizes; 0 where there are none."""
    files = [file for kind in ("*.safetensors", "*.bin") for file in checkpoint.glob(kind)]
    config = checkpoint / "config.json"
    if not files or not config.is_file():
        return 0
    try:
        row = json.loads(config.read_text(encoding="utf-8"))
    except ValueError:
        return 0  # Who loads it says what is wrong.
    name = str(row.get("dtype") or row.get("torch_dtype")) if isinstance(row, dict) else ""
    return sum(file.stat().st_size for file in files) // WIDTHS.get(name, 4)


def memory() -> int:
    """Return the bytes of memory that processes here may hold together: the machine's, or what its container allows."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    allowed = limit.read_text().strip() if limit.is_file() else "max"
    return min(whole, int(allowed)) if allowed.isdigit() else whole
