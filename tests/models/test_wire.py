"""One exchange: what is sent carries the key, what comes back comes whole, and a broken line is told apart."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from veneer.errors import ModelError
from veneer.models import wire
from veneer.models.wire import Reply, WireError, key_of, open_wire
from veneer.study_data import EndpointSpec

Handler = Callable[[bytes, bytes, asyncio.StreamWriter], Awaitable[None]]
BODY = {"model": "m", "messages": [{"role": "user", "content": "gr\u00fc\u00df dich"}]}
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("TEACHER_KEY", "secret-key")


def at(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1"


def exchanges(
    handler: Handler, times: int = 1, url: Callable[[int], str] = at, **settings: Any
) -> list[Reply]:
    """Return the replies of a server that treats each request as `handler` says.

    `url` makes the endpoint's address from the port that the server listens on.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                await handler(head, await reader.readexactly(length), writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def every() -> list[Reply]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        given = {"key": "TEACHER_KEY", "timeout": 5.0, **settings, "url": url(port)}
        line = await open_wire(EndpointSpec(model="m", **given))
        try:
            return [await line.send(BODY) for _ in range(times)]
        finally:
            await line.close()
            server.close()
            await asyncio.sleep(0.01)  # The server's side of the line closes too.

    return asyncio.run(every())


def answer(writer: asyncio.StreamWriter, body: bytes, status: str = "200 OK", more: str = "") -> None:
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body)


async def echo(head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
    answer(writer, head + body)


def test_the_body_arrives_as_it_was_given() -> None:
    (reply,) = exchanges(echo)
    head, _, body = reply.body.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1")
    assert json.loads(body) == BODY


def test_plain_completions_have_their_own_address() -> None:
    (reply,) = exchanges(echo, api="completions")
    assert reply.body.startswith(b"POST /v1/completions HTTP/1.1")


def test_the_key_and_the_clients_headers_are_sent_with_every_request() -> None:
    for reply in exchanges(echo, times=2):
        head = reply.body.lower()
        assert b"authorization: bearer secret-key" in head
        assert b"content-type: application/json" in head
        assert b"user-agent: asyncopenai" in head


def test_a_slash_at_the_end_of_the_address_changes_nothing() -> None:
    (reply,) = exchanges(echo, url=lambda port: at(port) + "/")
    assert reply.body.startswith(b"POST /v1/chat/completions HTTP/1.1")


def test_every_status_is_a_reply_and_header_names_are_lower_case() -> None:
    async def busy(head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        answer(writer, b"busy", "503 Busy", "Retry-After: 3\r\n")

    (reply,) = exchanges(busy)
    assert (reply.status, reply.body, reply.headers["retry-after"]) == (503, b"busy", "3")


def test_the_key_does_not_follow_a_redirect() -> None:
    paths = []

    async def elsewhere(head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        paths.append(head.split()[1])
        answer(writer, b"", "307 Moved", "Location: /other\r\n")

    (reply,) = exchanges(elsewhere)
    assert (reply.status, paths) == (307, [b"/v1/chat/completions"])


def test_cookies_are_not_kept() -> None:
    async def cookie(head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        answer(writer, head, more="Set-Cookie: a=b\r\n")

    assert b"cookie:" not in exchanges(cookie, times=2)[1].body.lower()


def test_a_long_body_comes_whole() -> None:
    async def long(head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        answer(writer, b"x" * 3_000_000)

    assert len(exchanges(long)[0].body) == 3_000_000


def test_a_body_that_is_too_long_is_no_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless(head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(50):
            writer.write(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
            await writer.drain()

    monkeypatch.setattr(wire, "MOST_BYTES", 20_000)
    with pytest.raises(WireError, match="longer than 20,000 bytes") as caught:
        exchanges(endless)
    assert caught.value.kind == "broken"


def test_a_server_that_is_silent_ends_in_a_timeout() -> None:
    async def silent(head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0)

    with pytest.raises(WireError) as caught:
        exchanges(silent, timeout=0.1)
    assert caught.value.kind == "timeout"


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", b"what?\r\n\r\n"])
def test_a_connection_that_breaks_off_is_broken(part: bytes) -> None:
    async def cut(head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(part)
        writer.close()

    with pytest.raises(WireError) as caught:
        exchanges(cut)
    assert caught.value.kind == "broken"


def test_a_server_that_is_not_there_refuses() -> None:
    with pytest.raises(WireError) as caught:
        exchanges(echo, url=lambda _: at(9))
    assert caught.value.kind == "refused"


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_the_environments_proxy_is_used_with_its_password(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    # Only the proxy listens: the server's address exists nowhere.
    def through(port: int) -> str:
        monkeypatch.setenv("http_proxy", f"{scheme}me:word@127.0.0.1:{port}")
        return "http://teacher.invalid/v1"

    for reply in exchanges(echo, times=2, url=through):
        assert reply.body.startswith(b"POST http://teacher.invalid/v1/chat/completions")
        assert b"Proxy-Authorization: Basic bWU6d29yZA==" in reply.body


def test_a_proxy_that_refuses_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        answer(writer, b"", status="407 Not You")
        writer.close()

    async def asked() -> None:
        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            monkeypatch.setenv("https_proxy", f"http://me:sesame@127.0.0.1:{port}")
            line = await open_wire(EndpointSpec(url="https://teacher.invalid/v1", model="m"))
            try:
                await line.send(BODY)
            finally:
                await line.close()

    with pytest.raises(WireError) as caught:
        asyncio.run(asked())
    assert caught.value.kind == "refused"
    assert "sesame" not in caught.value.detail


def test_a_host_that_the_environment_exempts_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert exchanges(echo)[0].status == 200


def test_a_netrc_file_does_not_take_the_keys_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password word\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert b"Bearer secret-key" in exchanges(echo)[0].body


def test_a_key_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEACHER_KEY")
    with pytest.raises(ModelError, match="TEACHER_KEY is not set"):
        key_of(EndpointSpec(url="http://localhost/v1", model="m", key="TEACHER_KEY"))


def test_a_key_with_a_line_break_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_KEY", "secret\nkey")
    with pytest.raises(ModelError, match="TEACHER_KEY holds") as caught:
        key_of(EndpointSpec(url="http://localhost/v1", model="m", key="TEACHER_KEY"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://host:port/v1", "http://host:99999", "https://[bad/v1", "http:///v1", "http://.../v1"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="an address is wanted"):
        EndpointSpec(url=url, model="m")


def test_a_slash_at_the_end_makes_no_other_endpoint() -> None:
    assert EndpointSpec(url="http://host/v1/", model="m") == EndpointSpec(url="http://host/v1", model="m")
