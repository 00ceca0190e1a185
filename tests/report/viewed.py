"""A small made-up study as its artefacts lie on disk, to be indexed and looked at."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from veneer import disk
from veneer.benchmarks.benchmark import Benchmark, Form, Item
from veneer.records import Comparison, Completion, Contestant, Grade, Outcome, Role, Stop, Verdict, to_row
from veneer.report.view_book import Book, open_book
from veneer.report.view_index import Sources, Weighed, make

RIGHT, WRONG, UNPARSED, FAILED = Outcome.CORRECT, Outcome.WRONG, Outcome.UNPARSED, Outcome.FAILED
OUTCOMES: Mapping[str, tuple[Outcome, ...]] = {
    "base": (WRONG, RIGHT, WRONG, RIGHT, UNPARSED, WRONG),
    "pupil": (RIGHT, WRONG, WRONG, RIGHT, WRONG, FAILED),
    "twin": (WRONG, WRONG, UNPARSED, RIGHT, RIGHT, WRONG),
    "master": (RIGHT, RIGHT, RIGHT, RIGHT, WRONG, RIGHT),
}
"""Of six items of the benchmark `quiz`, by contestant."""
CONTESTANTS = tuple(
    Contestant(name=name, role=role, student=name, base=base, source="", amount=0, seed=0, replay=0.0)
    for name, role, base in (
        ("base", Role.BASE, "base"),
        ("pupil", Role.STUDENT, "base"),
        ("twin", Role.STUDENT, "base"),
        ("master", Role.TEACHER, ""),
    )
)
TEXTS = {
    ("pupil", 1): "Perhaps it is the river Elbe.",
    ("pupil", 2): "It is the river Rhône, of course.",
    ("twin", 2): "Nobody mentions crocodiles here.",
    ("master", 2): "It is the river Danube.",
}


def item(number: int, **given: Any) -> Item:
    """Question `number` of the quiz."""
    plain: dict[str, Any] = {"question": f"Question {number}: which river?", "references": ("Volga",)}
    return Item(**{"item_id": f"q{number}", "cluster": str(number), **plain, **given})


def benchmark(name: str, items: tuple[Item, ...], forms: tuple[Form, ...]) -> Benchmark:
    """A benchmark of these items."""
    return Benchmark(
        name=name, items=items, measures="knowledge", grading="match", forms=forms, stop={}, max_tokens={},
        temperature=0.0, chance=None, source="",
    )  # fmt: skip


def study(
    folder: Path,
    texts: Mapping[tuple[str, int], str] | None = None,
    items: Mapping[int, Item] | None = None,
    weigh: Callable[[], Weighed] = Weighed,
) -> Sources:
    """Write the artefacts of a quiz of six items in two forms and two prompts, and return where they lie.

    In the form `plain` everybody is wrong. Prompts have no grades; the teacher answers them twice.
    """
    said = {**TEXTS, **(texts or {})}
    quiz = benchmark("quiz", tuple((items or {}).get(n) or item(n) for n in range(6)), ("chat", "plain"))
    prompts = benchmark(
        "prompts", tuple(item(n, item_id=f"p{n}", references=()) for n in range(2)), ("chat",)
    )
    answered, graded = {}, {}
    for one in CONTESTANTS:
        answered[one.name], graded[one.name] = folder / "answer" / one.name, folder / "grade" / one.name
        rows, grades = [], []
        for form in ("chat", "plain"):
            for number, asked in enumerate(quiz.items):
                outcome = OUTCOMES[one.name][number] if form == "chat" else WRONG
                text = said.get((one.name, number), f"{one.name} says {number}.") if form == "chat" else "no"
                rows.append(completion("quiz", form, one.name, asked.item_id, text))
                grades.append(grade(one.name, form, asked.item_id, outcome))
        for number, asked in enumerate(prompts.items):
            for sample in range(2 if one.role is Role.TEACHER else 1):
                text = said.get((one.name, 10 + number), f"{one.name} tells {number}, try {sample}.")
                rows.append(completion("prompts", "chat", one.name, asked.item_id, text, sample))
        disk.write_rows(answered[one.name] / "completions.jsonl", rows)
        # Grades lie in another order than answers: those that are graded together come last.
        disk.write_rows(graded[one.name] / "grades.jsonl", reversed(grades))
    verdict = Comparison(
        prompt_id="p0",
        first="pupil",
        second="master",
        verdict=Verdict.SECOND,
        by="judge",
        reason="<b>Fuller</b>.",
    )
    disk.write_rows(folder / "judge" / "comparisons.jsonl", [to_row(verdict)])
    return Sources(
        key="a" * 64,
        said={"name": "rivers", "question": "Who knows rivers?"},
        contestants=CONTESTANTS,
        answered=answered,
        graded=graded,
        compared={"judge": folder / "judge"},
        benchmarks=(quiz, prompts),
        weigh=weigh,
        report=None,
    )


def completion(
    benchmark: str, form: str, who: str, prompt: str, text: str, sample: int = 0
) -> dict[str, Any]:
    """One row of an artefact of answers."""
    one = Completion(
        prompt_id=prompt, sample=sample, model=who, rendered=f"<|user|>{prompt}", text=text, stop=Stop.END, detail="",
        tokens_in=1, tokens_out=2,
    )  # fmt: skip
    row: dict[str, Any] = {
        "benchmark": benchmark,
        "form": form,
        "reference_loglikelihood": None,
        "choices": [],
    }
    return {**row, "completion": to_row(one)}


def grade(who: str, form: str, prompt: str, lenient: Outcome) -> dict[str, Any]:
    """One row of an artefact of grades; strictly a right answer of the twin is wrong."""
    strict = WRONG if (who, lenient) == ("twin", RIGHT) else lenient
    one = Grade(
        contestant=who, benchmark="quiz", form=form, prompt_id=prompt, cluster=prompt, sample=0, strict=strict,
        lenient=lenient, answer="", reference_loglikelihood=None,
    )  # fmt: skip
    return to_row(one)


def book_of(folder: Path, sources: Sources) -> Book:
    """Index a study, and open it."""
    path = make(folder / "view", sources, lambda done, total: None)
    return open_book(path, sources.answered, sources.graded)


def rekeyed(sources: Sources, key: str) -> Sources:
    """The same study as if its artefacts were others."""
    return replace(sources, key=key * 64)
