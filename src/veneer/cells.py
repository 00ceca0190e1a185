"""Runs independent cells of work: in worker processes that are shared by all stages of a run, as many as fit."""

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import wait as wait_for
from typing import Any

from veneer.errors import CellsError, VeneerError
from veneer.lease import Busy
from veneer.needs import ONE_CORE, Needs, gpus, here

ENVIRONMENT = {
    # One thread, so that a cell's floating-point sums never depend on how many cells run beside it.
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Of every process that runs cells."""
GRACE = 600.0
"""Seconds that a worker which was told to end may take for answers that are on their way: they are paid for, and come
within the endpoint's time-out. All other work ends at once."""
TICK = 0.5
"""Seconds between two looks at how far the cells are."""

Ended = queue.SimpleQueue[tuple[int, Future[Any]]]
"""The places of cells that have ended, and what came of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One independent unit of work of a stage."""

    name: str
    work: Callable[[], Any]
    """A module-level function or a partial of one: it travels to a worker process."""
    line: str = ""
    """Cells of one line run one after another, in their order; those without are free."""
    needs: Needs = ONE_CORE


@dataclass(frozen=True, slots=True, eq=False)
class _Worker:
    """A process that runs one cell at a time, and sees these GPUs alone."""

    pool: ProcessPoolExecutor
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Crew:
    """The worker processes of one run; each starts when it is needed, so that a finished study starts none."""

    has: Needs
    """What cells may take together."""
    devices: tuple[str, ...]
    """The GPUs, as CUDA_VISIBLE_DEVICES names them."""
    far: Callable[[Cell], Future[Any]] | None = None
    """Runs a cell on other machines, as soon as it fits there; None where all cells run here."""
    _idle: list[_Worker] = field(default_factory=list)
    _busy: dict[Future[Any], tuple[_Worker, Needs]] = field(default_factory=dict)

    def run(
        self,
        cells: Sequence[Cell],
        done: Callable[[str], None],
        tick: Callable[[Sequence[str]], None] = lambda busy: None,
    ) -> list[Any]:
        """Run every cell and return their results in order.

        A cell that fails with a `VeneerError`, or whose process dies, does not stop the others; when all have ended,
        the failures are raised together. Any other exception is a bug: it stops the crew at once. A cell that returns
        `Busy.BUSY` is run again when no other waits for room.

        Args:
            cells: The work; names are for progress and errors.
            done: Called with a cell's name when it has ended.
            tick: Called about twice a second while cells run; while no other is run here, with the names of those that
                another run was at.

        Raises:
            CellsError: One or more cells failed.
        """
        results: list[Any] = [None] * len(cells)
        failures: list[str] = []
        behind = _behind(cells)
        first = set(range(len(cells))) - set(behind.values())
        # Cells of equal needs wait in one row: where its first does not fit, none of it does.
        rows: dict[Needs, deque[int]] = {}
        for index in sorted(first):
            rows.setdefault(cells[index].needs, deque()).append(index)
        again: list[int] = []
        ended: Ended = queue.SimpleQueue()
        left, told = len(cells), time.monotonic()
        while left:
            self._begin(cells, rows, ended)
            # Looked at while others wait for room, what another run is at would take their room again and again.
            if again and not any(row for needs, row in rows.items() if not needs.home):
                for index in again:
                    rows.setdefault(cells[index].needs, deque()).append(index)
                again.clear()
                self._begin(cells, rows, ended)
            # A timeout, so that Ctrl-C is heard between the waits on every platform.
            arrived = _arrived(ended, TICK)
            if time.monotonic() - told >= TICK or not arrived:
                busy = [cell.name for cell, one in zip(cells, results, strict=True) if one is Busy.BUSY]
                tick(busy if len(self._busy) <= len(busy) - len(again) else [])
                told = time.monotonic()
            for index, future in arrived:
                self._release(future)
                results[index] = _outcome(future)
                if results[index] is Busy.BUSY:
                    again.append(index)
                    continue
                if isinstance(results[index], VeneerError):
                    failures.append(f"{cells[index].name}: {results[index]}")
                left -= 1
                done(cells[index].name)
                if (ready := behind.get(index)) is not None:
                    rows.setdefault(cells[ready].needs, deque()).append(ready)
        if failures:
            many = f"{len(failures)} of {len(cells)} cells failed; the others are kept, and a new run asks only these"
            raise CellsError(f"{many}:\n  " + "\n  ".join(sorted(failures)))
        return results

    def _begin(self, cells: Sequence[Cell], rows: dict[Needs, deque[int]], ended: Ended) -> None:
        """Start every cell that fits; where several do, the study's first."""
        for row in sorted((row for row in rows.values() if row), key=lambda row: row[0]):
            while row and (future := self._start(cells[row[0]])):
                index = row.popleft()
                future.add_done_callback(lambda done, index=index: ended.put((index, done)))  # type: ignore[misc]

    def _start(self, cell: Cell) -> Future[Any] | None:
        """Start a cell, unless it has to wait for others to end."""
        if self.far and not cell.needs.home:
            return self.far(cell)
        needs = cell.needs.within(self.has)
        if not self._fits(needs) or (worker := self._worker(needs.gpus)) is None:
            return None
        try:
            with _deaf_to_ctrl_c():
                future = worker.pool.submit(_run, cell.work, cell.needs.home)
        except BrokenProcessPool:
            return self._start(cell)  # It died while it had nothing to do: another takes its place.
        self._busy[future] = worker, needs
        return future

    def _fits(self, needs: Needs) -> bool:
        taken = [other for _, other in self._busy.values()]
        if needs.home:
            return not any(other.home for other in taken)  # One asks at a time: see `store.ASKING`.
        return (
            sum(other.cpus for other in taken) + needs.cpus <= self.has.cpus
            and sum(other.memory for other in taken) + needs.memory <= self.has.memory
        )

    def _worker(self, wanted: int) -> _Worker | None:
        """Return a worker that sees so many GPUs, and that no other worker shares them with; None if all are in use."""
        for worker in self._idle:
            if len(worker.devices) == wanted:
                self._idle.remove(worker)
                return worker
        mine = {name for worker, _ in self._busy.values() for name in worker.devices}
        free = [name for name in self.devices if name not in mine]
        if len(free) < wanted:
            return None
        if wanted:
            # The idle ones hold memory on GPUs that this one takes over.
            for worker in [worker for worker in self._idle if set(worker.devices) & set(free[:wanted])]:
                self._idle.remove(worker)
                worker.pool.shutdown()
        devices = tuple(free[:wanted])
        pool = ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            # Where no GPU was found, nothing is hidden: there may be one that is not NVIDIA's.
            initargs=(",".join(devices) if self.devices else None,),
        )
        return _Worker(pool, devices)

    def _release(self, future: Future[Any]) -> None:
        """Take back the worker of a cell that has ended, unless it died."""
        held = self._busy.pop(future, None)
        if held and not isinstance(future.exception(), BrokenProcessPool):
            self._idle.append(held[0])

    def _end(self) -> None:
        """Leave no worker running."""
        pools = [worker.pool for worker in (*self._idle, *(worker for worker, _ in self._busy.values()))]
        running = [process for pool in pools for process in (pool._processes or {}).values()]
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
        # Asked first: a cell that waits for answers that are paid for takes them down before it ends.
        for process in running:
            process.terminate()
        for process in running:
            process.join(GRACE)
        for process in running:
            process.kill()
            process.join()


