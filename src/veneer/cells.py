"""Runs independent cells of work: here, in worker processes that are shared by all stages of a run."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

from veneer.errors import CellsError, VeneerError
from veneer.lease import Busy

THREADS_PER_WORKER = 1
"""One, so that a cell's floating-point sums never depend on how many cells run beside it."""


GRACE = 600.0
"""Seconds that a worker which was told to end may take for answers that are on their way: they are paid for, and come
within the endpoint's time-out. All other work ends at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One independent unit of work of a stage."""

    name: str
    work: Callable[[], Any]
    """A module-level function or a partial of one: it travels to a worker process."""
    line: str = ""
    """Cells of one line run one after another, in their order; those without are free."""


@dataclass(frozen=True, slots=True)
class Crew:
    """The worker processes of one run; they start with the first cell, so that a finished study starts none."""

    workers: int
    devices: tuple[str, ...]
    """The GPUs of each worker, as CUDA_VISIBLE_DEVICES names them; shared where there are more workers."""
    _pool: list[ProcessPoolExecutor]

    def run(
        self, cells: Sequence[Cell], done: Callable[[str], None], tick: Callable[[], None] = lambda: None
    ) -> list[Any]:
        """Run every cell and return their results in order.

        A cell that fails with a `VeneerError` does not stop the others; when all have ended, the failures are
        raised together. Any other exception is a bug: it stops the crew at once. A cell that returns `Busy.BUSY` is put
        behind the others and run again.

        Args:
            cells: The work; names are for progress and errors.
            done: Called with a cell's name when it has ended.
            tick: Called about twice a second while cells run.

        Raises:
            CellsError: One or more cells failed, or a worker process died.
        """
        if not cells:
            return []
        lines: dict[str, list[int]] = {}
        for index, cell in enumerate(cells):
            lines.setdefault(cell.line or f"/{index}", []).append(index)
        behind = {line[place]: line[place + 1] for line in lines.values() for place in range(len(line) - 1)}
        futures = {self._submit(cells[line[0]]): line[0] for line in lines.values()}
        results: list[Any] = [None] * len(cells)
        failures: list[str] = []
        waiting = set(futures)
        while waiting:
            # A timeout, so that Ctrl-C is heard between the waits on every platform.
            ended, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
            tick()
            for future in ended:
                cell = cells[futures[future]]
                try:
                    if (result := future.result()) is Busy.BUSY:
                        futures[fresh := self._submit(cell)] = futures[future]
                        waiting.add(fresh)
                        continue
                    results[futures[future]] = result
                except VeneerError as error:
                    failures.append(f"{cell.name}: {error}")
                except BrokenProcessPool as error:
                    self._pool.clear()
                    raise CellsError(
                        f"A worker process died while {cell.name} ran, most likely for want of memory. What had "
                        "finished is kept: run again, with fewer workers (--workers 1) if it happens again."
                    ) from error
                done(cell.name)
                if (after := behind.get(futures[future])) is not None:
                    futures[fresh := self._submit(cells[after])] = after
                    waiting.add(fresh)
        if failures:
            many = f"{len(failures)} of {len(cells)} cells failed; the others are kept, and a new run asks only these"
            raise CellsError(f"{many}:\n  " + "\n  ".join(sorted(failures)))
        return results

    def _submit(self, cell: Cell) -> Future[Any]:
        if not self._pool:
            context = multiprocessing.get_context("spawn")
            devices = context.SimpleQueue()
            for number in range(self.workers if self.devices else 0):
                devices.put(self.devices[number % len(self.devices)])
            self._pool.append(
                ProcessPoolExecutor(
                    self.workers,
                    mp_context=context,
                    initializer=_start_worker,
                    initargs=(devices if self.devices else None,),
                )
            )
        with _deaf_to_ctrl_c():
            return self._pool[0].submit(cell.work)


@contextmanager
def crew(workers: int | None = None, *, gpus_each: int = 1) -> Iterator[Crew]:
    """Yield a crew of worker processes; on the way out, by Ctrl-C too, none of them is left running.

    Args:
        workers: How many; by default one for each `gpus_each` GPUs, and where there is none one for each core.
        gpus_each: GPUs that a worker sees; all of them where there are fewer.
    """
    there = gpus()
    each = min(gpus_each, len(there))
    devices = tuple(
        ",".join(there[start : start + each]) for start in range(0, len(there) - each + 1, each or 1) if each
    )
    made = Crew(workers or len(devices) or os.cpu_count() or 1, devices, [])
    try:
        yield made
    finally:
        for pool in made._pool:
            running = list((pool._processes or {}).values())
            pool.shutdown(wait=False, cancel_futures=True)
            # Asked first: a cell that waits for answers that are paid for takes them down before it ends.
            for process in running:
                process.terminate()
            for process in running:
                process.join(GRACE)
            for process in running:
                process.kill()
                process.join()


def gpus() -> list[str]:
    """Return the names of this machine's GPUs for CUDA_VISIBLE_DEVICES: what it holds already, or their numbers."""
    if (held := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in held.split(",") if name.strip()]
    # Counted without torch, which takes seconds to load and would take memory on each.
    return [str(number) for number, _ in enumerate(Path("/proc/driver/nvidia/gpus").glob("*"))]


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Start processes that do not hear Ctrl-C while they load, and would print a traceback; it waits for the parent."""
    resource_tracker.ensure_running()  # It would lift the block when it starts with the first worker.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(devices: Any = None) -> None:
    """Fix the worker's threads and GPUs, silence its progress bars, and end it when its parent dies (by kill -9)."""
    if devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices.get()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(THREADS_PER_WORKER)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear; it ends the workers.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait_for([sentinel])
    # Ends at once, unless answers that are paid for are on their way.
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)
