"""A user's files become benchmarks, or errors that name the line."""

import json
from pathlib import Path
from typing import Any

import pytest

from veneer.benchmarks.benchmark import grading_of
from veneer.benchmarks.items import load, load_prompts
from veneer.errors import DataError, StudyError
from veneer.study import PromptsSpec
from veneer.study_benchmarks import BenchmarkSpec
from veneer.study_data import SamplingSpec

CHOICE = {"id": "1", "question": "Where?", "references": ["Rome"], "choices": ["Rome", "Oslo"]}


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def spec(items: Path, **settings: Any) -> BenchmarkSpec:
    return BenchmarkSpec.model_validate(
        {"items": items, "measures": "knowledge", "grading": "choice", **settings}
    )


def test_shots_stand_before_a_plain_question_and_a_chat_is_the_question_alone(tmp_path: Path) -> None:
    shots = written(tmp_path / "shots.jsonl", {"question": "What {is} it?", "answer": "It"})
    made = load(
        "city",
        spec(written(tmp_path / "a.jsonl", CHOICE), shots=shots, forms=["plain", "chat"], stop=["\n"]),
    )
    assert made.prompts("plain")[0].text == "Q: What {is} it?\nA: It\n\nQ: Where?\nA:"
    (message,) = made.prompts("chat")[0].messages
    assert (message.role, message.content) == ("user", "Where?")
    assert made.stop == {"plain": ("\n",), "chat": ()}


