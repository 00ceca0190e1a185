"""Values as HTML: every number carries its place in report.json, every text is escaped and shows what it hides."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from veneer.report.shown import Bare, Piece, Shown, Unit, visible
from veneer.report.tables import Cell
from veneer.stats import Estimate


def text(value: Any) -> Any:
    """Return what Jinja is about to write: plain strings with their invisible characters spelled out."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


def say(sentence: Sequence[Piece]) -> Markup:
    """Return a sentence of the page."""
    return Markup("").join(_piece(piece) for piece in sentence)


def cell(value: Cell, notes: Mapping[str, int]) -> Markup:
    """Return the content of a table's cell.

    Args:
        value: What stands in the cell.
        notes: The number of each reason why something is Undefined, as the page lists them.
    """
    if isinstance(value, tuple):
        return Markup("").join(Markup("<div>{}</div>").format(cell(shown, notes)) for shown in value)
    if not isinstance(value, Shown):
        return _piece(value) if value != "" else Markup('<span class="none">–</span>')
    if value.reason:
        number = notes[value.reason]
        return Markup(
            '<span class="undefined" data-at="{}" title="{}">Undefined'
            '<sup><a href="#reason-{}" aria-label="why: reason {}">{}</a></sup></span>'
        ).format(value.at, text(value.reason), number, number, number)
    assert isinstance(value.number, Estimate)
    return _estimate(value, Markup(' <span class="n">n&nbsp;{}</span>').format(value.number.n))


def _piece(piece: Piece) -> Markup:
    if isinstance(piece, str):
        return escape(text(piece))
    if isinstance(piece, Bare):
        kind = Markup(' class="count"') if piece.counted else ""
        return Markup('<data{} value="{}">{}</data>').format(kind, piece.value, piece.text)
    if piece.reason:
        return Markup('<span class="undefined" data-at="{}">Undefined</span> ({})').format(
            piece.at, text(piece.reason)
        )
    return _estimate(piece, Markup(" points") if piece.unit is Unit.POINTS else Markup(""))


def _estimate(shown: Shown, after: Markup) -> Markup:
    """Return value and interval; `after` is the unit in words, or the number of units it rests on."""
    assert isinstance(shown.number, Estimate)
    template = Markup(
        '<data class="number" value="{}" data-at="{}" title="n {}">'
        '<b>{}</b>{} <span class="interval">{}</span>{}</data>'
    )
    unit, last = (after, "") if after == " points" else ("", after)
    number = repr(shown.number.value)
    return template.format(number, shown.at, shown.number.n, _tight(shown.value), unit, shown.interval, last)


def _tight(value: str) -> str:
    """Keep a number and its percent sign on one line."""
    return value.replace(" %", "\u202f%")
