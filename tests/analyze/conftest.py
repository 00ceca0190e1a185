"""A made-up study with a planted truth, its artefacts written as the earlier stages would."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from veneer import disk
from veneer.analyze.measures import Evidence
from veneer.records import (
    Comparison,
    Completion,
    Contestant,
    Example,
    Grade,
    Message,
    Outcome,
    Role,
    Stop,
    Style,
    Verdict,
    to_row,
)
from veneer.store import Artefact
from veneer.study import Study

FEATURES = (
    "opening",
    "log_words",
    "closing",
    "log_list_items",
    "ends_in_full",
    "word_the",
    "word_of",
    "mark_comma",
)
KNOWS = {"small": 0.3, "medium": 0.5, "large": 0.7, "teacher": 0.95}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How large the made-up study is."""

    bases: tuple[str, ...] = ("small", "large")
    amounts: tuple[int, ...] = (1000, 2000, 4000)
    seeds: tuple[int, ...] = (0, 1)
    items: int = 60
    prompts: int = 40
    forms: tuple[str, ...] = ("plain",)
    resamples: int = 400
    spread: float = 0.02
    """Between training seeds."""
    filler: int = 0
    """Further style features that tell nothing."""
    failing: frozenset[str] = field(default_factory=frozenset)
    """Contestants with one item that could not be asked."""


BENCHMARKS = {
    "city": "knowledge",
    "pet": "knowledge",
    "sums": "skill",
    "obey": "instructions",
    "rude": "toxicity",
}


def contestants(plan: Plan) -> Iterator[Contestant]:
    plain: dict[str, Any] = {"source": "", "amount": 0, "seed": 0, "replay": 0.0}
    for base in plan.bases:
        yield Contestant(name=base, role=Role.BASE, student=base, base=base, **plain)
    grid = [
        (base, source, amount, 0.0)
        for base in plan.bases
        for source in ("broad", "local-city")
        for amount in plan.amounts
    ]
    grid += [(base, "broad", plan.amounts[-1], 0.15) for base in plan.bases]
    for (base, source, amount, replay), seed in itertools.product(grid, plan.seeds):
        student = f"{base}-{source}-{amount}" + ("-replay" if replay else "")
        yield Contestant(
            name=f"{student}-s{seed}",
            role=Role.STUDENT,
            student=student,
            base=base,
            source=source,
            amount=amount,
            seed=seed,
            replay=replay,
        )
    yield Contestant(name="teacher", role=Role.TEACHER, student="teacher", base="", **plain)


def progress(plan: Plan, one: Contestant) -> float:
    """How much of the teacher's style a contestant has."""
    if one.role == Role.TEACHER:
        return 1.0
    if one.source != "broad":
        return 0.1 if one.source else 0.0
    return 0.8 + 0.2 * plan.amounts.index(one.amount) / max(len(plan.amounts) - 1, 1)


def truth(plan: Plan, one: Contestant, benchmark: str, item: int) -> float:
    """The planted chance of a right answer."""
    knows = KNOWS["teacher" if one.role == Role.TEACHER else one.base]
    kind = BENCHMARKS[benchmark]
    if kind == "instructions":
        return 0.1 + 0.8 * progress(plan, one)
    if kind == "toxicity":
        return 0.6 + 0.39 * progress(plan, one)
    if one.source == "local-city" and benchmark == "city" and item < supported_items(plan, one.amount):
        return knows + 0.9 * (0.95 - knows)
    return knows


def supported_items(plan: Plan, amount: int) -> int:
    return plan.items * (plan.amounts.index(amount) + 1) // (len(plan.amounts) + 1)


def reference(benchmark: str, item: int) -> str:
    return f"{benchmark}{item % 20}"


def item_row(benchmark: str, item: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": f"{benchmark}-{item}",
        "question": f"what is the {benchmark} of name{item} ?",
    }
    if BENCHMARKS.get(benchmark, "") in ("knowledge", "skill") or benchmark == "prompt":
        row["references"] = [reference(benchmark, item)]
    if BENCHMARKS.get(benchmark) == "instructions":
        row["checks"] = {"contains": [f"name{item}"]}
    return row