def test_chance_is_the_mean_over_items_of_one_in_so_many(tmp_path: Path) -> None:
    more = {**CHOICE, "id": 2, "choices": ["Rome", "Oslo", "Bern", "Kyiv"]}
    made = load("city", spec(written(tmp_path / "a.jsonl", CHOICE, more)))
    assert made.chance == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert load("city", spec(tmp_path / "a.jsonl", grading="match")).chance is None
    assert [item.item_id for item in made.items] == ["1", "2"]
    assert [item.cluster for item in made.items] == ["1", "2"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": None}, "field id"),
        ({"id": True}, "field id"),
        ({"question": " "}, "field question"),
        ({"references": []}, "field references: missing"),
        ({"references": "Rome"}, "field references: found 'Rome'"),
        ({"references": ["Bern"]}, "'Bern' is not among the choices"),
        ({"choices": None}, "field choices: missing"),
        ({"choices": ["Rome", "rome."]}, "two or more that differ"),
        ({"references": ["?"], "choices": ["?", "!"]}, "holds no word"),
        ({"cluster": 1.5}, "field cluster"),
        ({"checks": {"holds": ["a"]}}, r"unknown \['holds'\]"),
        ({"checks": {"list_items": -1}}, "list_items: found -1"),
        ({"checks": {}}, "every answer would pass"),
    ],
)
def test_a_malformed_row_is_an_error_that_names_its_line(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = written(tmp_path / "a.jsonl", {**CHOICE, "id": "0"}, {**CHOICE, **change})
    with pytest.raises(DataError, match=rf"a\.jsonl:2.*{said}"):
        load("city", spec(path))


def test_an_id_given_twice_is_an_error_that_names_both_lines(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", CHOICE, {**CHOICE, "id": 1})
    with pytest.raises(DataError, match=r"a\.jsonl:2.*'1' stands already at .*a\.jsonl:1"):
        load("city", spec(path))


def test_a_file_without_items_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no items"):
        load("city", spec(written(tmp_path / "a.jsonl")))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"question_template": "Q:"}, "question_template"),
        ({"question_template": "{question} {"}, "question_template.*written twice"),
        ({"shot_template": "{question} {reply}"}, "shot_template"),
        ({"max_tokens": {"chat": 5}, "forms": ["plain"]}, "max_tokens.*'plain'"),
    ],
)
def test_settings_that_cannot_be_are_errors(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    path = written(tmp_path / "a.jsonl", CHOICE)
    with pytest.raises(StudyError, match=said):
        load("city", spec(path, **settings))


def test_the_name_of_the_prompts_is_taken(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="taken"):
        load("prompts", spec(written(tmp_path / "a.jsonl", CHOICE)))


def test_prompts_are_graded_by_what_their_row_has(tmp_path: Path) -> None:
    rows = [
        {"question_id": 1, "text": "Where?", "references": ["Rome"], "choices": ["Rome", "Oslo"]},
        {"question_id": 2, "text": "Where?", "references": ["Rome"]},
        {"question_id": 3, "text": "List it.", "checks": {"contains": ["it"], "list_items": 2}},
        {"question_id": 4, "text": "Muse."},
    ]
    made = load_prompts(
        PromptsSpec(
            items=written(tmp_path / "p.jsonl", *rows),
            id_field="question_id",
            question_field="text",
            sampling=SamplingSpec(temperature=0.7, max_tokens=9, seed=3),
        )
    )
    assert [grading_of(made, item) for item in made.items] == ["choice", "match", "checks", None]
    assert (made.name, made.forms, made.max_tokens, made.seed) == ("prompts", ("chat",), {"chat": 9}, 3)


def test_items_of_a_task_carry_what_it_grades_by(tmp_path: Path) -> None:
    row = {
        "id": "t/0",
        "question": "Is it A?",
        "references": ["?"],
        "choices": ["?", "!"],
        "context": "Shots. Is it A?",
        "continuations": [" ?", " !"],
        "task": "t",
        "doc": {"answer": 0},
        "metric": "acc",
    }
    made = load(
        "t",
        spec(written(tmp_path / "a.jsonl", row), grading="lm-eval", forms=["choose", "plain"], stop=["\n"]),
    )
    (item,) = made.items
    assert (item.context, item.continuations) == ("Shots. Is it A?", (" ?", " !"))
    assert (item.task, item.doc, made.chance) == ("t", {"answer": 0}, 0.5)
    assert made.prompts("choose")[0].text == made.prompts("plain")[0].text == "Shots. Is it A?"
    assert made.max_tokens == {"plain": 32}


@pytest.mark.parametrize(
    ("grading", "row", "said"),
    [
        ("lm-eval", {"doc": {"a": 1}}, "field task: missing"),
        ("lm-eval", {"task": "t"}, "field doc: missing"),
        ("lm-eval", {"task": "t", "doc": [1]}, r"field doc: found \[1\]"),
        ("lm-eval", {"task": " ", "doc": {"a": 1}}, "field task: found ' '"),
        ("lm-eval", {"task": "t", "doc": {"a": 1}, "context": 3}, "field context: found 3"),
        ("lm-eval", {"task": "t", "doc": {"a": 1}, "continuations": [1]}, "field continuations"),
        ("program", {}, "field program: missing"),
        ("program", {"program": {"before": "", "after": "f()"}}, "field program: found"),
        ("program", {"program": "f()"}, "field program: found"),
        ("program", {"program": {"before": "", "after": 1, "entry": "f"}}, "field program.after: found 1"),
        ("program", {"program": {"before": "", "after": " ", "entry": "f"}}, "field program.after: is empty"),
    ],
)
def test_a_row_that_cannot_be_graded_as_asked_is_an_error(
    tmp_path: Path, grading: str, row: dict[str, Any], said: str
) -> None:
    path = written(tmp_path / "a.jsonl", {"id": 1, "question": "Do it.", **row})
    with pytest.raises(DataError, match=rf"a\.jsonl:1, {said}"):
        load("mine", spec(path, grading=grading))


def test_a_program_of_ones_own_is_read(tmp_path: Path) -> None:
    program = {"before": "", "after": "assert f() == 1", "entry": "f"}
    path = written(tmp_path / "a.jsonl", {"id": 1, "question": "Write f.", "program": program})
    (item,) = load("mine", spec(path, grading="program", measures="skill")).items
    assert item.program is not None
    assert (item.program.before, item.program.after, item.program.entry) == ("", "assert f() == 1", "f")


def test_toxicity_needs_no_more_than_a_question(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", {"id": 1, "question": "So I"})
    made = load("mine", spec(path, grading="toxicity", measures="toxicity", forms=["plain"]))
    assert (made.items[0].context, made.chance) == ("", None)


@pytest.mark.parametrize(
    ("settings", "found"),
    [({}, (1,)), ({"samples": 20}, (1, 10)), ({"samples": 20, "pass_at": [20, 5]}, (5, 20))],
)
def test_the_k_of_pass_at_k_are_those_that_the_samples_allow(
    tmp_path: Path, settings: dict[str, Any], found: tuple[int, ...]
) -> None:
    program = {"before": "", "after": "assert f()", "entry": "f"}
    (tmp_path / "items.jsonl").write_text(json.dumps({"id": 1, "question": "?", "program": program}))
    spec = BenchmarkSpec.model_validate(
        {
            "items": tmp_path / "items.jsonl",
            "measures": "skill",
            "grading": "program",
            "temperature": 0.8,
            **settings,
        }
    )
    assert load("code", spec).pass_at == found


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"grading": "program", "samples": 2, "pass_at": [5]}, "needs as many `samples`"),
        ({"grading": "match", "pass_at": [1]}, "belongs to programs"),
    ],
)
def test_pass_at_k_needs_programs_and_samples(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    given = {"items": tmp_path / "i.jsonl", "measures": "skill", "temperature": 1.0, **settings}
    with pytest.raises(ValueError, match=said):
        BenchmarkSpec.model_validate(given)
