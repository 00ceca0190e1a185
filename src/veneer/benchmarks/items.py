"""Reads the user's own benchmarks and prompts from JSONL; a malformed row is an error that names its line."""

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from veneer import disk, text
from veneer.benchmarks.benchmark import Benchmark, Checks, Form, Grading, Item, Program, Shot
from veneer.errors import DataError, StudyError
from veneer.study import PromptsSpec
from veneer.study_benchmarks import BenchmarkSpec

PROMPTS = "prompts"
"""The name under which the prompts for style and preference are answered and graded."""


def load(name: str, spec: BenchmarkSpec) -> Benchmark:
    """Read a benchmark.

    Args:
        name: Its key under `evaluate.benchmarks`.
        spec: That section.

    Raises:
        DataError: A row is malformed, an id is given twice, or an item lacks what the grading needs.
        StudyError: A template has no place for what it must hold, or the name is taken.
    """
    if name == PROMPTS:
        raise StudyError(
            f"evaluate.benchmarks.{name}: the name is taken by evaluate.prompts; call it otherwise."
        )
    # A task of lm-eval has become a file of items by now (see `harness.resolve`).
    assert spec.items is not None, "a task is resolved before it is loaded"
    assert spec.measures is not None
    assert spec.grading is not None
    _check_template(f"evaluate.benchmarks.{name}.question_template", spec.question_template, {"question"})
    _check_template(f"evaluate.benchmarks.{name}.shot_template", spec.shot_template, {"question", "answer"})
    items = _items(spec.items, grading=spec.grading)
    return Benchmark(
        name=name,
        items=items,
        measures=spec.measures,
        grading=spec.grading,
        forms=forms_of(spec),
        shots=_shots(spec.shots) if isinstance(spec.shots, Path) else (),
        shot_template=spec.shot_template,
        question_template=spec.question_template,
        stop={"plain": spec.stop, "chat": ()},
        max_tokens=_limits(name, spec),
        temperature=spec.temperature,
        seed=spec.seed,
        samples=spec.samples,
        pass_at=_pass_at(spec) if spec.grading == "program" else (),
        chance=_chance(items) if spec.grading in ("choice", "lm-eval") else None,
        source=disk.digest(spec.items),
    )


def load_prompts(spec: PromptsSpec) -> Benchmark:
    """Read the prompts on which style and preference are measured.

    They come back as a benchmark called `prompts`, asked as chat, each item graded by what its row has:
    `references` and `choices`, `references` alone, `checks`, or nothing (then it has style and no grade).

    Raises:
        DataError: A row is malformed, or an id is given twice.
    """
    return Benchmark(
        name=PROMPTS,
        items=_items(
            spec.items, grading="inferred", id_field=spec.id_field, question_field=spec.question_field
        ),
        measures="style",
        grading="inferred",
        forms=("chat",),
        stop={"chat": spec.sampling.stop},
        max_tokens={"chat": spec.sampling.max_tokens},
        temperature=spec.sampling.temperature,
        seed=spec.sampling.seed,
        chance=None,
        source=disk.digest(spec.items),
    )


def forms_of(spec: BenchmarkSpec) -> tuple[Form, ...]:
    """Return the forms in which a benchmark's items are put; a chat where the study names none."""
    return spec.forms or ("chat",)


def _pass_at(spec: BenchmarkSpec) -> tuple[int, ...]:
    """Return the k of pass@k: the study's, else those of Chen et al. 2021 (section 2.1) that the samples allow."""
    usual = tuple(k for k in (1, 10, 100) if k <= spec.samples)
    return usual if spec.pass_at is None else tuple(sorted(set(spec.pass_at)))


def _chance(items: tuple[Item, ...]) -> float | None:
    """Return the score of guessing; None where an item has no choices, or several right ones."""
    if any(not item.choices or len(item.references) != 1 for item in items):
        return None
    return sum(1 / len(item.choices) for item in items) / len(items)


def _limits(name: str, spec: BenchmarkSpec) -> dict[Form, int]:
    written: list[Form] = [form for form in forms_of(spec) if form != "choose"]
    limits: dict[Form, int] = {form: limit for form, limit in spec.max_tokens.items() if limit > 0}
    if missing := [form for form in written if form not in limits]:
        raise StudyError(
            f"evaluate.benchmarks.{name}.max_tokens: the form {missing[0]!r} is asked and has no positive limit; "
            f"found {dict(spec.max_tokens)}."
        )
    return {form: limits[form] for form in written}


def _check_template(where: str, template: str, wanted: set[str]) -> None:
    try:
        found = {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}
    except ValueError as error:
        raise StudyError(f"{where}: {error}; a brace that is meant literally is written twice.") from error
    if found != wanted:
        raise StudyError(f"{where}: has the places {sorted(found)}, and exactly {sorted(wanted)} are wanted.")


def _shots(path: Path) -> tuple[Shot, ...]:
    return tuple(
        Shot(question=_text(row, "question", where), answer=_text(row, "answer", where))
        for where, row in disk.read_rows(path)
    )


