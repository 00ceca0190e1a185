"""The pages of `veneer view`: a study's report, and every item with what contestants wrote; nothing is changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from veneer import armour, disk
from veneer.benchmarks.items import PROMPTS
from veneer.errors import StoreError
from veneer.report import markup, sentences
from veneer.report.page import TEMPLATES
from veneer.report.pick import FORMS
from veneer.report.shown import read as read_report
from veneer.report.view_book import Book, Unit, Writing
from veneer.report.view_pick import marker
from veneer.report.view_state import FLUENT, GRADINGS, PATTERNS, READINGS, SUPPORT, Lost, State, read
from veneer.report.view_words import compared, formatted, written

PAGES = Path(__file__).with_name("view_pages")
ROWS = 25
"""Items on one page."""
SHORT, BRIEF = 300, 120
"""Characters of a question and of an answer where items are listed."""
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
"""The report brings its own styles within the page, and nothing in it runs."""
KINDS = {".html": "text/html", ".csv": "text/csv", ".svg": "image/svg+xml", ".json": "application/json"}
WAY_BACK = """\
<body>
<nav aria-label="Study"><ul><li><a href="../">Overview</a></li><li><a href="../items">Items</a></li></ul></nav>"""
COUNTED = ("behind", "fluent", "gained", "lost", "reached", "ahead", "nobody", "format", "unread")
"""The patterns that the overview counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What all requests share."""

    book: Book
    report: Path | None
    """The folder of the report; None where it is not made yet."""
    told: Mapping[str, Any]
    """What the overview says of the report: its headline, five answers and figures; empty without one."""

    def state(self, request: Request) -> State:
        """Return what an address says.

        Raises:
            Lost: It says what cannot be.
        """
        return read(
            request.query_params.multi_items(),
            contestants=self.book.contestants,
            students=self.book.students,
            benchmarks=[benchmark for benchmark, _ in self.book.kinds],
            forms=[form for _, form in self.book.kinds],
        )


def app(book: Book, report: Path | None, hosts: Sequence[str]) -> Starlette:
    """Return the site.

    Args:
        book: The opened index.
        report: The folder of the report; None where it is not made yet.
        hosts: The names under which it may be asked for; others could be a web site that points its own name here.
    """
    site = Starlette(
        routes=[
            Route("/", _overview),
            Route("/items", _items),
            Route("/item", _item),
            Route("/report", _to_report),
            Route("/report/{name:path}", _report),
            Route("/style.css", _style),
            Route("/favicon.ico", _icon),
        ],
        middleware=[
            Middleware(armour.Armour, carried=armour.headers()),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
        ],
        exception_handlers={Lost: _lost, HTTPException: _lost, StoreError: _lost},
    )
    for name in _ENVIRONMENT.list_templates(extensions=["jinja"]):
        _ENVIRONMENT.get_template(name)  # Read now, so that nobody waits for it.
    site.state.desk = Desk(book=book, report=report, told=_told(report) if report else {})
    return site


def _told(report: Path) -> dict[str, Any]:
    data = read_report(disk.read_json(report / "report.json"))
    wrong = report / "confident_wrong.jsonl"
    many = sum(1 for _ in disk.read_rows(wrong)) if wrong.exists() else 0
    return {
        "headline": sentences.headline(data),
        "answers": sentences.five_answers(data, many),
        "figures": sorted(path.stem for path in (report / "figures").glob("*.svg")),
        "tables": sorted(path.stem for path in (report / "tables").glob("*.csv")),
    }


async def _lost(request: Request, error: Exception) -> Response:
    if isinstance(error, Lost):
        return _page(request, "lost", State(), 404, said=error.said)
    if isinstance(error, StoreError):
        return _page(request, "lost", State(), 503, said=str(error))
    assert isinstance(error, HTTPException)
    said = "There is no such page." if error.status_code == 404 else error.detail
    return _page(request, "lost", State(), error.status_code, said=said)


async def _overview(request: Request) -> Response:
    desk = _desk(request)
    state = desk.state(request)
    book = desk.book
    rows = [(kind, book.sizes[kind], book.counts(state, *kind)) for kind in book.kinds]
    wanted = [name for name in COUNTED if any(counts[name] for _, _, counts in rows)]
    return _page(request, "overview", state, told=desk.told, rows=rows, wanted=wanted)


async def _items(request: Request) -> Response:
    desk = _desk(request)
    state, book = desk.state(request), desk.book
    if any(not value for _, value in request.query_params.multi_items()):
        # A form sends every field: what says nothing goes, so that the address can be passed on.
        return RedirectResponse(state.link("items"), 303)
    found = book.select(state)
    pages = max(1, -(-len(found) // ROWS))
    if state.page > pages:
        raise Lost(f"page={state.page}: there are {pages}.")
    units = book.read_units(found[(state.page - 1) * ROWS : state.page * ROWS].tolist())
    shown = book.shown(state)
    rows = [(unit, _marks(book, state, unit), [book.brief(name, unit) for name in shown]) for unit in units]
    return _page(request, "items", state, found=len(found), pages=pages, rows=rows, shown=shown)


async def _item(request: Request) -> Response:
    desk = _desk(request)
    state, book = desk.state(request), desk.book
    unit = book.at(state.place)
    found = book.select(state)
    place = int(np.searchsorted(found, unit.number))
    within = place < len(found) and found[place] == unit.number
    near = [
        found[place - 1] if place else None,
        found[place + within] if place + within < len(found) else None,
    ]
    before, after = (book.read_units([int(one)])[0] if one is not None else None for one in near)
    shown = book.shown(state)
    writings = [book.writing(name, unit, state.sample) for name in shown]
    bodies, common = _bodies(book, state, writings)
    return _page(
        request,
        "item",
        state,
        unit=unit,
        found=len(found),
        place=place if within else None,
        page=place // ROWS + 1,
        before=before,
        after=after,
        writings=list(zip(writings, bodies, strict=True)),
        common=common,
        samples=max(one.samples for one in writings),
        marks=_marks(book, state, unit),
        verdicts=book.verdicts(unit.item, shown) if unit.benchmark == PROMPTS else [],
    )


def _bodies(book: Book, state: State, writings: Sequence[Writing]) -> tuple[list[Markup], float | None]:
    """Return what contestants wrote as HTML, and the share of words that student and teacher have in common."""
    trio = book.trio(state)
    texts = {one.contestant.name: one.completion.text for one in writings if one.completion}
    if state.read == "compared" and trio.student in texts and trio.teacher in texts:
        student, teacher, common = compared(texts[trio.student], texts[trio.teacher])
        own = {trio.student: student, trio.teacher: teacher}
        return [own.get(name) or written(text, None) for name, text in _each(writings)], common
    if state.read == "formatted":
        return [formatted(text) for _, text in _each(writings)], None
    hits = marker(state.q)
    return [written(text, hits) for _, text in _each(writings)], None


def _each(writings: Sequence[Writing]) -> list[tuple[str, str]]:
    return [(one.contestant.name, one.completion.text if one.completion else "") for one in writings]


def _marks(book: Book, state: State, unit: Unit) -> list[str]:
    """Return what is known of an item beside its answers, in words."""
    said = []
    student = book.trio(state).student
    if (held := int(book.array(student, "supported")[unit.number])) >= 0:
        said.append("supported" if held else "not supported")
    if book.array("", "left_out")[unit.number]:
        said.append("left out of scores")
    if book.array(student, "confident")[unit.number]:
        said.append("confident and wrong")
    return said


async def _to_report(request: Request) -> Response:
    return RedirectResponse("report/", 303)


async def _report(request: Request) -> Response:
    """Return a file of the report; its page with a way back."""
    root, name = _desk(request).report, request.path_params["name"] or "index.html"
    if root is None:
        raise Lost("There is no report yet: `veneer run STUDY` makes it.")
    try:
        path = (root / name).resolve()
        known = path.is_relative_to(root.resolve()) and path.is_file()
    except (OSError, ValueError):  # No file can have such a name.
        known = False
    if not known:
        raise HTTPException(404)
    carried = {"Content-Security-Policy": REPORT_POLICY}
    if path.suffix == ".html":
        whole = path.read_text(encoding="utf-8").replace("<body>", WAY_BACK, 1)
        return HTMLResponse(whole, headers=carried)
    return FileResponse(path, media_type=KINDS.get(path.suffix, "text/plain"), headers=carried)


async def _style(request: Request) -> Response:
    # The report's own look, and what these pages have beside it.
    sheets = (TEMPLATES / "style.css.jinja", PAGES / "view.css")
    return Response("\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets), media_type="text/css")


async def _icon(request: Request) -> Response:
    return Response(status_code=204)


def _desk(request: Request) -> Desk:
    found = request.app.state.desk
    assert isinstance(found, Desk)
    return found


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(PAGES),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    auto_reload=False,
    finalize=markup.text,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["say"] = markup.say


def _short(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    # Cut between words, where there are words.
    return (text[:most].rsplit(maxsplit=1)[0] if " " in text[:most].strip() else text[:most]) + " …"


_ENVIRONMENT.filters["short"] = _short


def _page(request: Request, name: str, state: State, status: int = 200, **values: Any) -> HTMLResponse:
    desk = _desk(request)
    shared = {
        "study": desk.book.said,
        "book": desk.book,
        "state": state,
        "trio": desk.book.trio(state),
        "has_report": desk.report is not None,
        "patterns": PATTERNS,
        "support": SUPPORT,
        "gradings": GRADINGS,
        "readings": READINGS,
        "forms": FORMS,
        "lengths": (SHORT, BRIEF),
        "students": [(name, name) for name in desk.book.students],
        "benchmarks": [
            ("", "all"),
            *((one, one) for one in dict.fromkeys(one for one, _ in desk.book.kinds)),
        ],
        "asked_forms": [
            ("", "all"),
            *((one, FORMS[one]) for one in dict.fromkeys(form for _, form in desk.book.kinds)),
        ],
        "fluent": FLUENT,
    }
    return HTMLResponse(_ENVIRONMENT.get_template(f"{name}.jinja").render({**shared, **values}), status)
