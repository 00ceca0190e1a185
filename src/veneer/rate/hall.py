"""What all pages of the rating site share: the desk, the texts as HTML, the templates, and waiting for the disk."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from veneer import safe_html
from veneer.rate.desk import Desk
from veneer.rate.guard import Limit, Refused
from veneer.rate.votes import Scribe
from veneer.study_rate import PeopleSpec

COOKIE_DAYS = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What the study says to raters, as HTML."""

    consent: str
    instructions: str


@dataclass(slots=True, kw_only=True, eq=False)
class Hall:
    """What all requests share."""

    spec: PeopleSpec
    desk: Desk
    scribe: Scribe
    reopen: Callable[[], Desk]
    """Makes the desk anew from what is on disk."""
    wording: Wording
    key: str
    """Signs forms."""
    entry: str
    """The secret in the raters' link."""
    invitations: set[str]
    """The secrets in invitation links."""
    clock: Callable[[], float] = time.time
    texts: Mapping[tuple[str, str], Markup]
    """Completions as HTML, all made before the doors open: how long a page takes tells nothing of who wrote it."""
    prompts: Mapping[str, Markup]
    known: Mapping[tuple[str, str], tuple[Markup, Markup, Markup]]
    """Checks and training items by kind and id: prompt, first and second text."""
    visitors: Limit
    """Of one network address, before it is known who comes."""
    guests: Limit
    """Of one rater."""
    generation: int = 0
    """Counts the desks: what an earlier one wanted to write after a failure is not written."""

    @property
    def prefix(self) -> str:
        """What stands before every path, where a proxy serves the page below a folder."""
        return urlsplit(self.spec.url or "").path.rstrip("/")

    @property
    def address(self) -> str:
        """How raters reach the page."""
        host = f"[{self.spec.host}]" if ":" in self.spec.host else self.spec.host
        return (self.spec.url or f"http://{host}:{self.spec.port}").rstrip("/")


def rendered(desk: Desk) -> dict[str, Any]:
    """Return all completions, prompts, checks and training items as safe HTML: the fields of `Hall` for them."""

    def safe(text: str) -> Markup:
        return Markup(safe_html.render(text))  # noqa: S704

    return {
        "texts": {place: safe(one.text) for place, one in desk.ballots.texts.items()},
        "prompts": {name: safe(one) for name, one in desk.ballots.prompts.items()},
        "known": {
            (one.kind, one.item_id): (safe(one.prompt), safe(one.first), safe(one.second))
            for one in (*desk.checks, *desk.training)
        },
    }


_PAGES = jinja2.Environment(
    loader=jinja2.PackageLoader("veneer.rate"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def page(hall: Hall, name: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return one of the templates, filled."""
    shared = {"title": hall.spec.title, "prefix": hall.prefix}
    return HTMLResponse(_PAGES.get_template(f"{name}.html.jinja").render({**shared, **values}), status)


def hall_of(request: Request) -> Hall:
    """Return what all requests share."""
    found = request.app.state.hall
    assert isinstance(found, Hall)
    return found


async def save(hall: Hall) -> None:
    """Wait until all that has happened so far is on disk.

    Raises:
        Refused: It could not be written; the desk is as it was before.
    """
    generation, writes = hall.generation, hall.desk.writes
    hall.desk.writes = []
    loop = asyncio.get_running_loop()
    told: asyncio.Future[str] = loop.create_future()

    def tell(failed: str) -> None:
        loop.call_soon_threadsafe(told.set_result, failed)

    hall.scribe.write(writes, tell, generation)
    if await told:
        if hall.generation == generation:
            hall.generation += 1
            hall.desk = hall.reopen()
        raise Refused(503, "Your answer could not be saved. Please go back and send it again in a minute.")


def address_of(request: Request) -> str:
    """Return the network address that a request comes from."""
    return request.client.host if request.client else "unknown"


def cookie(hall: Hall, name: str, value: str, path: str) -> str:
    """Return a Set-Cookie line: no script reads it, no other site sends it, but for MTurk's frame."""
    secure = "; Secure" if hall.address.startswith("https://") else ""
    # Within MTurk's frame the page is a third party, whose cookie must say that it means to be one.
    same = "None; Secure; Partitioned" if hall.spec.platform.kind == "mturk" else "Lax" + secure
    return f"{name}={value}; Path={path}; Max-Age={COOKIE_DAYS * 86400}; HttpOnly; SameSite={same}"
