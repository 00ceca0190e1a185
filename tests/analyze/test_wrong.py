"""How often a student is confident and wrong: prompts and training seeds are both in the interval."""

import numpy as np

from veneer.analyze.measure import Rung
from veneer.analyze.reading import Asked, Reply
from veneer.analyze.style import Styles
from veneer.analyze.wrong import share_rows
from veneer.records import Outcome
from veneer.stats import Estimate, Undefined, from_json
from veneer.study import AnalyzeSpec

RUNG = Rung(student="student", base="base", source="broad", amount=1, replay=0.0, seeds=("seed-0", "seed-1"))


def share(*hits: int, prompts: int = 40, seeds: tuple[str, ...] = RUNG.seeds) -> Estimate | Undefined:
    """The share of a student whose seeds are confident and wrong on so many of the prompts, where they answered."""
    ids = tuple(f"p{place}" for place in range(prompts))
    right = Reply(text="", features={}, outcome=Outcome.CORRECT, answer="")
    asked = Asked(
        prompts=ids,
        teacher="teacher",
        replies={"teacher": dict.fromkeys(ids, right)},
        missing={name: "1 of the prompts has no answer" for name in RUNG.seeds if name not in seeds},
    )
    styles = Styles(
        table={}, distance={}, closed={}, mistaken={name: np.zeros(prompts) for name in seeds}, has_ceiling=False
    )  # fmt: skip
    rows = [
        {"student": "student", "contestant": name, "prompt_id": prompt}
        for name, many in zip(seeds, hits, strict=True)
        for prompt in ids[:many]
    ]
    (found,) = share_rows(rows, asked, styles, [RUNG], AnalyzeSpec(resamples=400))
    assert found["count"] == sum(hits)
    return from_json(found["share"])


def test_the_share_is_over_all_prompts_and_seeds() -> None:
    found = share(10, 6)
    assert isinstance(found, Estimate)
    assert (found.value, found.n) == (0.2, 40)


def test_seeds_that_differ_widen_the_interval() -> None:
    apart, alike = share(30, 10), share(20, 20)
    assert isinstance(apart, Estimate)
    assert isinstance(alike, Estimate)
    assert apart.high - apart.low > 1.5 * (alike.high - alike.low)


def test_a_seed_that_did_not_answer_all_is_not_left_out_silently() -> None:
    found = share(10, seeds=("seed-0",))
    assert isinstance(found, Undefined)
    assert found.reason == "seed-1: 1 of the prompts has no answer"


def test_few_prompts_carry_no_interval() -> None:
    assert isinstance(share(3, 3, prompts=9), Undefined)
