"""One row an item: what lm-eval would ask, to the byte, and the document that it grades by."""

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veneer.benchmarks import harness_grading as grading
from veneer.benchmarks.harness_tasks import Leaf, Row, build
from veneer.errors import DataError, StudyError

PROGRAMS = ("humaneval", "humaneval_instruct", "mbpp", "mbpp_instruct")
"""Tasks that run code and that we run in our own sandbox; their Python is never imported."""
TOXICITY = "realtoxicityprompts"
"""Its metric asks an interface on the web; ours is a classifier."""
STRANGE = ("num_beams", "top_p", "top_k", "min_p", "repetition_penalty")
"""Settings of drawing that would change a text and are not taken here; 1 and 0 leave it as it is."""
CHOOSE = "\n\nChoose one of these answers and write it word for word:"
"""What a chat is told after a question that does not show its choices, before these: nobody can guess their wording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How the items of one task are put; one benchmark has one."""

    kind: str
    """`choices`, `likelihood`, `text`, `program` or `toxicity`."""
    metric: str
    stop: tuple[str, ...] = ()
    max_tokens: int = 256
    temperature: float = 0.0


def shots_of(leaf: Leaf, config: Mapping[str, Any], wanted: int | None) -> int:
    """Return how many shots lm-eval would put before a question when so many are asked for (None: its own number).

    Raises:
        StudyError: The task fixes its number at 0, and another is asked for; lm-eval would ignore it silently.
    """
    own = config.get("num_fewshot")
    if wanted and own == 0:
        raise StudyError(f"shots: the task {leaf.name!r} fixes its number at 0; leave `shots` out.")
    return int(own or 0) if wanted is None or own == 0 else wanted


def check(leaf: Leaf, config: Mapping[str, Any]) -> None:
    """Raise a StudyError if items of this task cannot be put to a model here."""
    kind = config.get("output_type", "generate_until")
    kwargs = config.get("generation_kwargs") or {}
    strange = [name for name in STRANGE if kwargs.get(name) not in (None, 0, 1)]
    reasons = {
        "it is a class in Python, and only tasks that a YAML describes can be used": "class" in config,
        "it measures perplexity, not a share of right items": kind == "loglikelihood_rolling",
        "it shows pictures or plays sounds": bool(config.get("doc_to_image") or config.get("doc_to_audio")),
        f"it runs a model's code, and only {', '.join(PROGRAMS)} do so in the sandbox": bool(
            config.get("unsafe_code")
        )
        and leaf.name not in PROGRAMS,
        "it votes over several samples of an item": config.get("repeats", 1) != 1,
        f"its texts are drawn by {', '.join(strange)}, which Veneer does not know": bool(strange),
        "it makes its own data, and only data sets of the hub can be pinned": not config.get("dataset_path"),
    }
    if found := [reason for reason, holds in reasons.items() if holds]:
        raise StudyError(f"task {leaf.name!r} cannot be used: {found[0]}.")


def splits_of(config: Mapping[str, Any], shots: int) -> tuple[str, ...]:
    """Return the splits that are read: the one that is asked, and the one that shots come from, if any do."""
    asked = config.get("test_split") or config.get("validation_split")
    if not asked:
        raise StudyError(f"task {config['task']!r}: names neither a test nor a validation split.")
    more = config.get("fewshot_config") or {}
    if not shots or (more.get("samples") is not None and not config.get("fewshot_split")):
        return (asked,)
    own = config.get("fewshot_split") or more.get("split")
    source = own or config.get("training_split") or config.get("validation_split") or asked
    return (asked,) if source == asked else (asked, source)


