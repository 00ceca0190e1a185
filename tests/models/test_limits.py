"""Limits hold in every minute, pauses hold for everybody, and what servers say about waiting is understood."""

import asyncio
import math
import random
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.models.limits import Limits, limits_of, retry_after
from veneer.study_data import EndpointSpec


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        await asyncio.sleep(0)
        self.now = max(self.now, until)


def limits(
    time: Time, requests_per_minute: int | None = None, tokens_per_minute: int | None = None
) -> Limits:
    endpoint = EndpointSpec(
        url="http://localhost/v1",
        model="m",
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
    )
    return limits_of(endpoint, seed=0, clock=time.clock, sleep=time.sleep)


def sent(time: Time, which: Limits, sizes: list[int]) -> list[float]:
    """Return when each request was let through, in the order of asking."""

    async def one(size: int) -> float:
        await which.admit(size)
        return time.now

    async def every() -> list[float]:
        return await asyncio.gather(*[one(size) for size in sizes])

    return asyncio.run(every())


@given(st.integers(1, 5000), st.integers(1, 3))
def test_no_minute_holds_more_requests_than_allowed(per_minute: int, minutes: int) -> None:
    time = Time()
    count = min(per_minute * minutes + 1, 400)
    times = sent(time, limits(time, requests_per_minute=per_minute), [1] * count)
    within = [
        sum(start <= one < start + 60 - 1e-6 for one in times) for start in times[:: max(1, count // 20)]
    ]
    assert max(within) <= per_minute


@pytest.mark.parametrize("per_minute", [60, 600, 60_000])
def test_the_allowed_rate_is_used_up(per_minute: int) -> None:
    time = Time()
    times = sent(time, limits(time, requests_per_minute=per_minute), [1] * 300)
    assert times[-1] - times[0] <= 300 / (per_minute / 60) * 1.01


def test_tokens_are_counted_too() -> None:
    time = Time()
    times = sent(time, limits(time, requests_per_minute=6000, tokens_per_minute=6000), [500] * 13)
    assert times[-1] - times[0] == pytest.approx(60, rel=0.02)


def test_a_request_above_a_minute_of_tokens_still_passes() -> None:
    time = Time()
    times = sent(time, limits(time, tokens_per_minute=60), [600, 1])
    assert times[0] == 1000
    assert times[1] - times[0] == pytest.approx(600, rel=0.02)


def test_small_requests_do_not_overtake_a_large_one() -> None:
    time = Time()
    times = sent(time, limits(time, tokens_per_minute=6000), [1000, 5000, 1, 1])
    assert times == sorted(times)


def test_a_pause_holds_for_everybody() -> None:
    time = Time()
    which = limits(time)
    which.pause(7)
    which.pause(3)
    assert sent(time, which, [1, 1]) == [1007, 1007]


def test_a_pause_that_comes_while_waiting_holds_too() -> None:
    time = Time()
    which = limits(time, requests_per_minute=60)

    async def waiting() -> float:
        await which.admit(1)
        second = asyncio.ensure_future(which.admit(1))
        await asyncio.sleep(0)
        which.pause(30)
        await second
        return time.now

    assert asyncio.run(waiting()) == 1030


def test_no_pause_is_longer_than_an_hour() -> None:
    time = Time()
    which = limits(time)
    which.pause(1e9)
    assert sent(time, which, [1]) == [4600]


def test_without_limits_nobody_waits() -> None:
    time = Time()
    assert set(sent(time, limits(time), [10**6] * 50)) == {1000}


def test_what_ends_the_sleep_leaves_the_door_open() -> None:
    time = Time()
    which = limits(time, requests_per_minute=60)

    async def ended() -> None:
        await which.admit(1)
        patient = which.sleep
        which.sleep = broken
        with pytest.raises(InterruptedError):
            await which.admit(1)
        which.sleep = patient
        await which.admit(1)

    async def broken(seconds: float) -> None:
        raise InterruptedError(seconds)

    asyncio.run(ended())


@given(st.integers(0, 10**6), st.integers(0, 2**32))
def test_backoff_grows_and_never_passes_a_minute(attempt: int, seed: int) -> None:
    which = limits(Time())
    which.rng = random.Random(seed)
    assert 0 <= which.backoff(attempt) <= min(60.0, 2.0 ** min(attempt, 10))


def test_backoff_is_the_same_for_the_same_seed() -> None:
    assert [limits(Time()).backoff(3) for _ in range(2)] == [limits(Time()).backoff(3)] * 2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:27:00 GMT"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, 0.12),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1.5"}, 1.5),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "later"}, None),
        ({"x-ratelimit-remaining-tokens": "12", "x-ratelimit-reset-tokens": "1m"}, None),
    ],
)
def test_what_servers_say_about_waiting(headers: dict[str, str], seconds: float | None) -> None:
    found = retry_after(headers, now=1445412480.0)
    assert found == seconds if seconds is None else found == pytest.approx(seconds)


@given(st.datetimes(min_value=datetime(1970, 1, 2), timezones=st.just(UTC)))
def test_every_date_is_understood(date: datetime) -> None:
    date = date.replace(microsecond=0)
    found = retry_after({"retry-after": format_datetime(date, usegmt=True)}, now=date.timestamp() - 5)
    assert found == pytest.approx(5)


@given(
    st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "x-ratelimit-reset-tokens"]), st.text())
)
def test_no_header_breaks_it(headers: dict[str, str]) -> None:
    found = retry_after({**headers, "x-ratelimit-remaining-tokens": "0"}, now=0.0)
    assert found is None or (math.isfinite(found) and found > 0)
