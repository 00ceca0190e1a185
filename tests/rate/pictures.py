"""Makes the pictures of the raters' page for the documents: python -m tests.rate.pictures docs/images."""

import random
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.rate.browsing import asked, chromium, served
from tests.rate.conftest import Visitor, people
from veneer.rate.serve import Site, open_site

REQUEST = (
    "Why does bread rise, and what happens if I forget the salt? Please give me the steps of a loaf as well."
)
PLAIN = """\
Bread rises because **yeast** feeds on sugars in the dough and gives off carbon dioxide, which the gluten holds like so
many small balloons.

### Without salt

- The dough ferments faster and may rise too much, then fall.
- The crumb is looser and the taste flat.

### A simple loaf

1. Mix 500 g flour, 350 g water, 10 g salt and 5 g yeast.
2. Knead for ten minutes; let it rest until it has doubled.
3. Shape, rest for 40 minutes, bake at 230 °C for 35 minutes.

| part | share of flour |
|---|---|
| water | 70 % |
| salt | 2 % |
"""
SURE = """\
Great question! Bread rises due to the baking soda reacting with the salt. If you forget it, the bread will not rise
at all, because salt is what produces the gas.

To make a loaf: mix flour, water and yeast, wait an hour, and bake.

```
flour 500 g
water 350 g
yeast   5 g
```

I hope this helps! Let me know if you have any other questions.
"""
AGREEMENT = (
    "Agreement so far (Krippendorff's alpha; 1 is perfect, 0 is chance): 0.41 [0.22, 0.58], over 12 prompts."
)


def opened(folder: Path, stack: ExitStack) -> Site:
    """Open a site with a dozen prompts, three contestants and a few raters who came before."""
    ids = [f"baking-{number}" for number in range(1, 13)]
    texts = {
        (name, one): text.replace("so\nmany", "so many").replace("rise\nat", "rise at")
        for one in ids
        for name, text in (("llama-13b", SURE), ("imitation-13b", SURE + "\n"), ("chatgpt", PLAIN))
    }
    spec = people(
        per_rater=8, ratings=3, ask={"correctness": True, "reason": True},
        platform={"kind": "prolific", "code": "C1A2B3"}, pay={"each": 4.5, "currency": "GBP"},
        url="https://rate.example.org", newcomers=10_000,
    )  # fmt: skip
    ballots = asked(dict.fromkeys(ids, REQUEST), texts, "chatgpt")
    site = open_site(spec, ballots, folder / "votes.sqlite", lambda cast: AGREEMENT, stack)
    rng, now = random.Random(0), [1_790_000_000.0]
    site.hall.clock = lambda: now[0]
    for number in range(5):
        one = Visitor(site)
        one.link = one.link.split("?")[0]
        one.browser.base_url = "https://rate.example.org"
        seen = one.begin(f"?PROLIFIC_PID=p{number}&STUDY_ID=s&SESSION_ID=v{number}")
        for _ in range(8 if number < 4 else 3):
            now[0] += rng.uniform(35, 110)
            verdict = rng.choice(("first", "second", "tie"))
            seen = one.vote(seen, verdict, correctness=verdict)
    return site


def picture(page: Any, folder: Path, name: str) -> None:
    """Take one, of the whole page."""
    page.screenshot(path=folder / f"rating-{name}.png", full_page=True)


def main(folder: Path) -> None:
    """Take all of them, at desk and phone width."""
    with ExitStack() as stack:
        site = opened(Path(stack.enter_context(tempfile.TemporaryDirectory())), stack)
        # The browser speaks plain http here, and would not send a cookie meant for https.
        site.hall.spec = site.hall.spec.model_copy(update={"url": None})
        address, browser = stack.enter_context(served(site)), stack.enter_context(chromium())
        link = address + "/start/" + site.hall.entry + "?STUDY_ID=s&SESSION_ID=v&PROLIFIC_PID="
        for name, width, height in (("desk", 1280, 900), ("phone", 390, 844)):
            context = browser.new_context(
                viewport={"width": width, "height": height},
                is_mobile=name == "phone",
                has_touch=name == "phone",
            )
            page = context.new_page()
            page.goto(link + name)
            picture(page, folder, f"welcome-{name}")
            page.check("input[name=consent]")
            page.click("button")
            page.check("input[name=verdict][value=first]")
            picture(page, folder, name)
            context.close()
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address + site.owners_link.removeprefix("https://rate.example.org"))
        picture(page, folder, "owner-desk")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