def _run(work: Callable[[], Any], home: bool) -> Any:
    """Run a cell's work in a worker. One that asks gives its leases back when it is told to end: others wait."""
    if home:
        signal.signal(signal.SIGTERM, _leave)
    try:
        return work()
    except SystemExit:
        os._exit(128 + signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _leave(*_: object) -> None:
    raise SystemExit


def _outcome(future: Future[Any]) -> Any:
    """Return what came of a cell, or the error that kept it from its end; a bug is raised as it is."""
    try:
        return future.result()
    except VeneerError as error:
        return error
    except BrokenProcessPool:
        return CellsError(
            "its worker process died, most likely for want of memory; run again, with fewer workers (--workers 1) if "
            "it happens again"
        )


@contextmanager
def crew(workers: int | None = None) -> Iterator[Crew]:
    """Yield a crew of worker processes; on the way out, by Ctrl-C too, none of them is left running.

    Args:
        workers: Cores that cells may take together; all by default.
    """
    made = Crew(here(workers), tuple(gpus()))
    try:
        yield made
    finally:
        made._end()


def _behind(cells: Sequence[Cell]) -> dict[int, int]:
    """Return the place of the cell that waits for each to end."""
    lines: dict[str, list[int]] = {}
    for index, cell in enumerate(cells):
        if cell.line:
            lines.setdefault(cell.line, []).append(index)
    return {line[place]: line[place + 1] for line in lines.values() for place in range(len(line) - 1)}


def _arrived(ended: Ended, seconds: float) -> list[tuple[int, Future[Any]]]:
    """Return all that have ended, waiting so long for the first."""
    found = []
    with suppress(queue.Empty):
        found.append(ended.get(timeout=seconds))
        while True:
            found.append(ended.get_nowait())
    return found


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Start processes that do not hear Ctrl-C while they load, and would print a traceback; it waits for the parent."""
    resource_tracker.ensure_running()  # It would lift the block when it starts with the first worker.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(devices: str | None) -> None:
    """Fix the worker's threads and GPUs, silence its progress bars, and end it when its parent dies (by kill -9)."""
    os.environ.update(ENVIRONMENT, **({} if devices is None else {"CUDA_VISIBLE_DEVICES": devices}))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear; it ends the workers.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait_for([sentinel])
    # Ends at once, unless answers that are paid for are on their way.
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)