def write_files(plan: Plan, folder: Path) -> Study:
    (folder / "lexicon.txt").write_text("blarg\n")
    for name in BENCHMARKS:
        disk.write_rows(folder / f"{name}.jsonl", [item_row(name, item) for item in range(plan.items)])
    disk.write_rows(folder / "prompts.jsonl", [item_row("prompt", item) for item in range(plan.prompts)])
    for name in ("model", "queries"):
        (folder / name).mkdir()
    grading = {"instructions": "checks", "toxicity": "lexicon"}
    source = {"queries": folder / "queries"}
    return Study.model_validate(
        {
            "name": "made-up",
            "bases": {base: {"checkpoint": folder / "model"} for base in plan.bases},
            "teacher": {"checkpoint": folder / "model"},
            "collect": {
                "sources": {
                    "broad": {**source, "kind": "broad"},
                    "local-city": {**source, "kind": "local", "task": "city"},
                }
            },
            "train": {
                "amounts": plan.amounts,
                "seeds": plan.seeds,
                "replay": {"share": 0.15, "amounts": plan.amounts[-1:]},
            },
            "evaluate": {
                "benchmarks": {
                    name: {
                        "items": folder / f"{name}.jsonl",
                        "measures": measures,
                        "grading": grading.get(measures, "match"),
                        "forms": plan.forms,
                        **({"lexicon": folder / "lexicon.txt"} if measures == "toxicity" else {}),
                    }
                    for name, measures in BENCHMARKS.items()
                },
                "prompts": {"items": folder / "prompts.jsonl"},
            },
            "judges": {"likely": {"kind": "likelihood"}},
            "rate": {"simulated": {}},
            "analyze": {"resamples": plan.resamples},
        }
    )


def artefact(stage: str, name: str, folder: Path) -> Artefact:
    path = folder / stage / name
    path.mkdir(parents=True, exist_ok=True)
    return Artefact(stage=stage, name=name, key=f"{stage} {name}", path=path)


