"""Texts as harmless HTML: as written, with what is searched for marked, or with what two have not in common."""

import re

from markupsafe import Markup, escape
from rapidfuzz.distance import Indel

from veneer.report.shown import visible
from veneer.safe_html import LIMIT, render

MOST_WORDS = 10_000
"""Words of a text that are compared: only a text of single letters has more within what is shown."""
MOST_SIGNS = 4_000
"""Signs of Markdown that are formatted: the work may grow with their square."""
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


def formatted(text: str) -> Markup:
    """Return a text read as Markdown; as written, and saying so, where it has more than `MOST_SIGNS` signs of it."""
    if sum(map(text[:LIMIT].count, "[*_~`<|")) > MOST_SIGNS:
        said = Markup(
            "<p><em>(Too many signs of Markdown to be formatted; this is as it was written.)</em></p>"
        )
        return said + Markup('<div class="words">{}</div>').format(written(text, None))
    return Markup(render(text))  # noqa: S704 (it is made harmless there)


def compared(text: str, other: str) -> tuple[Markup, Markup, float]:
    """Return two texts, the words marked that the other has not in its order, and the share of words in common.

    The words in common are a longest common subsequence of the first `MOST_WORDS`; words are compared without regard to
    case. The share is 2 x common / (words of both): 1 for equal texts, and for two without a word.
    """
    ours, theirs = (PIECE.findall(one[:LIMIT]) for one in (text, other))
    places = [[at for at, piece in enumerate(one) if not piece.isspace()] for one in (ours, theirs)]
    beyond = [own[MOST_WORDS:] for own in places]
    places = [own[:MOST_WORDS] for own in places]
    words = [[one[at].lower() for at in own] for one, own in zip((ours, theirs), places, strict=True)]
    common: tuple[set[int], set[int]] = set(), set()
    for step in Indel.opcodes(*words):
        if step.tag == "equal":
            common[0].update(places[0][step.src_start : step.src_end])
            common[1].update(places[1][step.dest_start : step.dest_end])
    total = len(words[0]) + len(words[1])
    share = 2 * len(common[0]) / total if total else 1.0
    return (
        _marked(ours, common[0].union(beyond[0])) + _more(text),
        _marked(theirs, common[1].union(beyond[1])) + _more(other),
        share,
    )


def _marked(pieces: list[str], common: set[int]) -> Markup:
    """Return pieces, each run of those that are not common marked as one; space goes with what is before it."""
    runs: list[tuple[bool, list[str]]] = [(False, [])]
    for at, piece in enumerate(pieces):
        own = runs[-1][0] if piece.isspace() else at not in common
        if own != runs[-1][0]:
            runs.append((own, []))
        runs[-1][1].append(piece)
    return Markup("").join(_own("".join(run)) if own else _safe("".join(run)) for own, run in runs)


def _own(run: str) -> Markup:
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
