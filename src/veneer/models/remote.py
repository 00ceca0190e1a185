"""A model behind an OpenAI-compatible endpoint: asked once, its answers kept in the study's journal."""

import fcntl
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veneer import disk
from veneer.errors import BudgetError, ModelError
from veneer.models import asking, batches
from veneer.models.flight import settle
from veneer.models.inbox import open_inbox
from veneer.models.journal import Journal, open_journal
from veneer.models.model import Sampling, cut
from veneer.models.prices import Price, price_of, upper_bound
from veneer.models.request import Request, Tally
from veneer.records import Completion, Prompt, Stop
from veneer.study_data import EndpointSpec

STOPS = 4
"""As many stop strings are sent, since OpenAI's endpoints refuse more; answers are cut at the others here."""
SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteModel:
    """An endpoint under a model's name."""

    name: str
    endpoint: EndpointSpec
    journal: Path
    """Where every request and its answer is kept."""
    cap: float | None
    """US dollars that all requests of the journal may cost together."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Completion]:
        """Answer every prompt, in order, samples of one prompt together; what was answered before is not asked again.

        Raises:
            ModelError: The endpoint cannot be used, or more requests failed than may.
            BudgetError: The cap would be passed.
        """
        self.ask(prompts, sampling)
        yield from self.recall(prompts, sampling)

    def ask(self, prompts: Iterable[Prompt], sampling: Sampling) -> Tally:
        """Ask what has no answer yet, and return what became of it; memory does not grow with the number of prompts.

        Raises:
            ModelError: The endpoint cannot be used, or more requests failed than may.
            BudgetError: The cap would be passed.
        """
        price = price_of(self.endpoint)
        if self.cap is not None and price is None:
            raise ModelError(
                f"{self.name}: no price is known for {self.endpoint.model!r} at {self.endpoint.url}, so that spend_cap "
                "cannot be kept. Name `price` in the endpoint, or leave spend_cap out."
            )
        taken = 0

        def each() -> Iterator[Request]:
            nonlocal taken
            for request in self.requests(prompts, sampling):
                taken += 1
                yield request

        requests = each()
        with _alone(self.journal), open_journal(self.journal) as journal:
            with open_inbox(self.journal, journal):
                # After the inbox is taken in: its answers were heard of, and are paid, not maybe.
                settle(self.journal, journal)
            given = (requests, self.endpoint, price, self.cap, self.journal, journal)
            if self.endpoint.batch:
                tally = batches.ask(*given)
            else:
                whole = len(prompts) * sampling.samples if isinstance(prompts, Sized) else 0
                tally = asking.ask(*given, spare=math.ceil(self.endpoint.may_fail * whole))
            heard_of = tally.already + tally.twice + tally.answered + sum(tally.failed.values())
            left = taken - heard_of + sum(not journal.has(one.key) for one in requests) if tally.capped else 0
            self._complain(tally, journal, left)
        return tally

    def requests(self, prompts: Iterable[Prompt], sampling: Sampling) -> Iterator[Request]:
        """Yield every request that the prompts are put as, with the most that it can cost where a price is known."""
        price = price_of(self.endpoint)
        return (self._request(prompt, sampling, sample, price) for prompt, sample in _each(prompts, sampling))

    def recall(self, prompts: Iterable[Prompt], sampling: Sampling) -> Iterator[Completion]:
        """Yield the answer of every prompt from the journal; `Stop.FAILED` and the reason where there is none."""
        with open_journal(self.journal) as journal:
            for prompt, sample in _each(prompts, sampling):
                yield self._recalled(journal, prompt, sampling, sample)

    def served(self, prompts: Iterable[Prompt], sampling: Sampling) -> Counter[str]:
        """Return the names (and fingerprints) under which the server answered, and how often each."""
        with open_journal(self.journal) as journal:
            found = (
                journal.find(self._request(prompt, sampling, sample, None).key)
                for prompt, sample in _each(prompts, sampling)
            )
            return Counter(answer.model for answer in found if answer)

    def _recalled(self, journal: Journal, prompt: Prompt, sampling: Sampling, sample: int) -> Completion:
        request = self._request(prompt, sampling, sample, None)
        answer = journal.find(request.key)
        put = request.body["messages"] if self.endpoint.api == "chat" else request.body["prompt"]
        completion = Completion(
            prompt_id=prompt.prompt_id,
            sample=sample,
            model=self.name,
            rendered=put if isinstance(put, str) else json.dumps(put, ensure_ascii=False),
            text=answer.text if answer else "",
            stop=answer.stop if answer else Stop.FAILED,
            detail=answer.detail if answer else journal.failure(request.key) or "not asked yet",
            tokens_in=answer.tokens_in if answer else 0,
            tokens_out=answer.tokens_out if answer else 0,
        )
        return cut(completion, sampling.stop)

    def _request(self, prompt: Prompt, sampling: Sampling, sample: int, price: Price | None) -> Request:
        endpoint = self.endpoint
        body: dict[str, Any] = {"model": endpoint.model, **_put(prompt, endpoint), **endpoint.extra}
        body["temperature"] = sampling.temperature
        body[endpoint.max_tokens_field] = sampling.max_tokens
        if sampling.stop:
            body["stop"] = list(sampling.stop[:STOPS])
        if endpoint.send_seed:
            body["seed"] = sampling.seed * 1_000_003 + prompt.draw * 1_009 + sample
        shaping = {
            "url": endpoint.url,
            "api": endpoint.api,
            "body": body,
            "sample": sample,
            "draw": prompt.draw,
            "seed": sampling.seed,
        }
        text = disk.canonical(shaping).encode("utf-8", "replace")
        bound = upper_bound(price, len(text), len(prompt.messages), sampling.max_tokens) if price else 0.0
        return Request(
            key=hashlib.sha256(text).hexdigest(),
            body=body,
            bound=bound,
            tokens=len(text) // 4 + sampling.max_tokens,
        )

    def _complain(self, tally: Tally, journal: Journal, left: int) -> None:
        if tally.capped:
            spent = journal.spent()
            raise BudgetError(
                f"{self.name}: spend_cap is ${self.cap:,.2f}; ${spent.paid:,.4f} are spent"
                + (
                    f", ${spent.maybe:,.4f} may be (attempts that broke off, or are under way)"
                    if spent.maybe
                    else ""
                )
                + f", and the next request could pass it. {left:,} requests are left. All answers are kept. "
                "Raise spend_cap and run again to go on."
            )
        failed = sum(tally.failed.values())
        asked = failed + tally.answered + tally.already
        # The product may be rounded below what it should be: 0.29 times 100 is less than 29.
        if asked and failed / asked > self.endpoint.may_fail:
            reasons = "; ".join(f"{count} x {reason}" for reason, count in tally.failed.most_common(5))
            raise ModelError(
                f"{self.name}: {failed:,} of {asked:,} requests have no answer ({reasons}). The others are kept: run "
                "again to ask these alone, or allow them with the endpoint's `may_fail`."
            )


def _each(prompts: Iterable[Prompt], sampling: Sampling) -> Iterator[tuple[Prompt, int]]:
    return ((prompt, sample) for prompt in prompts for sample in range(sampling.samples))


def _put(prompt: Prompt, endpoint: EndpointSpec) -> dict[str, Any]:
    """Return how a prompt is put: as messages, or as one text."""
    if endpoint.api == "chat":
        turns = [{"role": message.role, "content": message.content} for message in prompt.messages]
        return {"messages": turns or [{"role": "user", "content": prompt.text}]}
    if not prompt.messages:
        return {"prompt": prompt.text}
    lines = [f"{SPEAKERS[message.role]}: {message.content}" for message in prompt.messages]
    return {"prompt": "\n".join([*lines, "Assistant:"])}


@contextmanager
def _alone(journal: Path) -> Iterator[None]:
    """Hold the right to ask: one process at a time, so that limits and cap hold for the whole study."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.with_name(f".{journal.name}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
