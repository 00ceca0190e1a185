"""Reads what the earlier stages left: grades, answers to the prompts for style, style features, examples, verdicts."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from veneer import disk
from veneer.amounts import prefixes, take
from veneer.analyze.support import Ladder
from veneer.benchmarks.benchmark import Benchmark
from veneer.benchmarks.items import PROMPTS
from veneer.records import Comparison, Completion, Example, Grade, Outcome, Stop, Style, from_row
from veneer.store import Artefact
from veneer.study_data import OverlapSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One completion of a prompt for style, and what is known of it."""

    text: str
    features: Mapping[str, float]
    outcome: Outcome | None
    """Under lenient grading; None where the prompt has nothing to check an answer by."""
    answer: str


Replies = Mapping[str, Mapping[str, Reply]]
"""By contestant and prompt; the teacher's second sample under `<teacher>-again`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the contestants said to the prompts for style."""

    prompts: tuple[str, ...]
    """Ids, in the order in which they were asked."""
    teacher: str
    replies: Replies
    missing: Mapping[str, str]
    """Contestants whose replies are incomplete, and why."""

    @property
    def again(self) -> str:
        """The name of the teacher's second sample."""
        return f"{self.teacher}-again"


def grades(graded: Mapping[str, Artefact], names: Sequence[str]) -> Iterator[Grade]:
    """Yield every contestant's grades, in the given order of contestants."""
    for name in names:
        for where, row in disk.read_rows(graded[name].path / "grades.jsonl"):
            yield from_row(Grade, row, where)


def ladders(prepared: Mapping[str, Artefact], amounts: Sequence[int]) -> list[Ladder]:
    """Return every source's examples in ladder order, up to the largest amount."""
    found = []
    for source, artefact in prepared.items():
        rows = disk.read_rows(artefact.path / "examples.jsonl")
        examples = tuple(
            take((from_row(Example, row, where) for where, row in rows), max(amounts, default=0))
        )
        counts = prefixes([example.tokens for example in examples], amounts)
        assert counts is not None, "the data card refuses a source that has too little"
        found.append(
            Ladder(source=source, examples=examples, amounts={one.amount: one.examples for one in counts})
        )
    return found


Places = frozenset[tuple[str, str]]
"""Items, each by its benchmark (or `prompts`) and its id."""
MOST_UNSCORED = 0.05
"""The largest share of a benchmark's items that may be left out because no classifier could score them."""


def left_out(prepared: Mapping[str, Artefact], spec: OverlapSpec) -> Places:
    """Return the items that stand in some imitation data, where the study says that they go and not the example."""
    return contaminated(prepared, spec) if spec.goes == "item" else frozenset()


def contaminated(prepared: Mapping[str, Artefact], spec: OverlapSpec) -> Places:
    """Return the items that stand in some imitation data which kept the example."""
    if spec.goes == "example":
        return frozenset()
    deciding = {"exact", "bleu", f"{spec.ngram}-gram"}
    return frozenset(
        (row["file"], row["item"])
        for artefact in prepared.values()
        for _, row in disk.read_rows(artefact.path / "overlaps.jsonl")
        if deciding & set(row["matches"])
    )


def unscored(marks: Sequence[Grade], sizes: Mapping[str, int]) -> Places:
    """Return the items of which some contestant's text could not be scored: they are left out for all.

    Where they are more than `MOST_UNSCORED` of a benchmark they stay, and it has no score.

    Args:
        marks: All grades.
        sizes: The number of items of each benchmark.
    """
    places = {(mark.benchmark, mark.prompt_id) for mark in marks if mark.unscored}
    lost = Counter(benchmark for benchmark, _ in places)
    return frozenset(
        (benchmark, item) for benchmark, item in places if lost[benchmark] <= MOST_UNSCORED * sizes[benchmark]
    )


def without(benchmark: Benchmark, out: Places) -> Benchmark:
    """Return a benchmark without the items that are left out."""
    kept = tuple(item for item in benchmark.items if (benchmark.name, item.item_id) not in out)
    return replace(benchmark, items=kept)


def comparisons(artefact: Artefact, out: Places, file: str = "comparisons.jsonl") -> list[Comparison]:
    """Return a judge's verdicts, but on prompts that are left out."""
    rows = disk.read_rows(artefact.path / file)
    found = (from_row(Comparison, row, where) for where, row in rows)
    return [one for one in found if (PROMPTS, one.prompt_id) not in out]


def asked(
    answered: Mapping[str, Artefact],
    graded: Mapping[str, Artefact],
    names: Sequence[str],
    teacher: str,
    prompts: Sequence[str],
    marks: Sequence[Grade],
) -> Asked:
    """Return what was said to the prompts for style.

    Args:
        answered: Completions by contestant.
        graded: Style features by contestant.
        names: The contestants.
        teacher: One of them.
        prompts: The ids of the prompts.
        marks: The grades of checkable prompts.
    """
    known = {(grade.contestant, grade.prompt_id, grade.sample): grade for grade in marks}
    replies: dict[str, dict[str, Reply]] = {}
    for name in names:
        texts = _texts(answered[name].path)
        for where, row in disk.read_rows(graded[name].path / "style.jsonl"):
            style = from_row(Style, row, where)
            place = (style.prompt_id, style.sample)
            if place not in texts or style.sample > (1 if name == teacher else 0):
                continue
            grade = known.get((name, *place))
            replies.setdefault(name if style.sample == 0 else f"{name}-again", {})[style.prompt_id] = Reply(
                text=texts[place],
                features=style.features,
                outcome=grade.lenient if grade else None,
                answer=grade.answer if grade else "",
            )
    missing = {}
    for name in [*names, f"{teacher}-again"]:
        lost = sum(prompt not in replies.get(name, {}) for prompt in prompts)
        if not prompts:
            missing[name] = "the study has no prompts for style"
        elif lost == len(prompts) and name not in names:
            missing[name] = "the teacher answered once, so that it has no second sample"
        elif lost:
            missing[name] = f"{lost} of {len(prompts)} prompts for style have no answer"
    return Asked(prompts=tuple(prompts), teacher=teacher, replies=replies, missing=missing)


def _texts(folder: Path) -> dict[tuple[str, int], str]:
    """Return a contestant's completions of the prompts for style, by prompt and sample."""
    found = {}
    for where, row in disk.read_rows(folder / "completions.jsonl"):
        if row["benchmark"] == PROMPTS:
            completion = from_row(Completion, row["completion"], where)
            if completion.stop != Stop.FAILED:
                found[completion.prompt_id, completion.sample] = completion.text
    return found
