"""A small study of data alone, for tests of what is asked of an endpoint."""

import json
from pathlib import Path
from typing import Any

import yaml

from veneer.study import Study, load

BROAD = {"kind": "broad", "queries": "queries.jsonl"}


def ask(folder: Path, *queries: str) -> None:
    """Write the file of queries that `BROAD` names."""
    rows = [{"id": f"q{place}", "query": query} for place, query in enumerate(queries)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def collected(
    folder: Path, url: str, sources: dict[str, Any], endpoint: dict[str, Any] | None = None, **prepare: Any
) -> Study:
    """Write a study of data alone that asks a teacher at an endpoint, and return it as it is read."""
    ask(folder, *(f"what is {place} ?" for place in range(5)))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "seeds.jsonl").write_text('{"question": "who wrote emma", "answer": "Jane Austen"}\n')
    study = {
        "name": "collected",
        "teacher": {
            "endpoint": {"url": url, "model": "m", "price": {"input": 1.0, "output": 2.0}, **(endpoint or {})}
        },
        "collect": {"sources": sources, "sampling": {"max_tokens": 50}},
        "prepare": {"tokenizer": ".", **prepare},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    return load(folder / "study.yaml")
