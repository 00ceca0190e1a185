"""Writes a study of GSM8K: what closes more of the gap between GPT-3 6B and 175B, a verifier or thirty times the size?

    .venv/bin/python studies/gsm8k.py DATA/gsm8k OUT && .venv/bin/veneer run OUT/study.yaml

DATA/gsm8k holds `example_model_solutions.jsonl.gz` as published (Cobbe et al. 2021, MIT): the solutions of GPT-3 6B and
175B, finetuned or chosen by a verifier, to the 1,319 test questions, with the authors' word on which are correct.
"""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import yaml

MODELS = {
    "6b_finetuning": "6b",
    "6b_verification": "6b-verified",
    "175b_finetuning": "175b",
    "175b_verification": "175b-verified",
}


def main(data: Path, out: Path) -> None:
    """Write `study.yaml` and the files that it names."""
    out.mkdir(parents=True, exist_ok=True)
    lines = gzip.decompress((data / "example_model_solutions.jsonl.gz").read_bytes()).decode().splitlines()
    items, grades = [], []
    texts: dict[str, list[dict[str, Any]]] = {name: [] for name in MODELS.values()}
    for number, line in enumerate(lines):
        row = json.loads(line)
        reference = row["ground_truth"].rpartition("\nA: ")[2]
        items.append({"id": number, "question": row["question"], "references": [reference]})
        for key, name in MODELS.items():
            texts[name].append({"prompt_id": number, "text": row[key]["solution"]})
            grades.append({"contestant": name, "id": number, "correct": row[key]["is_correct"]})
    write(out / "items.jsonl", items)
    write(out / "authors.jsonl", grades)
    for name, said in texts.items():
        write(out / f"{name}.jsonl", said)
    (out / "study.yaml").write_text(yaml.safe_dump(study(), sort_keys=False))
    print(f"{len(items)} questions, {len(texts)} models.")  # noqa: T201


def study() -> dict[str, Any]:
    """Return the study. The best of the four takes the teacher's role; nobody imitated anybody."""
    return {
        "name": "gsm8k",
        "question": "What closes more of the gap between 6B and 175B with a verifier: the verifier, or the size?",
        "bases": {"6b": {"replay": "6b.jsonl"}},
        "teacher": {"name": "175b-verified", "replay": "175b-verified.jsonl"},
        "students": {
            "6b-verified": {"base": "6b", "source": "verifier", "replay": "6b-verified.jsonl"},
            "175b": {"base": "6b", "source": "size", "replay": "175b.jsonl"},
        },
        "evaluate": {
            "benchmarks": {
                "gsm8k": {
                    "items": "items.jsonl",
                    "measures": "skill",
                    "grading": "match",
                    "answer_after": "\nA: ",
                    "second_grades": {"path": "authors.jsonl", "by": "authors"},
                }
            }
        },
    }


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write JSONL."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
