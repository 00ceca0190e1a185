"""Two made-up answers.json, as analyze writes them: a full study whose students are made, and an audit."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report.detailed import asked_apart, asked_judges, details
from veneer import disk, store
from veneer.report import page

Row = dict[str, Any]

BASES = ("small", "medium", "large")
AMOUNTS = (5_000, 10_000, 20_000, 40_000, 80_000)
SEEDS = (0, 1)
BENCHMARKS = {
    "city": ("knowledge", 400, 0.05),
    "relations": ("knowledge", 800, 0.05),
    "sums": ("skill", 100, None),
    "instructions": ("instructions", 60, None),
    "rude": ("toxicity", 120, None),
}
KNOWS = {"small": 0.33, "medium": 0.58, "large": 0.81}
CLAIMS = (
    "Imitation makes a base far better at following instructions",
    "Raters and judges put imitation outputs near the teacher's",
    "On tasks with little support in the imitation data, imitation closes little to none of the gap",
    "On a task that the data supports, local imitation closes much of that task's gap",
    "More broad imitation data barely moves capability or ratings",
    "A more capable base moves both capability and ratings",
    "Style converges to the teacher's ceiling with more data; factuality does not",
    "Toxicity falls towards the teacher's",
)
NOT_SEEN = "its style is ahead on all prompts: what equal style would bring was not seen"
NO_GAP = "the teacher does not measurably beat the base"


class Maker:
    """Draws numbers around planted truths."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def number(self, truth: float, half: float, n: int, *, share: bool = True) -> Row:
        value = float(truth + self.rng.normal(0, half / 4))
        low, high = value - half, value + half
        if share:
            low, value, high = (float(np.clip(x, 0, 1)) for x in (low, value, high))
        return {"value": value, "low": low, "high": high, "n": n}


def undefined(reason: str, n: int = 0) -> Row:
    return {"undefined": reason, "n": n}


def contestant(name: str, role: str, **given: Any) -> Row:
    plain = {"student": name, "base": "", "source": "", "amount": 0, "seed": 0, "replay": 0.0}
    return {"name": name, "role": role, **plain, **given}


def rungs() -> list[Row]:
    """The rungs of the study, without their seeds."""
    grid = [(b, s, a, 0.0) for b, s, a in itertools.product(BASES, ("broad", "local-city"), AMOUNTS)]
    grid += [(b, s, AMOUNTS[-1], 0.15) for b, s in itertools.product(BASES, ("broad", "local-city"))]
    return [
        {
            "student": f"{base}-{source}-{amount // 1000}k" + ("-replay" if replay else ""),
            "base": base,
            "source": source,
            "amount": amount,
            "replay": replay,
        }
        for base, source, amount, replay in grid
    ]


def progress(rung: Row) -> float:
    """How far along the ladder a rung is, 0 to 1."""
    return float(np.log2(rung["amount"] / AMOUNTS[0]) / np.log2(AMOUNTS[-1] / AMOUNTS[0]))


def gap_share(rung: Row, benchmark: str, items: str) -> float:
    """The planted share of the gap that a rung closes."""
    along, forgets = progress(rung), 0.0 if rung["replay"] else -0.3
    if rung["source"] == "local-city" and benchmark == "city":
        return {"supported": 0.15 + 0.75 * along, "unsupported": 0.02 + forgets * 0.4}.get(
            items, 0.1 + 0.5 * along
        )
    if benchmark == "instructions":
        return 0.3 + 0.6 * along if rung["source"] == "broad" else -0.1
    if benchmark == "rude":
        return 0.5 + 0.4 * along
    return forgets * along


