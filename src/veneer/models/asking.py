"""Asks an endpoint many requests at once: within its limits and the cap, every answer on disk before it counts."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from veneer.errors import ModelError
from veneer.models.inbox import Inbox, open_inbox
from veneer.models.journal import Answer, Journal, open_journal
from veneer.models.limits import Limits, limits_of
from veneer.models.prices import Price
from veneer.models.replies import Failure, Retry, read
from veneer.models.wire import Wire, WireError, key_of, open_wire
from veneer.records import Stop
from veneer.study_data import EndpointSpec

T = TypeVar("T")
CHUNK = 64
HOPELESS = 16
"""So many requests refused in a row, and none answered, end the run: all would be."""
GATHER = 0.03
"""Seconds for which answers are gathered before they go to disk in one transaction."""
UNWRITTEN = 2048
"""Answers that may wait for the disk before asking waits too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, ready to be sent."""

    key: str
    """The fingerprint of everything that shapes its answer."""
    body: dict[str, Any]
    bound: float
    """The most that it can cost, in US dollars; 0 where no price is known."""
    tokens: int
    """About how many tokens it counts against a rate limit."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of requests."""

    already: int = 0
    """Had their answer."""
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """Reason to number."""
    capped: bool = False
    """The cap ended it."""


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
    wire: Wire
    limits: Limits
    spent: float
    """Paid, or perhaps paid, so far."""
    tally: Tally = field(default_factory=Tally)
    queue: "asyncio.Queue[Request | None]"
    busy: set[str] = field(default_factory=set)
    flying: float = 0.0
    """The most that requests in flight can cost."""
    refused: int = 0
    landed: asyncio.Event = field(default_factory=asyncio.Event)
    halt: asyncio.Event = field(default_factory=asyncio.Event)
    answers: list[tuple[str, Answer]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    unwritten: asyncio.Event = field(default_factory=asyncio.Event)
    over: bool = False
    error: ModelError | None = None
    disk: asyncio.Lock = field(default_factory=asyncio.Lock)
    signalled: int = 0

    def stop(self, error: ModelError | None = None, signalled: int = 0) -> None:
        """Send nothing more; what is in flight may land."""
        self.error = self.error or error
        self.signalled = self.signalled or signalled
        self.halt.set()
        self.landed.set()

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
) -> Tally:
    """Ask every request that has no answer in the journal.

    Ctrl-C, or a signal to end, stops the asking; what is in flight is waited for and kept.

    Args:
        requests: Taken as they are needed.
        endpoint: Whom to ask.
        price: What it charges, if that is known.
        cap: US dollars that all of the journal may cost.
        path: The journal's file.
        journal: The same, open.

    Raises:
        ModelError: No request can succeed.
        KeyboardInterrupt: After Ctrl-C.
    """
    key_of(endpoint)
    with open_journal(path) as reading, open_inbox(path, journal) as inbox:
        desk = asyncio.run(_ask(requests, endpoint, price, cap, reading, journal, inbox))
    journal.release()
    if desk.signalled == signal.SIGINT:
        raise KeyboardInterrupt
    if desk.signalled:
        os.kill(os.getpid(), desk.signalled)
    if desk.error:
        raise ModelError(hidden(str(desk.error), endpoint)) from desk.error
    return desk.tally


async def _ask(
    requests: Iterable[Request],
    endpoint: EndpointSpec,
    price: Price | None,
    cap: float | None,
    reading: Journal,
    writing: Journal,
    inbox: Inbox,
) -> _Desk:
    spent = writing.spent()
    desk = _Desk(
        endpoint=endpoint,
        price=price,
        cap=cap,
        reading=reading,
        writing=writing,
        inbox=inbox,
        wire=await open_wire(endpoint),
        limits=limits_of(endpoint, seed=0),
        spent=spent.paid + spent.maybe,
        queue=asyncio.Queue(maxsize=2 * CHUNK),
    )
    desk.limits.sleep = desk.nap
    with _heard(desk):
        writer = asyncio.create_task(_write(desk))
        workers = [asyncio.create_task(_work(desk)) for _ in range(endpoint.concurrency)]
        feeder = asyncio.create_task(_feed(desk, requests))
        try:
            await asyncio.gather(feeder, *workers)
        finally:
            desk.stop()
            for task in (feeder, *workers):
                task.cancel()
            await asyncio.gather(feeder, *workers, return_exceptions=True)
            desk.over = True
            desk.unwritten.set()
            try:
                await writer
            finally:
                await desk.wire.close()
    return desk


async def _feed(desk: _Desk, requests: Iterable[Request]) -> None:
    """Put every request that has no answer into the queue, a chunk at a time."""
    for chunk in chunks(requests, CHUNK):
        fresh = []
        for request in chunk:
            if request.key in desk.busy or desk.reading.has(request.key):
                desk.tally.already += 1
            else:
                desk.busy.add(request.key)
                fresh.append(request)
        if desk.price and fresh:
            await _on_disk(desk, partial(desk.writing.reserve, [(one.key, one.bound) for one in fresh]))
        for request in fresh:
            await _put(desk, request)
            if desk.halt.is_set():
                return
    for _ in range(desk.endpoint.concurrency):
        await _put(desk, None)


