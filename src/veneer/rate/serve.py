"""Opens the doors of the rating site: reads what lies on disk, makes every text ready, serves until told to stop."""

import socket
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from veneer import safe_html
from veneer.errors import DataError, StudyError
from veneer.rate import owner, people, progress, screening, votes
from veneer.rate.app import app
from veneer.rate.desk import Desk
from veneer.rate.guard import Limit
from veneer.rate.hall import Hall, Wording, rendered
from veneer.rate.matches import Ballots
from veneer.rate.votes import Scribe
from veneer.study_rate import PeopleSpec

CONSENT = """\
We study how people judge texts. If you take part, your choices are saved without your name and used for research;
they may be published in that form. You may stop at any time by closing the page. Some answers were written by computer
programs and may be wrong or unpleasant.
"""
INSTRUCTIONS = """\
You will see a request and two answers to it, A and B. Read both in full, then say which one answers the request better,
all things considered: whether it is right, whether it does what was asked, and how well it is written. You may look
things up. If you find no difference, choose "Both are equal"; if you cannot tell, say so.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A site that is ready to be served."""

    site: Starlette
    hall: Hall
    raters_link: str
    """Empty where every person has a link of their own."""
    owners_link: str


def open_site(
    spec: PeopleSpec, ballots: Ballots, path: Path, agree: progress.Agreement, stack: ExitStack
) -> Site:
    """Return a rating site over a file of votes.

    Args:
        spec: The section of the study.
        ballots: What is to be compared.
        path: The file of votes; made if need be.
        agree: Says how far raters agree.
        stack: Closes what was opened.

    Raises:
        StoreError: The file of votes is damaged, or served by another process.
        StudyError: The study asks or excludes otherwise than when the first vote was cast, or a text cannot be read.
        DataError: A check or training item is malformed.
    """
    checks = screening.read_checks(spec.checks) if spec.checks else ()
    training = screening.read_training(spec.training) if spec.training else ()
    wording = Wording(
        consent=safe_html.render(_text(spec.consent, CONSENT), breaks=False),
        instructions=safe_html.render(_text(spec.instructions, INSTRUCTIONS), breaks=False),
    )
    stack.enter_context(votes.alone(path))
    base = stack.enter_context(closing(votes.connect(path)))
    past = votes.history(base)
    people.check_fixed(spec, past, path)
    base.execute(votes.FIX, (people.fixed(spec),))

    def desk() -> Desk:
        return Desk(spec, ballots, checks=checks, training=training, past=votes.read(path))

    first = desk()
    entry, secret = votes.setting(base, "entry"), votes.setting(base, "owner")
    key = votes.setting(base, "key")
    scribe = stack.enter_context(closing(Scribe(base)))
    hall = Hall(
        spec=spec,
        desk=first,
        scribe=scribe,
        reopen=desk,
        wording=wording,
        key=key,
        entry=entry,
        invitations=set(past.invitations),
        **rendered(first),
        visitors=Limit(burst=4.0 * spec.newcomers, per_second=4 * spec.newcomers / 60),
        guests=Limit(burst=40, per_second=4),
    )
    office = owner.Office(secret=secret, path=path, agree=agree)
    asks = spec.platform.kind != "invitations"
    return Site(
        site=app(hall, owner.routes(office)),
        hall=hall,
        raters_link=owner.raters_link(hall) if asks else "",
        owners_link=f"{hall.address}/owner/{secret}",
    )


def serve(
    spec: PeopleSpec, ballots: Ballots, path: Path, agree: progress.Agreement, say: Callable[[str], None]
) -> None:
    """Serve a rating site until interrupted.

    Args:
        spec: The section of the study.
        ballots: What is to be compared.
        path: The file of votes; made if need be.
        agree: Says how far raters agree.
        say: Is told the links.

    Raises:
        StudyError: The address cannot be taken; and as `open_site` does.
    """
    with ExitStack() as stack:
        listening = stack.enter_context(closing(_listen(spec)))
        spec = spec.model_copy(update={"port": listening.getsockname()[1]})
        opened = open_site(spec, ballots, path, agree, stack)
        say(
            f"{len(ballots.matches):,} matches, {spec.ratings} ratings each; {opened.hall.desk.missing:,} are missing."
        )
        say(f"Raters: {opened.raters_link or 'one link a person, made on your page'}")
        say(f"You:    {opened.owners_link}")
        say(f"Votes:  {path}. Ctrl-C stops; the same command goes on.")
        config = uvicorn.Config(
            opened.site,
            log_level="warning",
            # Links hold secrets and what platforms call people: they go into no log.
            access_log=False,
            server_header=False,
            timeout_keep_alive=30,
            backlog=2048,
            h11_max_incomplete_event_size=16 * 1024,
        )
        uvicorn.Server(config).run(sockets=[listening])


def _listen(spec: PeopleSpec) -> socket.socket:
    family = socket.AF_INET6 if ":" in spec.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((spec.host, spec.port))
    except OSError as error:
        listening.close()
        raise StudyError(
            f"rate.people: {spec.host}:{spec.port} cannot be served ({error}). Name another `port`, or 0 for any."
        ) from error
    return listening


def _text(path: Path | None, usual: str) -> str:
    if path is None:
        return usual
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}). A Markdown text in UTF-8 is wanted.") from error
