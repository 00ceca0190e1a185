"""Asks through the providers' Batch API: half the price, an answer within a day, and nothing paid for twice."""

import hashlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING

from veneer.errors import ModelError
from veneer.models.journal import Answer, Journal
from veneer.models.prices import Price, priced
from veneer.models.replies import Failure, Retry, clean, read
from veneer.models.request import Request, Tally, chunks
from veneer.models.wire import PATHS, Reply, key_of
from veneer.study_data import EndpointSpec

if TYPE_CHECKING:
    from pathlib import Path

    import openai
    from openai.types import Batch

MOST = 50_000
"""Requests in one batch: the providers' limit."""
MOST_BYTES = 150_000_000
"""Bytes of one batch; the providers allow 200 MB."""
POLL = 30.0
"""Seconds between two looks at a batch."""
PATIENCE = 20  # looks in a row without a reply
DOWNLOADS = 3  # tries at one file of results
UNDER_WAY = ("validating", "in_progress", "finalizing", "cancelling")
ENDED = ("completed", "failed", "expired", "cancelled")
AT_ONCE = 1000  # answers in one transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a request's line stands in the spool."""

    start: int
    size: int
    bound: float


@dataclass(slots=True, kw_only=True)
class _Desk:
    """Everything that one call shares; requests wait in a file, so that memory holds their keys alone."""

    client: "openai.OpenAI"
    endpoint: EndpointSpec
    price: Price | None
    journal: Journal
    sleep: Callable[[float], None]
    spool: IO[bytes]
    places: dict[str, _Place] = field(default_factory=dict)
    tried: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)
    """Why requests have no answer, as far as this call has heard."""
    refused: set[str] = field(default_factory=set)
    """Requests that the server will not have: not asked again in this call."""


@dataclass(slots=True, kw_only=True)
class _Haul:
    """What one batch brought, its answers apart."""

    keys: frozenset[str]
    reasons: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    free: set[str] = field(default_factory=set)
    """Requests without an answer that cost nothing."""
    fatal: str = ""
    """Why no request can succeed."""


def ask(
    requests: Iterable[Request],
    endpoint: EndpointSpec,
    price: Price | None,
    cap: float | None,
    path: "Path",
    journal: Journal,
    *,
    sleep: Callable[[float], None] = time.sleep,
    most_per_batch: int = MOST,
) -> Tally:
    """Ask every request that has no answer in the journal, in batches; what failed or expired is asked again.

    Batches that an earlier call left open are collected first. Before a batch is made its tag and requests are noted,
    and the tag travels with it: if the call ends before the batch's id is known, the next one finds it by the tag.
    Ctrl-C while waiting loses nothing. Why a request failed stands in `journal.failure`.

    Args:
        requests: Gone through once.
        endpoint: Whom to ask; a request is put into at most `tries` batches.
        price: What it charges, if that is known.
        cap: US dollars that all of the journal may cost; batches are made smaller to fit.
        path: The journal's file; not needed here.
        journal: The same, open.
        sleep: Waits so many seconds.
        most_per_batch: Requests in one batch.

    Returns:
        What became of the requests; `capped` where not even one more fits under the cap.

    Raises:
        ModelError: The provider refuses a batch, or cannot be reached, or no request can succeed.
    """
    del path
    import openai

    key = key_of(endpoint)
    with (
        tempfile.TemporaryFile() as spool,
        openai.OpenAI(base_url=endpoint.url, api_key=key, max_retries=2, timeout=endpoint.timeout) as client,
    ):
        desk = _Desk(client=client, endpoint=endpoint, price=price, journal=journal, sleep=sleep, spool=spool)
        tally = _take_in(desk, requests)
        try:
            for tag, batch in journal.open_batches():
                if tag.startswith(_mark(endpoint)):  # The journal may hold another endpoint's batches.
                    _collect(desk, tag, batch)
            tally.capped = _ask_all(desk, cap, most_per_batch)
        except openai.OpenAIError as error:
            # The key may stand in a server's words: the cause is not shown.
            raise ModelError(
                f"{endpoint.url}: the Batch API cannot be used ({clean(str(error), endpoint)}). Mend the endpoint, "
                "or leave `batch` out, and run again; all answers are kept, and batches under way collected then."
            ) from None
    for name in desk.places:
        if journal.has(name):
            tally.answered += 1
        elif name in desk.reasons:
            tally.failed[desk.reasons[name]] += 1
    return tally


