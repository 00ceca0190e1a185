"""Texts as harmless HTML: as written, with what is searched for marked, or with what two have not in common."""

import re

from markupsafe import Markup, escape
from rapidfuzz.distance import Indel

from veneer.report.shown import visible
from veneer.safe_html import LIMIT

PIECE = re.compile(r"\w+|[^\w\s]|\s+")
"""A word, a sign, or the space between: whatever is written is made of these."""


def written(text: str, marker: re.Pattern[str] | None) -> Markup:
    """Return a text as it was written, signs that hide or turn what is beside them spelled out.

    Args:
        text: What was written; beyond `safe_html.LIMIT` characters it is cut, and how much is left out is said.
        marker: Finds what is to be marked; None: nothing.
    """
    shown, found, end = text[:LIMIT], Markup(""), 0
    for hit in marker.finditer(shown) if marker else ():
        found += _safe(shown[end : hit.start()]) + Markup("<mark>{}</mark>").format(_safe(hit[0]))
        end = hit.end()
    return found + _safe(shown[end:]) + _more(text)


def compared(text: str, other: str) -> tuple[Markup, Markup, float]:
    """Return two texts, the words marked that the other has not in its order, and the share of words in common.

    The words in common are a longest common subsequence; words are compared without regard to case. The share is
    2 x common / (words of both): 1 for equal texts, and for two without a word.
    """
    ours, theirs = (PIECE.findall(one[:LIMIT]) for one in (text, other))
    places = [[at for at, piece in enumerate(one) if not piece.isspace()] for one in (ours, theirs)]
    words = [[one[at].lower() for at in own] for one, own in zip((ours, theirs), places, strict=True)]
    common: tuple[set[int], set[int]] = set(), set()
    for step in Indel.opcodes(*words):
        if step.tag == "equal":
            common[0].update(places[0][step.src_start : step.src_end])
            common[1].update(places[1][step.dest_start : step.dest_end])
    total = len(words[0]) + len(words[1])
    share = 2 * len(common[0]) / total if total else 1.0
    return (
        _marked(ours, common[0]) + _more(text),
        _marked(theirs, common[1]) + _more(other),
        share,
    )


def _marked(pieces: list[str], common: set[int]) -> Markup:
    """Return pieces, each run that is not common marked as one."""
    found, run = [], ""
    for at, piece in enumerate(pieces):
        if at in common or (piece.isspace() and not run):
            found += [_own(run), _safe(piece)]
            run = ""
        else:
            run += piece
    return Markup("").join([*found, _own(run)])


def _own(run: str) -> Markup:
    if not run:
        return Markup("")
    bare = run.rstrip()
    return Markup('<mark class="own">{}</mark>{}').format(_safe(bare), _safe(run[len(bare) :]))


def _safe(text: str) -> Markup:
    return escape(visible(text))


def _more(text: str) -> Markup:
    if len(text) <= LIMIT:
        return Markup("")
    return Markup(
        ' <span class="small">(It goes on for {:,} characters, which are not shown.)</span>'
    ).format(len(text) - LIMIT)