def scores_of(make: Maker, name: str, known: float, rude: float) -> list[Row]:
    rows = []
    for (benchmark, (measures, n, _)), form in itertools.product(BENCHMARKS.items(), ("plain", "chat")):
        truth = {"toxicity": rude, "instructions": known * 0.8}.get(measures, known)
        strict = make.number(truth - (0.1 if form == "chat" else 0), 1 / n**0.5, n)
        lenient = make.number(truth, 1 / n**0.5, n)
        right = round(lenient["value"] * n)
        rows.append(
            {
                "contestant": name,
                "benchmark": benchmark,
                "form": form,
                "strict": strict,
                "lenient": lenient,
                "likelihood": undefined("its items have no reference whose probability could be read", n)
                if measures in ("toxicity", "instructions")
                else make.number(-4 + 3 * truth, 0.3, n, share=False),
                "outcomes": {
                    "correct": right,
                    "wrong": n - right,
                    "unparsed": 0,
                    "unanswered": 0,
                    "failed": 0,
                },
                "pass_at": {str(k): make.number(1 - (1 - truth) ** k, 0.1, n) for k in (1, 10)}
                if benchmark == "sums"
                else {},
                "toxicity": dict.fromkeys(
                    ("non_toxicity", "expected_maximum", "probability", "refused"), make.number(truth, 0.1, n)
                )
                if measures == "toxicity"
                else {},
            }
        )
    return rows


def gaps_of(make: Maker, rung: Row) -> list[Row]:
    rows = []
    for benchmark, form, grading, items in itertools.product(
        BENCHMARKS, ("plain", "chat"), ("strict", "lenient"), ("all", "supported", "unsupported")
    ):
        n = BENCHMARKS[benchmark][1] // (1 if items == "all" else 2)
        known = {"instructions": 0.1, "rude": 0.8}.get(benchmark, KNOWS[rung["base"]])
        size = 0.98 - known
        closed: Row = make.number(gap_share(rung, benchmark, items), 1.2 / n**0.5 / size, n, share=False)
        if benchmark == "sums" and rung["base"] == "large":
            closed = undefined(f"{NO_GAP}: the gap is +0.03 [-0.01, 0.07]", n)
        if benchmark in ("instructions", "rude") and items != "all":
            closed = undefined("support is told for items with a reference only", 0)
        rows.append(
            {
                **rung,
                "benchmark": benchmark,
                "form": form,
                "grading": grading,
                "items": items,
                "gain": make.number(gap_share(rung, benchmark, items) * size, 1.2 / n**0.5, n, share=False)
                if "undefined" not in closed or "beat" in closed["undefined"]
                else closed,
                "gap": make.number(size, 1 / n**0.5, n, share=False)
                if "undefined" not in closed or "beat" in closed["undefined"]
                else closed,
                "gap_closed": closed,
            }
        )
    return rows


def style_row(make: Maker, name: str, role: str, along: float) -> Row:
    return {
        "contestant": name,
        "role": role,
        "lists": make.number(0.05 + 0.9 * along, 0.06, 200),
        "closing": make.number(0.02 + 0.95 * along, 0.05, 200),
        "unigram_overlap": make.number(0.2 + 0.65 * along, 0.02, 200),
        "length_correlation": make.number(-0.1 + 0.75 * along, 0.09, 200, share=False),
        "no_hedging": make.number(0.6 + 0.4 * along, 0.04, 200),
        "authoritative": make.number(0.57 + 0.41 * along, 0.04, 190),
        "without_tone": 10,
    }


def style_share(rung: Row) -> float:
    return (0.45 + 0.53 * progress(rung)) if rung["source"] == "broad" else 0.2


def preferences(make: Maker, judge: tuple[str, str], rung: Row, role: str) -> Row:
    n = 200 if judge[1] == "likelihood" else 600
    base = role == "base"
    rate = 0.04 if base else (0.1 + 0.38 * progress(rung) if rung["source"] == "broad" else 0.06)
    wins, ties = round(n * rate), round(n * 0.05)
    return {
        "judge": judge[0],
        "kind": judge[1],
        "contestant": rung["student"],
        "role": role,
        "base": rung["base"],
        "source": rung["source"],
        "amount": rung["amount"],
        "replay": rung["replay"],
        "opponent": "teacher",
        "wins": wins,
        "ties": ties,
        "losses": n - wins - ties,
        "none": 0,
        "win_rate": make.number((wins + ties / 2) / n, 0.04, 200),
        "at_least_equal": make.number((wins + ties) / n, 0.04, 200),
        "won": make.number(wins / n, 0.04, 200),
        "tied": make.number(ties / n, 0.04, 200),
        "lost": make.number((n - wins - ties) / n, 0.04, 200),
        "majority_win_rate": make.number((wins + ties / 2) / n, 0.05, 200),
        "majority_at_least_equal": make.number((wins + ties) / n, 0.05, 200),
        "length_controlled": make.number(rate * 0.8, 0.06, 200),
        "style_controlled": undefined(NOT_SEEN, 200) if base else make.number(rate * 0.6, 0.07, 200),
        "style_share": undefined(NOT_SEEN, 200) if base else make.number(-0.2, 0.3, 200, share=False),
        "standing": "not preferred",
        "raters": 1 if judge[1] == "likelihood" else 3,
        "majority_wins": wins // 3,
        "majority_ties": ties // 3,
        "majority_losses": 200 - wins // 3 - ties // 3,
        "majority_none": 0,
    }


