"""What the tests of rating share: a small set of ballots, and raters who answer at once."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from veneer.rate.matches import Ballots, Match, Text
from veneer.rate.serve import Site, open_site
from veneer.study_rate import ExcludeSpec, PeopleSpec

LENIENT = ExcludeSpec(failed_attention=None, failed_gold=None, faster_than=None)


def people(**given: Any) -> PeopleSpec:
    """A section on people that excludes nobody unless told."""
    return PeopleSpec(**{"exclude": LENIENT, **given})


def ballots(
    prompts: int, challengers: Sequence[str] = ("small", "pupil"), opponent: str = "master"
) -> Ballots:
    """Everybody against the teacher on so many prompts."""
    ids = [f"p{number}" for number in range(prompts)]
    names = [*challengers, opponent]
    texts = {
        (name, one): Text(
            contestant=name,
            prompt_id=one,
            text=f"{one} as told by somebody: {hashlib.sha256(name.encode()).hexdigest()[:6]}",
            digest=hashlib.sha256(f"{name} {one}".encode()).hexdigest(),
        )
        for name in names
        for one in ids
    }
    return Ballots(
        key="key",
        prompts={one: f"Please tell of {one}." for one in ids},
        texts=texts,
        matches=tuple(
            Match(prompt_id=one, challenger=name, opponent=opponent) for one in ids for name in challengers
        ),
    )


class Visitor:
    """Somebody with a browser: follows links, fills in forms, keeps cookies."""

    def __init__(self, opened: Site) -> None:
        self.browser = TestClient(opened.site, base_url="http://127.0.0.1:8765", follow_redirects=True)
        self.link = opened.raters_link
        self.owners_link = opened.owners_link

    def begin(self, query: str = "") -> httpx2.Response:
        """Follow the raters' link, agree, and see the first page of work."""
        welcome = self.browser.get(self.link + query)
        return self.browser.post(self.link + query, data={**hidden(welcome.text), "consent": "yes"})

    def vote(self, seen: httpx2.Response, verdict: str = "first", **more: str) -> httpx2.Response:
        """Send a vote on what is seen, and see the next page."""
        return self.browser.post("/work", data={**hidden(seen.text), "verdict": verdict, **more})

    def finish(self, seen: httpx2.Response) -> httpx2.Response:
        """Vote until there is nothing left."""
        while 'name="pair"' in seen.text:
            seen = self.vote(seen)
        return seen


def hidden(html: str) -> dict[str, str]:
    """What a page's form carries unseen."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', html))


@pytest.fixture
def opening(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Opens a rating site on a file of votes; may be called again after `close`, as after a restart."""
    with ExitStack() as stack:

        def opened(asked: Ballots | None = None, **given: Any) -> Site:
            stack.pop_all().close()
            spec = people(**{"newcomers": 10_000, **given})
            path = tmp_path / "rating" / "votes.sqlite"
            return open_site(spec, asked or ballots(4), path, lambda cast: f"{len(cast)} verdicts", stack)

        yield opened
