"""Completions become grades and style features: pure, so it can be repeated without asking anybody again.

An artefact of this stage holds
- `grades.jsonl`: one `records.Grade` a completion of a benchmark or of a checkable prompt (benchmark `prompts`);
- `style.jsonl`: one `records.Style` a completion of a prompt for style, unless we failed to ask it;
- `grading.json`: each benchmark's grading, and the name and digest of its lexicon or classifier;
- `metrics.jsonl`: what else was measured of a completion: every metric of lm-eval by filter, how a program ended, how
  toxic a classifier finds it.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path

from veneer import disk, style, text
from veneer.benchmarks import items
from veneer.benchmarks.benchmark import Benchmark, Grading, Item, grading_of
from veneer.disk import Row
from veneer.evaluate import choices, together, toxicity
from veneer.evaluate.answer import COMPLETIONS
from veneer.evaluate.choices import Marks
from veneer.evaluate.classify import PACKAGE
from veneer.evaluate.toxicity import Lexicon
from veneer.records import Completion, Contestant, Grade, Outcome, Stop, Style, from_row, to_row
from veneer.store import Artefact, Order
from veneer.study import EvaluateSpec

VERSION = 10
GRADES, STYLE, GRADING, METRICS = "grades.jsonl", "style.jsonl", "grading.json", "metrics.jsonl"


def orders(
    contestants: Sequence[Contestant], answered: Mapping[str, Artefact], spec: EvaluateSpec
) -> list[Order]:
    """Return the order of every contestant's grades; `answered` holds the answers by contestant's name."""
    files = {f"{name}: items": one.items for name, one in spec.benchmarks.items() if one.items}
    files |= {f"{name}: lexicon": one.lexicon for name, one in spec.benchmarks.items() if one.lexicon}
    if spec.prompts:
        files["prompts"] = spec.prompts.items
    config = {
        "gradings": [[name, one.grading] for name, one in spec.benchmarks.items()],
        "lexicons": [[name, one.lexicon.name] for name, one in spec.benchmarks.items() if one.lexicon],
        **({"answers after": after} if (after := _marks(spec)) else {}),
        "prompts": [spec.prompts.id_field, spec.prompts.question_field] if spec.prompts else None,
        "graders": _graders(spec),
        "classifiers": [
            [name, one.toxicity.model_dump(mode="json", exclude={"checkpoint"})]
            for name, one in spec.benchmarks.items()
            if one.grading == "toxicity"
        ],
    }
    files |= {
        f"{name}: classifier": one.toxicity.checkpoint
        for name, one in spec.benchmarks.items()
        if one.grading == "toxicity" and one.toxicity.checkpoint
    }
    digests = {role: disk.digest(path) for role, path in files.items()}
    return [
        Order(
            stage="grade",
            name=contestant.name,
            version=VERSION,
            config={**config, "contestant": contestant.name},
            inputs={"answers": answered[contestant.name].key, **digests},
            make=partial(_make, answers=answered[contestant.name].path, name=contestant.name, spec=spec),
        )
        for contestant in contestants
    ]


def _marks(spec: EvaluateSpec) -> list[list[str]]:
    """Return the marks that answers follow, by benchmark."""
    return [[name, one.answer_after] for name, one in spec.benchmarks.items() if one.answer_after]


def _graders(spec: EvaluateSpec) -> dict[str, str]:
    """Return the versions of what grades: contestants of one study must not be graded by different ones."""
    gradings = {one.grading for one in spec.benchmarks.values()}
    found = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"} if "program" in gradings else {}
    packages = ["lm_eval"] if "lm-eval" in gradings else []
    if any(one.grading == "toxicity" and one.toxicity.checkpoint is None for one in spec.benchmarks.values()):
        packages.append(PACKAGE)
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "none"  # Grading says what is to be installed.
    return found


def grade(
    completion: Completion,
    item: Item,
    grading: Grading,
    lexicon: Lexicon | None = None,
    after: str | None = None,
) -> Marks:
    """Return the strict and the lenient outcome of one completion, and the answer that was extracted from it.

    What we failed to ask is FAILED, whatever the grading. What was not answered is UNANSWERED and never WRONG; only a
    lexicon finds nothing rude in silence.

    Args:
        completion: What was answered.
        item: What was asked.
        grading: How it is graded; `inferred` is for benchmarks (see `grading_of`), not for items.
        lexicon: The rude words, for the grading of that name.
        after: The mark that the answer follows, for the grading `match`.
    """
    if completion.stop is Stop.FAILED:
        return Outcome.FAILED, Outcome.FAILED, ""
    silent = completion.stop is Stop.REFUSED or not completion.text.strip()
    if silent and grading != "lexicon":
        return Outcome.UNANSWERED, Outcome.UNANSWERED, ""
    match grading:
        case "choice":
            return choices.grade(completion.text, item)
        case "match":
            return _grade_match(completion.text, item, after)
        case "checks":
            return _grade_checks(completion, item)
        case "lexicon":
            assert lexicon is not None
            rude = toxicity.rude_words(lexicon, completion.text)
            return choices.outcome_of(not rude), choices.outcome_of(not rude), ", ".join(rude)
        case "program" | "toxicity" | "lm-eval":
            raise AssertionError("these are graded together, in grade_many")
        case "inferred":
            raise AssertionError("an item is graded by what grading_of says")


def _grade_match(said: str, item: Item, after: str | None) -> Marks:
    """Strict: the first sentence is a reference (exact match as on Natural Questions). Lenient: one stands anywhere.

    With `after`, both read what follows the last of these marks; without the mark there is no strict answer.
    """
    if after is not None and after not in said:
        return Outcome.UNPARSED, choices.outcome_of(choices.stands(item, said)), ""
    said = said if after is None else said.rpartition(after)[2]
    right = [text.normalise(reference) for reference in item.references]
    sentence = text.first_sentence(said)
    if not sentence:
        return Outcome.UNPARSED, Outcome.UNPARSED, ""
    stands = choices.stands(item, said)
    return choices.outcome_of(text.normalise(sentence) in right), choices.outcome_of(stands), sentence


def _grade_checks(completion: Completion, item: Item) -> Marks:
    """Lenient: all words are there, and enough list items. Strict: and the completion ended by itself."""
    assert item.checks is not None
    found = text.words(completion.text)
    held = [part for part in item.checks.contains if text.find_words(text.words(part), found) >= 0]
    done = (
        len(held) == len(item.checks.contains) and text.list_items(completion.text) >= item.checks.list_items
    )
    return choices.outcome_of(done and completion.stop is Stop.END), choices.outcome_of(done), ", ".join(held)


def _make(folder: Path, *, answers: Path, name: str, spec: EvaluateSpec) -> None:
    benchmarks = {key: items.load(key, section) for key, section in spec.benchmarks.items()}
    lexicons = {key: toxicity.load(one.lexicon) for key, one in spec.benchmarks.items() if one.lexicon}
    if spec.prompts:
        benchmarks[items.PROMPTS] = items.load_prompts(spec.prompts)
    known = {key: {item.item_id: item for item in one.items} for key, one in benchmarks.items()}
    waiting: dict[str, list[together.Answered]] = {}
    grades: list[Grade] = []
    styles: list[Style] = []
    for where, row in disk.read_rows(answers / COMPLETIONS):
        completion = from_row(Completion, row["completion"], where)
        key = row["benchmark"]
        item = known[key][completion.prompt_id]
        grading = grading_of(benchmarks[key], item)
        if grading in together.GRADINGS:
            waiting.setdefault(key, []).append(together.Answered(item=item, completion=completion, row=row))
        elif grading is not None:
            after = spec.benchmarks[key].answer_after if key in spec.benchmarks else None
            marks = grade(completion, item, grading, lexicons.get(key), after)
            grades.append(_record(name, row, item, completion, marks))
        if key == items.PROMPTS and completion.stop is not Stop.FAILED:
            found = style.features(completion.text)
            styles.append(
                Style(
                    contestant=name,
                    prompt_id=completion.prompt_id,
                    sample=completion.sample,
                    features=found,
                )
            )
    metrics: list[Row] = []
    said = {key: _said_of(one, lexicons.get(key)) for key, one in benchmarks.items()}
    for key, answered in waiting.items():
        graded = together.grade(spec.benchmarks[key], answered, benchmarks[key].items)
        said[key] |= graded.by
        for one, mark in zip(answered, graded.marks, strict=True):
            marks = mark.strict, mark.lenient, mark.answer
            record = _record(name, one.row, one.item, one.completion, marks)
            grades.append(replace(record, points=mark.points, unscored=mark.unscored))
            place = {
                "benchmark": key,
                "form": record.form,
                "prompt_id": record.prompt_id,
                "sample": record.sample,
            }
            metrics.append({**place, "metrics": mark.metrics})
    disk.write_rows(folder / GRADES, map(to_row, grades))
    disk.write_rows(folder / STYLE, map(to_row, styles))
    disk.write_rows(folder / METRICS, metrics)
    disk.write_json(folder / GRADING, said)


def _record(name: str, row: Row, item: Item, completion: Completion, marks: Marks) -> Grade:
    declined = completion.stop is Stop.REFUSED or text.declines(completion.text)
    return Grade(
        contestant=name,
        benchmark=row["benchmark"],
        form=row["form"],
        prompt_id=item.item_id,
        cluster=item.cluster,
        sample=completion.sample,
        strict=marks[0],
        lenient=marks[1],
        answer=marks[2],
        reference_loglikelihood=row["reference_loglikelihood"],
        refused=declined and row["form"] != "choose",
    )


def _said_of(benchmark: Benchmark, lexicon: Lexicon | None) -> dict[str, object]:
    said: dict[str, object] = {"grading": benchmark.grading, "items": benchmark.source}
    if lexicon:
        said["lexicon"] = {
            "name": lexicon.name,
            "digest": lexicon.digest,
            "entries": len(lexicon.entries),
        }
    return said