def _take_in(desk: _Desk, requests: Iterable[Request]) -> Tally:
    """Write every request that has no answer to the spool, as a batch's line; count those that need none."""
    tally, start = Tally(), 0
    for request in requests:
        if request.key in desk.places:
            tally.twice += 1
            continue
        if desk.journal.has(request.key):
            tally.already += 1
            continue
        address = "/v1" + PATHS[desk.endpoint.api]
        row = {"custom_id": request.key, "method": "POST", "url": address, "body": request.body}
        # Half characters are replaced as they are in single requests; ASCII leaves no odd line ends in a line.
        whole = json.loads(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace"))
        line = json.dumps(whole).encode() + b"\n"
        desk.spool.write(line)
        desk.places[request.key] = _Place(start=start, size=len(line), bound=request.bound)
        start += len(line)
    return tally


def _ask_all(desk: _Desk, cap: float | None, most: int) -> bool:
    """Send and collect until nothing is left to ask; return whether the cap ended it."""
    while True:
        left = [
            key
            for key in desk.places
            if desk.tried[key] < desk.endpoint.tries and key not in desk.refused and not desk.journal.has(key)
        ]
        # All batches are sent before the first is waited for: each may take a day.
        sent = [_submit(desk, part) for part in _parts(desk, left, cap, most)]
        for tag, batch in sent:
            _collect(desk, tag, batch)
        if not sent:
            return bool(left)


def _parts(desk: _Desk, keys: Sequence[str], cap: float | None, most: int) -> Iterator[list[str]]:
    """Yield the requests that fit under the cap together, in parts that a provider takes as one batch."""
    spent = desk.journal.spent()
    room = None if cap is None else cap - spent.paid - spent.maybe
    part: list[str] = []
    size = 0
    for key in keys:
        place = desk.places[key]
        if room is not None:
            if place.bound > room:
                break
            room -= place.bound
        if part and (len(part) == most or size + place.size > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(key)
        size += place.size
    if part:
        yield part


def _submit(desk: _Desk, keys: Sequence[str]) -> tuple[str, str]:
    """Make a batch of requests; return its tag and its id."""
    import openai

    desk.tried.update(keys)
    tag = _tag(desk.endpoint, keys, max(desk.tried[key] for key in keys))
    with tempfile.TemporaryFile() as content:
        for key in keys:
            desk.spool.seek(desk.places[key].start)
            content.write(desk.spool.read(desk.places[key].size))
        content.seek(0)
        file = desk.client.files.create(file=(f"{tag}.jsonl", content), purpose="batch")
    desk.journal.add_batch(tag, keys, sum(desk.places[key].bound for key in keys))
    try:
        # The client must not send this again by itself: a batch whose reply was lost would be made, and paid, twice.
        made = desk.client.with_options(max_retries=0).batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions" if desk.endpoint.api == "chat" else "/v1/completions",
            completion_window="24h",
            metadata={"veneer": tag},
        )
        batch = made.id
    except openai.APIStatusError as error:
        if error.status_code < 500 and error.status_code not in (408, 409):
            desk.journal.close_batch(tag, "refused")
            raise
        batch = _found_later(desk, tag, error)
    except openai.APIConnectionError as error:
        batch = _found_later(desk, tag, error)
    desk.journal.submitted(tag, batch)
    return tag, batch


def _found_later(desk: _Desk, tag: str, error: "openai.OpenAIError") -> str:
    """Return the id of a batch that may have been made though the reply was an error; the next call looks again."""
    desk.sleep(POLL)
    batch = _found(desk.client, tag)
    if batch is None:
        raise error
    return batch


def _found(client: "openai.OpenAI", tag: str) -> str | None:
    """Return the id of the account's batch with this tag, if there is one."""
    return next(
        (one.id for one in client.batches.list(limit=100) if (one.metadata or {}).get("veneer") == tag), None
    )


def _collect(desk: _Desk, tag: str, batch: str | None) -> None:
    """Wait for a batch and take its answers down."""
    if batch is None:
        batch = _found(desk.client, tag)
        if batch is None:
            desk.journal.close_batch(tag, "never made")
            return
        desk.journal.submitted(tag, batch)
    state = _ended(desk, batch)
    haul = _Haul(keys=frozenset(desk.journal.keys_of(tag)))
    for file in (state.output_file_id, state.error_file_id):
        if file:
            _fetch(desk, file, haul)
    silent = f"the batch ended as {state.status} without an answer"
    missing = {key: haul.reasons.get(key, silent) for key in haul.keys if not desk.journal.has(key)}
    # A request that a completed batch says nothing readable about may have been paid for.
    lost = set(missing) - haul.free if state.status == "completed" else set()
    bounds = (desk.places[key].bound for key in lost if key in desk.places)
    desk.journal.fail(missing.items())
    desk.journal.charge(sum(bounds))
    desk.journal.close_batch(tag, state.status)
    desk.reasons.update(missing)
    desk.refused |= haul.refused
    if state.status == "failed":
        said = (
            "; ".join(str(one.message) for one in (state.errors.data or []))
            if state.errors
            else "no reason given"
        )
        raise ModelError(
            f"{desk.endpoint.url} refuses the batch {batch} ({clean(said, desk.endpoint)}). Mend what it names and "
            "run again; all answers are kept, and other batches under way collected then."
        )
    if haul.fatal:
        raise ModelError(haul.fatal)


def _ended(desk: _Desk, batch: str) -> "Batch":
    """Wait until a batch has ended, and return it."""
    import openai

    missed = 0
    while True:
        try:
            state = desk.client.batches.retrieve(batch)
        except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError):
            missed += 1
            if missed == PATIENCE:
                raise
        else:
            missed = 0
            if state.status in ENDED:
                return state
            if state.status not in UNDER_WAY:
                raise ModelError(
                    f"{desk.endpoint.url}: the batch {batch} is {state.status!r}; known are "
                    f"{', '.join((*UNDER_WAY, *ENDED))}. Look at it with the provider and run again."
                )
        desk.sleep(POLL)


