"""A real server with many at once: raters, and an owner who looks all the while."""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from tests.rate.browsing import served
from tests.rate.conftest import ballots, hidden, people
from veneer.errors import DataError, StudyError
from veneer.rate import votes
from veneer.rate.people import casts
from veneer.rate.serve import Site, serve

Open = Callable[..., Site]


async def rater(address: str, link: str) -> None:
    async with httpx2.AsyncClient(base_url=address, follow_redirects=True) as browser:
        welcome = await browser.get(link)
        seen = await browser.post(link, data={**hidden(welcome.text), "consent": "yes"})
        while 'name="pair"' in seen.text:
            form = {**hidden(seen.text), "verdict": "first"}
            seen, _ = await asyncio.gather(browser.post("/work", data=form), browser.post("/work", data=form))


async def owner(address: str, link: str) -> None:
    async with httpx2.AsyncClient(base_url=address, follow_redirects=True) as browser:
        await browser.get(link)
        for _ in range(5):
            found = await asyncio.gather(
                *(browser.get("/owner") for _ in range(4)), browser.get("/owner/export/votes.csv")
            )
            assert [one.status_code for one in found] == [200] * 5


def test_raters_at_once_fill_every_match_and_no_more_while_the_owner_looks(
    opening: Open, tmp_path: Path
) -> None:
    asked = ballots(8)
    opened = opening(asked, ratings=2, per_rater=8)
    link, secret = (one.removeprefix(opened.hall.address) for one in (opened.raters_link, opened.owners_link))

    async def everybody(address: str) -> None:
        await asyncio.gather(*(rater(address, link) for _ in range(8)), owner(address, secret))

    with served(opened) as address:
        asyncio.run(everybody(address))
    past = votes.read(tmp_path / "rating" / "votes.sqlite")
    assert past is not None
    kept = [one for one in casts(past, asked) if not one.excluded]
    filled = Counter((one.shown.prompt_id, *sorted((one.shown.first, one.shown.second))) for one in kept)
    assert (len(past.votes), len(filled), set(filled.values())) == (32, 16, {2})
    assert max(Counter((one.shown.rater, one.shown.prompt_id) for one in kept).values()) == 1


def test_an_address_that_cannot_be_taken_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="256.256.256.256:8765 cannot be served"):
        serve(people(host="256.256.256.256"), ballots(1), tmp_path / "votes.sqlite", str, print)


def test_a_text_that_cannot_be_read_is_named(opening: Open, tmp_path: Path) -> None:
    consent = tmp_path / "consent.md"
    consent.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="consent.md: cannot be read"):
        opening(consent=consent)


def test_consent_and_instructions_are_the_studys(opening: Open, tmp_path: Path) -> None:
    consent, instructions = tmp_path / "consent.md", tmp_path / "instructions.md"
    consent.write_text("I **agree** to\nthis.")
    instructions.write_text("<b>Read</b>.")
    site = opening(consent=consent, instructions=instructions)
    assert site.hall.wording.consent == "<p>I <strong>agree</strong> to\nthis.</p>\n"
    assert "&lt;b&gt;" in site.hall.wording.instructions
    assert opening(host="::1").hall.address == "http://[::1]:8765"