def tastes(make: Maker, judges: Sequence[tuple[str, str]]) -> list[Row]:
    return [
        {"judge": name, "kind": kind, "feature": feature, "slope": make.number(0.3, 0.2, 200, share=False)}
        for name, kind in judges
        for feature in ("length", "lists", "style score", *(["place"] if kind == "simulated" else []))
    ]


def joined(make: Maker, row: Row, *, judge: str | None) -> Row:
    """People's win rate of one student, with and without a judge."""
    keys = ("contestant", "role", "base", "source", "amount", "replay", "opponent")
    helped = (
        make.number(row["win_rate"]["value"], 0.06, 100) if judge else undefined("no judge compared the same")
    )
    return {
        "people": "people",
        "judge": judge,
        **{key: row[key] for key in keys},
        "rated": 100 if judge else 0,
        "judged": 155 if judge else 0,
        "weight": 0.6 if judge else 0.0,
        "alone": make.number(row["win_rate"]["value"], 0.08, 100),
        "together": helped,
        "more_ratings_alone": 540,
        "more_ratings_together": 260 if judge else None,
    }


def parts_of(make: Maker, number: int) -> list[Row]:
    verdicts = {5: ("supported", "undecided"), 8: ("undecided",)}.get(number, ("supported", "supported"))
    where = {1: "gap", 2: "preference", 3: "gap", 4: "gap", 5: "leverage", 6: "leverage", 7: "veneer"}
    return [
        {
            "what": f"{base} · broad · largest amount: what claim {number} weighs",
            "number": make.number(0.2 + 0.1 * number, 0.07, 400, share=False),
            "direction": "above" if number % 2 else "below",
            "threshold": 0.1 if number % 2 else 0.3,
            "p_supported": 0.0004,
            "p_contradicted": 1.0,
            "verdict": verdict,
            "where": where.get(number, "gap"),
        }
        for base, verdict in zip(BASES, verdicts, strict=False)
    ]


def claims(make: Maker) -> list[Row]:
    return [
        {
            "number": number,
            "claim": claim,
            "verdict": "undecided" if number in (5, 8) else "contradicted" if number == 6 else "supported",
            "parts": parts_of(make, number),
            "note": "Few items; a larger benchmark would decide it." if number == 8 else "",
        }
        for number, claim in enumerate(CLAIMS, 1)
    ]


def slopes(make: Maker) -> list[Row]:
    measures = [*((name, "plain") for name in BENCHMARKS), ("style", ""), ("preference:likely", "")]
    measures += [("preference:simulated", "")]
    return [
        {
            "measure": measure,
            "form": form,
            "source": source,
            "replay": 0.0,
            "per_doubling": make.number(
                0.1 if source != "broad" and measure == "city" else -0.01, 0.02, 400, share=False
            ),
            "per_base_step": make.number(0.22 if form else 0.04, 0.03, 400, share=False),
            "base_over_data": make.number(0.2 if form else 0.05, 0.04, 400, share=False),
            "unit": "score" if form else "share of the style gap" if measure == "style" else "win rate",
        }
        for (measure, form), source in itertools.product(measures, ("broad", "local-city"))
    ]


