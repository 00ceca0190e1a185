"""A real browser before a real server: Chromium under Playwright, where both are installed."""

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn

from veneer.rate.matches import Ballots, Match, Text
from veneer.rate.serve import Site

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def served(opened: Site) -> Iterator[str]:
    """Serve a site in a thread of its own, and give its address."""
    import socket

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = uvicorn.Config(opened.site, log_level="warning", access_log=False, server_header=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield address
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()


@contextmanager
def chromium() -> Iterator[Any]:
    """Start Chromium; skip the test, saying why, where it cannot be had."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        try:
            yield browser
        finally:
            browser.close()


def asked(prompts: dict[str, str], texts: dict[tuple[str, str], str], opponent: str = "master") -> Ballots:
    """Ballots of given words: (contestant, prompt's id) to what it wrote."""
    names = dict.fromkeys(name for name, _ in texts if name != opponent)
    return Ballots(
        key="key",
        prompts=prompts,
        texts={
            (name, one): Text(
                contestant=name, prompt_id=one, text=text, digest=hashlib.sha256(text.encode()).hexdigest()
            )
            for (name, one), text in texts.items()
        },
        matches=tuple(
            Match(prompt_id=one, challenger=name, opponent=opponent) for one in prompts for name in names
        ),
    )


Open = Callable[..., Site]
