"""Publishers' files become the rows that the hub has."""

import csv
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from veneer.benchmarks import upstream
from veneer.errors import DataError

DATA = Path(os.environ.get("VENEER_DATA", ""))
real = pytest.mark.skipif("VENEER_DATA" not in os.environ, reason="VENEER_DATA names no folder of real data")

ADAPTED = "Please choose the correct answer to the question: {question}\n\n{choices}\n\nAnswer format: {form}"


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def adapted(question: str, *choices: str, right: int = 1) -> dict[str, str]:
    said = " ".join(f"Answer{place}: {choice}" for place, choice in enumerate(choices, 1))
    form = "/".join(f"answer{place}" for place in range(1, len(choices) + 1))
    return {
        "instruction": ADAPTED.format(question=question, choices=said, form=form),
        "input": "",
        "output": f"the correct answer is answer{right}",
        "answer": f"answer{right}",
    }


def test_mmlu_csv_keeps_quotes_commas_lines_and_blanks(tmp_path: Path) -> None:
    path = tmp_path / "anatomy_test.csv"
    path.write_text('"Is it ""x"",\nor y? ", a,"b, c",1.50,TRUE,C\n')
    (row,) = upstream.read("cais/mmlu", "anatomy", path)
    assert row == {
        "question": 'Is it "x",\nor y? ',
        "subject": "anatomy",
        "choices": [" a", "b, c", "1.50", "TRUE"],
        "answer": 2,
    }


def test_mmlu_jsonl_gives_one_subject(tmp_path: Path) -> None:
    rows = [
        {
            "subject": subject,
            "i": 0,
            "question": f"{subject}?",
            "choices": ["1", "2", "3", "4"],
            "answer": "D",
        }
        for subject in ("anatomy", "virology")
    ]
    found = upstream.read("hails/mmlu_no_train", "virology", lines(tmp_path / "mmlu_dev.jsonl", *rows))
    assert [(row["question"], row["answer"]) for row in found] == [("virology?", 3)]


def test_a_subject_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "mmlu_dev.jsonl", {"subject": "a", "question": "b", "choices": ["c"] * 4, "answer": "A"}
    )
    with pytest.raises(DataError, match="no rows of cais/mmlu, configuration virology"):
        upstream.read("cais/mmlu", "virology", path)


def test_arc_as_llm_adapters_has_it(tmp_path: Path) -> None:
    path = tmp_path / "ARC-Easy_test.json"
    rows = [adapted("Which?\nA line.", "one", "Answer2 of two", "three", right=3), adapted("Who?", "a", "b")]
    path.write_text(json.dumps(rows))
    first, second = upstream.read("allenai/ai2_arc", "ARC-Easy", path)
    assert first == {
        "id": "ARC-Easy/0",
        "question": "Which?\nA line.",
        "choices": {"text": ["one", "Answer2 of two", "three"], "label": ["A", "B", "C"]},
        "answerKey": "C",
    }
    assert (second["id"], second["answerKey"]) == ("ARC-Easy/1", "A")


def test_arc_as_its_authors_have_it(tmp_path: Path) -> None:
    choices = [{"text": "x", "label": "1"}, {"text": "y", "label": "2"}]
    row = {"id": "M_7", "question": {"stem": "Which?", "choices": choices}, "answerKey": "2"}
    (found,) = upstream.read("allenai/ai2_arc", "ARC-Easy", lines(tmp_path / "ARC-Easy-Test.jsonl", row))
    assert found == {
        "id": "M_7",
        "question": "Which?",
        "choices": {"text": ["x", "y"], "label": ["1", "2"]},
        "answerKey": "2",
    }


def truthful(path: Path) -> Path:
    columns = [
        "Type",
        "Category",
        "Question",
        "Best Answer",
        "Correct Answers",
        "Incorrect Answers",
        "Source",
    ]
    row = ["Adversarial", "Law", " Is it? ", "No", "No; It is not in the U.S.; No", "Yes; ; Perhaps", "web"]
    with path.open("w", newline="", encoding="utf-8-sig") as stream:
        csv.writer(stream).writerows([columns, row])
    return path