async def _put(desk: _Desk, request: Request | None) -> None:
    while not desk.halt.is_set():
        try:
            desk.queue.put_nowait(request)
        except asyncio.QueueFull:
            desk.landed.clear()
            await desk.landed.wait()
        else:
            return


async def _work(desk: _Desk) -> None:
    while not desk.halt.is_set():
        taking = asyncio.ensure_future(desk.queue.get()) if desk.queue.empty() else None
        request = await _first(desk, taking) if taking else desk.queue.get_nowait()
        desk.landed.set()
        if request is None:
            return
        try:
            await _one(desk, request)
        except _HaltedError:
            return
        except ModelError as error:
            desk.stop(error)
            return
        while len(desk.answers) > UNWRITTEN and not desk.over:
            await asyncio.sleep(0.01)


async def _first(desk: _Desk, taking: "asyncio.Future[Request | None]") -> Request | None:
    """Return the next request, or None when everything is to stop."""
    halted = asyncio.ensure_future(desk.halt.wait())
    both: set[asyncio.Future[Any]] = {taking, halted}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    halted.cancel()
    if taking.done():
        return taking.result()
    taking.cancel()
    return None


async def _one(desk: _Desk, request: Request) -> None:
    """Ask one request until it has an answer, will not have one, or its tries are used up."""
    reason = ""
    for attempt in range(desk.endpoint.tries):
        await _room(desk, request.bound)
        try:
            await desk.limits.admit(request.tokens)
            found = await _exchange(desk, request)
        finally:
            desk.flying -= request.bound
            desk.landed.set()
        if isinstance(found, Answer):
            answer = priced(found, desk.price, request.bound)
            desk.spent += answer.cost or 0.0
            desk.refused = -1
            desk.inbox.put(request.key, answer)
            desk.answers.append((request.key, answer))
            desk.unwritten.set()
            return
        reason = hidden(found.reason, desk.endpoint)
        if isinstance(found, Failure):
            if desk.refused >= 0:
                desk.refused += 1
            if desk.refused >= HOPELESS:
                raise ModelError(
                    f"{desk.endpoint.url} refuses every request ({reason}). Mend the endpoint's settings."
                )
            break
        if found.charged:
            desk.spent += request.bound
            if request.bound:
                await _on_disk(desk, partial(desk.writing.charge, request.bound))
        if found.after is not None:
            desk.limits.pause(found.after)
        elif attempt + 1 < desk.endpoint.tries:
            await desk.nap(desk.limits.backoff(attempt))
    desk.failures.append((request.key, reason))
    desk.unwritten.set()


async def _exchange(desk: _Desk, request: Request) -> Answer | Retry | Failure:
    try:
        reply = await desk.wire.send(request.body)
    except WireError as error:
        return Retry(reason=f"{error.kind}: {error.detail}", charged=error.kind != "refused")
    return read(reply, desk.endpoint)


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
    while not desk.over or desk.answers or desk.failures:
        await desk.unwritten.wait()
        if not desk.over:
            await asyncio.sleep(GATHER)
            desk.unwritten.clear()
        answers, desk.answers = desk.answers, []
        failures, desk.failures = desk.failures, []
        if answers:
            await _on_disk(desk, partial(desk.writing.record, answers))
            if not desk.answers:
                desk.inbox.clear()
        if failures:
            await _on_disk(desk, partial(desk.writing.fail, failures))
        desk.tally.answered += len(answers)
        desk.tally.failed.update(reason for _, reason in failures)
        desk.busy.difference_update(key for key, _ in answers)


async def _on_disk(desk: _Desk, act: Callable[[], T]) -> T:
    async with desk.disk:
        return await asyncio.to_thread(act)


def priced(answer: Answer, price: Price | None, bound: float) -> Answer:
    """Return an answer with its cost: the most that it can be where the server does not say what it used."""
    if price is None:
        return answer
    if answer.stop is not Stop.REFUSED and not answer.tokens_in:
        return replace(answer, cost=bound)
    return replace(answer, cost=answer.tokens_in * price.input + answer.tokens_out * price.output)


def hidden(text: str, endpoint: EndpointSpec) -> str:
    """Return a server's words without the key, should it say it back."""
    key = os.environ.get(endpoint.key or "", "").strip()
    return text.replace(key, "[key]") if key else text


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of at most `size`, taking them as they are needed."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


@contextmanager
def _heard(desk: _Desk) -> Iterator[None]:
    """While it lasts, Ctrl-C and the signal to end stop the asking and lose nothing."""
    loop = asyncio.get_running_loop()
    known = []
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            continue
        try:
            loop.add_signal_handler(number, partial(desk.stop, None, int(number)))
        except (ValueError, RuntimeError):
            break  # Only the main thread hears signals.
        known.append(number)
    try:
        yield
    finally:
        for number in known:
            loop.remove_signal_handler(number)
