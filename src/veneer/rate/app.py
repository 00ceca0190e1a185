"""The raters' page: who comes is let in, shown what is theirs, and thanked once their vote is on disk."""

import json
from collections.abc import Mapping
from importlib.resources import files

from markupsafe import Markup
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from veneer import armour
from veneer.rate import guard, platforms
from veneer.rate.desk import Answer, Rater, View
from veneer.rate.guard import Refused
from veneer.rate.hall import Hall, address_of, cookie, hall_of, page, save
from veneer.rate.screening import OTHER
from veneer.rate.votes import Shown
from veneer.records import Verdict

COOKIE = "rater"
LONGEST_TEXT = 4000
"""Characters of a reason or a source."""
ASSETS = {"style.css": "text/css", "keys.js": "text/javascript"}
NOTHING_LEFT = (
    "All pairs have their ratings, or somebody is rating them just now: there is nothing left to do. Thank you for "
    "coming. If you came from a platform that pays, please return the task there."
)
CHOICES = {
    Verdict.FIRST: "A is better", Verdict.SECOND: "B is better", Verdict.TIE: "Both are equal",
    Verdict.NONE: "I cannot judge",
}  # fmt: skip
STYLE_CHOICES = {
    Verdict.FIRST: "A is better written", Verdict.SECOND: "B is better written", Verdict.TIE: "Both equally well",
    Verdict.NONE: "I cannot judge",
}  # fmt: skip
CORRECTNESS_CHOICES = {
    Verdict.FIRST: "A is more correct", Verdict.SECOND: "B is more correct", Verdict.TIE: "Both equally correct",
    Verdict.NONE: "I cannot judge",
}  # fmt: skip


def app(hall: Hall, more: list[Route]) -> Starlette:
    """Return the whole site.

    Args:
        hall: What all requests share.
        more: The owner's routes.
    """
    routes = [
        Route("/", _lost),
        Route("/start/{entry}", _welcome, methods=["GET"]),
        Route("/start/{entry}", _begin, methods=["POST"]),
        Route("/work", _work, methods=["GET"]),
        Route("/work", _vote, methods=["POST"]),
        Route("/static/{name}", _asset),
        Route("/favicon.ico", _icon),
        *more,
    ]
    platform = platforms.PLATFORMS[hall.spec.platform.kind]
    carried = armour.headers(scripts="'self'", forms=platform.forms, frames=platform.frames)
    site = Starlette(
        routes=routes,
        middleware=[Middleware(armour.Armour, carried=carried)],
        exception_handlers={Refused: _refused, HTTPException: _refused},
    )
    site.state.hall = hall
    return site


async def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, Refused):
        return page(hall_of(request), "message", error.status, said=error.said)
    assert isinstance(error, HTTPException)
    said = "There is nothing here. Please use the link that you were given."
    return page(hall_of(request), "message", error.status_code, said=said)


async def _lost(request: Request) -> Response:
    raise Refused(404, "Please use the link that you were given.")


async def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in ASSETS:
        raise HTTPException(404)
    content = (files("veneer.rate") / "static" / name).read_bytes()
    return Response(content, media_type=ASSETS[name], headers={"Cache-Control": "max-age=3600"})


async def _icon(request: Request) -> Response:
    return Response(status_code=204)


def _rater(request: Request) -> Rater | None:
    session = request.cookies.get(COOKIE, "")
    return hall_of(request).desk.rater_of(session) if session else None


def _visit(request: Request) -> platforms.Visit:
    """Return who comes by this link.

    Raises:
        Refused: Nobody is let in by it.
    """
    hall = hall_of(request)
    hall.visitors.check(address_of(request))
    entry = request.path_params["entry"]
    if hall.spec.platform.kind == "invitations" and entry in hall.invitations:
        return platforms.Visit(person=f"invitation {entry}", details={})
    if hall.spec.platform.kind == "invitations" or entry != hall.entry:
        raise Refused(404, "This link lets nobody in. Please use the link that you were given, whole.")
    found = platforms.visit(hall.spec.platform, request.query_params)
    if isinstance(found, str):
        raise Refused(400, found)
    return found


async def _welcome(request: Request) -> Response:
    hall, visit, rater = hall_of(request), _visit(request), _rater(request)
    known = rater and (visit.person is None or (visit.person, visit.details) == (rater.person, rater.details))
    if known and not visit.preview:
        return RedirectResponse(f"{hall.prefix}/work", 303)
    if not hall.desk.missing and not hall.desk.knows(visit.person):
        return page(hall, "message", said=NOTHING_LEFT)
    return page(
        hall,
        "welcome",
        consent=Markup(hall.wording.consent),  # noqa: S704
        instructions=Markup(hall.wording.instructions),  # noqa: S704
        pairs=hall.spec.per_rater,
        training=len(hall.desk.training),
        preview=visit.preview,
        mark=guard.mark(hall.key, _whose(request, visit)),
    )


def _whose(request: Request, visit: platforms.Visit) -> str:
    return json.dumps(["start", request.path_params["entry"], visit.person, dict(visit.details)])


async def _begin(request: Request) -> Response:
    hall, visit = hall_of(request), _visit(request)
    fields = await guard.read_form(request)
    guard.check_mark(fields, hall.key, _whose(request, visit))
    if visit.preview or fields.get("consent") != "yes":
        raise Refused(400, "Please go back and tick the box if you agree; without that nobody can take part.")
    rater = _rater(request)
    if rater is None or visit.person is not None:
        rater = hall.desk.enter(visit.person, visit.details, hall.clock())
    token = hall.desk.log_in(rater)
    hall.desk.view(rater, hall.clock())
    await save(hall)
    response = RedirectResponse(f"{hall.prefix}/work", 303)
    response.headers.append("Set-Cookie", cookie(hall, COOKIE, token, f"{hall.prefix}/"))
    return response