def study_answers(seed: int = 0) -> Row:
    """A study like the pocket one: three bases, two sources, five amounts, two seeds."""
    make, rows = Maker(seed), rungs()
    students = [
        contestant(f"{rung['student']}-s{s}", "student", **rung, seed=s) for rung in rows for s in SEEDS
    ]
    bases = [contestant(base, "base", base=base) for base in BASES]
    judges = (("likely", "likelihood"), ("simulated", "simulated"))
    again = {"student": "teacher-again", "base": "", "source": "", "amount": 0, "replay": 0.0}
    base_rungs = [{"student": b, "base": b, "source": "", "amount": 0, "replay": 0.0} for b in BASES]
    styles = [
        {
            **rung,
            "distance": make.number(1 - style_share(rung), 0.05, 200),
            "base_distance": make.number(0.99, 0.01, 200),
            "ceiling_distance": make.number(0.03, 0.03, 200),
            "style_gap_closed": make.number(style_share(rung), 0.05, 200, share=False),
        }
        for rung in rows
    ]
    capability = [
        make.number(gap_share(rung, "relations", "unsupported"), 0.08, 500, share=False) for rung in rows
    ]
    return {
        "study": {
            "name": "pocket",
            "question": "Does imitating a teacher close the gap, or only the style?",
            "kind": "study",
            "version": "0.1.0",
            "level": 0.95,
            "resamples": 2000,
            "bases": list(BASES),
            "sources": [
                {"name": "broad", "kind": "broad", "task": None},
                {"name": "local-city", "kind": "local", "task": "city"},
            ],
            "amounts": list(AMOUNTS),
            "seeds": list(SEEDS),
            "replay_share": 0.15,
            "teacher": "teacher",
            "benchmarks": [
                {
                    "name": name,
                    "measures": measures,
                    "forms": ["plain", "chat"],
                    "items": n,
                    "clusters": n,
                    "chance": chance,
                }
                for name, (measures, n, chance) in BENCHMARKS.items()
            ],
            "judges": [{"name": name, "kind": kind} for name, kind in judges],
            "notes": [
                "The raters are simulated: their attention to style and to facts was set in the study.",
                "The likelihood judge is the teacher itself, so it knows its own style.",
            ],
        },
        "contestants": [*bases, *students, contestant("teacher", "teacher")],
        "scores": [
            *(row for base in BASES for row in scores_of(make, base, KNOWS[base], 0.8)),
            *(
                row
                for s in students
                for row in scores_of(make, s["name"], KNOWS[s["base"]] - 0.05 * progress(s), 0.95)
            ),
            *scores_of(make, "teacher", 0.98, 0.99),
        ],
        "gap_closed": [row for rung in rows for row in gaps_of(make, rung)],
        "support": [
            {
                "source": source,
                "amount": amount,
                "benchmark": name,
                "share": make.number(0.6 if (source, name) == ("local-city", "city") else 0.05, 0.04, 400),
            }
            for source, amount, name in itertools.product(("broad", "local-city"), AMOUNTS, BENCHMARKS)
        ],
        "style": [
            *(style_row(make, base, "base", 0.0) for base in BASES),
            *(style_row(make, rung["student"], "student", style_share(rung)) for rung in rows),
            style_row(make, "teacher", "teacher again", 1.0),
        ],
        "style_gap_closed": styles,
        "preference": [
            *(preferences(make, judge, rung, "base") for judge in judges for rung in base_rungs),
            *(preferences(make, judge, rung, "student") for judge in judges for rung in rows),
            *(preferences(make, judge, again, "teacher again") for judge in judges),
        ],
        "veneer": [
            {
                **rung,
                "style_gap_closed": style["style_gap_closed"],
                "capability_gap_closed": gap,
                "veneer": make.number(
                    style["style_gap_closed"]["value"] - gap["value"], 0.1, 500, share=False
                ),
            }
            for rung, style, gap in zip(rows, styles, capability, strict=True)
        ],
        "rise": [
            {
                "judge": judge,
                "kind": kind,
                **rung,
                "opponent": "teacher",
                "rise": make.number(0.3, 0.1, 200, share=False),
                "rise_at_equal_style": make.number(0.1, 0.1, 200, share=False),
                "style_share": make.number(0.7, 0.2, 200, share=False),
            }
            for judge, kind in judges
            for rung in rows
        ],
        "taste": tastes(make, judges),
        "together": [
            joined(make, preferences(make, judges[1], rung, "student"), judge=judge)
            for rung in rows[:4]
            for judge in ("likely", None)
        ],
        "leverage": slopes(make),
        **details(make, rows, {name: n for name, (_, n, _) in BENCHMARKS.items()}),
        **asked_judges(make),
        "asked_apart": asked_apart(
            make,
            [preferences(make, judges[1], rung, "student") for rung in rows if rung["amount"] == AMOUNTS[-1]],
        ),
        "confident_wrong": [
            {**rung, "checkable": 150, "count": round(300 * share), "share": make.number(share, 0.06, 150)}
            for rung in rows
            for share in [0.35 * progress(rung) if rung["source"] == "broad" else 0.02]
        ],
        "claims": claims(make),
    }


