"""Three raters in a real browser: keys, reload, back, double click, no JavaScript, a hostile completion, axe."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rate.browsing import asked, chromium, served
from veneer.rate import votes
from veneer.rate.serve import Site

Open = Callable[..., Site]
HERE = Path(__file__).parent
AXE = Path(os.environ.get("VENEER_AXE", HERE.parents[1] / ".venv/axe/node_modules/axe-core/axe.min.js"))
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
EVIL = """\
<script>window.owned = 1</script><img src=x onerror="window.owned = 1"> [click](javascript:window.owned=1)

<style>body { display: none }</style><div style="position:fixed;inset:0;background:red">Choose A</div>

# Choose **A**

\u202egnorw si B\u202c </section></main><form><input name=verdict value=first checked>

Z\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307

![](https://evil.example/pixel.png) <svg/onload=window.owned=1> <a href="https://evil.example">a</a>
"""
CALM = "### Calm\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\ncode\n```\n\n1. first\n2. second"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def site(opening: Open, prompts: int = 3, **given: Any) -> Site:
    ids = [f"q{number}" for number in range(prompts)]
    texts = {("pupil", one): EVIL + f"\n{one}" for one in ids} | {
        ("master", one): f"{CALM}\n\n{one}" for one in ids
    }
    return opening(asked({one: f"Please tell of {one}." for one in ids}, texts), **given)


def begin(page: Any, opened: Site, address: str) -> None:
    page.goto(address + opened.raters_link.removeprefix(opened.hall.address))
    page.check("input[name=consent]")
    page.click("button")
    page.wait_for_selector("#vote")


def place(page: Any) -> str:
    found: str = page.inner_text("#progress")
    return found


def kept(tmp_path: Path) -> list[tuple[int, str]]:
    past = votes.read(tmp_path / "rating" / "votes.sqlite")
    assert past is not None
    whose = {one.token: one.rater for one in past.shown}
    return [(whose[one.token], one.verdict) for one in past.votes]


def test_three_raters_at_once_rate_a_whole_study(browser: Any, opening: Open, tmp_path: Path) -> None:
    """One by keys alone, one by mouse with reloads, the back button and double clicks, one without JavaScript."""
    opened = site(opening, ratings=3, per_rater=3, platform={"kind": "link", "code": "DONE"})
    with served(opened) as address:
        contexts = [
            browser.new_context(),
            browser.new_context(),
            browser.new_context(java_script_enabled=False),
        ]
        keys, mouse, plain = (context.new_page() for context in contexts)
        for page in (keys, mouse, plain):
            begin(page, opened, address)
        for number, key in enumerate("abe", 1):
            assert place(keys) == f"Pair {number} of 3"
            keys.keyboard.press(key)
            with keys.expect_navigation():
                keys.keyboard.press("Enter")

            mouse.reload()
            assert place(mouse) == f"Pair {number} of 3"
            mouse.click("label:has-text('Both are equal')")
            mouse.dblclick("button", no_wait_after=True)
            mouse.wait_for_function(f"!document.body.innerText.includes('Pair {number} of 3')")

            plain.check("input[name=verdict][value=second]")
            plain.click("button")
        for page in (keys, mouse, plain):
            assert "Thank you" in page.inner_text("h1")
            assert page.inner_text(".code") == "DONE"
        mouse.go_back()
        assert "Thank you" in mouse.inner_text("h1")
        for context in contexts:
            context.close()
    assert sorted(kept(tmp_path)) == [
        (1, "first"), (1, "second"), (1, "tie"), (2, "tie"), (2, "tie"), (2, "tie"), (3, "second"), (3, "second"),
        (3, "second"),
    ]  # fmt: skip
    assert opened.hall.desk.missing == 0


def test_the_back_button_shows_the_present_pair_and_an_old_page_changes_nothing(
    browser: Any, opening: Open, tmp_path: Path
) -> None:
    opened = site(opening, ratings=9, per_rater=3)
    with served(opened) as address:
        page = browser.new_page()
        begin(page, opened, address)
        page.check("input[value=first]")
        page.click("button")
        assert place(page) == "Pair 2 of 3"
        page.go_back()
        page.go_forward()
        assert place(page) == "Pair 2 of 3"
        old = page.input_value("input[name=pair]")
        page.check("input[value=second]")
        page.click("button")
        assert place(page) == "Pair 3 of 3"
        page.evaluate(f"document.querySelector('input[name=pair]').value = '{old}'")
        page.check("input[value=tie]")
        page.click("button")
        assert place(page) == "Pair 3 of 3"
        page.close()
    assert kept(tmp_path) == [(1, "first"), (1, "second")]


def test_enter_alone_sends_nothing_and_keys_write_in_text_fields(
    browser: Any, opening: Open, tmp_path: Path
) -> None:
    opened = site(opening, ask={"reason": True})
    with served(opened) as address:
        page = browser.new_page()
        begin(page, opened, address)
        page.keyboard.press("Enter")
        assert place(page) == "Pair 1 of 30"
        page.focus("textarea")
        page.keyboard.type("abec")
        assert page.input_value("textarea") == "abec"
        assert page.locator("input[name=verdict]:checked").count() == 0
        page.close()
    assert kept(tmp_path) == []


def test_a_hostile_completion_does_nothing_and_asks_nobody(browser: Any, opening: Open) -> None:
    opened = site(opening)
    with served(opened) as address:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        asked_for: list[str] = []
        said: list[str] = []
        page.on("request", lambda request: asked_for.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("dialog", lambda dialog: pytest.fail("a completion opened a dialog"))
        begin(page, opened, address)
        page.wait_for_timeout(300)
        assert page.evaluate("window.owned === undefined")
        assert {re.sub(r"(https?://[^/]+).*", r"\1", url) for url in asked_for} == {address}
        assert said == []
        assert (
            page.locator(".answer a, .answer script, .answer img, .answer input, .answer [style]").count()
            == 0
        )
        assert page.locator("form").count() == 1
        assert page.locator("input[name=verdict]:checked").count() == 0
        assert "<script>window.owned = 1</script>" in page.inner_text("main")
        boxes = [box.bounding_box() for box in page.locator(".answer").all()]
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.close()


def test_every_page_is_accessible(browser: Any, opening: Open, tmp_path: Path) -> None:
    if not AXE.exists():
        pytest.skip(f"axe is not installed: make axe, or name axe.min.js by VENEER_AXE (looked for {AXE})")
    training = tmp_path / "training.jsonl"
    training.write_text(
        '{"id": "t", "prompt": "2+2?", "first": "4", "second": "5", "answer": "first", "why": "So it is."}'
    )
    given: dict[str, Any] = {
        "training": training,
        "per_rater": 1,
        "platform": {"kind": "prolific", "code": "C"},
    }
    opened = site(opening, ask={"style": True, "correctness": True, "reason": True}, **given)
    with served(opened) as address:
        for scheme, width in (("light", 1280), ("dark", 390)):
            context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
            page = context.new_page()
            link = opened.raters_link.removeprefix(opened.hall.address).split("?")[0]
            page.goto(f"{address}{link}?PROLIFIC_PID={scheme}&STUDY_ID=s&SESSION_ID=v")
            clean(page, "welcome")
            page.check("input[name=consent]")
            page.click("button")
            clean(page, "training")
            page.check("input[name=verdict][value=first]")
            page.click("button")
            clean(page, "feedback")
            page.click("a.button")
            page.click("summary")
            clean(page, "pair")
            page.evaluate(
                "document.querySelectorAll('input[required]').forEach((one) => one.required = false)"
            )
            page.click("button")
            clean(page, "a pair with a problem")
            for name in ("verdict", "style", "correctness"):
                page.check(f"input[name={name}][value=first]")
            page.click("button")
            clean(page, "done")
            page.goto(address + "/nowhere")
            clean(page, "message")
            page.goto(address + opened.owners_link.removeprefix(opened.hall.address))
            page.click("summary")
            clean(page, "owner")
            page.click("text=Show them all the same")
            clean(page, "owner, looking")
            context.close()


def clean(page: Any, what: str) -> None:
    page.evaluate(AXE.read_text())
    found = page.evaluate("(rules) => axe.run(document, rules)", RULES)
    told = [
        (one["id"], one["help"], [node["html"][:120] for node in one["nodes"]]) for one in found["violations"]
    ]
    assert told == [], f"{what}: {told}"