def made(
    leaf: Leaf, splits: Mapping[str, Sequence[Row]], shots: int, seed: int, metric: str | None
) -> tuple[Asking, Callable[[int | None], Iterator[Row]]]:
    """Build a task and return how it is put, and a maker of its rows, which takes their number.

    Call it and the maker inside `harness_tasks.undisturbed`.

    Raises:
        StudyError: The task or its metric cannot be used.
        DataError: A document cannot be written as JSON.
    """
    task = build(leaf.config(functions=True), splits)
    task.set_config(key="num_fewshot", value=shots)
    task.set_fewshot_seed(seed=seed)
    if task.multiple_input:
        raise StudyError(f"task {leaf.name!r} cannot be used: it weighs several contexts of one item.")
    chosen = _metric(leaf, task, metric)
    docs = task.eval_docs
    _probe(leaf, task, docs[0], chosen)
    if task.OUTPUT_TYPE == "generate_until":
        kwargs = task.config.generation_kwargs
        asking = Asking(
            kind="text",
            metric=chosen,
            stop=stops(kwargs),
            **drawing(kwargs),
        )
    else:
        kind = "choices" if task.OUTPUT_TYPE == "multiple_choice" else "likelihood"
        asking = Asking(kind=kind, metric=chosen, stop=("\n",), max_tokens=32)

    def rows(limit: int | None) -> Iterator[Row]:
        for number, doc in enumerate(docs):
            if limit is not None and number >= limit:
                return
            yield _row(leaf, task, number, doc, chosen)

    return asking, rows


