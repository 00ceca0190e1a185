"""Five hundred raters at once on one server with SQLite, then once more with the server killed in the middle.

Raters are clients on loopback: each follows the link, agrees, reads for a while (drawn from an exponential
distribution) and votes, until nothing is left; one vote in ten is sent twice at once. The server is killed (SIGKILL)
when half of the votes are in, and started again; clients send again what was not answered. At the end the file of votes
is compared with what the server had thanked for.

    python benchmarks/rating_load.py [--raters 500] [--think 4] [--prompts 255] [--pairs 10]

The last line is JSON: `lost` are votes that were thanked for and are not on disk; `doubled` are ratings beyond the
three of a prompt and pair, and prompts that a rater voted on twice; `missing` are ratings that a prompt and pair lacks;
`p99_ms` is over all requests of the first run, the time until the answer is read.
"""

import argparse
import asyncio
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from veneer.rate import matches, people, serve, votes
from veneer.study_rate import ExcludeSpec, PeopleSpec

RATINGS = 3
NOBODY = ExcludeSpec(failed_attention=None, failed_gold=None, faster_than=None)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
WORDS = "the a of river bread because light often seven under glass reason morning letter".split()


@dataclass(slots=True)
class Tally:
    """What the clients saw."""

    thanked: set[str] = field(default_factory=set)
    times: list[float] = field(default_factory=list)
    again: int = 0
    """Requests that were sent again, since no answer came."""


def ballots(prompts: int, pairs: int) -> matches.Ballots:
    """Return ballots of ordinary length: a hundred to three hundred words, with lists and code."""
    rng = random.Random(0)  # noqa: S311

    def text() -> str:
        words = " ".join(rng.choices(WORDS, k=rng.randint(80, 260)))
        return f"### {words[:30]}\n\n{words}\n\n- one\n- two **three**\n\n```\n{words[:80]}\n```\n"

    ids = [f"prompt-{number}" for number in range(prompts)]
    names = [*(f"student-{number}" for number in range(pairs)), "teacher"]
    texts = {}
    for name in names:
        for one in ids:
            content = text()
            digest = hashlib.sha256(content.encode()).hexdigest()
            texts[name, one] = matches.Text(contestant=name, prompt_id=one, text=content, digest=digest)
    found = (
        matches.Match(prompt_id=one, challenger=name, opponent="teacher")
        for one in ids
        for name in names[:-1]
    )
    return matches.Ballots(key="load", prompts=dict.fromkeys(ids, text()), texts=texts, matches=tuple(found))


def spec_of(given: argparse.Namespace, port: int) -> PeopleSpec:
    """Return the section that is served."""
    return PeopleSpec(
        ratings=RATINGS, per_rater=given.per_rater, exclude=NOBODY, port=port, newcomers=10**6, timeout=10
    )


def started(given: argparse.Namespace, folder: Path, port: int) -> tuple[subprocess.Popen[str], str]:
    """Start a server in a process of its own, and return it with the raters' link."""
    command = [
        sys.executable, __file__, "--serve", str(folder), "--port", str(port), "--prompts", str(given.prompts),
        "--pairs", str(given.pairs), "--per-rater", str(given.per_rater),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.match(r"Raters: (\S+)", line):
            return process, found[1]
    raise SystemExit("the server did not start")


async def rate(link: str, number: int, think: float, tally: Tally, session: aiohttp.ClientSession) -> None:
    """Be one rater, from the link to the thanks."""
    rng = random.Random(number)  # noqa: S311
    jar: dict[str, str] = {}

    async def send(method: str, url: str, data: dict[str, str] | None = None) -> tuple[int, str]:
        while True:
            began = time.perf_counter()
            try:
                cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())}
                async with session.request(
                    method, url, data=data, headers=cookie, allow_redirects=False
                ) as answer:
                    text = await answer.text()
                    jar.update({name: one.value for name, one in answer.cookies.items()})
                    tally.times.append(time.perf_counter() - began)
                    if answer.status < 400 or answer.status == 422:
                        return answer.status, text
                    raise SystemExit(f"{method} {url}: {answer.status}: {text[-300:]}")
            except aiohttp.ClientError:
                tally.again += 1
                await asyncio.sleep(0.3 + rng.random())

    root = link.rsplit("/start/", 1)[0]
    await asyncio.sleep(rng.random() * think * 2)
    _, welcome = await send("GET", link)
    await send("POST", link, {**_hidden(welcome), "consent": "yes"})
    while True:
        _, seen = await send("GET", f"{root}/work")
        form = _hidden(seen)
        if "pair" not in form:
            return
        await asyncio.sleep(rng.expovariate(1 / think))
        form["verdict"] = rng.choice(("first", "second", "tie", "none"))
        sent = [send("POST", f"{root}/work", form) for _ in range(2 if rng.random() < 0.1 else 1)]
        for status, _ in await asyncio.gather(*sent):
            assert status == 303, status
        tally.thanked.add(form["pair"])


