"""Answers to lm-eval's items are graded by lm-eval: its filters, its `process_results`, unchanged.

A task is built again from the documents that its items carry, so the data are not needed any more. What the first
document of a task looks like decides, in lm-eval, whether the task has several right answers: so it is named, whichever
items were answered (`firsts_of`).
"""

import contextlib
import copy
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veneer import disk
from veneer.benchmarks import harness_tasks as tasks
from veneer.benchmarks.benchmark import Item
from veneer.errors import DataError, StudyError

Likelihoods = Sequence[tuple[float, bool]]
"""One a continuation: the sum of its tokens' log-probabilities, and whether greedy decoding would have written it."""
Firsts = Mapping[str, Mapping[str, Any]]
"""The first document of every task, by the task."""
LOOSE = {"prompt_level_strict_acc": "prompt_level_loose_acc", "inst_level_strict_acc": "inst_level_loose_acc"}
"""Metrics that have a lenient counterpart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What lm-eval makes of one answer."""

    value: float
    """The chosen metric of the first filter, 0 to 1."""
    lenient: float
    """Its lenient counterpart, if it has one; else its best value over the filters."""
    answer: str
    """What the first filter extracted, or the choice that is likeliest; empty where nothing was found."""
    parsed: bool
    """Whether any filter extracted something."""
    metrics: Mapping[str, Mapping[str, Any]]
    """Filter to metric to value, as lm-eval has them, ready for JSON."""


def metric_of(items: Path) -> str:
    """Return the metric that a file of resolved items is scored by.

    Raises:
        DataError: Its first row names none.
    """
    where, row = next(disk.read_rows(items), (f"{items}:1", {}))
    if not isinstance(found := row.get("metric"), str) or not found:
        raise DataError(
            f"{where}, field metric: found {row.get('metric')!r}; the name of an lm-eval metric is wanted."
        )
    return found


def firsts_of(items: Sequence[Item]) -> Firsts:
    """Return the first document of every task of a benchmark, by the task."""
    return {item.task: dict(item.doc or {}) for item in reversed(items)}


def grade_choices(
    items: Sequence[Item], likelihoods: Sequence[Likelihoods], metric: str, firsts: Firsts
) -> list[Mark]:
    """Return the mark of each item whose continuations were weighed, in the items' order.

    Args:
        items: Of a benchmark; one may stand there more than once.
        likelihoods: For each item, its continuations' likelihoods in their order.
        metric: See `metric_of`.
        firsts: See `firsts_of`.

    Raises:
        DataError: An item's likelihoods are not as many as its continuations.
        StudyError: A task cannot be built here, or the metric is not a share of 1.
    """
    for item, found in zip(items, likelihoods, strict=True):
        if len(item.continuations) != len(found):
            raise DataError(
                f"item {item.item_id}: {len(found)} likelihoods came for {len(item.continuations)} continuations."
            )
    weighed = [[(float(total), bool(greedy)) for total, greedy in one] for one in likelihoods]
    return _grade(items, weighed, metric, firsts)


def grade_texts(items: Sequence[Item], texts: Sequence[str], metric: str, firsts: Firsts) -> list[Mark]:
    """Return the mark of each item that was answered with a text, in the items' order.

    Args:
        items: Of a benchmark; one may stand there more than once, once for each sample.
        texts: The answers, cut at the stop strings.
        metric: See `metric_of`.
        firsts: See `firsts_of`.

    Raises:
        StudyError: A task or a package is missing here, or the metric is not a share of 1.
    """
    return _grade(items, [[text] for text in texts], metric, firsts)


def _grade(items: Sequence[Item], responses: Sequence[list[Any]], metric: str, firsts: Firsts) -> list[Mark]:
    places: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        places.setdefault(item.task, []).append(place)
    if len(responses) != len(items):
        raise DataError(f"{len(responses)} answers came for {len(items)} items.")
    marks: dict[int, Mark] = {}
    for name, found in places.items():
        own, given = [items[place] for place in found], [responses[place] for place in found]
        marked = _grade_task(firsts[name], own, given, metric)
        marks.update(zip(found, marked, strict=True))
    return [marks[place] for place in range(len(items))]


