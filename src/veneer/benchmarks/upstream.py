"""The publishers' own files of some benchmarks, read into the columns that lm-eval expects of the hub's data sets.

A data set on the hub is a conversion of its publisher's files. What the files do not hold is not made up: a split
that is missing stays missing. Where a conversion cannot be undone, the reader's docstring says what differs.
"""

import csv
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from veneer import disk
from veneer.errors import DataError

Row = dict[str, Any]
LETTERS = "ABCDEFGH"

_ARC = re.compile(
    r"Please choose the correct answer to the question: (.*)\n\n(Answer1: .*)\n\nAnswer format: (.*)", re.S
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where one data set's splits lie, and how a file of it is read."""

    files: Mapping[str, tuple[str, ...]]
    """Split to the file names that would do, best first; `{name}` stands for the data set's configuration."""
    read: Callable[[Path, str], list[Row]]
    """Given a file and the configuration's name, which is empty where there is none."""


def names(dataset_path: str, dataset_name: str | None, split: str) -> tuple[str, ...]:
    """Return the publisher's file names that hold a split, relative to the bundle, best first; empty: unknown."""
    source = SOURCES.get(dataset_path)
    found = source.files.get(split, ()) if source else ()
    return tuple(name.format(name=dataset_name or "") for name in found)


def read(dataset_path: str, dataset_name: str | None, path: Path) -> list[Row]:
    """Return the rows of a publisher's file, with the hub's columns.

    Raises:
        DataError: The file is not as its publisher writes it.
    """
    try:
        found = SOURCES[dataset_path].read(path, dataset_name or "")
    except (KeyError, ValueError, TypeError, IndexError, OSError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(
            f"{path}: cannot be read as a file of {dataset_path} ({type(error).__name__}: {error}). "
            "The publisher's own file, unchanged, is wanted; put other forms in the bundle's general layout."
        ) from error
    if not found:
        raise DataError(
            f"{path}: holds no rows of {dataset_path}, configuration {dataset_name or 'default'}."
        )
    return found


def _rows(path: Path) -> Iterator[Row]:
    return (row for _, row in disk.read_rows(path))


def opened(path: Path) -> TextIO:
    """Return a text file opened for reading, plain or gzipped, line ends untouched (as csv needs it)."""
    # TruthfulQA's later table begins with a byte order mark.
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _mmlu(path: Path, name: str) -> list[Row]:
    """Read one subject.

    The authors' CSVs have no header: question, four choices, the right letter. They are read as the hub's script
    reads them, and nothing is stripped. The JSONL form has `subject`, `question`,
    `choices` and `answer` (a letter), in the CSVs' order.
    """
    if ".csv" in path.name:
        with opened(path) as stream:
            parts = list(csv.reader(stream))
        return [
            {"question": row[0], "subject": name, "choices": row[1:5], "answer": LETTERS.index(row[5])}
            for row in parts
        ]
    return [
        {
            "question": row["question"],
            "subject": row["subject"],
            "choices": row["choices"],
            "answer": LETTERS.index(row["answer"]),
        }
        for row in _rows(path)
        if name in (row["subject"], "all")
    ]


def _picked(*columns: str) -> Callable[[Path, str], list[Row]]:
    """Return a reader of JSONL that takes these columns as they stand."""
    return lambda path, _: [{column: row[column] for column in columns} for row in _rows(path)]


def _arc(path: Path, name: str) -> list[Row]:
    """Read ARC: AI2's JSONL, or the JSON of LLM-Adapters.

    The latter holds question, choices and right answer alone: ids are made of the file's name and the row's place,
    labels are letters where AI2 has digits now and then (lm-eval's prompts show neither), and a question that
    stood on several lines keeps them.
    """
    if ".jsonl" in path.name:
        return [
            {
                "id": row["id"],
                "question": row["question"]["stem"],
                "choices": {
                    part: [one[part] for one in row["question"]["choices"]] for part in ("text", "label")
                },
                "answerKey": row["answerKey"],
            }
            for row in _rows(path)
        ]
    with opened(path) as stream:
        rows = json.load(stream)
    return [_adapted(row, f"{name}/{place}") for place, row in enumerate(rows)]


def _adapted(row: Row, identity: str) -> Row:
    parts = _ARC.fullmatch(row["instruction"])
    if parts is None:
        raise ValueError(f"row {identity}: the instruction has another form")
    count = len(parts[3].split("/"))
    pattern = r"Answer1: (.*)" + "".join(rf"\s+Answer{number}: (.*)" for number in range(2, count + 1))
    choices = re.fullmatch(pattern, parts[2], re.S)
    if choices is None:
        raise ValueError(f"row {identity}: {count} answers are announced, and others stand there")
    return {
        "id": identity,
        "question": parts[1].strip(),
        "choices": {"text": [choice.strip() for choice in choices.groups()], "label": list(LETTERS[:count])},
        "answerKey": LETTERS[int(row["answer"].removeprefix("answer")) - 1],
    }


def _truthfulqa(path: Path, name: str) -> list[Row]:
    """Read TruthfulQA's table, in which answers of one kind are parted by semicolons.

    The hub's mc1 has the best answer first and then the false ones, its mc2 the true ones and then the false ones,
    each with a full stop at its end: what is made of the first version's table is, choice by choice, the authors'
    `mc_task.json`. Its questions come in another order there, which matters to `limit` alone.
    """
    with opened(path) as stream:
        return [_asked(row, name) for row in csv.DictReader(stream)]


def _asked(row: Mapping[str, str], name: str) -> Row:
    question, best = row["Question"].strip(), row["Best Answer"].strip()
    right, wrong = _split(row["Correct Answers"]), _split(row["Incorrect Answers"])
    if name == "generation":
        return {
            "type": row["Type"].strip(),
            "category": row["Category"].strip(),
            "question": question,
            "best_answer": best,
            "correct_answers": right,
            "incorrect_answers": wrong,
            "source": row["Source"].strip(),
        }
    return {
        "question": question,
        "mc1_targets": _targets([best], wrong),
        "mc2_targets": _targets(right, wrong),
    }


def _split(answers: str) -> list[str]:
    return [one.strip() for one in answers.split(";") if one.strip()]


def _targets(right: list[str], wrong: list[str]) -> Row:
    # An answer that is called both is the second time the same key of the authors' file: it keeps its place.
    labels = {_ended(one): label for answers, label in ((right, 1), (wrong, 0)) for one in answers}
    return {"choices": list(labels), "labels": list(labels.values())}


def _ended(answer: str) -> str:
    return answer if answer.endswith(".") else answer + "."


def _ifeval(path: Path, _: str) -> list[Row]:
    """Read IFEval. On the hub every instruction has every argument, None where it takes none; so it is here."""
    rows = list(_rows(path))
    arguments = sorted({key for row in rows for one in row["kwargs"] for key in one})
    return [
        {
            "key": row["key"],
            "prompt": row["prompt"],
            "instruction_id_list": row["instruction_id_list"],
            "kwargs": [{key: one.get(key) for key in arguments} for one in row["kwargs"]],
        }
        for row in rows
    ]


def _both(name: str) -> tuple[str, str]:
    return name, name + ".gz"


_MMLU = Source(
    files={
        split: (
            f"mmlu/{folder}/{{name}}_{folder}.csv",
            f"mmlu/data/{folder}/{{name}}_{folder}.csv",
            *_both(f"mmlu/mmlu_{folder}.jsonl"),
        )
        for split, folder in {"dev": "dev", "validation": "val", "test": "test"}.items()
    },
    read=_mmlu,
)
_NQ = Source(
    files={"train": _both("nq_open/NQ-open.train.jsonl"), "validation": _both("nq_open/NQ-open.dev.jsonl")},
    read=_picked("question", "answer"),
)
_AI2 = Source(
    files={
        split: (
            *_both(f"arc/{{name}}/{{name}}-{part}.jsonl"),
            *_both(f"arc/{{name}}-{part}.jsonl"),
            *_both(f"arc/{{name}}_{split}.json"),
        )
        for split, part in {"train": "Train", "validation": "Dev", "test": "Test"}.items()
    },
    read=_arc,
)
_TRUTHFUL = Source(files={"validation": _both("truthfulqa/TruthfulQA.csv")}, read=_truthfulqa)
_GSM8K = Source(
    files={split: _both(f"gsm8k/{split}.jsonl") for split in ("train", "test")},
    read=_picked("question", "answer"),
)
_IFEVAL = Source(files={"train": _both("ifeval/input_data.jsonl")}, read=_ifeval)
_HUMANEVAL = Source(
    files={"test": _both("humaneval/HumanEval.jsonl")},
    read=_picked("task_id", "prompt", "canonical_solution", "test", "entry_point"),
)
_TOXICITY = Source(
    files={
        "train": (
            *_both("real_toxicity_prompts/prompts.jsonl"),
            *_both("real_toxicity_prompts/rtp_val_5k.jsonl"),
        )
    },
    read=_picked("filename", "begin", "end", "challenging", "prompt", "continuation"),
)

SOURCES: dict[str, Source] = {
    "cais/mmlu": _MMLU,
    "hails/mmlu_no_train": _MMLU,
    "google-research-datasets/nq_open": _NQ,
    "nq_open": _NQ,
    "allenai/ai2_arc": _AI2,
    "ai2_arc": _AI2,
    "truthfulqa/truthful_qa": _TRUTHFUL,
    "truthful_qa": _TRUTHFUL,
    "openai/gsm8k": _GSM8K,
    "gsm8k": _GSM8K,
    "google/IFEval": _IFEVAL,
    "openai/openai_humaneval": _HUMANEVAL,
    "openai_humaneval": _HUMANEVAL,
    "allenai/real-toxicity-prompts": _TOXICITY,
}
"""By the data set's path on the hub. The file of 5,000 toxicity prompts is a part of the publisher's 99,442."""