def _fetch(desk: _Desk, file: str, haul: _Haul) -> None:
    """Take down all that a file of results holds; what was taken down before a break is not harmed by a second go."""
    import httpx
    import openai

    for left in reversed(range(DOWNLOADS)):
        try:
            for lines in chunks(_lines(desk.client, file), AT_ONCE):
                _take_down(desk, lines, haul)
        except openai.NotFoundError:
            if not left:
                return  # The provider does not keep it any more: its requests have no answer.
        except httpx.TransportError as error:
            if not left:
                raise ModelError(
                    f"{desk.endpoint.url}: the results {file} cannot be fetched ({clean(str(error), desk.endpoint)}). "
                    "They stay with the provider: run again."
                ) from None
        else:
            return
        desk.sleep(POLL)


def _lines(client: "openai.OpenAI", file: str) -> Iterator[bytes]:
    """Yield a file's lines as they come; only line feeds end them, for JSON may hold other line ends as they are."""
    rest = b""
    with client.files.with_streaming_response.content(file) as response:
        for piece in response.iter_bytes(2**16):
            *whole, rest = (rest + piece).split(b"\n")
            yield from (line for line in whole if line.strip())
    if rest.strip():
        yield rest


def _take_down(desk: _Desk, lines: Sequence[bytes], haul: _Haul) -> None:
    answers: list[tuple[str, Answer]] = []
    for line in lines:
        key, reply, failed = _parsed(line)
        if key not in haul.keys:
            continue  # Not one of this batch, or not to be read: its request is left without an answer.
        try:
            found = read(reply, desk.endpoint) if reply else Retry(reason=failed)
        except ModelError as error:
            haul.fatal = haul.fatal or clean(str(error), desk.endpoint)
            found = Retry(reason=str(error))
        if isinstance(found, Answer):
            place = desk.places.get(key)
            # A request of an earlier call has no known bound: its cost stays open if the server does not say it.
            known = desk.price if place or found.counted else None
            cost = priced(found, known, place.bound if place else 0.0).cost
            detail, model = clean(found.detail, desk.endpoint), clean(found.model, desk.endpoint)
            answers.append((key, replace(found, detail=detail, model=model, cost=cost)))
            continue
        haul.reasons[key] = clean(found.reason, desk.endpoint)
        if isinstance(found, Failure):
            haul.refused.add(key)
        if isinstance(found, Failure) or not found.charged:
            haul.free.add(key)
    desk.journal.record(answers)


def _parsed(line: bytes) -> tuple[str, Reply | None, str]:
    """Return the request of a line of results, the reply to it, and, where there is none, why."""
    try:
        row = json.loads(line)
        key, response, error = str(row["custom_id"]), row.get("response"), row.get("error")
        if not response:
            said = error.get("message") or error.get("code") if isinstance(error, dict) else error
            return key, None, str(said or "no response")
        # What cannot be taken for a reply is read as one without a body, which may have been paid for.
        whole = (
            isinstance(response, dict) and isinstance(response.get("status_code"), int) and "body" in response
        )
        body = json.dumps(response["body"]).encode() if whole else b""
        return key, Reply(status=response["status_code"] if whole else 200, headers={}, body=body), ""
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "", None, ""


def _mark(endpoint: EndpointSpec) -> str:
    """Return how the tags of an endpoint's batches begin."""
    whole = json.dumps([endpoint.url, endpoint.api, endpoint.model])
    return hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()[:12] + "-"


def _tag(endpoint: EndpointSpec, keys: Sequence[str], attempt: int) -> str:
    # The time keeps a later run's batch of the same requests apart from this one.
    whole = f"{' '.join(sorted(keys))} {attempt} {time.time_ns()}"
    return _mark(endpoint) + hashlib.sha256(whole.encode()).hexdigest()[:32]