def _grade_task(
    first: Mapping[str, Any], items: Sequence[Item], responses: Sequence[list[Any]], metric: str
) -> list[Mark]:
    name = items[0].task
    path = tasks.single().get(name)
    if path is None:
        raise StudyError(
            f"task {name!r}: lm-eval {tasks.version()} has none of this name, so its answers cannot be graded; "
            "install the version that the items were made with."
        )
    with needs(name), tasks.undisturbed():
        docs = [dict(item.doc or {}) for item in items]
        task = rebuilt(tasks.Leaf(name=name, path=path), [dict(first), *docs])
        measured = measure(task, docs, responses)
        return [
            _mark(item, found, metric, said if said is not None else [_likeliest(item, response, metric)])
            for item, response, (found, said) in zip(items, responses, measured, strict=True)
        ]


def needs(name: str) -> contextlib.AbstractContextManager[None]:
    """Return a context in which the task's own code finds what it needs."""
    return tasks.instructions() if "ifeval" in name.lower() else contextlib.nullcontext()


def rebuilt(leaf: tasks.Leaf, docs: Sequence[dict[str, Any]]) -> Any:
    """Return the task, made of documents that it has processed already; without shots."""
    config = leaf.config(functions=True)
    bare = {**config, "process_docs": None, "fewshot_config": None, "fewshot_split": None, "num_fewshot": 0}
    split = str(config.get("test_split") or config.get("validation_split"))
    return tasks.build({**bare, "training_split": None}, {split: docs})


def measure(
    task: Any, docs: Sequence[dict[str, Any]], responses: Sequence[list[Any]]
) -> list[tuple[dict[str, dict[str, Any]], list[str] | None]]:
    """Return, for each document, the metrics by filter, and what each filter extracted (None for likelihoods).

    Call it inside `harness_tasks.undisturbed`, which puts the seed back.
    """
    from lm_eval.api.instance import Instance

    kind = "generate_until" if task.OUTPUT_TYPE == "generate_until" else "loglikelihood"
    groups = [
        [
            Instance(kind, doc, (), place, metadata=(task.config.task, number, 1), resps=[response])
            for place, response in enumerate(given)
        ]
        for number, (doc, given) in enumerate(zip(docs, responses, strict=True))
    ]
    task._instances = [one for group in groups for one in group]
    task.apply_filters()
    found = []
    for doc, group in zip(docs, groups, strict=True):
        metrics = {}
        for name in group[0].filtered_resps:
            # IFEval draws a letter where a document names none; an item's mark must not hang on the items before it.
            random.seed(0)
            filtered = [one.filtered_resps[name] for one in group]
            metrics[name] = _plain(task.process_results(copy.deepcopy(doc), filtered))
        said = [_said(one) for one in group[0].filtered_resps.values()]
        found.append((metrics, said if kind == "generate_until" else None))
    return found


def score(metrics: Mapping[str, Mapping[str, Any]], metric: str, name: str) -> float:
    """Return the metric of the first filter.

    Raises:
        StudyError: The task does not give it, or it is no number from 0 to 1.
    """
    first = next(iter(metrics.values()))
    value = first.get(metric)
    if not isinstance(value, bool | int | float) or not 0 <= value <= 1 + 1e-9:
        shares = sorted(
            key for key, one in first.items() if isinstance(one, bool | int | float) and 0 <= one <= 1
        )
        raise StudyError(
            f"task {name!r}, metric {metric!r}: gave {value!r}, and a number from 0 to 1 an item is wanted; "
            f"`metric` may be one of {shares or 'none of this task'}."
        )
    return min(float(value), 1.0)


def _mark(item: Item, metrics: dict[str, dict[str, Any]], metric: str, said: Sequence[str]) -> Mark:
    value = score(metrics, metric, item.task)
    loose = next(iter(metrics.values())).get(LOOSE.get(metric, ""))
    others = [one.get(metric) for one in metrics.values()] if loose is None else [loose]
    lenient = max(float(one) for one in [value, *others] if isinstance(one, bool | int | float))
    return Mark(value=value, lenient=lenient, answer=said[0], parsed=any(said), metrics=metrics)


def _likeliest(item: Item, response: Likelihoods, metric: str) -> str:
    """Return the choice that lm-eval takes as the model's, by the length that the metric divides by."""
    if not item.choices:
        return item.references[0] if item.references and response[0][1] else ""
    lengths = {
        "acc_norm": [len(choice) for choice in item.choices],
        "acc_bytes": [len(choice.encode()) for choice in item.choices],
    }.get(metric, [1] * len(item.choices))
    weighed = [total / length for (total, _), length in zip(response, lengths, strict=True)]
    return item.choices[weighed.index(max(weighed))]


def _said(found: Any) -> str:
    while isinstance(found, list | tuple):
        found = found[0] if found else ""
    return "" if found is None or found == "[invalid]" else str(found)


def _plain(value: Any) -> Any:
    """Return a value of lm-eval's as JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return value
