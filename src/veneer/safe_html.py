"""A completion as harmless HTML: Markdown with code, tables and lists, and nothing that acts, loads, leads or hides."""

import re

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

LIMIT = 40_000
"""Characters of a text that are shown; nobody reads more, and a page must stay quick."""
MARKS = 4
"""Combining marks on one letter that are kept: scripts need a few, towers of them cover other text."""
TAGS = {
    "p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li",
    "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
_TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Signs that turn the direction of what follows, or override it; the page tells direction by the letters."""
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_TOWER = re.compile(f"([\u0300-\u036f\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{{{MARKS}}})"
                    "[\u0300-\u036f\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")  # fmt: skip
_BREAKING, _FLOWING = (
    MarkdownIt("commonmark", {"html": False, "breaks": breaks}).enable(["table", "strikethrough"])
    for breaks in (True, False)
)


def render(text: str, *, breaks: bool = True) -> str:
    r"""Return a text, read as Markdown, as HTML that may stand anywhere in a page below a heading of the second level.

    HTML in the text is shown as it is written. Links and images become their words, with the address in brackets:
    nothing can be clicked or loaded. Headings begin at the third level. What stands beyond `LIMIT` characters is left
    out, and the last line says how much that is.

    Args:
        text: What was written.
        breaks: Whether a line's end is one (models mean it so), or a space, as in a file.

    >>> render("# Two *things*")
    '<h3>Two <em>things</em></h3>\n'
    >>> render("[here](https://example.org) <script>alert(1)</script>")
    '<p>here (https://example.org) &lt;script&gt;alert(1)&lt;/script&gt;</p>\n'
    """
    shown = plain(text)
    if not shown.strip():
        return "<p><em>(This answer is empty.)</em></p>\n"
    markdown = _BREAKING if breaks else _FLOWING
    tokens = markdown.parse(shown[:LIMIT])
    _lower_headings(tokens)
    for token in tokens:
        if token.children:
            token.children = _without_links(token.children)
    html = markdown.renderer.render(tokens, markdown.options, {})
    if (more := len(shown) - LIMIT) > 0:
        html += f"<p><em>(The answer goes on for {more:,} characters, which are not shown.)</em></p>\n"
    # A second fence of another make: whatever slips through the first is taken out here.
    return nh3.clean(
        html, tags=TAGS, attributes={"ol": {"start"}}, set_tag_attribute_values={"pre": {"tabindex": "0"}}
    )


def plain(text: str) -> str:
    """Return a text without signs that hide, turn or cover what stands beside them."""
    return _TOWER.sub(r"\1", _TURNING.sub("", _CONTROL.sub("", text.replace("\r\n", "\n"))))


def _lower_headings(tokens: list[Token]) -> None:
    """Make the highest heading one of the third level, and let none be more than one level below the one before."""
    levels = [int(token.tag[1]) for token in tokens if token.type == "heading_open"]
    above = 2
    for token in tokens:
        if token.type == "heading_open":
            above = min(6, above + 1, int(token.tag[1]) - min(levels) + 3)
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{above}"


def _without_links(tokens: list[Token]) -> list[Token]:
    found: list[Token] = []
    addresses: list[str] = []
    for token in tokens:
        if token.type == "link_open":
            addresses.append(str(token.attrGet("href") or ""))
        elif token.type == "link_close":
            address = addresses.pop()
            if address and not (found and found[-1].content == address):
                found.append(_words(f" ({address})"))
        elif token.type == "image":
            found.append(_words(f"[image: {token.content}] ({token.attrGet('src')})"))
        else:
            found.append(token)
    return found


def _words(content: str) -> Token:
    return Token("text", "", 0, content=content)
