"""A small OpenAI-compatible server on loopback, in a process of its own, that counts what it is asked."""

import asyncio
import json
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server listens, and the line by which it tells what it saw."""

    url: str
    line: Connection

    def seen(self) -> list[str]:
        """Return the last user message of every request so far, in the order of arrival."""
        self.line.send("seen")
        found: list[str] = self.line.recv()
        return found

    def sent(self) -> list[str]:
        """Return what was asked by every request whose reply was handed to the line whole, in that order."""
        self.line.send("sent")
        found: list[str] = self.line.recv()
        return found

    def most_at_once(self) -> int:
        """Return the largest number of requests that were in flight together."""
        self.line.send("most")
        found: int = self.line.recv()
        return found


@contextmanager
def serving(latency: float = 0.0) -> Iterator[Server]:
    """Yield a running server. What a request says decides how it ends: see `_reply`."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, latency), daemon=True)
    process.start()
    try:
        yield Server(f"http://127.0.0.1:{ours.recv()}/v1", ours)
    finally:
        process.kill()
        process.join()


def _serve(line: Connection, latency: float) -> None:
    seen: list[str] = []
    sent: list[str] = []
    flying = [0, 0]

    class Exchange(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.read = transport, b""

        def data_received(self, data: bytes) -> None:
            self.read += data
            while (end := self.read.find(b"\r\n\r\n")) >= 0:
                length = int(self.read[:end].lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                if len(self.read) < end + 4 + length:
                    return
                head, body = self.read[:end].decode(), json.loads(self.read[end + 4 : end + 4 + length])
                self.read = self.read[end + 4 + length :]
                said = body["messages"][-1]["content"]
                seen.append(said)
                flying[0] += 1
                flying[1] = max(flying)
                asyncio.get_running_loop().call_later(latency, self.answer, said, seen.count(said), head)

        def answer(self, said: str, times: int, head: str) -> None:
            flying[0] -= 1
            reply = _reply(said, times, head)
            if reply is None:
                self.transport.abort()
            else:
                self.transport.write(reply)
                if not self.transport.is_closing() and not self.transport.get_write_buffer_size():
                    sent.append(said)

    async def forever() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Exchange, "127.0.0.1", 0)
        line.send(server.sockets[0].getsockname()[1])

        def tell() -> None:
            told = {"seen": list(seen), "sent": list(sent), "most": flying[1]}
            line.send(told[line.recv()])

        loop.add_reader(line.fileno(), tell)
        await server.serve_forever()

    asyncio.run(forever())


def _reply(said: str, times: int, head: str) -> bytes | None:
    """Return what is sent back; None breaks the connection. `... once` goes wrong the first time only."""
    if said.endswith(" once") and times > 1:
        said = "fine"
    match said.removesuffix(" once"):
        case "429":
            return _http(429, {"error": {"message": "slow down"}}, "Retry-After: 0.2\r\n")
        case "500" | "503" as status:
            return _http(int(status), {"error": {"message": "busy"}})
        case said if said.endswith("too long"):
            return _http(400, {"error": {"message": "too long"}})
        case "400":
            return _http(400, {"error": {"message": "bad request"}})
        case "filtered":
            return _http(400, {"error": {"code": "content_filter", "message": "filtered"}})
        case "401":
            return _http(401, {"error": {"message": f"wrong key: {head.partition('Bearer ')[2].split()[0]}"}})
        case "model":
            return _http(404, {"error": {"code": "model_not_found", "message": "no such model"}})
        case "quota":
            return _http(429, {"error": {"code": "insufficient_quota", "message": "no money"}})
        case "cut":
            return None
        case "broken json":
            return _raw(200, b'{"choices": [{"mess')
        case "no choices":
            return _http(200, {"choices": []})
        case "slow":
            time.sleep(0.7)
    stops = {"length": "length", "content_filter": "content_filter", "tool": "tool_calls"}
    choice = {"message": {"content": said[::-1]}, "finish_reason": stops.get(said, "stop")}
    usage = {"prompt_tokens": 10, "completion_tokens": 20}
    return _http(200, {"model": "m-2026", "choices": [choice], "usage": usage})


def _http(status: int, body: Any, more: str = "") -> bytes:
    return _raw(status, json.dumps(body).encode(), more)


def _raw(status: int, body: bytes, more: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