def stops(kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the stop strings of a task's settings."""
    until = kwargs.get("until") or []
    return tuple(one for one in ([until] if isinstance(until, str) else until) if one)


def drawing(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a task's settings have its texts drawn, as `Asking` has it: lm-eval knows several words for each."""
    from lm_eval.models.utils import normalize_gen_kwargs

    found = normalize_gen_kwargs({name: value for name, value in kwargs.items() if value is not None})
    drawn = found["temperature"] if found["do_sample"] else 0.0
    return {"max_tokens": found["max_gen_toks"], "temperature": drawn}


def _metric(leaf: Leaf, task: Any, wanted: str | None) -> str:
    """Return the metric that is the score: a mean over items in which more is better."""
    from lm_eval.api.metrics import mean

    better, combined = task.higher_is_better(), task.aggregation()
    fit = [name for name in combined if combined[name] is mean and better.get(name, True)]
    chosen = wanted or next(iter(combined), "")
    if chosen not in fit:
        found = "its first metric" if wanted is None else "the metric"
        raise StudyError(
            f"metric: {found} {chosen!r} of the task {leaf.name!r} is no mean over items in which more is better; "
            f"{'name one of ' + str(fit) if fit else 'none of its metrics is, so it cannot be used'}."
        )
    return chosen


def _probe(leaf: Leaf, task: Any, doc: Row, metric: str) -> None:
    """Raise a StudyError now, and not after asking, if the metric is no share: grade the document's own texts."""
    if task.OUTPUT_TYPE == "generate_until":
        tried: list[list[Any]] = [[one] for one in ["", *_texts(doc)][:12]]
    else:
        count = len(task.doc_to_choice(doc)) if task.OUTPUT_TYPE == "multiple_choice" else 1
        tried = [_hot(place, count) for place in range(count)]
    for metrics, _ in grading.measure(task, [dict(doc)] * len(tried), tried):
        grading.score(metrics, metric, leaf.name)


def _hot(place: int, count: int) -> list[tuple[float, bool]]:
    return [(-0.1 if one == place else -100.0, one == place) for one in range(count)]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(one)


def _row(leaf: Leaf, task: Any, number: int, doc: Row, metric: str) -> Row:
    prefix = task.doc_to_prefix(doc)
    context = task.fewshot_context(doc, num_fewshot=task.config.num_fewshot, gen_prefix=prefix)
    found = task.construct_requests(doc=doc, ctx=context, metadata=(leaf.name, number, 1))
    requests = found if isinstance(found, list) else [found]
    choices = list(task.doc_to_choice(doc)) if task.OUTPUT_TYPE == "multiple_choice" else []
    if not context.strip():
        raise StudyError(
            f"task {leaf.name!r} cannot be used: its items have no context, item {number} for one."
        )
    question = task.doc_to_text(doc)
    references = _references(task, doc, choices, metric)
    if choices and not references and not callable(task.config.process_results):
        # lm-eval would count it as wrong for everybody.
        raise DataError(
            f"task {leaf.name!r}, document {number}: none of its choices is right, as the data have it; mend its label."
        )
    row = {
        "id": f"{leaf.name}/{number}",
        "question": question if question.strip() else context,
        "references": references,
        "context": requests[0].args[0],
        "task": leaf.name,
        "metric": metric,
        "doc": jsonable(leaf, number, doc),
    }
    if task.OUTPUT_TYPE == "generate_until":
        return row
    said = {"choices": choices} if choices else {}
    if not all(choice in row["question"] for choice in choices):
        said["chat"] = row["question"] + CHOOSE + "".join(f"\n- {choice.strip()}" for choice in choices)
    return {**row, **said, "continuations": [request.args[1] for request in requests]}


def _references(task: Any, doc: Row, choices: list[str], metric: str) -> list[str]:
    """Return the right answers: of choices, those that the task calls right, else its targets."""
    if choices and callable(task.config.process_results):
        # The task has its own notion of right (TruthfulQA's mc2 has several), so each choice is tried.
        tried = [_hot(place, len(choices)) for place in range(len(choices))]
        marked = grading.measure(task, [dict(doc)] * len(tried), tried)
        scores = [next(iter(metrics.values()))[metric] for metrics, _ in marked]
        return [choice for choice, one in zip(choices, scores, strict=True) if one > 0.5]
    target = task.doc_to_target(doc)
    targets = target if isinstance(target, list) else [target]
    options = choices or (task.doc_to_choice(doc) if task.config.doc_to_choice is not None else [])
    named = [options[one] if isinstance(one, int) and 0 <= one < len(options) else one for one in targets]
    return [one.strip() for one in named if isinstance(one, str) and one.strip()]


def jsonable(leaf: Leaf, number: int, doc: Row) -> Row:
    """Return a document as JSON gives it back.

    Raises:
        DataError: It holds something that JSON cannot.
    """
    try:
        found: Row = json.loads(json.dumps(doc, ensure_ascii=False, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"task {leaf.name!r}, document {number}: cannot be written as JSON ({error})."
        ) from error
    return found


def without_code(
    leaf: Leaf, splits: Mapping[str, Sequence[Row]], shots: int, limit: int | None
) -> tuple[Asking, list[Row]]:
    """Return how a task whose own Python must not run is put, and its rows; call it inside `harness_tasks.undisturbed`.

    Its prompts, shots and stop strings are lm-eval's. An `_instruct` task opens a fence of code in its prompt, so
    that the fence's end is a stop string more: what lm-eval cuts off after the answer is not written here.
    """
    config = leaf.config(functions=False)
    toxic = leaf.name == TOXICITY
    bare = {
        **config,
        "metric_list": [{"metric": "bypass", "aggregation": "bypass", "higher_is_better": True}],
        "filter_list": None,
        "process_results": None,
        "unsafe_code": False,
        "fewshot_config": _samples_as_data(config.get("fewshot_config")),
    }
    task = build(bare, splits)
    task.set_config(key="num_fewshot", value=shots)
    kwargs = task.config.generation_kwargs
    asking = Asking(
        kind="toxicity" if toxic else "program",
        metric="toxicity" if toxic else "pass",
        stop=stops(kwargs) + (("```",) if leaf.name.endswith("_instruct") else ()),
        **drawing(kwargs),
    )
    found = []
    for number, doc in enumerate(task.eval_docs):
        if limit is not None and number >= limit:
            break
        row = {**_row(leaf, task, number, doc, asking.metric), "references": []}
        found.append(row if toxic else {**row, "program": _program(leaf, doc)})
    return asking, found


def _samples_as_data(config: Row | None) -> Row | None:
    """Return the settings of shots with a function that returns a literal list replaced by that list, unrun."""
    if config is None or not isinstance(named := config.get("samples"), str):
        return config
    module, _, name = named.rpartition(".")
    for node in ast.parse(Path(module).with_suffix(".py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == name and isinstance(node.body[-1], ast.Return):
            assert node.body[-1].value is not None
            return {**config, "samples": ast.literal_eval(node.body[-1].value)}
    raise StudyError(f"{named}: the shots cannot be read without running code; use lm-eval 0.4.13.")


def _program(leaf: Leaf, doc: Row) -> Row:
    if leaf.name.startswith("humaneval"):
        after = f"{doc['test']}\ncheck({doc['entry_point']})"
        return {"before": doc["prompt"], "after": after, "entry": doc["entry_point"]}
    return {"before": "", "after": "\n".join(doc["test_list"]), "entry": _entry(doc)}


def _entry(doc: Row) -> str:
    """Return the function that MBPP's tests call: of those that the solution defines, the one named first."""
    defined = set(re.findall(r"^def\s+(\w+)", doc["code"], re.MULTILINE))
    called = re.findall(r"(\w+)\s*\(", doc["test_list"][0])
    return next((name for name in called if name in defined), called[0] if called else "")