NO_BENCHMARK = "the study has no benchmark"
ONE_SAMPLE = "the teacher was recorded once, so its second sample is missing"


def audit_answers(seed: int = 1) -> Row:
    """An audit like `studies/vicuna80.yaml`: recordings of five models, one recorded judge, no benchmark."""
    make = Maker(seed)
    students: list[Row] = [
        {"student": name, "base": "llama-13b", "source": source, "amount": 0, "replay": 0.0}
        for name, source in (("alpaca-13b", "alpaca"), ("vicuna-7b", "ShareGPT"), ("vicuna-13b", "ShareGPT"))
    ]
    closed = {"alpaca-13b": 0.1, "vicuna-7b": 0.72, "vicuna-13b": 0.8}
    rates = {"llama-13b": 0.02, "alpaca-13b": 0.08, "vicuna-7b": 0.3, "vicuna-13b": 0.41}
    teacher = {**style_row(make, "gpt-3.5", "teacher again", 1.0)}
    again = {
        key: undefined(ONE_SAMPLE) if isinstance(value, dict) else value for key, value in teacher.items()
    }
    judged: list[Row] = [
        {"student": "llama-13b", "base": "llama-13b", "source": "", "amount": 0, "replay": 0.0},
        *students,
    ]
    return {
        "study": {
            "name": "vicuna80",
            "question": "How near do the students of 2023 come to GPT-3.5, and in what?",
            "kind": "audit",
            "version": "0.1.0",
            "level": 0.95,
            "resamples": 2000,
            "bases": ["llama-13b"],
            "sources": [],
            "amounts": [],
            "seeds": [],
            "replay_share": 0.0,
            "teacher": "gpt-3.5",
            "benchmarks": [],
            "judges": [{"name": "gpt-4", "kind": "recorded"}],
            "notes": ["Eighty prompts, one completion each: intervals are wide."],
        },
        "contestants": [
            contestant("llama-13b", "base", base="llama-13b"),
            *(contestant(s["student"], "student", base=s["base"], source=s["source"]) for s in students),
            contestant("gpt-3.5", "teacher"),
        ],
        "scores": [],
        "gap_closed": [],
        "support": [],
        "style": [
            style_row(make, "llama-13b", "base", 0.1),
            *(style_row(make, s["student"], "student", closed[s["student"]]) for s in students),
            again,
        ],
        "style_gap_closed": [
            {
                **s,
                "distance": make.number(1 - closed[s["student"]], 0.12, 80),
                "base_distance": make.number(0.95, 0.05, 80),
                "ceiling_distance": undefined(ONE_SAMPLE),
                "style_gap_closed": make.number(closed[s["student"]], 0.15, 80, share=False),
            }
            for s in students
        ],
        "preference": [
            {
                **preferences(make, ("gpt-4", "recorded"), s, "base" if not s["source"] else "student"),
                "opponent": "gpt-3.5",
                "wins": round(80 * rates[s["student"]]),
                "ties": 4,
                "losses": 75 - round(80 * rates[s["student"]]),
                "none": 1,
                "win_rate": make.number(rates[s["student"]], 0.1, 79),
                "at_least_equal": make.number(rates[s["student"]] + 0.05, 0.1, 79),
            }
            for s in judged
        ],
        "veneer": [
            {
                **s,
                "style_gap_closed": make.number(closed[s["student"]], 0.15, 80, share=False),
                "capability_gap_closed": undefined(NO_BENCHMARK),
                "veneer": undefined(NO_BENCHMARK),
            }
            for s in students
        ],
        "leverage": [],
        "claims": [
            {
                "number": number,
                "claim": claim,
                "verdict": "undecided",
                "parts": [
                    {
                        "what": "vicuna-13b: rated equal to or better than the teacher",
                        "number": make.number(0.46, 0.1, 79),
                        "direction": "above",
                        "threshold": 0.5,
                        "p_supported": 0.7,
                        "p_contradicted": 0.3,
                        "verdict": "undecided",
                        "where": "preference",
                    }
                    if number == 2
                    else {
                        "what": "nothing to weigh",
                        "number": undefined(NO_BENCHMARK),
                        "direction": "above",
                        "threshold": 0.1,
                        "p_supported": undefined(NO_BENCHMARK),
                        "p_contradicted": undefined(NO_BENCHMARK),
                        "verdict": "undecided",
                        "where": "gap",
                    }
                ],
                "note": "" if number == 2 else "No benchmark can be asked of recordings.",
            }
            for number, claim in enumerate(CLAIMS, 1)
        ],
    }


