"""How near collecting comes to the ideal rate of a server that takes 50 ms an answer, and what memory it needs.

    python benchmarks/collect_rate.py [--requests-small 10000] [--requests-large 100000] [--concurrency 64]

The ideal is concurrency / latency. Each run is a process of its own; every answer is in the journal, on disk, before
it counts. The last line is JSON.
"""

import argparse
import asyncio
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LATENCY = 0.05
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "an answer " * 40}, "finish_reason": "stop"}
USAGE = {"prompt_tokens": 30, "completion_tokens": 80, "total_tokens": 110}
BODY = json.dumps(
    {"id": "c", "object": "chat.completion", "model": "m", "choices": [CHOICE], "usage": USAGE}
).encode()
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


class Server(asyncio.Protocol):
    """Answers every request with the same words, after the latency."""

    def connection_made(self, transport: Any) -> None:
        """Keep the line."""
        self.transport, self.read = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self.read += data
        while (end := self.read.find(b"\r\n\r\n")) >= 0:
            head = self.read[:end].lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            if len(self.read) < end + 4 + length:
                return
            self.read = self.read[end + 4 + length :]
            asyncio.get_running_loop().call_later(LATENCY, self.transport.write, REPLY)


def serve(port: Any) -> None:
    """Serve until the process is ended."""

    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


def collect(port: int, requests: int, concurrency: int) -> tuple[float, float]:
    """Ask so many queries; return requests a second and the peak memory in MB."""
    from veneer.models.model import Sampling
    from veneer.models.remote import RemoteModel
    from veneer.records import Message, Prompt
    from veneer.study_data import EndpointSpec, PriceSpec

    def prompts() -> Iterator[Prompt]:
        for number in range(requests):
            query = f"Question {number}: " + "what is to be said of this ? " * 10
            yield Prompt(prompt_id=str(number), messages=(Message(role="user", content=query),))

    endpoint = EndpointSpec(
        url=f"http://127.0.0.1:{port}/v1",
        model="m",
        concurrency=concurrency,
        price=PriceSpec(input=1, output=2),
    )
    with tempfile.TemporaryDirectory() as folder:
        model = RemoteModel(
            name="teacher", endpoint=endpoint, journal=Path(folder) / "journal.sqlite", cap=1e6
        )
        began = time.perf_counter()
        tally = model.ask(prompts(), Sampling(temperature=1.0, max_tokens=100))
        rate = requests / (time.perf_counter() - began)
    assert tally.answered == requests
    return rate, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests-small", dest="small", type=int, default=10_000)
    parser.add_argument("--requests-large", dest="large", type=int, default=100_000)
    parser.add_argument("--concurrency", type=int, default=64)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    port, ideal = ours.recv(), arguments.concurrency / LATENCY
    found = {}
    for requests in (arguments.small, arguments.large):
        with context.Pool(1) as pool:
            rate, peak = found[requests] = pool.apply(collect, (port, requests, arguments.concurrency))
        print(
            f"{requests:,} requests: {rate:,.0f}/s, {rate / ideal:.1%} of the ideal {ideal:,.0f}/s; {peak:.0f} MB"
        )
    server.terminate()
    figures = {
        "share_of_ideal_rate": round(found[arguments.large][0] / ideal, 4),
        "peak_mb_at_10k": round(found[arguments.small][1], 1),
        "peak_mb_at_100k": round(found[arguments.large][1], 1),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