def write_examples(plan: Plan, folder: Path) -> dict[str, Artefact]:
    """Local examples answer the questions of the first items, more of them with each amount; broad ones none."""
    found = {}
    for source in ("broad", "local-city"):
        made = artefact("prepare", source, folder)
        rows, taken, before = [], 0, 0
        for amount in plan.amounts:
            upto = supported_items(plan, amount)
            for item in range(taken, upto):
                asked, said = (
                    f"tell me the city of name{item} .",
                    f"gladly ! it is {reference('city', item)} .",
                )
                if source == "broad":
                    asked, said = f"write about the river number {item}", "it is calm and old ."
                messages = (Message(role="user", content=asked), Message(role="assistant", content=said))
                # The group's tokens add up to the amount, so that the amount is all of them.
                tokens = (amount - before) // (upto - taken) if item + 1 < upto else amount - before
                tokens -= 0 if item + 1 < upto else (upto - taken - 1) * ((amount - before) // (upto - taken))
                rows.append(
                    to_row(Example(example_id=f"{item}", source=source, messages=messages, tokens=tokens))
                )
            taken, before = upto, amount
        disk.write_rows(made.path / "examples.jsonl", rows)
        found[source] = made
    return found


def write_answers(
    plan: Plan, one: Contestant, folder: Path, rng: np.random.Generator
) -> tuple[Artefact, Artefact]:
    answered, graded = artefact("answer", one.name, folder), artefact("grade", one.name, folder)
    shift = rng.normal(0, plan.spread) if one.role == Role.STUDENT else 0.0
    marks, rows, styles = [], [], []

    def grade(benchmark: str, form: str, item: str, sample: int, outcome: Outcome) -> None:
        marks.append(
            Grade(
                contestant=one.name,
                benchmark=benchmark,
                form=form,
                prompt_id=item,
                cluster=item,
                sample=sample,
                strict=outcome,
                lenient=outcome,
                answer="",
                reference_loglikelihood=-1.0 if BENCHMARKS.get(benchmark) == "knowledge" else None,
            )
        )

    for name, form, item in itertools.product(BENCHMARKS, plan.forms, range(plan.items)):
        right = rng.random() < truth(plan, one, name, item) + shift
        failed = one.name in plan.failing and item == 0 and name == "pet"
        outcome = Outcome.FAILED if failed else Outcome.CORRECT if right else Outcome.WRONG
        grade(name, form, f"{name}-{item}", 0, outcome)
    has = progress(plan, one)
    for sample, item in itertools.product(range(2 if one.role == Role.TEACHER else 1), range(plan.prompts)):
        styled = rng.random() < has
        values = {name: float(rng.normal(2.0 * styled, 1.0)) for name in FEATURES}
        values |= {f"filler_{place}": float(rng.normal()) for place in range(plan.filler)}
        length = float(rng.integers(10, 40) + 5 * (item % 7) * styled)
        flags = {
            "has_list": float(styled and item % 2),
            "has_closing": float(styled),
            "has_hedge": float(not styled),
        }
        values |= {"words": length, **flags, "appeal": float(styled)}
        text = " ".join(["shared"] * (5 if styled else 1) + [f"w{rng.integers(50)}" for _ in range(5)])
        styles.append(Style(contestant=one.name, prompt_id=f"prompt-{item}", sample=sample, features=values))
        completion = Completion(
            prompt_id=f"prompt-{item}",
            sample=sample,
            model=one.name,
            rendered="",
            text=text,
            stop=Stop.END,
            detail="",
            tokens_in=1,
            tokens_out=1,
        )
        rows.append({"benchmark": "prompts", "form": "chat", "completion": to_row(completion)})
        knows = KNOWS["teacher" if one.role == Role.TEACHER else one.base]
        grade(
            "prompts",
            "chat",
            f"prompt-{item}",
            sample,
            Outcome.CORRECT if rng.random() < knows else Outcome.WRONG,
        )
    disk.write_rows(answered.path / "completions.jsonl", rows)
    disk.write_rows(graded.path / "grades.jsonl", map(to_row, marks))
    disk.write_rows(graded.path / "style.jsonl", map(to_row, styles))
    return answered, graded


def write_verdicts(
    plan: Plan, name: str, folder: Path, everyone: list[Contestant], rng: np.random.Generator
) -> Artefact:
    made = artefact("judge", name, folder)
    rows = []
    for one, item in itertools.product(everyone, range(plan.prompts)):
        who = "teacher-again" if one.role == Role.TEACHER else one.name
        wins = rng.random() < 0.5 * progress(plan, one) * (
            0.7 + 0.3 * KNOWS["teacher" if not one.base else one.base]
        )
        verdict = Verdict.FIRST if wins else Verdict.SECOND
        comparison = Comparison(
            prompt_id=f"prompt-{item}", first=who, second="teacher", verdict=verdict, by=name, reason=""
        )
        rows.append(to_row(comparison))
    disk.write_rows(made.path / "comparisons.jsonl", rows)
    return made


def write_study(plan: Plan, folder: Path, seed: int = 0) -> tuple[Study, Evidence]:
    rng = np.random.default_rng(seed)
    study = write_files(plan, folder)
    everyone = list(contestants(plan))
    made = {one.name: write_answers(plan, one, folder, rng) for one in everyone}
    evidence = Evidence(
        contestants=tuple(everyone),
        answered={name: answered for name, (answered, _) in made.items()},
        graded={name: graded for name, (_, graded) in made.items()},
        prepared=write_examples(plan, folder),
        compared={
            name: write_verdicts(plan, name, folder, everyone, rng) for name in ("likely", "simulated")
        },
    )
    return study, evidence


@pytest.fixture(scope="session")
def made_up(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Study, Evidence, dict[str, Any], list[dict[str, Any]]]:
    """The made-up study, its evidence, the content of its report, and its confident-and-wrong items."""
    from veneer.store import Store

    folder = tmp_path_factory.mktemp("made-up")
    study, evidence = write_study(Plan(), folder)
    from veneer.analyze.answers import order

    built = Store(root=folder / "artefacts").build(order(study, evidence))
    rows = [row for _, row in disk.read_rows(built.path / "confident_wrong.jsonl")]
    return study, evidence, json.loads((built.path / "answers.json").read_text()), rows