def test_truthfulqa_has_the_best_answer_first_and_full_stops(tmp_path: Path) -> None:
    (row,) = upstream.read("truthfulqa/truthful_qa", "multiple_choice", truthful(tmp_path / "TruthfulQA.csv"))
    assert row == {
        "question": "Is it?",
        "mc1_targets": {"choices": ["No.", "Yes.", "Perhaps."], "labels": [1, 0, 0]},
        "mc2_targets": {
            "choices": ["No.", "It is not in the U.S.", "Yes.", "Perhaps."],
            "labels": [1, 1, 0, 0],
        },
    }


def test_truthfulqa_to_be_answered_keeps_the_answers_as_they_stand(tmp_path: Path) -> None:
    (row,) = upstream.read("truthfulqa/truthful_qa", "generation", truthful(tmp_path / "TruthfulQA.csv"))
    assert (row["type"], row["best_answer"]) == ("Adversarial", "No")
    assert row["correct_answers"] == ["No", "It is not in the U.S.", "No"]
    assert row["incorrect_answers"] == ["Yes", "Perhaps"]


def test_ifeval_fills_absent_arguments_with_none(tmp_path: Path) -> None:
    row = {
        "key": 1,
        "prompt": "p",
        "instruction_id_list": ["a", "b"],
        "kwargs": [{}, {"num_words": 3, "relation": "at least"}],
    }
    (found,) = upstream.read("google/IFEval", None, lines(tmp_path / "input_data.jsonl.gz", row))
    assert found["kwargs"] == [
        {"num_words": None, "relation": None},
        {"num_words": 3, "relation": "at least"},
    ]


@pytest.mark.parametrize(
    ("data_set", "name", "file", "text"),
    [
        ("openai/gsm8k", "main", "test.jsonl", '{"question": "q"}\n'),
        ("cais/mmlu", "anatomy", "anatomy_test.csv", "q,a,b\n"),
        ("cais/mmlu", "anatomy", "anatomy_test.csv", "q,a,b,c,d,?\n"),
        ("allenai/ai2_arc", "ARC-Easy", "ARC-Easy_test.json", '[{"instruction": "x", "answer": "answer1"}]'),
        ("allenai/ai2_arc", "ARC-Easy", "ARC-Easy_test.json", "[{"),
        ("truthfulqa/truthful_qa", "generation", "TruthfulQA.csv.gz", "not gzip"),
    ],
)
def test_a_file_of_another_form_is_an_error_that_names_it(
    tmp_path: Path, data_set: str, name: str, file: str, text: str
) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(DataError, match=f"{file}: cannot be read as a file of {data_set}"):
        upstream.read(data_set, name, tmp_path / file)


def test_an_unknown_data_set_has_no_files_of_its_publisher() -> None:
    assert upstream.names("someone/something", None, "test") == ()
    assert upstream.names("openai/gsm8k", "main", "validation") == ()


@real
@pytest.mark.parametrize(
    ("data_set", "name", "split", "count"),
    [
        ("cais/mmlu", "anatomy", "dev", 5),
        ("cais/mmlu", "all", "test", 14042),
        ("google-research-datasets/nq_open", None, "validation", 3610),
        ("allenai/ai2_arc", "ARC-Challenge", "train", 1119),
        ("allenai/ai2_arc", "ARC-Challenge", "test", 1172),
        ("allenai/ai2_arc", "ARC-Easy", "train", 2251),
        ("allenai/ai2_arc", "ARC-Easy", "test", 2376),
        ("truthfulqa/truthful_qa", "multiple_choice", "validation", 817),
        ("openai/gsm8k", "main", "train", 7473),
        ("openai/gsm8k", "main", "test", 1319),
        ("google/IFEval", None, "train", 541),
        ("openai/openai_humaneval", None, "test", 164),
        ("allenai/real-toxicity-prompts", None, "train", 5000),
    ],
)
def test_real_files_have_as_many_rows_as_the_hub(
    data_set: str, name: str | None, split: str, count: int
) -> None:
    path = next(DATA / one for one in upstream.names(data_set, name, split) if (DATA / one).is_file())
    rows = upstream.read(data_set, name, path)
    assert len(rows) == count
    assert all(row.keys() == rows[0].keys() for row in rows)
    if data_set == "allenai/ai2_arc":
        assert all(row["answerKey"] in row["choices"]["label"] for row in rows)
        assert all(choice for row in rows for choice in row["choices"]["text"])
