"""Rate limits: how fast an endpoint may be asked, and how long to wait after it said no."""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from veneer.study_data import EndpointSpec

LONGEST_BACKOFF = 60.0
LONGEST_PAUSE = 3600.0
FIRST_BACKOFF = 1.0


@dataclass(slots=True, kw_only=True)
class _Bucket:
    """A token bucket: it fills at a steady rate, up to what a minute allows in ten seconds."""

    per_second: float
    size: float
    level: float
    at: float

    def wait(self, amount: float, now: float) -> float:
        """Return how long until so much may be taken, and take it if that is now."""
        self.level = min(self.size, self.level + (now - self.at) * self.per_second)
        self.at = now
        # A request larger than the bucket passes when the bucket is full, and leaves it in debt.
        needed = min(amount, self.size)
        if self.level >= needed - 1e-9:
            self.level -= amount
            return 0.0
        return (needed - self.level) / self.per_second


@dataclass(slots=True, kw_only=True)
class Limits:
    """The limits of one endpoint, shared by all that ask it."""

    rng: random.Random
    requests: _Bucket | None
    tokens: _Bucket | None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    until: float = field(default=0.0)

    async def admit(self, tokens: int) -> None:
        """Wait until one more request, of so many tokens at most, may be sent."""
        while (left := self.until - self.clock()) > 0:
            await self.sleep(left)
        for bucket, amount in ((self.requests, 1.0), (self.tokens, float(tokens))):
            while bucket and (left := bucket.wait(amount, self.clock())) > 0:
                await self.sleep(left)

    def pause(self, seconds: float) -> None:
        """Let nobody send for a while: the server asked for it."""
        self.until = max(self.until, self.clock() + min(seconds, LONGEST_PAUSE))

    def backoff(self, attempt: int) -> float:
        """Return how long to wait after the attempt of this number (from 0): exponential, with full jitter."""
        most = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(attempt, 10))
        return self.rng.uniform(most / 4, most)


def limits_of(endpoint: EndpointSpec, *, seed: int) -> Limits:
    """Return an endpoint's limits; the seed is of the jitter."""
    return Limits(
        rng=random.Random(seed),  # noqa: S311 (jitter is no secret)
        requests=_bucket(endpoint.requests_per_minute),
        tokens=_bucket(endpoint.tokens_per_minute),
    )


def _bucket(per_minute: int | None) -> _Bucket | None:
    if per_minute is None:
        return None
    size = max(1.0, per_minute / 6)
    return _Bucket(per_second=per_minute / 60, size=size, level=size, at=time.monotonic())


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return how many seconds a server wants to be left alone, if it says so.

    Args:
        headers: Names in lower case; `retry-after-ms`, then `retry-after` in seconds or as a date.
        now: The time as seconds since 1970, for dates.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if not value:
            continue
        try:
            seconds = float(value) * scale
        except ValueError:
            try:
                seconds = parsedate_to_datetime(value).timestamp() - now
            except (TypeError, ValueError):
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None
