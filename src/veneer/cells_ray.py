"""Runs cells on a Ray cluster: the one that `RAY_ADDRESS` names, or one that is started here for the run."""

import hashlib
import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from veneer.cells import ENVIRONMENT, Cell, Crew, crew
from veneer.errors import CellsError, VeneerError
from veneer.needs import Needs

RETRIES = 3
"""Times that a cell is run again whose worker or machine was lost."""
OBJECTS = 200_000_000
"""Bytes of the object store of a cluster that is started here: cells hand over little more than paths."""
PATIENCE = 10.0
"""Seconds within which a cluster has to answer."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """What a cell ended with that a person or a file caused."""

    error: VeneerError


@dataclass(frozen=True, slots=True)
class _Cluster:
    """A cluster that this process is connected to."""

    task: Any
    """Runs a cell in a worker process that has run others; Ray's form of `_work`."""
    gpu_task: Any
    """The same in a process of its own: a GPU's memory is given back when its process ends."""
    machines: tuple[Needs, ...]
    """What each has."""
    probe: Path

    def start(self, cell: Cell) -> Future[Any]:
        """Have Ray run a cell as soon as there is room for it, and again if its worker is lost."""
        needs = cell.needs
        # What spreads over machines places its own processes: see `together`.
        placed = Needs(cpus=0) if needs.processes > 1 else placed_on(self.machines, needs)
        options: dict[str, Any] = {"num_gpus": placed.gpus} if placed.gpus else {}
        if not placed.gpus and needs.processes == 1:
            options["runtime_env"] = {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}}
        ref = (self.gpu_task if placed.gpus else self.task).options(
            name=cell.name,
            num_cpus=placed.cpus,
            memory=placed.memory or None,
            max_retries=RETRIES,
            scheduling_strategy="SPREAD",
            **options,
        )
        outer: Future[Any] = Future()
        ref.remote(cell.work, self.probe).future().add_done_callback(partial(_settle, outer))
        return outer


@contextmanager
def cluster(shared: Path, workers: int | None = None) -> Iterator[Crew]:
    """Yield a crew whose cells run on the cluster that `RAY_ADDRESS` names, or else on one that is started here.

    Cells that ask endpoints run on this machine. On the way out, by Ctrl-C too, nothing is left running.

    Args:
        shared: A folder that all machines see under this path: the store's.
        workers: Cores of a cluster that is started here; all of this machine's by default.

    Raises:
        CellsError: Ray is not installed; the cluster does not answer, has no core, or has a machine that does not see
            the folder or has another Veneer; or `workers` is given for a cluster that is there.
    """
    ray = _ray()
    shared.mkdir(parents=True, exist_ok=True)
    probe = shared / f".probe-{uuid.uuid4().hex}"
    with crew(workers) as home:
        try:
            with _own_end():
                _join(ray, workers)
            probe.write_text(_code(), encoding="utf-8")
            nodes = [node for node in ray.nodes() if node["Alive"]]
            _check(ray, nodes, probe)
            machines = tuple(_has(node["Resources"]) for node in nodes)
            if not any(machine.cpus for machine in machines):
                raise CellsError(f"--on ray: none of the cluster's {len(nodes)} machines has a core to give.")
            task, gpu_task = ray.remote(_work), ray.remote(num_gpus=1)(_work)
            yield replace(home, far=_Cluster(task, gpu_task, machines, probe).start)
        finally:
            # What of this run is running ends with the connection; so does a cluster that was started for it.
            ray.shutdown()
            probe.unlink(missing_ok=True)


def placed_on(machines: Sequence[Needs], needs: Needs) -> Needs:
    """Return what Ray is asked for: Ray waits forever for what no machine has.

    Args:
        machines: What each has.
        needs: A cell's. It goes to a machine with as many of its GPUs as any has, and then of its cores.
    """
    best = max(machines, key=lambda has: (min(has.gpus, needs.gpus), min(has.cpus, needs.cpus), has.memory))
    return needs.within(best)


def inside() -> bool:
    """Return whether this process is one of a Ray cluster's workers."""
    ray = sys.modules.get("ray")  # Whoever is one has it loaded.
    return ray is not None and ray.is_initialized()