def _items(
    path: Path, *, grading: Grading, id_field: str = "id", question_field: str = "question"
) -> tuple[Item, ...]:
    seen: dict[str, str] = {}
    items = []
    for where, row in disk.read_rows(path):
        item = _item(row, where, id_field, question_field)
        if item.item_id in seen:
            raise DataError(
                f"{where}: the id {item.item_id!r} stands already at {seen[item.item_id]}; every item needs its own."
            )
        seen[item.item_id] = where
        _check_item(item, grading, where)
        items.append(item)
    if not items:
        raise DataError(f"{path}: holds no items; one JSON object a line is wanted.")
    return tuple(items)


def _item(row: Mapping[str, Any], where: str, id_field: str, question_field: str) -> Item:
    identity = row.get(id_field)
    if isinstance(identity, bool) or not isinstance(identity, str | int) or identity == "":
        raise DataError(
            f"{where}, field {id_field}: found {identity!r}; a string or a whole number is wanted."
        )
    question = _text(row, question_field, where)
    cluster = row.get("cluster", identity)
    if isinstance(cluster, bool) or not isinstance(cluster, str | int):
        raise DataError(f"{where}, field cluster: found {cluster!r}; a string or a whole number is wanted.")
    return Item(
        item_id=str(identity),
        question=question,
        references=_strings(row, "references", where),
        choices=_strings(row, "choices", where),
        checks=_checks(row["checks"], where) if row.get("checks") is not None else None,
        program=_program(row["program"], where) if row.get("program") is not None else None,
        cluster=str(cluster),
        context=_text(row, "context", where) if "context" in row else "",
        chat=_text(row, "chat", where) if "chat" in row else "",
        continuations=_strings(row, "continuations", where),
        task=_text(row, "task", where) if "task" in row else "",
        doc=_doc(row.get("doc"), where),
    )


def _check_item(item: Item, grading: Grading, where: str) -> None:
    """Raise unless the item has what its grading needs, and its choices can be told apart."""
    needed = {
        "choice": ("references", "choices"),
        "match": ("references",),
        "checks": ("checks",),
        "program": ("program",),
        "lm-eval": ("task", "doc"),
    }
    for field in needed.get(grading, ()):
        if not getattr(item, field):
            raise DataError(f"{where}, field {field}: missing or empty; the grading {grading!r} needs it.")
    if grading not in ("choice", "match", "inferred"):
        return
    for field, value in (
        *(("references", r) for r in item.references),
        *(("choices", c) for c in item.choices),
    ):
        if not text.words(value):
            raise DataError(
                f"{where}, field {field}: {value!r} holds no word, so it cannot be found in an answer."
            )
    if not item.choices or (grading == "match"):
        return
    plain = [text.normalise(choice) for choice in item.choices]
    if len(item.choices) < 2 or len(set(plain)) < len(plain):
        raise DataError(
            f"{where}, field choices: found {list(item.choices)}; two or more that differ in more than case, articles "
            "and punctuation are wanted."
        )
    if stray := [reference for reference in item.references if text.normalise(reference) not in plain]:
        raise DataError(
            f"{where}, field references: {stray[0]!r} is not among the choices {list(item.choices)}."
        )


def _text(row: Mapping[str, Any], field: str, where: str) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise DataError(
            f"{where}, field {field}: found {value!r}; a text is wanted. The row's fields are {sorted(row)}."
        )
    return value


def _strings(row: Mapping[str, Any], field: str, where: str) -> tuple[str, ...]:
    value = row.get(field)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(part, str) and part.strip() for part in value):
        raise DataError(f"{where}, field {field}: found {value!r}; a list of texts is wanted.")
    return tuple(value)


def _doc(value: object, where: str) -> Mapping[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise DataError(f"{where}, field doc: found {value!r}; an object is wanted.")
    return value


def _program(value: object, where: str) -> Program:
    parts = ("before", "after", "entry")
    if not isinstance(value, Mapping) or set(value) != set(parts):
        found = sorted(value) if isinstance(value, Mapping) else repr(value)
        raise DataError(f"{where}, field program: found {found}; an object with {list(parts)} is wanted.")
    if stray := [part for part in parts if not isinstance(value[part], str)]:
        raise DataError(f"{where}, field program.{stray[0]}: found {value[stray[0]]!r}; a text is wanted.")
    if not value["after"].strip():
        raise DataError(f"{where}, field program.after: is empty, so every program would pass.")
    return Program(before=value["before"], after=value["after"], entry=value["entry"])


def _checks(value: object, where: str) -> Checks:
    if not isinstance(value, Mapping) or (unknown := sorted(set(value) - {"contains", "list_items"})):
        found = f"unknown {unknown}" if isinstance(value, Mapping) else repr(value)
        raise DataError(
            f"{where}, field checks: found {found}; `contains` (texts) and `list_items` (a number) are allowed."
        )
    count = value.get("list_items", 0)
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise DataError(
            f"{where}, field checks.list_items: found {count!r}; a number of items, 0 or more, is wanted."
        )
    contains = _strings(value, "contains", where)
    if wordless := [part for part in contains if not text.words(part)]:
        raise DataError(f"{where}, field checks.contains: {wordless[0]!r} holds no word.")
    if not contains and not count:
        raise DataError(
            f"{where}, field checks: is empty, so every answer would pass it; say what is checked."
        )
    return Checks(contains=contains, list_items=count)
