"""The prompts that come with Veneer: varied, checkable in part, and in no benchmark or collection that is at hand."""

import gzip
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from veneer.benchmarks import items
from veneer.benchmarks.benchmark import grading_of
from veneer.disk import read_rows
from veneer.evaluate.grade import grade
from veneer.prepare import bleu, overlap
from veneer.records import Completion, Message, Outcome, Stop
from veneer.study import DEFAULT_PROMPTS, EvaluateSpec, PromptsSpec
from veneer.study_data import OverlapSpec
from veneer.text import plain_query

CATEGORIES = {
    "generation": 60,
    "question answering": 50,
    "brainstorming": 35,
    "summarization": 30,
    "rewriting": 30,
    "reasoning": 30,
    "chat": 20,
}
OTHERS = {
    "koala_test_set/koala_test_set.jsonl.gz": ("prompt",),
    "vicuna_bench/question.jsonl": ("text",),
    "mt_bench/mt_bench_question.jsonl": ("turns",),
    "alpaca/alpaca_partial.jsonl.gz": ("instruction", "input"),
    "dolly_3k_human/dolly_3k.json.gz": ("instruction", "input"),
    "ifeval/input_data.jsonl.gz": ("prompt",),
    "gsm8k/test.jsonl.gz": ("question",),
    "gsm8k/train.jsonl.gz": ("question",),
    "halueval_general/general_data.json.gz": ("user_query",),
    "nq_open/NQ-open.dev.jsonl.gz": ("question",),
}
"""Collections of prompts and questions, and the fields that hold them."""
RULE = OverlapSpec(ngrams=(8,), ngram=8, bleu=20)
"""A shared run of eight words, or more than 20 % BLEU, is overlap: the paper's rule and a stricter one."""
ROWS = [row for _, row in read_rows(DEFAULT_PROMPTS)]


def test_a_study_names_them_in_one_word() -> None:
    assert EvaluateSpec.model_validate({"prompts": "default"}).prompts == PromptsSpec()
    assert PromptsSpec().items == DEFAULT_PROMPTS


def test_there_are_255_in_the_seven_categories() -> None:
    assert Counter(row["category"] for row in ROWS) == CATEGORIES
    assert len(items.load_prompts(PromptsSpec()).items) == 255


def test_every_prompt_is_its_own() -> None:
    questions = [row["question"] for row in ROWS]
    assert len({plain_query(question) for question in questions}) == 255
    grams = [bleu.ngrams(bleu.tokens(question)) for question in questions]
    pairs = ((one, other) for one in range(255) for other in range(255) if one != other)
    assert max(bleu.bleu(grams[one], grams[other]) for one, other in pairs) < 20


def test_the_answers_of_more_than_a_hundred_can_be_checked() -> None:
    prompts = items.load_prompts(PromptsSpec())
    found = Counter(grading_of(prompts, item) for item in prompts.items)
    assert found == {"match": 63, "choice": 3, "checks": 40, None: 149}


@pytest.mark.parametrize("row", [row for row in ROWS if "references" in row], ids=lambda row: row["id"])
def test_a_reference_is_graded_as_right(row: dict[str, Any]) -> None:
    prompts = items.load_prompts(PromptsSpec())
    (item,) = [item for item in prompts.items if item.item_id == row["id"]]
    grading = grading_of(prompts, item)
    assert grading
    for reference in row["references"]:
        said = Completion(
            prompt_id=row["id"],
            model="m",
            sample=0,
            rendered="",
            text=f"{reference}.",
            stop=Stop.END,
            detail="",
            tokens_in=1,
            tokens_out=1,
        )
        assert grade(said, item, grading)[:2] == (Outcome.CORRECT, Outcome.CORRECT)


@pytest.mark.skipif("VENEER_DATA" not in os.environ, reason="VENEER_DATA is not set: nothing to compare with")
@pytest.mark.parametrize("file", OTHERS)
def test_no_prompt_stands_elsewhere_whole_in_part_or_nearly(file: str) -> None:
    prompts = overlap.build([overlap.HeldOut(path=DEFAULT_PROMPTS)], RULE)
    asked = _questions(Path(os.environ["VENEER_DATA"]) / file, OTHERS[file])
    assert len(asked) >= 80
    found = {
        match.item: question
        for question in asked
        for match in prompts.matches((Message(role="user", content=question),))
    }
    assert found == {}


def _questions(path: Path, fields: tuple[str, ...]) -> list[str]:
    text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
    rows = (
        json.loads(text)
        if text.startswith("[")
        else [json.loads(line) for line in text.split("\n") if line.strip()]
    )
    found: list[str] = []
    for row in rows:
        first = row[fields[0]]
        found += first if isinstance(first, list) else [first]
        if len(fields) > 1 and row.get(fields[1]):
            found.append(f"{first}\n\n{row[fields[1]]}")
    return found
