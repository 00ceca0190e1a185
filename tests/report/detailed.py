"""Made-up lists of a report that take its numbers apart, as analyze writes them."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Row = dict[str, Any]


class Maker(Protocol):
    """Draws numbers around planted truths."""

    def number(self, truth: float, half: float, n: int, *, share: bool = True) -> Row:
        """Return a Number."""


def undefined(reason: str) -> Row:
    return {"undefined": reason, "n": 0}


def details(make: Maker, rungs: Sequence[Row], benchmarks: Mapping[str, int]) -> dict[str, list[Row]]:
    """Return the lists; `benchmarks` are names with their numbers of items."""
    places = [
        ({**rung, "benchmark": name, "form": "plain"}, n) for rung in rungs for name, n in benchmarks.items()
    ]
    amounts = {(rung["source"], rung["amount"]): 0 for rung in rungs}
    return {
        "gains": [gain(make, row, n) for row, n in places],
        "subjects": [
            {**row, "subject": subject, "items": n // 2, **parts(make, n // 2)}
            for row, n in places
            if row["benchmark"] == "city"
            for subject in ("where one lives", "where one works")
        ],
        "nearness": [
            {
                "source": source,
                "amount": amount,
                "benchmark": name,
                "queries": make.number(0.4, 0.05, n, share=False),
                "answers": make.number(0.3, 0.05, n, share=False),
                **({"reference": make.number(0.6, 0.05, n)} if name != "rude" else {}),
            }
            for source, amount in amounts
            for name, n in benchmarks.items()
        ],
        "support_difference": [difference(make, row, n) for row, n in places],
        "contaminated": [
            {**row, "items": 20, **parts(make, 20)} for row, _ in places if row["benchmark"] == "city"
        ],
        "next_step": [next_step(make)],
    }


def gain(make: Maker, row: Row, n: int) -> Row:
    keys = ("strict_gain", "knowledge_gain", "format_gain")
    if row["benchmark"] == "rude":
        lacking = undefined("rude: one item failed")
        return {**row, **dict.fromkeys((*keys, "detectable", "p"), lacking), "verdict": "undecided"}
    numbers = {key: make.number(0.05, 0.1, n, share=False) for key in keys}
    p = 0.00012 if row["base"] == "large" else 0.31
    return {
        **row,
        **numbers,
        "detectable": 0.0612345,
        "p": p,
        "verdict": "above" if p < 0.05 else "undecided",
    }


def parts(make: Maker, n: int) -> Row:
    return {key: make.number(0.2, 0.1, n, share=False) for key in ("gain", "gap", "gap_closed")}


def difference(make: Maker, row: Row, n: int) -> Row:
    if row["source"] == "broad":
        lacking = undefined("on supported items fewer than 10 independent items")
        return {**row, "difference": lacking, "p": lacking, "verdict": "undecided"}
    return {**row, "difference": make.number(0.5, 0.2, n, share=False), "p": 0.0004, "verdict": "above"}


def next_step(make: Maker) -> Row:
    cost = {"tokens": 80_000, "operations": 2.4e13, "gpu_hours": 0.0123456, "dollars": 1.5}
    options = [
        {
            "step": step,
            "buys": make.number(0.03, 0.02, 400, share=False),
            "cost": cost,
            "per_thousand_dollars": make.number(20, 12, 400, share=False),
        }
        for step in ("twice the broad data", "a better base")
    ]
    return {
        "measure": "capability",
        "unit": "score",
        "options": options,
        "best": "",
        "ahead": make.number(0.01, 0.02, 400, share=False),
        "sentence": "This study can't tell what to do next for capability.",
    }


def asked_judges(make: Maker) -> dict[str, list[Row]]:
    """Return what is known of two judges, and how far they agree."""
    shares = (
        "no_verdict",
        "first_position",
        "flips",
        "longer",
        "lists",
        "own_family",
        "own_family_by_raters",
    )
    named = (("likely", "likelihood"), ("simulated", "simulated"))
    return {
        "judges": [
            {
                "judge": name,
                "kind": kind,
                "identity": f"the {kind} judge",
                "served": {},
                "raters": 1,
                "comparisons": 4000,
                "none": 3,
                "lacking": 0,
                "family": [],
                **{key: make.number(0.5, 0.05, 200) for key in shares},
                "canaries": {"asked": 0, "right": 0, "changed": [], "fingerprints": []},
            }
            for name, kind in named
        ],
        "agreement": [
            {
                "judge": "likely",
                "with": "simulated",
                "pairs": 1000,
                "alone": 20,
                "same": make.number(0.7, 0.05, 200),
                "kappa": make.number(0.4, 0.1, 200, share=False),
                "alpha": make.number(0.4, 0.1, 200, share=False),
            }
        ],
    }


LEFT_OUT = ("kind", "length_controlled", "style_controlled", "style_share")


def asked_apart(make: Maker, rows: Sequence[Row]) -> list[Row]:
    """Return what people said of style and of correctness, each asked by itself; `rows` are of `preference`."""
    return [
        {
            "question": question,
            **{key: value for key, value in row.items() if key not in LEFT_OUT},
            "judge": "people",
            "kind": "people",
            "win_rate": make.number(rate, 0.1, 60),
        }
        for question, rate in (("style", 0.6), ("correctness", 0.2))
        for row in rows
    ]
