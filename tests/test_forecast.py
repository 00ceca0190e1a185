"""What a plan says endpoints will be asked is what a run asks them."""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import veneer
from tests.models.server import serving
from veneer.evaluate import judge_words
from veneer.forecast import forecast
from veneer.study import load

PROMPTS = 12


def recorded(folder: Path, name: str, samples: int = 1) -> dict[str, str]:
    rows = [
        {
            "prompt_id": str(place),
            "sample": sample,
            "text": f"{name} says {place} {sample}" + " indeed" * place,
        }
        for place in range(PROMPTS)
        for sample in range(samples)
    ]
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"replay": f"{name}.jsonl"}


def written(folder: Path, url: str) -> Path:
    """Write an audit of recordings with a judge that says `9 7` of every pair."""
    questions = [{"id": str(place), "question": f"what is {place} ?"} for place in range(PROMPTS)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    (folder / "own.txt").write_text("{question}{first}{second}{code}\n7 9")
    price = {"input": 1.0, "output": 2.0}
    study: dict[str, Any] = {
        "name": "judged",
        "spend_cap": 10.0,
        "bases": {"base": recorded(folder, "base")},
        "teacher": {**recorded(folder, "teacher", 2), "maker": "acme"},
        "students": {"student": {"base": "base", **recorded(folder, "student")}},
        "evaluate": {"prompts": {"items": "prompts.jsonl", "sampling": {"max_tokens": 100}}},
        "judges": {
            "gpt": {
                "kind": "model",
                "model": {"endpoint": {"url": url, "model": "m", "price": price}, "maker": "acme"},
                "answers": "scores",
                "prompt": "own.txt",
                "against_base": True,
                "sampling": {"max_tokens": 50},
            }
        },
        "analyze": {"resamples": 100},
    }
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(study))
    return file


def test_a_judge_is_asked_as_often_as_planned_and_its_bent_stands_in_the_report(tmp_path: Path) -> None:
    with serving() as server:
        file = written(tmp_path, server.url)
        (planned,) = forecast(load(file))
        pairs = 4  # base, student and the teacher again with the teacher; the student with its base
        assert planned.requests == pairs * (2 * PROMPTS + len(judge_words.canaries()))
        assert (planned.stage, planned.model, planned.tokens_out) == ("judge", "gpt", 50 * planned.requests)
        assert planned.dollars is not None
        said = veneer("plan", file).stdout
        assert "both orders" in said
        assert server.seen() == []

        done = veneer("run", file)
        assert done.returncode == 0, done.stderr
        assert len(server.seen()) == planned.requests
        veneer("run", file)
        assert len(server.seen()) == planned.requests

    report = json.loads((tmp_path / "study" / "report" / "report.json").read_text())
    (row,) = report["judges"]
    assert (row["identity"], row["served"]) == ("m", {"m-2026": planned.requests})
    assert row["first_position"]["value"] == row["flips"]["value"] == 1
    assert row["family"] == ["teacher", "teacher-again"]
    assert row["canaries"]["changed"] == []
    assert "Can the judges be believed?" in (tmp_path / "study" / "report" / "index.html").read_text()


def test_a_judge_that_no_endpoint_answers_for_costs_nothing(tmp_path: Path) -> None:
    study = load(written(tmp_path, "http://127.0.0.1:9/v1"))
    judge = study.judges["gpt"].model_copy(update={"model": "teacher"})
    assert forecast(study.model_copy(update={"judges": {"gpt": judge}})) == []
