"""One HTTP exchange with an endpoint, through the openai client.

The client gives the address, the authorisation and its usual headers; the bodies then travel over one aiohttp session
with these, as they do below the client's own aiohttp transport. The client's `create` builds and checks pydantic
models and an httpx request for each exchange, which costs several times what the exchange itself costs (measured on
one core of a busy machine: 410 requests a second; its raw `post` 797; the session alone 1,150 to 1,180, where the
server takes 50 ms and 64 requests are in flight, so that 1,280 is the ideal).

Settings that httpx would take from the environment are taken once: the proxy (HTTP_PROXY, HTTPS_PROXY, NO_PROXY) and
the certificates (SSL_CERT_FILE, SSL_CERT_DIR). A .netrc file is not read: the key is the study's own.
"""

import json
import os
import re
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
import httpx
import openai
from yarl import URL

from veneer.errors import ModelError
from veneer.study_data import EndpointSpec

MOST_BYTES = 2**25
"""The longest reply that is read; no answer of a language model comes near it."""
CONNECT = 30.0
"""Seconds until a connection that does not come about is given up."""
_JSON = json.JSONEncoder(ensure_ascii=False).encode
PATHS = {"chat": "/chat/completions", "completions": "/completions"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a server sent back."""

    status: int
    headers: Mapping[str, str]
    """Found by names in lower case."""
    body: bytes


class WireError(Exception):
    """Internal: there is no reply. Only a connection that was refused, by a proxy too, is sure to have cost nothing."""

    def __init__(self, kind: Literal["timeout", "refused", "broken"], detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


@dataclass(slots=True, kw_only=True)
class Wire:
    """An open line to an endpoint."""

    url: URL
    session: aiohttp.ClientSession
    """It adds the headers, the key among them."""

    async def send(self, body: dict[str, Any]) -> Reply:
        """Return the reply to one request, whatever its status.

        Raises:
            WireError: There is none.
        """
        data = _JSON(body).encode("utf-8", "replace")
        try:
            # No redirects: the key goes to the address of the study file and to no other.
            async with self.session.post(self.url, data=data, allow_redirects=False) as got:
                content = await _whole(got)
                return Reply(status=got.status, headers=got.headers, body=content)
        except (
            aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError,
        ) as error:  # fmt: skip
            raise WireError("refused", _said(error)) from error
        except TimeoutError as error:
            raise WireError("timeout", "no answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise WireError("broken", f"{type(error).__name__}: {_said(error)}") from error

    async def close(self) -> None:
        """Hang up."""
        await self.session.close()


def _said(error: Exception) -> str:
    """Return an error's words without a proxy's name and password, which may stand in an address."""
    return re.sub(r"//[^/\s]*@", "//", str(error))


async def _whole(got: aiohttp.ClientResponse) -> bytes:
    """Return the body; a body that has no end is cut off before it fills the memory."""
    parts, size = [], 0
    while part := await got.content.readany():
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            got.close()
            raise WireError("broken", f"the reply is longer than {MOST_BYTES:,} bytes")
    return b"".join(parts)


def key_of(endpoint: EndpointSpec) -> str:
    """Return the endpoint's key, from the environment; a placeholder where it needs none.

    Raises:
        ModelError: The variable is not set, or what it holds cannot be sent.
    """
    if endpoint.key is None:
        return "none"
    found = os.environ.get(endpoint.key, "").strip()
    if not found:
        raise ModelError(
            f"{endpoint.url}: the environment variable {endpoint.key} is not set; it must hold the key. Set it and "
            "run again."
        )
    if not (found.isascii() and found.isprintable()):
        raise ModelError(
            f"{endpoint.url}: the environment variable {endpoint.key} holds line breaks or other signs that no key "
            "has; only printable ASCII can be sent. Copy the key again."
        )
    return found


def client_of(endpoint: EndpointSpec) -> openai.AsyncOpenAI:
    """Return the openai client of an endpoint.

    Raises:
        ModelError: The key is missing.
    """
    return openai.AsyncOpenAI(
        base_url=endpoint.url, api_key=key_of(endpoint), max_retries=0, timeout=endpoint.timeout
    )


async def open_wire(endpoint: EndpointSpec) -> Wire:
    """Return an open line to an endpoint, with as many connections as it may have requests in flight.

    Raises:
        ModelError: The key is missing.
    """
    client = client_of(endpoint)
    address = str(client.base_url).rstrip("/") + PATHS[endpoint.api]
    given = {**client.default_headers, **client.auth_headers}
    await client.close()
    certificates = httpx.create_ssl_context() if address.startswith("https") else True
    session = aiohttp.ClientSession(
        headers={name: value for name, value in given.items() if isinstance(value, str)},
        connector=aiohttp.TCPConnector(limit=endpoint.concurrency, ssl=certificates),
        timeout=aiohttp.ClientTimeout(total=endpoint.timeout, sock_connect=min(CONNECT, endpoint.timeout)),
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=_proxy(address),
    )
    return Wire(url=URL(address), session=session)


def _proxy(address: str) -> URL | None:
    """Return the proxy that the environment names for an address."""
    parts = urlsplit(address)
    found = urllib.request.getproxies().get(parts.scheme)
    if not found or not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return None
    return URL(found if "://" in found else f"http://{found}")
