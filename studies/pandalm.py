"""Writes a study of PandaLM's test set: three people, GPT-3.5 and PandaLM-7B judge the same pairs of completions.

    .venv/bin/python studies/pandalm.py DATA/pandalm OUT && .venv/bin/veneer run OUT/study.yaml

DATA/pandalm holds `testset-v1.json.gz`, `gpt-3.5-turbo-testset-v1.json.gz` and `pandalm-7b-testset-v1.json.gz` as they
were published (github.com/WeOpenML/PandaLM, Apache-2.0). Their rows are pairs; a study needs prompts, so that the pairs
of one prompt are resampled together, and the files of the two judges do not say which pair they are about.
"""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import yaml

MODELS = ("cerebras-gpt-6.7B", "opt-7b", "pythia-6.9b", "bloom-7b", "llama-7b")
"""All of them are 7B models finetuned on Alpaca's data; weakest first, by the people's votes."""
PEOPLE = ("annotator1", "annotator2", "annotator3")


def main(data: Path, out: Path) -> None:
    """Write `study.yaml` and the files that it names."""
    out.mkdir(parents=True, exist_ok=True)
    pairs = read(data / "testset-v1.json.gz")
    gpt = {row["idx"]: row["gpt_result"] for row in read(data / "gpt-3.5-turbo-testset-v1.json.gz")}
    pandalm = {row["idx"]: row["pandalm_result"] for row in read(data / "pandalm-7b-testset-v1.json.gz")}
    prompts: dict[str, str] = {}
    texts: dict[str, dict[str, str]] = {model: {} for model in MODELS}
    votes, differing = [], 0
    for row in pairs:
        asked = "\n\n".join(part for part in (row["instruction"], row["input"]) if part)
        prompt = prompts.setdefault(asked, str(len(prompts)))
        first, second = row["cmp_key"].split("_")
        for model, said in ((first, row["response1"]), (second, row["response2"])):
            text = str(said)  # Two are no text but `true`.
            differing += texts[model].setdefault(prompt, text) != text
        vote = {"prompt": prompt, "first": first, "second": second, "gpt-3.5": gpt[row["idx"]]}
        votes.append({**vote, "pandalm-7b": pandalm[row["idx"]], **{name: row[name] for name in PEOPLE}})
    write(out / "prompts.jsonl", [{"id": number, "question": asked} for asked, number in prompts.items()])
    write(out / "votes.jsonl", votes)
    for model, known in texts.items():
        write(out / f"{model}.jsonl", [{"prompt_id": number, "text": text} for number, text in known.items()])
    (out / "study.yaml").write_text(yaml.safe_dump(study(), sort_keys=False))
    print(  # noqa: T201
        f"{len(votes)} pairs of {len(prompts)} prompts; {differing} texts differ from the model's first one."
    )


def study() -> dict[str, Any]:
    """Return the study. A study has three roles: LLaMA takes the teacher's, so that everybody is told against it."""
    review = {"path": "votes.jsonl", "prompt_field": "prompt", "words": {"tie": "0"}}
    crowd = [{**review, "verdict_field": name, "by": name} for name in PEOPLE]
    gpt = {**review, "verdict_field": "gpt-3.5", "words": {"tie": "Tie"}}
    return {
        "name": "pandalm",
        "question": "Do judges see what people see?",
        "bases": {model: {"replay": f"{model}.jsonl"} for model in MODELS[:3]},
        "teacher": {"name": MODELS[4], "replay": f"{MODELS[4]}.jsonl"},
        "students": {MODELS[3]: {"base": MODELS[2], "source": "alpaca", "replay": f"{MODELS[3]}.jsonl"}},
        "evaluate": {"prompts": {"items": "prompts.jsonl"}},
        "judges": {
            "annotators": {"kind": "recorded", "people": True, "identity": "three people", "reviews": crowd},
            "gpt-3.5": {"kind": "recorded", "identity": "gpt-3.5-turbo, 2023", "reviews": [gpt]},
            "pandalm-7b": {"kind": "recorded", "reviews": [{**review, "verdict_field": "pandalm-7b"}]},
        },
    }


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a gzipped JSON array."""
    rows: list[dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write JSONL."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