def _hidden(html: str) -> dict[str, str]:
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', html))


async def load(given: argparse.Namespace, folder: Path, *, kill: bool) -> Tally:
    """Let all raters loose on a server, and return what they saw."""
    tally = Tally()
    process, link = started(given, folder, 0)
    port = int(link.split(":")[2].split("/")[0])
    half = given.prompts * given.pairs * RATINGS // 2

    async def killer() -> None:
        nonlocal process
        while len(tally.thanked) < half:
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process, _ = await asyncio.to_thread(started, given, folder, port)

    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=20)
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
    ) as one:
        work = [rate(link, number, given.think, tally, one) for number in range(given.raters)]
        await asyncio.gather(*work, *([killer()] if kill else []))
    process.send_signal(signal.SIGINT)
    process.wait()
    return tally


def judged(given: argparse.Namespace, folder: Path, tally: Tally) -> dict[str, int]:
    """Compare what is on disk with what was thanked for."""
    past = votes.read(folder / "votes.sqlite")
    assert past is not None
    shown = {one.token: one for one in past.shown}
    kept = [one for one in people.casts(past, ballots(given.prompts, given.pairs)) if not one.excluded]
    filled = Counter((one.shown.prompt_id, *sorted((one.shown.first, one.shown.second))) for one in kept)
    seen = Counter((shown[one.token].rater, shown[one.token].prompt_id) for one in past.votes)
    total = given.prompts * given.pairs
    return {
        "votes": len(past.votes),
        "lost": len(tally.thanked - {one.token for one in past.votes}),
        "doubled": sum(max(0, many - RATINGS) for many in filled.values())
        + sum(many - 1 for many in seen.values()),
        "missing": RATINGS * (total - len(filled)) + sum(max(0, RATINGS - many) for many in filled.values()),
    }


def main() -> None:
    """Run both, and print what came out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--raters", type=int, default=500)
    parser.add_argument("--think", type=float, default=4.0, help="mean seconds between a page and its vote")
    parser.add_argument("--prompts", type=int, default=255)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--per-rater", type=int, default=20)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asked, path = ballots(given.prompts, given.pairs), given.serve / "votes.sqlite"
        spec = spec_of(given, given.port)
        with suppress(KeyboardInterrupt):
            serve.serve(spec, asked, path, lambda cast: "", lambda said: print(said, flush=True))
        return
    with tempfile.TemporaryDirectory() as name:
        first, second = Path(name) / "first", Path(name) / "second"
        began, busy = time.perf_counter(), os.getloadavg()[0]
        calm = asyncio.run(load(given, first, kill=False))
        seconds = time.perf_counter() - began
        calm_found = judged(given, first, calm)
        killed = asyncio.run(load(given, second, kill=True))
        killed_found = judged(given, second, killed)
    times = sorted(calm.times)
    print(
        f"{len(times):,} requests in {seconds:.0f} s; load average before {busy:.1f}, after {os.getloadavg()[0]:.1f}"
    )
    print(f"sent again after the kill: {killed.again:,} requests")
    result = {
        "raters": given.raters,
        "votes": calm_found["votes"],
        "lost": calm_found["lost"],
        "doubled": calm_found["doubled"],
        "missing": calm_found["missing"],
        "p50_ms": round(1000 * times[len(times) // 2], 1),
        "p99_ms": round(1000 * times[int(len(times) * 0.99)], 1),
        "lost_after_kill": killed_found["lost"],
        "doubled_after_kill": killed_found["doubled"],
        "missing_after_kill": killed_found["missing"],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
