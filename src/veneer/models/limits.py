"""Rate limits: how fast an endpoint may be asked, and how long to wait after it said no."""

import asyncio
import math
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from veneer.study_data import EndpointSpec

LONGEST_BACKOFF = 60.0
LONGEST_PAUSE = 3600.0
FIRST_BACKOFF = 1.0
BURST = 1 / 600
"""What may be sent at one moment, as a share of a minute's limit: a tenth of a second's worth."""
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(slots=True, kw_only=True)
class _Bucket:
    """A token bucket: it fills at a steady rate up to its size, and what is sent is taken out of it."""

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
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    until: float = -math.inf
    """Nobody sends before this moment."""
    door: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One at a time and in order of arrival, so that small requests do not overtake a large one for ever."""

    async def admit(self, tokens: int) -> None:
        """Wait until one more request, of so many tokens at most, may be sent."""
        if not (self.requests or self.tokens):
            await self._paused()
            return
        async with self.door:
            for bucket, amount in ((self.requests, 1.0), (self.tokens, float(tokens))):
                while bucket and (left := bucket.wait(amount, self.clock())) > 0:
                    await self.sleep(left)
            await self._paused()

    async def _paused(self) -> None:
        while (left := self.until - self.clock()) > 0:
            await self.sleep(left)

    def pause(self, seconds: float) -> float:
        """Let nobody send for a while, an hour at most: the server asked for it. Return how long that is."""
        bounded = min(seconds, LONGEST_PAUSE)
        self.until = max(self.until, self.clock() + bounded)
        return bounded

    def backoff(self, attempt: int) -> float:
        """Return how many seconds to wait after the attempt of this number (from 0).

        Exponential with full jitter: a uniform draw between 0 and a bound that doubles (Brooker, "Exponential
        Backoff And Jitter", AWS Architecture Blog, 2015).
        """
        return self.rng.uniform(0.0, min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(attempt, 10)))


def limits_of(
    endpoint: EndpointSpec,
    *,
    seed: int,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Limits:
    """Return an endpoint's limits.

    Args:
        endpoint: Whose.
        seed: Of the jitter.
        clock: Seconds that never run backwards.
        sleep: Waits so many seconds by that clock; what it raises ends the waiting.
    """
    return Limits(
        rng=random.Random(seed),  # noqa: S311 (jitter is no secret)
        requests=_bucket(endpoint.requests_per_minute, clock()),
        tokens=_bucket(endpoint.tokens_per_minute, clock()),
        clock=clock,
        sleep=sleep,
    )


def _bucket(per_minute: int | None, now: float) -> _Bucket | None:
    """Return a full bucket that lets no more than the limit pass in any 60 seconds (single requests, or tokens).

    A window of 60 seconds holds less than the bucket's size plus what flows in, which is the limit plus 1.
    """
    if per_minute is None:
        return None
    size = max(1.0, per_minute * BURST)
    return _Bucket(per_second=(per_minute + 1 - size) / 60, size=size, level=size, at=now)


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return how many seconds a server wants to be left alone; None if it does not say, or means no time at all.

    Args:
        headers: Names in lower case. `retry-after-ms` counts first, then `retry-after` in seconds or as a date, then
            `x-ratelimit-reset-requests` and `-tokens` (such as 1m30s) where nothing is left of the two.
        now: The time as seconds since 1970, for dates.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _seconds(headers.get(name, "").strip(), scale, now)
        if seconds is not None:
            return seconds if seconds > 0 else None
    resets = [
        _duration(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}", "").strip() == "0"
    ]
    return max(resets, default=0.0) or None


def _seconds(value: str, scale: float, now: float) -> float | None:
    """Return a number or a date as seconds from now; None for anything else."""
    try:
        seconds = float(value) * scale
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (TypeError, ValueError, OverflowError):
            return None
    return seconds if math.isfinite(seconds) else None


def _duration(value: str) -> float:
    """Return `6m0s`, `120ms` or `1.5` as seconds; 0 for anything else."""
    value = value.strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        value += "s"
    if not re.fullmatch(r"([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+", value):
        return 0.0
    found = re.findall(r"([0-9.]+)(ms|s|m|h|d)", value)
    return float(sum(float(number) * UNITS[unit] for number, unit in found))
