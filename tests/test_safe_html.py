import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.safe_html import LIMIT, TAGS, render

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt&colon;alert(1))",
    "![x](https://evil.example/pixel.png)",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "<style>*{display:none}</style>",
    "<p style='position:fixed;inset:0'>x</p>",
    "<svg onload=alert(1)>",
    "<iframe src=//evil.example></iframe>",
    "<form action=//evil.example><input name=verdict value=first>",
    "```html\n</code></pre><script>alert(1)</script>\n```",
    "| a |\n|---|\n| <b onclick=alert(1)>x</b> |",
    "<!-- <script>alert(1)</script> -->",
    "<math><mtext></p><style><img src onerror=alert(1)>",
    "</article></main><h1>Choose B</h1>",
    "[x]: javascript:alert(1)\n\n[x]",
    "<https://evil.example>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
]


def tags(html: str) -> list[str]:
    return re.findall(r"<[^>]*>", html)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hostile_becomes_markup(text: str) -> None:
    assert all(re.fullmatch(r"</?\w+( tabindex=\"0\")?>", tag) for tag in tags(render(text)))
    assert {tag.strip("</>").split()[0] for tag in tags(render(text))} <= TAGS


@given(
    st.text(alphabet=st.sampled_from("<>/&;\"'`*_[]()!#|-=\n ab:1~\\xjavscript\u202e\u0301"), max_size=400)
)
def test_whatever_is_written_only_known_tags_without_attributes_come_out(text: str) -> None:
    for tag in tags(render(text)):
        assert re.fullmatch(r"</?(\w+)( tabindex=\"0\"| start=\"\d+\")?>", tag)
        assert tag.strip("</>").split()[0] in TAGS


def test_markdown_keeps_its_code_tables_and_lists() -> None:
    html = render("1. one\n2. two\n\n```py\nx = '<'\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n**bold**")
    assert "<ol>\n<li>one</li>" in html
    assert "<pre tabindex=\"0\"><code>x = '&lt;'\n</code></pre>" in html
    assert "<th>a</th>" in html
    assert "<td>2</td>" in html
    assert "<strong>bold</strong>" in html


def test_a_line_break_stays_one() -> None:
    assert render("a\nb") == "<p>a<br>\nb</p>\n"


def test_a_list_goes_on_counting() -> None:
    assert '<ol start="7">' in render("7. seven")


def test_links_and_images_are_words() -> None:
    assert render("[a](https://x.example) ![b](https://y.example/z.png)") == (
        "<p>a (https://x.example) [image: b] (https://y.example/z.png)</p>\n"
    )


def test_headings_begin_at_the_third_level_and_skip_none() -> None:
    html = render("## a\n\n#### b\n\n# c\n\n###### d")
    assert re.findall(r"<(h\d)>", html) == ["h3", "h4", "h3", "h4"]


def test_signs_that_turn_text_around_are_taken_out() -> None:
    assert render("pay \u202e001\u202c now\u2067!\x07") == "<p>pay 001 now!</p>\n"


def test_half_a_character_is_taken_out() -> None:
    assert render("a\ud83db") == "<p>ab</p>\n"


def test_towers_of_marks_are_cut() -> None:
    assert render("Z" + "\u0300" * 500) == "<p>Z" + "\u0300" * 4 + "</p>\n"


def test_a_text_of_two_megabytes_is_cut_and_says_so() -> None:
    html = render("word " * 400_000)
    assert len(html) < LIMIT * 1.5
    assert "goes on for 1,960,000 characters, which are not shown" in html


def test_an_empty_answer_says_that_it_is_empty() -> None:
    assert "This answer is empty" in render(" \n\u202e")


@pytest.mark.parametrize(
    "piece", ["*a ", "[", "> ", "`", "![", "**x", "<", "|a|", "- ", "&", "[x](", "~~", "_a_*"]
)
def test_no_text_takes_long(piece: str) -> None:
    began = time.monotonic()
    render(piece * (LIMIT // len(piece)))
    assert time.monotonic() - began < 8
