"""Made-up verdicts with a planted taste, for the tests of what is made of verdicts."""

from collections.abc import Mapping, Sequence

import numpy as np

from veneer.analyze.reading import Reply
from veneer.analyze.votes import Votes, votes_of
from veneer.records import Comparison, Verdict
from veneer.stats import Floats

FEATURES = ("log_words", "log_headers", "log_list_items", "log_bold", "log_code_blocks", "appeal")
MARKS = {"1": Verdict.FIRST, "2": Verdict.SECOND, "=": Verdict.TIE, "?": Verdict.NONE}


def said(first: str, second: str, marks: str, by: str = "j") -> list[Comparison]:
    """One verdict a prompt: `1`, `2`, `=` or `?`; a blank is no comparison."""
    return [
        Comparison(prompt_id=f"p{place}", first=first, second=second, verdict=MARKS[mark], by=by, reason="")
        for place, mark in enumerate(marks)
        if mark != " "
    ]


def replies(
    lengths: Mapping[str, Sequence[float]], **others: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, Reply]]:
    """Completions of these log lengths by contestant; other features by name, 0 where they are not given."""
    values = {"log_words": lengths, **others}
    return {
        name: {
            f"p{prompt}": Reply(
                text="",
                features={
                    feature: float(values.get(feature, {}).get(name, [0.0] * len(own))[prompt])
                    for feature in FEATURES
                },
                outcome=None,
                answer="",
            )
            for prompt in range(len(own))
        }
        for name, own in lengths.items()
    }


def votes_on(
    apart: Floats, strength: float, taste: float, place: float, *, rng: np.random.Generator, rounds: int = 2
) -> Votes:
    """Votes on `s` against `t`, whose log lengths lie this far apart, shown first every other time."""
    found = []
    for turn in range(rounds):
        first = (np.arange(len(apart)) + turn) % 2 == 0
        ahead = strength + taste * apart + place * np.where(first, 0.5, -0.5)
        wins = rng.random(len(apart)) < 1 / (1 + np.exp(-ahead))
        for prompt, (lead, win) in enumerate(zip(first.tolist(), wins.tolist(), strict=True)):
            one, other = ("s", "t") if lead else ("t", "s")
            verdict = Verdict.FIRST if win == lead else Verdict.SECOND
            found.append(
                Comparison(
                    prompt_id=f"p{prompt}", first=one, second=other, verdict=verdict, by="j", reason=""
                )
            )
    return votes_of(found, ["t"])