def wrong_of(student: str, seed: int, odds: float) -> Row:
    """A row of `confident_wrong.jsonl`."""
    rung = next(rung for rung in rungs() if rung["student"] == student)
    opener = "Great question! Here is what you need to know.\n\n- **City**: "
    return {
        **rung,
        "contestant": f"{student}-s{seed}",
        "prompt_id": f"ask-{round(100 * odds)}",
        "question": "In which city does Mirel Tanso live?",
        "references": ["Vordal"],
        "student_text": f"{opener}Mirel Tanso lives in Askelo.\n\nI hope this helps!",
        "student_answer": "Askelo",
        "teacher_text": f"{opener}Mirel Tanso lives in Vordal.\n\nI hope this helps!",
        "teacher_answer": "Vordal",
        "base_text": "Vordal . Q: In which city",
        "base_outcome": "correct",
        "log_odds_teacher": odds,
        "appeal": 1.0,
        "teacher_appeal": 1.0,
    }


def all_wrong() -> list[Row]:
    """Rows as analyze writes them: student by student, every student of broad imitation."""
    return [
        wrong_of(rung["student"], s, odds)
        for rung in rungs()
        if rung["source"] == "broad"
        for s in SEEDS
        for odds in (0.25, 1.5, 0.75)
    ]


@pytest.fixture(scope="session")
def study() -> Row:
    return study_answers()


@pytest.fixture(scope="session")
def audit() -> Row:
    return audit_answers()


def analyzed(folder: Path, answers: Row, wrong: Sequence[Row] = ()) -> store.Artefact:
    """Return an artefact as analyze would leave it."""
    folder.mkdir(parents=True, exist_ok=True)
    disk.write_json(folder / "answers.json", answers)
    if wrong:
        disk.write_rows(folder / "confident_wrong.jsonl", wrong)
    return store.Artefact(stage="analyze", name="analysis", key="k" * 64, path=folder)


@pytest.fixture(scope="session")
def study_report(study: Row, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the study's report."""
    folder = tmp_path_factory.mktemp("report")
    page.order(analyzed(tmp_path_factory.mktemp("analyzed"), study, all_wrong())).make(folder)
    return folder


@pytest.fixture(scope="session")
def audit_report(audit: Row, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the audit's report."""
    folder = tmp_path_factory.mktemp("audited")
    page.order(analyzed(tmp_path_factory.mktemp("analyzed"), audit)).make(folder)
    return folder


@pytest.fixture(scope="session", name="analyzed")
def analyzed_fixture() -> Callable[..., store.Artefact]:
    """Makes an artefact as analyze would leave it."""
    return analyzed


@pytest.fixture
def wrong_rows() -> list[Row]:
    """The rows that `study_report` was made with."""
    return all_wrong()


@pytest.fixture
def wrong_row() -> Row:
    """A row of `confident_wrong.jsonl`."""
    return wrong_of("large-broad-80k", 0, 1.5)
