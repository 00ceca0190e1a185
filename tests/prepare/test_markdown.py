import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veneer.prepare.markdown import to_markdown

FRAME = '<div class="markdown prose w-full break-words dark:prose-invert light">{}</div>'
CODE = (
    '<pre><div class="bg-black mb-4 rounded-md"><div class="flex items-center"><span>python</span><button class="flex">'
    '<svg stroke="currentColor"><path d="M16 4h2"></path></svg>Copy code</button></div><div class="p-4">'
    '<code class="!whitespace-pre hljs language-python"><span class="hljs-keyword">if</span> a &lt; b:\n\n\n'
    "    print(a_b * 2)\n</code></div></div></pre>"
)
PLAIN = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
PIECES = st.sampled_from(
    ["<p>", "</p>", "<ul>", "<li>", "</li>", "</ul>", "<table>", "<tr>", "<td>", "</table>", "<pre>", "<code>", "```",
     "</code>", "</pre>", "`", "<div class='a'>", "</div>", "<b", ">", "</", "<!--", "-->", "<![", "&lt;", "&#0;",
     "\n", "x"]
)  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a < b and b > c, so a < c",
        "if x<y then y</x",
        "a List<int> or Map<String, List<T>> ends in </T>",
        "To mark a paragraph, write <p>text</p> around it.",
        "It is `<ul><li>a</li></ul>` that makes a list.",
        "```html\n<ul>\n<li>a</li>\n</ul>\n```",
        "```\n<p>a</p>",
        "<!DOCTYPE html>\n<html>\n<body>\n<p>a</p>\n</body>\n</html>",
        '<div><button onclick="go()">Go</button></div>',
        "<p>never closed",
        "**bold** <br> and <b>bold</b>",
        "  two spaces, a tab\tand a line\n\n\n\nstay </p>  \n",
    ],
)
def test_a_text_that_is_no_html_stays_as_it_is(text: str) -> None:
    assert to_markdown(text) == text


@pytest.mark.parametrize(
    ("html", "wanted"),
    [
        ("<p>so <strong>it</strong> <em>is</em></p>", "so **it** *is*"),
        ("<p>a_b * c_d</p>\n<p>two</p>", "a_b * c_d\n\ntwo"),
        ("<h2>Head</h2><p>text</p>", "## Head\n\ntext"),
        ("<ol><li><p>one</p></li><li><p>two</p></li></ol>", "1. one\n2. two"),
        ("<ul><li>one<ul><li>in</li></ul></li><li>two</li></ul>", "- one\n  - in\n- two"),
        ("<table><tr><th>a</th></tr><tr><td>1</td></tr></table>", "| a |\n| --- |\n| 1 |"),
        ("<p>call <code>f_x(*a)</code></p>", "call `f_x(*a)`"),
        ('<p>see <a href="https://a.org/b">this</a></p>', "see [this](https://a.org/b)"),
        ("<blockquote><p>said</p></blockquote>", "> said"),
        ("<p>a &lt; b &amp;&amp; c</p>", "a < b && c"),
        ("<p>a List<int> is</p>", "a List<int> is"),
        ("<pre>bashCopy codels -l\n</pre>", "```bash\nls -l\n```"),
        ("<pre><code>a\n```\nb\n</code></pre>", "````\na\n```\nb\n````"),
        ("Here:<ul><li>a</li></ul>\nDone.", "Here:\n\n- a\n\nDone."),
        ("Code:\n```\n<p>x</p>\n```\n<p>said</p>", "Code:\n```\n<p>x</p>\n```\n\nsaid"),
        (FRAME.format("<p>Sure.</p>" + CODE), "Sure.\n\n```python\nif a < b:\n\n\n    print(a_b * 2)\n```"),
        (
            '<p>Let <span class="katex"><math><mi>x</mi><annotation encoding="application/x-tex">x^2</annotation>'
            "</math><span>x2</span></span> be</p>",
            "Let $x^2$ be",
        ),
    ],
)  # fmt: skip
def test_html_becomes_markdown(html: str, wanted: str) -> None:
    assert to_markdown(html) == wanted


def test_html_that_is_nested_too_deeply_stays() -> None:
    html = "<div>" * 3000 + "x" + "</div>" * 3000
    assert to_markdown(html) == html


def test_ten_thousand_open_tags_take_no_time() -> None:
    html = "<p>" * 10_000 + "<div " * 10_000 + "</"
    assert to_markdown(html) == html


@given(PLAIN)
def test_a_text_without_end_tags_always_stays(text: str) -> None:
    assert to_markdown(text.replace("</", "")) == text.replace("</", "")


@given(st.lists(PIECES | PLAIN, max_size=20).map("".join))
@settings(deadline=None, max_examples=300)
def test_any_tag_soup_gives_a_text(text: str) -> None:
    assert isinstance(to_markdown(text), str)
