"""The owner's page: how the rating stands, links for people, the votes to take away; no win rates unless asked for."""

import csv
import hashlib
import hmac
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from veneer.disk import Row
from veneer.rate import guard, platforms, progress, votes
from veneer.rate.desk import Desk
from veneer.rate.guard import Refused
from veneer.rate.hall import Hall, address_of, cookie, hall_of, page, save
from veneer.rate.screening import OTHER, Known, passed
from veneer.rate.votes import History
from veneer.records import Verdict

COOKIE = "owner"
MOST_INVITATIONS = 1000
EXPORTS = ("votes.csv", "votes.parquet", "raters.csv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """What the owner's page needs beside what all pages share."""

    secret: str
    path: Path
    """The file of votes: every request reads it by a connection of its own, since several may come at once."""
    agree: progress.Agreement


def routes(office: Office) -> list[Route]:
    """Return the owner's routes."""

    def bound(answer: Callable[..., object]) -> Callable[..., object]:
        async def answered(request: Request) -> Response:
            hall = hall_of(request)
            _check_owner(office, request)
            found = await answer(office, hall, request)  # type: ignore[misc]
            assert isinstance(found, Response)
            return found

        return answered

    async def enter(request: Request) -> Response:
        hall = hall_of(request)
        hall.visitors.check(address_of(request))
        if not hmac.compare_digest(request.path_params["secret"].encode(), office.secret.encode()):
            raise Refused(404, "There is nothing here. Please use the link that you were given.")
        response = RedirectResponse(f"{hall.prefix}/owner", 303)
        response.headers.append("Set-Cookie", cookie(hall, COOKIE, _pass(office), f"{hall.prefix}/owner"))
        return response

    return [
        Route("/owner", bound(_overview), methods=["GET"]),
        Route("/owner/invite", bound(_invite), methods=["POST"]),
        Route("/owner/peek", bound(_peek), methods=["POST"]),
        Route("/owner/export/{name}", bound(_export), methods=["GET"]),
        Route("/owner/{secret}", enter, methods=["GET"]),
    ]


def _pass(office: Office) -> str:
    """Return what the owner's cookie holds: proof of the secret, not the secret."""
    return hashlib.sha256(f"owner {office.secret}".encode()).hexdigest()


def _check_owner(office: Office, request: Request) -> None:
    held = request.cookies.get(COOKIE, "")
    if not hmac.compare_digest(held.encode(), _pass(office).encode()):
        hall_of(request).visitors.check(address_of(request))
        raise Refused(404, "There is nothing here. Please use the link that you were given.")


async def _overview(office: Office, hall: Hall, request: Request) -> Response:
    past = await _past(office)
    return _page(office, hall, past, rates=None)


async def _past(office: Office) -> History:
    past = await run_in_threadpool(votes.read, office.path)
    assert past is not None, "the site has opened the file"
    return past


def _page(
    office: Office, hall: Hall, past: History, rates: Sequence[tuple[str, str, int, int, int]] | None
) -> Response:
    kind = hall.spec.platform.kind
    taken = {one.person: one for one in past.people}
    invitations = [
        (f"{hall.address}/start/{token}", taken.get(f"invitation {token}")) for token in past.invitations
    ]
    return page(
        hall,
        "owner",
        state=progress.state_of(hall.spec, hall.desk.ballots, past, passed_of(hall.desk, past), office.agree),
        spec=hall.spec,
        link="" if kind == "invitations" else raters_link(hall),
        invitations=invitations,
        rates=rates,
        mark=guard.mark(hall.key, COOKIE),
        exports=EXPORTS,
    )


def raters_link(hall: Hall) -> str:
    """Return the link that raters are given, as it is entered at the platform."""
    return f"{hall.address}/start/{hall.entry}" + platforms.PLATFORMS[hall.spec.platform.kind].link


def passed_of(desk: Desk, past: History) -> Callable[[str], bool | None]:
    """Return what tells whether the vote under a token passed its check."""
    shown = {one.token: one for one in past.shown}
    cast = {one.token: one for one in past.votes}
    known: dict[tuple[str, str], Known] = {
        (one.kind, one.item_id): one for one in (*desk.checks, *desk.training)
    }

    def found(token: str) -> bool | None:
        one = shown[token]
        item = known.get((one.kind, one.prompt_id))
        return passed(item, Verdict(cast[token].verdict), turned=one.first == OTHER) if item else None

    return found


async def _invite(office: Office, hall: Hall, request: Request) -> Response:
    fields = await guard.read_form(request)
    guard.check_mark(fields, hall.key, COOKIE)
    many = fields.get("many", "")
    if not many.isascii() or not many.isdigit() or not 1 <= int(many[:6]) <= MOST_INVITATIONS:
        raise Refused(422, f"How many links? A number from 1 to {MOST_INVITATIONS:,}, please.")
    if hall.spec.platform.kind != "invitations":
        raise Refused(
            422, "This study lets people in by one link; say `platform: {kind: invitations}` for many."
        )
    now = hall.clock()
    fresh = [votes.unguessable() for _ in range(int(many))]
    hall.desk.writes += [(votes.INVITE, (token, now)) for token in fresh]
    await save(hall)
    hall.invitations.update(fresh)
    return RedirectResponse(f"{hall.prefix}/owner", 303)


async def _peek(office: Office, hall: Hall, request: Request) -> Response:
    fields = await guard.read_form(request)
    guard.check_mark(fields, hall.key, COOKIE)
    hall.desk.writes.append((votes.PEEK, (hall.clock(),)))
    await save(hall)
    past = await _past(office)
    return _page(office, hall, past, rates=progress.win_rates(hall.desk.ballots, past))


async def _export(office: Office, hall: Hall, request: Request) -> Response:
    name = request.path_params["name"]
    if name not in EXPORTS:
        raise Refused(404, f"There is no such export; there are {', '.join(EXPORTS)}.")
    past = await _past(office)
    rows = progress.rater_rows if name == "raters.csv" else progress.vote_rows
    content = (parquet if name.endswith(".parquet") else comma_separated)(rows(past, hall.desk.ballots))
    kind = "application/vnd.apache.parquet" if name.endswith(".parquet") else "text/csv; charset=utf-8"
    return Response(
        content, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def comma_separated(rows: Sequence[Row]) -> bytes:
    """Return rows as CSV; a text that a spreadsheet would run as a formula gets an apostrophe before it."""
    if not rows:
        return b""
    written = io.StringIO()
    writer = csv.DictWriter(written, fieldnames=list(rows[0]))
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {
                name: f"'{value}"
                if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
                else value
                for name, value in row.items()
            }
        )
    return written.getvalue().encode("utf-8")


def parquet(rows: Sequence[Row]) -> bytes:
    """Return rows as a Parquet file."""
    written = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), written)
    return written.getvalue()
