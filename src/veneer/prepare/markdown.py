"""Answers that were saved as HTML, turned back into the Markdown that the teacher wrote."""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bs4 import BeautifulSoup

ATTRIBUTES = r"""(?:"[^"]*"|'[^']*'|[^<>"'])*+"""
BLOCKS = "p|div|ul|ol|pre|table|blockquote|h[1-6]"
CODE = re.compile(r"```.*?(?:```|\Z)|``.*?``|`[^`\n]+`", re.DOTALL)
PART = re.compile(
    rf"{CODE.pattern}|<(?P<tag>{BLOCKS})(?=[\s>]){ATTRIBUTES}>",
    re.DOTALL | re.IGNORECASE,
)
"""What stands outside HTML and matters: code, in which tags are text, and the tag that opens a block."""
TAG = re.compile(rf"</?([a-z][a-z0-9]*)(?=[\s/>]){ATTRIBUTES}>", re.IGNORECASE)
NEEDS = {"ul": "<li", "ol": "<li", "table": "<tr"}
"""Blocks that are HTML wherever they stand, if they hold this; the others must open a line."""
PAGE = frozenset(
    "html head body script style form input label select option textarea nav section header footer main iframe link "
    "meta title canvas template".split()
)
"""Tags that no rendered answer has: a text with one outside code is a page that somebody wrote, and stays."""
HANDLER = re.compile(r"<[^<>]*\son[a-z]+\s*=", re.IGNORECASE)
RENDERED = frozenset(
    "p div ul ol li pre code table thead tbody tfoot tr th td blockquote h1 h2 h3 h4 h5 h6 a abbr b strong i em u s "
    "del ins sub sup mark small kbd samp var q cite br hr img span button svg path line rect circle polyline polygon g "
    "details summary dl dt dd figure figcaption caption colgroup col math semantics annotation mrow mi mo mn msup msub "
    "mfrac mtext msqrt mover munder mtable mtr mtd mspace mstyle msubsup munderover mroot mpadded".split()
)
"""Tags of rendered answers; another name in angle brackets (`List<int>`) is text."""
LANGUAGE = re.compile(r"(?:language|lang)-([\w+#.-]+)")
TICK = "\ue000"
"""Stands for a backtick in code that holds a fence itself, until its own fence is made longer."""
HELD = re.compile(rf"```([^\n`]*\n[^`]*{TICK}[^`]*)```")
COPY = re.compile(r"^\s*([\w+#.-]*?)\s*Copy code")


def to_markdown(text: str) -> str:
    """Return a text with its HTML as Markdown: headings, lists, tables, links, and code blocks with their language.

    Only blocks that are closed are turned, and only outside code; what stands between them stays as it is, and so
    does a text with no such block: a comparison (`a < b`), a type (`List<int>`), a tag that is spoken of.
    """
    if "</" not in text:
        return text
    spans = _spans(text)
    if not spans:
        return text
    parts, end = [], 0
    for start, stop in spans:
        parts += [text[end:start], _turned(text[start:stop])]
        end = stop
    parts.append(text[end:])
    if len(spans) == 1 and not (parts[0] + parts[-1]).strip():
        return parts[1].strip()
    # A block has blank lines around it; a text between blocks keeps its own lines.
    kept = [part.strip("\n") if number % 2 else part.strip() for number, part in enumerate(parts)]
    return "\n\n".join(part for part in kept if part)


def _spans(text: str) -> list[tuple[int, int]]:
    """Return where the blocks of HTML stand; blocks with nothing between them are one span."""
    bare = CODE.sub(" ", text)
    if any(found[1].lower() in PAGE for found in TAG.finditer(bare)):
        return []
    spans: list[tuple[int, int]] = []
    unclosed: set[str] = set()
    at = 0
    while found := PART.search(text, at):
        at = found.end()
        name = (found["tag"] or "").lower()
        if not name or name in unclosed:
            continue
        end = _end(text, name, at)
        if not end:
            unclosed.add(name)
            continue
        start = found.start()
        follows = bool(spans) and not text[spans[-1][1] : start].strip()
        if not _is_html(text, name, start, end, follows=follows):
            continue
        at = end
        if follows:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def _end(text: str, name: str, at: int) -> int:
    """Return where the block that opened before a place ends, or 0 if it does not."""
    depth = 1
    pattern = re.compile(rf"<(/?){name}(?=[\s>]){ATTRIBUTES}>", re.IGNORECASE)
    for found in pattern.finditer(text, at):
        depth += -1 if found[1] else 1
        if not depth:
            return found.end()
    return 0


def _is_html(text: str, name: str, start: int, end: int, *, follows: bool) -> bool:
    block = text[start:end]
    if HANDLER.search(block):
        return False
    if name in NEEDS:
        return NEEDS[name] in block.lower()
    return follows or not text[text.rfind("\n", 0, start) + 1 : start].strip()


def _turned(block: str) -> str:
    """Return a block of HTML as Markdown, or as it is where it is too deep to be an answer's."""
    from bs4 import BeautifulSoup
    from bs4.exceptions import ParserRejectedMarkup
    from markdownify import MarkdownConverter

    text = TAG.sub(lambda found: found[0] if found[1].lower() in RENDERED else _escaped(found[0]), block)
    converter: Any = MarkdownConverter(
        heading_style="ATX", bullets="-", escape_asterisks=False, escape_underscores=False, table_infer_header=True,
        code_language_callback=lambda pre: pre.get("data-language", ""),
    )  # fmt: skip
    try:
        soup = BeautifulSoup(text, "html.parser")
        _simplify(soup)
        made = str(converter.convert_soup(soup))
    except (RecursionError, ParserRejectedMarkup):
        return block
    return HELD.sub(_fenced, made).strip("\n")


def _fenced(found: re.Match[str]) -> str:
    code = found[1].replace(TICK, "`")
    fence = "`" * (1 + max(map(len, re.findall("`+", code))))
    return f"{fence}{code}{fence}"


def _escaped(tag: str) -> str:
    return tag.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _simplify(soup: "BeautifulSoup") -> None:
    """Leave of the interface's HTML what the teacher wrote: no buttons, bare code blocks, formulas as TeX."""
    for formula in soup.select("span.katex, span.katex-display"):
        if not formula.decomposed and (source := formula.find("annotation")):
            sign = "$$" if "katex-display" in (formula.get("class") or ()) else "$"
            formula.replace_with(f"{sign}{source.get_text().strip()}{sign}")
    for pre in soup.find_all("pre"):
        code = pre.find("code")
        classes = code.get_attribute_list("class") if code else []
        found = next((match for one in classes if one and (match := LANGUAGE.search(one))), None)
        head = COPY.match(pre.get_text())
        content = code.get_text() if code else COPY.sub("", pre.get_text(), count=1)
        pre.attrs = {"data-language": found[1] if found else head[1] if head else ""}
        pre.string = content.replace("`", TICK) if "```" in content else content
    for extra in soup.find_all(["button", "svg"]):
        extra.decompose()
    for item in soup.find_all("li"):
        paragraphs = item.find_all("p", recursive=False)
        if len(paragraphs) == 1:
            paragraphs[0].unwrap()
