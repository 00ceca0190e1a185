"""Veneer from Python: run a study, read its report, and the measures as functions of arrays, columns and texts."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from veneer import disk, pipeline, style
from veneer.analyze import reading, support
from veneer.analyze.agreement import cohen_kappa, krippendorff_alpha
from veneer.analyze.gap import gap_closed
from veneer.analyze.measure import Rung, Sheet, by_cluster, measured, pooled_by_source
from veneer.analyze.style import styles_of, unigram_overlap
from veneer.benchmarks.benchmark import Benchmark, Item
from veneer.cells import crew
from veneer.errors import DataError, StoreError
from veneer.lease import Holder
from veneer.records import Example, Message
from veneer.report.sheets import flat
from veneer.report.shown import read
from veneer.stats import Estimate, Number, Undefined, interval, resample, share_of
from veneer.study import AnalyzeSpec, Study, load
from veneer.text import words

__all__ = [
    "Estimate", "Number", "Study", "Undefined", "cohen_kappa", "gap_closed", "krippendorff_alpha", "load_study",
    "read_report", "report_rows", "run", "style_features", "style_gap_closed", "supported", "win_rate", "word_overlap",
]  # fmt: skip

Report = dict[str, Any]
WORTH = {"win": 1.0, "tie": 0.5, "loss": 0.0}
NONE = "none"


class _Silent:
    """Is told of progress, and keeps it to itself."""

    def begin(self, stage: str, cells: int, done: int) -> None:
        pass

    def advance(self, stage: str, cell: str) -> None:
        pass

    def heard(self, answers: int, dollars: float) -> None:
        pass

    def lacks(self, stage: str, cell: str, said: str, closed: str) -> None:
        pass

    def waits(self, stage: str, cell: str, who: Holder, asks: bool) -> None:
        pass

    def learned(self, lines: Mapping[str, Mapping[str, Any]]) -> None:
        pass


def load_study(study_file: str | Path) -> Study:
    """Read, check and freeze a study file.

    Raises:
        StudyError: It is missing, not YAML, or not a possible study.
    """
    return load(Path(study_file))


def run(study_file: str | Path, *, workers: int | None = None) -> Report:
    """Make everything of a study that is not made yet, as `veneer run` does, and return the content of `report.json`.

    Args:
        study_file: The study file; what is made lies in the folder of its name beside it.
        workers: Cells made at a time, in processes of their own: a script that calls this needs the usual
            `if __name__ == "__main__":`. By default as many as fit: a core each, and a GPU
            where models run and there is one.

    Raises:
        VeneerError: As `veneer run` would say; what had finished is kept.
    """
    path = Path(study_file)
    study = load_study(path)
    with crew(workers) as hands:
        pipeline.run(study, pipeline.store_of(path), hands, _Silent())
    return {} if study.is_data_only else read_report(path)


def read_report(study_file: str | Path) -> Report:
    """Return the content of a finished study's `report.json`; its keys are described in docs/report-json.md.

    Args:
        study_file: The study file, or a `report.json` itself.

    Raises:
        StoreError: There is no report yet.
    """
    path = Path(study_file)
    found = path if path.suffix == ".json" else pipeline.store_of(path).root.parent / "report" / "report.json"
    if not found.exists():
        raise StoreError(f"{found}: there is no report yet. Make it with veneer.run, or `veneer run {path}`.")
    report: Report = disk.read_json(found)
    return report


def report_rows(report: Report, name: str) -> list[dict[str, Any]]:
    """Return a list of the report as flat rows, ready for a data frame.

    A Number takes the columns `_value`, `_low`, `_high`, `_n` and `_undefined` (the reason; empty where there is a
    number); of what is Undefined, the first three are None.

    Raises:
        DataError: The report has no such list.
    """
    lists = sorted(key for key, value in report.items() if isinstance(value, list))
    if name not in lists:
        raise DataError(f"the report has no list {name!r}; there are {lists}.")
    found = [flat(row) for row in read({name: report[name]})[name]]
    ends = ("_value", "_low", "_high")
    return [
        {key: None if value == "" and key.endswith(ends) else value for key, value in row.items()}
        for row in found
    ]


def style_features(completion: str) -> dict[str, float]:
    """Return the style features of a text, by name: what `style_gap_closed` sees, and nothing of what is said."""
    return style.features(completion)


def word_overlap(one: str, other: str) -> float:
    """Return how much two texts share of their words, in [0, 1]: F1 of the two bags of words (the paper's Table 2).

    >>> word_overlap("The sky is blue.", "Blue is the sea!")
    0.75
    """
    return unigram_overlap(Counter(words(one)), Counter(words(other)))


def style_gap_closed(
    base: Iterable[str],
    student: Iterable[str],
    teacher: Iterable[str],
    *,
    again: Iterable[str] | None = None,
    rng: np.random.Generator,
    resamples: int = 2000,
    level: float = 0.95,
) -> Number:
    """Return the share of the style gap that a student closed, with its interval.

    (base - student) / (base - ceiling), each the distance from the teacher by a classifier two-sample test over style
    features alone (Lopez-Paz and Oquab 2017), cross-validated over prompts. 0 is the base's style, 1 the ceiling.

    Args:
        base: The base's completions, one a prompt.
        student: The student's, of the same prompts in the same order.
        teacher: The teacher's.
        again: The teacher's second sample, which is the ceiling; without it the ceiling is a distance of 0.
        rng: Of folds and resamples.
        resamples: How many.
        level: Of the interval.

    Returns:
        The estimate; `n` counts prompts. Undefined unless the base is measurably farther away than the ceiling.

    Raises:
        DataError: The lists differ in length.
    """
    texts = {"base": list(base), "student": list(student), "teacher": list(teacher)}
    if again is not None:
        texts["teacher-again"] = list(again)
    sizes = {name: len(own) for name, own in texts.items()}
    if len(set(sizes.values())) > 1:
        raise DataError(f"completions of the same prompts are wanted, in the same order; found {sizes}.")
    prompts = tuple(map(str, range(sizes["base"])))
    replies = {
        name: {
            prompt: reading.Reply(text=text, features=style.features(text), outcome=None, answer="")
            for prompt, text in zip(prompts, own, strict=True)
        }
        for name, own in texts.items()
    }
    missing = {} if again is not None else {"teacher-again": "there is no second sample"}
    asked = reading.Asked(prompts=prompts, teacher="teacher", replies=replies, missing=missing)
    rung = Rung(student="student", base="base", source="", amount=0, replay=0.0, seeds=("student",))
    spec = AnalyzeSpec(resamples=resamples, level=level, seed=_seed(rng))
    return interval(styles_of(asked, ["base", "student", "teacher"], [rung], spec).closed["student"], level)


def win_rate(
    results: Iterable[str],
    *,
    prompts: Sequence[Hashable] | None = None,
    rng: np.random.Generator,
    resamples: int = 2000,
    level: float = 0.95,
) -> Number:
    """Return (wins + half the ties) / comparisons with a verdict, prompts resampled.

    Args:
        results: `win`, `tie`, `loss` or `none` (no verdict could be had), one a comparison.
        prompts: The prompt of each comparison: verdicts on one prompt (both orders, several raters) are not
            independent. By default each is its own.
        rng: Of the resamples.
        resamples: How many.
        level: Of the interval.

    Returns:
        The estimate, with Wilson's interval at its effective size; `n` counts prompts with a verdict. Undefined where
        there are fewer than ten.

    Raises:
        DataError: A result is another word.

    >>> found = win_rate(["win"] * 30 + ["tie"] * 20 + ["loss"] * 50, rng=np.random.default_rng(0))
    >>> round(found.value, 2), found.n
    (0.4, 100)
    """
    given = [str(one) for one in results]
    if stray := sorted(set(given) - {*WORTH, NONE}):
        raise DataError(f"results are {[*WORTH, NONE]}; found {stray[0]!r}.")
    of = list(range(len(given))) if prompts is None else list(prompts)
    if len(of) != len(given):
        raise DataError(f"every result has its prompt; found {len(given)} results and {len(of)} prompts.")
    kept = [(WORTH[one], prompt) for one, prompt in zip(given, of, strict=True) if one != NONE]
    if not kept:
        return Undefined(reason="no comparison has a verdict", n=0)
    places = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompt for _, prompt in kept))}
    clusters = [places[prompt] for _, prompt in kept]
    scores = np.array([[worth] for worth, _ in kept])
    sheet = Sheet(
        names=("it",),
        sums=by_cluster(scores, clusters, len(places)),
        counts=by_cluster(np.ones_like(scores), clusters, len(places)),
        weights=resample(len(places), resamples, rng=rng),
        missing={},
    )
    return share_of(pooled_by_source(measured([sheet]), (), rng=rng)["it"], level)


def supported(
    questions: Iterable[str],
    references: Iterable[Sequence[str]],
    examples: Iterable[tuple[str, str]],
    *,
    threshold: float = 0.5,
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return whether imitation data supports each question: whether an example comes near it and holds its answer.

    Args:
        questions: Of the benchmark, all of them: how much a word tells depends on the others.
        references: The right answers of each; an empty list where there is none to look for.
        examples: The imitation data: what was asked, and what the teacher answered.
        threshold: The share of a question's words, by weight, that an example must cover.

    Raises:
        DataError: There are not as many lists of references as questions.

    >>> asked, right = ["Who wrote Emma?", "Who wrote Ulysses?"], [["Jane Austen"], ["James Joyce"]]
    >>> supported(asked, right, [("Who is the author of Emma?", "It was Jane Austen.")]).tolist()
    [True, False]
    """
    asked, right = list(questions), [tuple(own) for own in references]
    if len(asked) != len(right):
        raise DataError(f"every question has its references; found {len(asked)} and {len(right)}.")
    items = tuple(
        Item(item_id=str(place), question=question, references=own, cluster=str(place))
        for place, (question, own) in enumerate(zip(asked, right, strict=True))
    )
    benchmark = Benchmark(
        name="it",
        items=items,
        measures="knowledge",
        grading="match",
        forms=("chat",),
        stop={},
        max_tokens={},
        temperature=0.0,
        chance=None,
        source="",
    )
    data = tuple(
        Example(
            example_id=str(place),
            source="",
            messages=(Message(role="user", content=query), Message(role="assistant", content=answer)),
            tokens=0,
        )
        for place, (query, answer) in enumerate(examples)
    )
    ladder = support.Ladder(source="", examples=data, amounts={0: len(data)})
    found = support.support_of([benchmark], [ladder], threshold)["", 0, "it"]
    return np.asarray(found, dtype=bool)


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