def _known_rater(request: Request) -> Rater:
    """Return who asks.

    Raises:
        Refused: Nobody who has begun, or somebody who asks too much.
    """
    rater = _rater(request)
    if rater is None:
        hall_of(request).visitors.check(address_of(request))
        raise Refused(403, "Please open the link that you were given: this page does not know you yet.")
    hall_of(request).guests.check(str(rater.number))
    return rater


async def _work(request: Request) -> Response:
    hall, rater = hall_of(request), _known_rater(request)
    view = hall.desk.view(rater, hall.clock())
    # Nobody is thanked before the last vote is on disk, even if it came by another tab a moment ago.
    if hall.desk.writes or view.kind == "done":
        await save(hall)
    return _shown(request, rater, view)


def _shown(
    request: Request, rater: Rater, view: View, status: int = 200, fields: Mapping[str, str] | None = None,
    said: str = "",
) -> Response:  # fmt: skip
    """Return the page of what a rater sees now; with what was sent and what is wrong with it, if so."""
    hall = hall_of(request)
    if view.shown is None:
        if not view.place:
            return page(hall, "message", said=NOTHING_LEFT)
        out = platforms.way_out(hall.spec.platform, rater.details)
        return page(hall, "done", pairs=view.place, out=out)
    prompt, first, second = _sides(hall, view.shown)
    ask = hall.spec.ask
    groups = [("verdict", "Which answer is better overall?", CHOICES, True)]
    if ask.style and view.kind == "pair":
        groups.append(("style", "Which answer is better written, whatever it says?", STYLE_CHOICES, False))
    if ask.correctness and view.kind == "pair":
        groups.append(("correctness", "Which answer is more correct?", CORRECTNESS_CHOICES, False))
    return page(
        hall,
        "pair",
        status,
        view=view,
        prompt=prompt,
        first=first,
        second=second,
        groups=groups,
        source=ask.correctness and view.kind == "pair",
        reason=ask.reason and view.kind == "pair",
        longest=LONGEST_TEXT,
        instructions=Markup(hall.wording.instructions),  # noqa: S704
        mark=guard.mark(hall.key, _session_of(request)),
        fields=fields or {},
        said=said,
    )


def _session_of(request: Request) -> str:
    return "work " + request.cookies.get(COOKIE, "")


def _sides(hall: Hall, shown: Shown) -> tuple[Markup, Markup, Markup]:
    """Return the prompt and what stands on the left and on the right."""
    if shown.kind == "match":
        first, second = (hall.texts[name, shown.prompt_id] for name in (shown.first, shown.second))
        return hall.prompts[shown.prompt_id], first, second
    prompt, first, second = hall.known[shown.kind, shown.prompt_id]
    return (prompt, second, first) if shown.first == OTHER else (prompt, first, second)


async def _vote(request: Request) -> Response:
    fields = await guard.read_form(request)
    # Asked for only now: while the form came in, the desk may have been made anew.
    hall, rater = hall_of(request), _known_rater(request)
    guard.check_mark(fields, hall.key, _session_of(request))
    now = hall.clock()
    view = hall.desk.view(rater, now)
    token = fields.get("pair", "")
    current = view.shown is not None and view.shown.token == token
    answer = _answer(hall, fields, training=view.kind == "training")
    if isinstance(answer, str):
        if hall.desk.writes:
            await save(hall)
        # What lacks an answer is asked again; an old form that lacks one is simply passed over.
        return _shown(request, rater, view, 422, fields, answer) if current else _on(hall)
    shown = hall.desk.vote(rater, token, answer, now)
    hall.desk.view(rater, now)
    await save(hall)
    known = hall.desk.knowledge_of(shown) if shown and shown.kind == "training" else None
    if known:
        said, wanted = CHOICES[answer.verdict], CHOICES[known.answer]
        return page(
            hall, "feedback", said=said, wanted=wanted, right=answer.verdict == known.answer, why=known.why
        )
    return _on(hall)


def _on(hall: Hall) -> Response:
    return RedirectResponse(f"{hall.prefix}/work", 303)


def _answer(hall: Hall, fields: Mapping[str, str], *, training: bool) -> Answer | str:
    """Return what a form says, or what is wrong with it."""
    ask = hall.spec.ask
    verdicts: dict[str, Verdict] = {}
    questions = [
        "verdict",
        *(name for name in ("style", "correctness") if getattr(ask, name) and not training),
    ]
    for name in questions:
        if fields.get(name) not in list(Verdict):
            return "Please choose one answer to every question."
        verdicts[name] = Verdict(fields[name])
    texts = {name: fields.get(name, "").strip() for name in ("source", "reason")}
    if long := [name for name, value in texts.items() if len(value) > LONGEST_TEXT]:
        return f"Please shorten the {long[0]} to {LONGEST_TEXT:,} characters."
    return Answer(
        verdict=verdicts["verdict"],
        style=verdicts.get("style"),
        correctness=verdicts.get("correctness"),
        source=texts["source"] if "correctness" in verdicts else "",
        reason=texts["reason"] if ask.reason and not training else "",
    )