def together(work: Callable[[], None], processes: int, *, cpus: int, shared: Path) -> None:
    """Run one piece of work in several processes, which Ray Train joins into one torch process group.

    It is started anew if one of them is lost.

    Args:
        work: What each does; it leaves its result, and what went wrong, on disk.
        processes: How many; with a GPU each where the cluster has GPUs.
        cpus: Of each.
        shared: A folder that all machines see, for Ray Train's own notes.

    Raises:
        CellsError: The cluster has too little for them, or lost them more than `RETRIES` times.
    """
    ray = _ray()
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    has = _has(ray.cluster_resources())
    for name, there, wanted in (("GPUs", has.gpus, processes), ("cores", has.cpus, processes * cpus)):
        if there < wanted and (there or name == "cores"):
            raise CellsError(
                f"{processes} processes need {wanted} {name} together, and the cluster has {there}. Lower "
                "train.hardware.processes, or add machines."
            )
    trainer = TorchTrainer(
        partial(_one_of, work),
        train_loop_config={},
        scaling_config=ScalingConfig(
            num_workers=processes, use_gpu=has.gpus > 0, resources_per_worker={"CPU": cpus}
        ),
        run_config=RunConfig(
            name="ray", storage_path=str(shared), failure_config=FailureConfig(max_failures=RETRIES)
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        raise CellsError(f"the processes that share it were lost, {RETRIES + 1} times: {error}") from error


def _one_of(work: Callable[[], None], _: dict[str, Any]) -> None:
    work()


def _ray() -> Any:
    # No word to Ray's makers of how it is used, unless the user has asked for it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise CellsError(
            "--on ray: the package ray is not installed. Install it (pip install 'veneer[ray]'), or leave --on out."
        ) from error
    return ray


@contextmanager
def _own_end() -> Iterator[None]:
    """Keep what SIGTERM does here: by Ray's handlers this process would end with nothing put in order."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _join(ray: Any, workers: int | None) -> None:
    """Connect to the cluster, or start one."""
    options = {"runtime_env": {"env_vars": ENVIRONMENT}, "logging_level": "ERROR"}
    address = os.environ.get("RAY_ADDRESS", "")
    if not address:
        own = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": OBJECTS}
        ray.init("local", **own, **options)
        return
    if workers:
        raise CellsError(
            f"--workers {workers}: RAY_ADDRESS names a cluster that is there, and that knows how many cells it has "
            "room for. Leave --workers out, or RAY_ADDRESS, to start a cluster on this machine."
        )
    advice = f"--on ray: no cluster answers at RAY_ADDRESS={address}"
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        if port.isdigit():
            # Ray itself would go on trying for minutes.
            socket.create_connection((host, int(port)), PATIENCE).close()
        ray.init(address, **options)
    except OSError as error:  # Ray's own ConnectionError is one.
        raise CellsError(
            f"{advice} ({error}). Start one (ray start --head), correct the address, or unset it to start a cluster on "
            "this machine. Where a cluster asks for a token, set RAY_AUTH_MODE=token."
        ) from error


def _check(ray: Any, nodes: Sequence[dict[str, Any]], probe: Path) -> None:
    """Raise unless every machine could run this run's cells."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ref = ray.remote(_strange).options(num_cpus=0, scheduling_strategy=there).remote(probe)
        asked[ref] = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
    found = []
    for ref, name in asked.items():
        try:
            said = ray.get(ref)
        except ray.exceptions.RayError as error:
            said = f"cannot run Veneer: {_last_line(error)}"
        if said:
            found.append(f"{name} {said}")
    if found:
        raise CellsError("--on ray: " + "; ".join(found))


def _strange(probe: Path) -> str:
    """Return what keeps this machine from running cells of the run that wrote the probe; empty if nothing does."""
    try:
        told = probe.read_text(encoding="utf-8")
    except OSError:
        return _unseen(probe)
    return "" if told == _code() else "has another version of Veneer: install the same on all machines"


def _unseen(probe: Path) -> str:
    return (
        f"does not see {probe.parent}. A study's folder must lie on a file system that all machines share, under one "
        "path"
    )


@cache
def _admit(probe: Path) -> None:
    """Raise unless this machine sees the store; one that has joined the cluster since its start was not asked."""
    if not probe.exists():
        raise CellsError(f"{socket.gethostname()} {_unseen(probe)}.")


def _code() -> str:
    """Return the fingerprint of Veneer's own program."""
    place = Path(__file__).parent
    whole = hashlib.sha256()
    for file in sorted(place.rglob("*.py")):
        whole.update(str(file.relative_to(place)).encode() + b"\0" + file.read_bytes())
    return whole.hexdigest()


def _has(resources: dict[str, float]) -> Needs:
    return Needs(
        cpus=int(resources.get("CPU", 0)),
        gpus=int(resources.get("GPU", 0)),
        memory=int(resources.get("memory", 0)),
    )


def _work(work: Callable[[], Any], probe: Path) -> Any:
    """Run a cell in one of Ray's workers: what a person can mend comes back as it is, without Ray's words around it."""
    try:
        _admit(probe)
        return work()
    except VeneerError as error:
        return _Failed(error)


def _settle(outer: Future[Any], inner: Future[Any]) -> None:
    """Hand on what came of a cell: a lost worker as an error that a person can mend, a bug as it is."""
    error = inner.exception()
    if error is None:
        found = inner.result()
        if isinstance(found, _Failed):
            outer.set_exception(found.error)
        else:
            outer.set_result(found)
        return
    from ray.exceptions import RayError, RayTaskError

    if isinstance(error, RayError) and not isinstance(error, RayTaskError):
        error = CellsError(f"lost, and run again {RETRIES} times in vain: {_last_line(error)}")
    outer.set_exception(error)


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
