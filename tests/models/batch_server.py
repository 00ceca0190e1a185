"""A provider's Batch API on loopback: it does what a test's script says and counts what was asked."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Row = dict[str, Any]


def answered(key: str, text: str) -> Row:
    """A line of results that holds an answer."""
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    body = {"model": "m-1", "choices": [choice], "usage": usage}
    return {"id": "r", "custom_id": key, "response": {"status_code": 200, "body": body}, "error": None}


def refused(key: str, status: int, code: str = "server_error") -> Row:
    """A line of errors: the request came back with this status."""
    body = {"error": {"message": f"went wrong: {code}", "code": code}}
    return {"id": "r", "custom_id": key, "response": {"status_code": status, "body": body}, "error": None}


def expired(key: str) -> Row:
    """A line of errors: the request was not come to in time."""
    error = {"code": "batch_expired", "message": "not executed in time"}
    return {"id": "r", "custom_id": key, "response": None, "error": error}


@dataclass
class Provider:
    """What the provider holds, and how it behaves."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, Row] = field(default_factory=dict)
    executed: Counter[str] = field(default_factory=Counter)
    """Question to the number of batches that it was in."""
    sizes: list[int] = field(default_factory=list)
    """Requests of every batch, in order of creation."""
    looks: int = 0
    say: Callable[[str, str, int], Row | bytes | None] = lambda key, question, _: answered(
        key, f"A {question}"
    )
    """(key, question, how often it was asked) to its line of results; None says nothing of it."""
    end: Callable[[int], str] = lambda _: "completed"
    """The number of a batch to how it ends."""
    make: Callable[[int], int] = lambda _: 200
    """The number of a batch to the status of the reply that follows its creation; 4xx makes none."""
    looked: Callable[[int], int] = lambda _: 200
    """The number of a look at a batch to the status of the reply."""
    keeps: Callable[[str], bool] = lambda _: True
    """Whether a file of results is still there."""

    def create(self, asked: Row) -> tuple[int, Row]:
        status = self.make(len(self.batches))
        if 400 <= status < 500:
            return status, {"error": {"message": "no such thing", "code": "bad"}}
        name = f"batch_{len(self.batches)}"
        self.batches[name] = {
            "id": name, "object": "batch", "status": "validating", "created_at": 1, **asked,
        }  # fmt: skip
        lines = self.files[asked["input_file_id"]].splitlines()
        self.sizes.append(len(lines))
        return status, self.batches[name] if status == 200 else {"error": {"message": "lost"}}

    def look(self, name: str) -> tuple[int, Row]:
        self.looks += 1
        status = self.looked(self.looks)
        if status != 200:
            return status, {"error": {"message": "busy"}}
        batch = self.batches[name]
        if batch["status"] == "validating":
            batch["status"] = "in_progress"
        elif batch["status"] == "in_progress":
            self._finish(name, batch)
        return 200, batch

    def _finish(self, name: str, batch: Row) -> None:
        batch["status"] = self.end(list(self.batches).index(name))
        if batch["status"] == "failed":
            batch["errors"] = {
                "object": "list",
                "data": [{"message": "line 1 is not to my liking", "line": 1}],
            }
            return
        good: list[bytes] = []
        bad: list[bytes] = []
        for line in self.files[batch["input_file_id"]].splitlines():
            row = json.loads(line)
            assert row["url"] == batch["endpoint"]
            question = row["body"]["messages"][-1]["content"]
            self.executed[question] += 1
            said = self.say(row["custom_id"], question, self.executed[question])
            if isinstance(said, dict):
                fine = (said.get("response") or {}).get("status_code") == 200
                # As it is: JSON may hold line ends of other kinds than line feeds.
                (good if fine else bad).append(json.dumps(said, ensure_ascii=False).encode())
            elif said is not None:
                good.append(said)
        for role, lines in (("output_file_id", good), ("error_file_id", bad)):
            if lines:
                self.files[f"{name}_{role}"] = b"\n".join(lines) + b"\n"
                batch[role] = f"{name}_{role}"

    def listed(self, after: str | None) -> Row:
        names = list(reversed(self.batches))
        start = names.index(after) + 1 if after else 0
        page = names[start : start + 2]
        return {
            "object": "list",
            "data": [self.batches[name] for name in page],
            "has_more": start + 2 < len(names),
            "last_id": page[-1] if page else None,
        }


class _Handler(BaseHTTPRequestHandler):
    provider: Provider
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        parts = place.path.split("/")[2:]
        if parts == ["batches"]:
            self._reply(200, self.provider.listed(parse_qs(place.query).get("after", [None])[0]))
        elif parts[0] == "batches":
            self._reply(*self.provider.look(parts[1]))
        elif self.provider.keeps(parts[1]) and parts[1] in self.provider.files:
            self._send(200, self.provider.files[parts[1]])
        else:
            self._reply(404, {"error": {"message": "no such file"}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/files"):
            edge = b"--" + self.headers["Content-Type"].split("boundary=")[1].encode()
            part = next(part for part in body.split(edge) if b'name="file"' in part)
            name = f"file_{len(self.provider.files)}"
            self.provider.files[name] = part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
            self._reply(200, {"id": name, "object": "file", "filename": "f", "bytes": 1, "created_at": 1})
        else:
            self._reply(*self.provider.create(json.loads(body)))

    def _reply(self, status: int, body: Row) -> None:
        self._send(status, json.dumps(body).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def provider() -> Iterator[Provider]:
    """A running provider."""
    mine = Provider()
    handler = type("Handler", (_Handler,), {"provider": mine})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        mine.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield mine
        finally:
            server.shutdown()
            thread.join()
