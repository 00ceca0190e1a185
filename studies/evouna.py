"""Writes a study of EVOUNA: what four systems answered to Natural Questions, each answer graded by people.

    .venv/bin/python studies/evouna.py DATA/evouna_qa_eval OUT && .venv/bin/veneer run OUT/study.yaml

DATA/evouna_qa_eval holds `EVOUNA_NQ.json.gz` as published with QA-Eval (Wang et al. 2023, Apache-2.0). Its rows have
no ids, its references stand in one text with strokes between them, and in references and answers the letters `nan` have
become `null` (`Walter Brennull`): 32 references differ so from those of NQ-open. They are put right here.
"""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import yaml

MODELS = {"fid": "fid", "gpt35": "text-davinci-003", "chatgpt": "chatgpt", "gpt4": "gpt-4"}


def main(data: Path, out: Path) -> None:
    """Write `study.yaml` and the files that it names."""
    out.mkdir(parents=True, exist_ok=True)
    rows = json.loads(gzip.decompress((data / "EVOUNA_NQ.json.gz").read_bytes()))
    items, grades = [], []
    texts: dict[str, list[dict[str, Any]]] = {name: [] for name in MODELS.values()}
    for number, row in enumerate(rows):
        parts = mended(row["golden_answer"] or "").split("/")
        references = [part for part in parts if any(map(str.isalnum, part))]
        if not references:
            continue
        items.append({"id": number, "question": row["question"], "references": references})
        for key, name in MODELS.items():
            texts[name].append({"prompt_id": number, "text": mended(row[f"answer_{key}"] or "")})
            correct = None if row["improper"] else row[f"judge_{key}"]
            grades.append({"contestant": name, "id": number, "correct": correct})
    write(out / "items.jsonl", items)
    write(out / "people.jsonl", grades)
    for name, said in texts.items():
        write(out / f"{name}.jsonl", said)
    (out / "study.yaml").write_text(yaml.safe_dump(study(), sort_keys=False))
    improper = sum(row["improper"] for row in rows)
    print(  # noqa: T201
        f"{len(rows)} questions, of which {len(rows) - len(items)} are left out, having no reference with a word; "
        f"people's grades are taken where the authors call the question proper ({improper} are not)."
    )


def study() -> dict[str, Any]:
    """Return the study. A study has three roles: GPT-4 takes the teacher's, so that everybody is told against it."""
    return {
        "name": "evouna",
        "question": "How far off are grades by comparing strings?",
        "bases": {name: {"replay": f"{name}.jsonl"} for name in ("fid", "text-davinci-003")},
        "teacher": {"name": "gpt-4", "replay": "gpt-4.jsonl"},
        "students": {
            "chatgpt": {"base": "text-davinci-003", "source": "openai", "replay": "chatgpt.jsonl"},
        },
        "evaluate": {
            "benchmarks": {
                "nq": {
                    "items": "items.jsonl",
                    "measures": "knowledge",
                    "grading": "match",
                    "second_grades": {"path": "people.jsonl", "by": "people"},
                }
            }
        },
    }


def mended(text: str) -> str:
    """Return a text with `nan` where the published file has `null`, inside words."""
    return text.replace("null", "nan")


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write JSONL."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
