"""Asks an endpoint many requests at once: within its limits and the cap, every answer on disk before it counts."""

import asyncio
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from veneer.errors import ModelError
from veneer.models.flight import Flight, open_flight
from veneer.models.inbox import Inbox, open_inbox
from veneer.models.journal import Answer, Journal, open_journal
from veneer.models.limits import Limits, limits_of
from veneer.models.prices import Price, priced
from veneer.models.replies import Failure, Retry, clean, read
from veneer.models.request import Request, Tally, chunks
from veneer.models.wire import Wire, WireError, key_of, open_wire
from veneer.study_data import EndpointSpec

T = TypeVar("T")
CHUNK = 64
HOPELESS = 16
"""So many requests in a row without an answer end the asking: the others would be like them, and each may cost. Once
there was an answer, so many for each of those who ask: a server that rests for some minutes is waited for."""
GATHER = 0.05
"""Seconds for which answers are gathered before they go to disk in one transaction."""
UNWRITTEN = 2048
"""Answers that may wait for the disk before asking waits too."""


class _HaltedError(Exception):
    """Internal: a worker is to stop."""


@dataclass(slots=True, kw_only=True)
class _Desk:
    """Everything that the workers of one call share."""

    endpoint: EndpointSpec
    price: Price | None
    cap: float | None
    reading: Journal
    writing: Journal
    inbox: Inbox
    flight: Flight
    limits: Limits
    spare: int
    """So many requests may stay without an answer."""
    spent: float
    """Paid, or perhaps paid, so far."""
    wire: Wire = field(init=False)
    tally: Tally = field(default_factory=Tally)
    queue: deque[Request] = field(default_factory=deque)
    fed: bool = False
    """Nothing more comes into the queue."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    busy: set[str] = field(default_factory=set)
    flying: float = 0.0
    """The most that requests in flight can cost."""
    vain: int = 0
    """Requests without an answer since the last one with one."""
    heard: int = 0
    """Answers so far."""
    landed: asyncio.Event = field(default_factory=asyncio.Event)
    halt: asyncio.Event = field(default_factory=asyncio.Event)
    answers: list[tuple[str, Answer]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    unwritten: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """No more answers come."""
    error: ModelError | None = None
    unfed: BaseException | None = None
    """Why the requests ended too early."""
    disk: asyncio.Lock = field(default_factory=asyncio.Lock)
    signalled: int = 0

    def stop(self, error: ModelError | None = None, signalled: int = 0) -> None:
        """Send nothing more; what is in flight may land."""
        self.error = self.error or error
        self.signalled = self.signalled or signalled
        self.halt.set()
        self.landed.set()
        self.arrived.set()

    async def nap(self, seconds: float) -> None:
        """Sleep, unless everything is to stop."""
        try:
            await asyncio.wait_for(self.halt.wait(), seconds)
        except TimeoutError:
            return
        raise _HaltedError


def ask(
    requests: Iterable[Request],
    endpoint: EndpointSpec,
    price: Price | None,
    cap: float | None,
    path: Path,
    journal: Journal,
    spare: int = 0,
) -> Tally:
    """Ask every request that has no answer in the journal; those that were asked in vain before come last.

    Whatever stops the asking, Ctrl-C, a signal to end or an error, what is in flight is waited for and kept.

    Args:
        requests: Taken as they are needed.
        endpoint: Whom to ask.
        price: What it charges, if that is known.
        cap: US dollars that all of the journal may cost.
        path: The journal's file.
        journal: The same, open.
        spare: So many requests in a row may stay without an answer, be there one or none.

    Raises:
        ModelError: No request can succeed, or none does.
        StoreError: The disk does not take what came.
        KeyboardInterrupt: After Ctrl-C.
        SystemExit: After the signal to end; on its way out the process gives back its leases.
        Exception: What taking the next request raised.
    """
    key_of(endpoint)
    with open_journal(path) as reading, open_inbox(path, journal) as inbox, open_flight(path) as flight:
        spent = journal.spent()
        desk = _Desk(
            endpoint=endpoint,
            price=price,
            cap=cap,
            reading=reading,
            writing=journal,
            inbox=inbox,
            flight=flight,
            limits=limits_of(endpoint, seed=0),
            spare=spare,
            spent=spent.paid + spent.maybe,
        )
        asyncio.run(_ask(desk, requests))
    if desk.unfed:
        raise desk.unfed
    if desk.signalled == signal.SIGINT:
        raise KeyboardInterrupt
    if desk.signalled:
        raise SystemExit(128 + desk.signalled)
    if desk.error:
        raise ModelError(clean(str(desk.error), endpoint)) from desk.error
    return desk.tally


async def _ask(desk: _Desk, requests: Iterable[Request]) -> None:
    desk.wire = await open_wire(desk.endpoint)
    desk.limits.sleep = desk.nap
    with _heard(desk):
        writer = asyncio.create_task(_write(desk))
        feeder = asyncio.create_task(_feed(desk, requests))
        workers = [asyncio.create_task(_work(desk, line)) for line in range(desk.endpoint.concurrency)]
        for task in (writer, feeder, *workers):
            task.add_done_callback(partial(_watch, desk))
        try:
            await asyncio.wait((feeder, *workers))
        finally:
            for task in (feeder, *workers):
                task.cancel()
            await asyncio.gather(feeder, *workers, return_exceptions=True)
            desk.over.set()
            desk.unwritten.set()
            try:
                await writer
            finally:
                await desk.wire.close()
    for worker in workers:
        worker.result()
    desk.unfed = feeder.exception()


def _watch(desk: _Desk, task: "asyncio.Task[None]") -> None:
    """Stop the asking when a part of it fails: the others would wait for it for ever."""
    if task.cancelled() or task.exception():
        desk.stop()


async def _feed(desk: _Desk, requests: Iterable[Request]) -> None:
    """Put every request that has no answer into the queue; those that were asked in vain before come last."""
    before, later = desk.reading.failed(), list[Request]()
    for chunk in chunks(requests, CHUNK):
        await asyncio.sleep(0)  # Where all have their answers, nothing else would be heard.
        if desk.halt.is_set():
            return
        for request in chunk:
            if request.key in desk.busy:
                desk.tally.twice += 1
                continue
            if desk.reading.has(request.key):
                desk.tally.already += 1
                continue
            desk.busy.add(request.key)
            if request.key in before:
                later.append(request)
            else:
                await _line_up(desk, request)
    for request in later:
        await _line_up(desk, request)
    desk.fed = True
    desk.arrived.set()


async def _line_up(desk: _Desk, request: Request) -> None:
    """Put a request into the queue when it has room."""
    while len(desk.queue) >= 2 * CHUNK and not desk.halt.is_set():
        desk.landed.clear()
        await desk.landed.wait()
    if not desk.halt.is_set():
        desk.queue.append(request)
        desk.arrived.set()


async def _work(desk: _Desk, line: int) -> None:
    while request := await _next(desk):
        desk.landed.set()
        try:
            await _one(desk, request, line)
        except _HaltedError:
            return
        except ModelError as error:
            desk.stop(error)
            return


async def _next(desk: _Desk) -> Request | None:
    """Return the next request; None where there is none, or everything is to stop."""
    while len(desk.answers) > UNWRITTEN and not desk.halt.is_set():
        await asyncio.sleep(0.01)
    while not desk.halt.is_set():
        if desk.queue:
            return desk.queue.popleft()
        if desk.fed:
            return None
        desk.arrived.clear()
        await desk.arrived.wait()
    return None


async def _one(desk: _Desk, request: Request, line: int) -> None:
    """Ask one request until it has an answer, will not have one, or its tries are used up.

    That a server is busy says nothing of the request: while it answers others, it is no try.
    """
    tries = waits = 0
    heard = desk.heard
    while True:
        await _room(desk, request.bound)
        try:
            await desk.limits.admit(request.tokens)
            found = await _exchange(desk, request, line)
        finally:
            desk.flying -= request.bound
            desk.landed.set()
        if isinstance(found, Answer):
            return
        reason = clean(found.reason, desk.endpoint)
        if isinstance(found, Failure):
            break
        if not found.busy or desk.heard == heard:
            tries += 1
        if tries == desk.endpoint.tries:
            break
        heard = desk.heard
        pause = 0.0 if found.after is None else desk.limits.pause(found.after)
        # Beyond the pause, or all that were turned away would come back at the same moment.
        await desk.nap(pause + desk.limits.backoff(waits))
        waits += 1
    desk.failures.append((request.key, reason))
    desk.unwritten.set()
    if isinstance(found, Failure) and (desk.heard or desk.tally.already):
        return  # The server answers others: this request's own words are at fault.
    desk.vain += 1
    most = HOPELESS * (desk.endpoint.concurrency if desk.heard else 1)
    # However many may fail: where nobody listens, none is asked.
    if desk.vain >= most and (desk.vain > desk.spare or reason.startswith("refused:")):
        raise ModelError(
            f"{desk.endpoint.url} answered none of the last {desk.vain:,} requests (of the last: {reason}). What was "
            "answered is kept. Mend the endpoint, or its settings, and run again: those without an answer come last "
            "then. If they alone are at fault, leave them out, or allow as many with the endpoint's `may_fail`."
        )


async def _exchange(desk: _Desk, request: Request, line: int) -> Answer | Retry | Failure:
    """Send a request once and keep what became of it; from the sending to the keeping it counts as in flight."""
    if request.bound:
        desk.flight.depart(line, request.key, request.bound)
        desk.unwritten.set()
    try:
        found = read(await desk.wire.send(request.body), desk.endpoint)
    except WireError as error:
        found = Retry(reason=f"{error.kind}: {error.detail}", charged=error.kind != "refused")
    except ModelError:
        desk.flight.land(line)
        raise
    if isinstance(found, Answer):
        found = priced(found, desk.price, request.bound)
        desk.spent += found.cost or 0.0
        desk.vain, desk.heard = 0, desk.heard + 1
        desk.answers.append((request.key, found))
        desk.unwritten.set()
        desk.inbox.put(request.key, found)
    elif isinstance(found, Retry) and found.charged and request.bound:
        desk.spent += request.bound
        await _on_disk(desk, partial(desk.writing.charge, request.bound))
    if request.bound:
        desk.flight.land(line)
    return found


async def _room(desk: _Desk, bound: float) -> None:
    """Wait until the request fits under the cap with all that is in flight, and count it as in flight."""
    while desk.cap is not None and desk.spent + desk.flying + bound > desk.cap:
        if desk.flying <= 1e-9:
            desk.tally.capped = True
            desk.stop()
        if desk.halt.is_set():
            raise _HaltedError
        desk.landed.clear()
        await desk.landed.wait()
    if desk.halt.is_set():
        raise _HaltedError
    desk.flying += bound


async def _write(desk: _Desk) -> None:
    """Put answers on disk as they come: all that wait go in one transaction."""
    while not desk.over.is_set() or desk.answers or desk.failures:
        await desk.unwritten.wait()
        if not desk.over.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(desk.over.wait(), GATHER)
        if not desk.over.is_set():
            desk.unwritten.clear()
        if desk.flight.fresh:
            await _on_disk(desk, desk.flight.sync)
        # Nothing is waited for between these and the swap: the inbox must not take in what is not among them.
        answers, desk.answers = desk.answers, []
        failures, desk.failures = desk.failures, []
        if answers:
            desk.inbox.swap()
            await _on_disk(desk, partial(desk.writing.record, answers))
            desk.inbox.clear()
        if failures:
            await _on_disk(desk, partial(desk.writing.fail, failures))
        desk.tally.answered += len(answers)
        desk.tally.failed.update(reason for _, reason in failures)
        desk.busy.difference_update(key for key, _ in answers)


async def _on_disk(desk: _Desk, act: Callable[[], T]) -> T:
    async with desk.disk:
        return await asyncio.to_thread(act)


@contextmanager
def _heard(desk: _Desk) -> Iterator[None]:
    """While it lasts, Ctrl-C and the signal to end stop the asking and lose nothing."""
    loop = asyncio.get_running_loop()
    known = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        if before is signal.SIG_IGN:
            continue
        try:
            loop.add_signal_handler(number, partial(desk.stop, None, int(number)))
        except (ValueError, RuntimeError):
            break  # Only the main thread hears signals.
        known[number] = before
    try:
        yield
    finally:
        for number, before in known.items():
            loop.remove_signal_handler(number)
            signal.signal(number, before)
