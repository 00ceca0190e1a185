"""What a plan says endpoints will be asked is what a run asks them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.collect.small import BROAD, collected
from tests.conftest import veneer
from tests.models.server import serving
from veneer import disk
from veneer.evaluate import judge_words
from veneer.forecast import forecast, unready
from veneer.study import load
from veneer.study_train import TrainSpec

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


def test_a_judge_of_tone_is_asked_as_often_as_planned_and_what_it_did_not_decide_is_counted(
    tmp_path: Path,
) -> None:
    with serving() as server:
        file = written(tmp_path, server.url)
        study = yaml.safe_load(file.read_text())
        endpoint = study["judges"]["gpt"]["model"]["endpoint"]
        study["judges"] = {
            "ear": {"kind": "tone", "model": {"endpoint": endpoint}, "sampling": {"max_tokens": 9}}
        }
        file.write_text(yaml.safe_dump(study))
        (planned,) = forecast(load(file))
        assert planned.requests == 3 * (PROMPTS + len(judge_words.tone_canaries()))
        assert (planned.stage, planned.model, planned.tokens_out) == ("judge", "ear", 9 * planned.requests)
        assert planned.dollars is not None
        said = veneer("plan", file).stdout
        assert "the tone of 3 contestants" in said
        done = veneer("run", file)
        assert done.returncode == 0, done.stderr
        assert len(server.seen()) == planned.requests
        report = disk.read_json(tmp_path / "study" / "report" / "report.json")
    for row in report["style"]:
        assert row["without_tone"] == PROMPTS
        assert f"0 of {PROMPTS} completions have a verdict" in row["authoritative"]["undefined"]
        assert "the judge's last line is no verdict" in row["authoritative"]["undefined"]


def test_a_judge_that_no_endpoint_answers_for_costs_nothing(tmp_path: Path) -> None:
    study = load(written(tmp_path, "http://127.0.0.1:9/v1"))
    judge = study.judges["gpt"].model_copy(update={"model": "teacher"})
    assert forecast(study.model_copy(update={"judges": {"gpt": judge}})) == []


NOWHERE = "http://127.0.0.1:9/v1"
HUB = {"name": "some/set", "revision": "0" * 40}


def test_what_is_asked_of_a_hub_data_set_is_not_known_before_it_is_fetched(tmp_path: Path) -> None:
    sources = {"all": {"kind": "broad", "hub": HUB}, "some": {"kind": "broad", "hub": HUB, "limit": 7}}
    rows = forecast(collected(tmp_path, NOWHERE, sources))
    assert [(row.requests, row.tokens_in, row.dollars, row.sure) for row in rows] == [
        (None, None, None, False),
        (7, None, None, False),
    ]
    said = veneer("plan", tmp_path / "study.yaml").stdout
    assert "unknown" in said
    assert "at most $0.00 and what is unknown" in said


def test_how_often_a_synthesis_asks_is_a_guess_and_said_to_be_one(tmp_path: Path) -> None:
    source = {"kind": "broad", "synthesis": {"seeds": "seeds.jsonl", "pairs": 25}}
    (row,) = forecast(collected(tmp_path, NOWHERE, {"made": source}))
    assert (row.requests, row.sure) == (3, False)
    assert "~3" in veneer("plan", tmp_path / "study.yaml").stdout


def test_a_source_that_goes_into_nothing_is_neither_asked_nor_billed(tmp_path: Path) -> None:
    both = {"weights": {"one": 1.0, "two": 1.0}}
    study = collected(
        tmp_path, NOWHERE, {"one": BROAD, "two": BROAD, "three": BROAD}, mixtures={"both": both}
    )
    assert [row.what for row in forecast(study)] == ["one", "two", "three"]
    train = TrainSpec(sources=("both",), amounts=(100,))
    assert [row.what for row in forecast(study.model_copy(update={"train": train}))] == ["one", "two"]


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs", "Z", "C"]), min_size=1, max_size=50))
def test_the_bound_holds_if_every_byte_is_a_token(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("bound")
    study = collected(folder, NOWHERE, {"broad": BROAD})
    (folder / "queries.jsonl").write_text(json.dumps({"id": "a", "query": text}) + "\n")
    (row,) = forecast(study)
    assert row.dollars is not None
    assert row.dollars * 1e6 >= len(text.encode()) + 2 * 50


def test_a_plan_counts_what_is_answered_already_and_bills_the_rest(tmp_path: Path) -> None:
    with serving() as server:
        study = collected(tmp_path, server.url, {"broad": BROAD})
        journal = tmp_path / "study" / "requests" / "journal.sqlite"
        (before,) = forecast(study, journal)
        assert not journal.exists()
        assert veneer("run", tmp_path / "study.yaml", "--until", "collect").returncode == 0
        (after,) = forecast(study, journal)
    assert (before.requests, before.answered, after.requests, after.answered) == (5, 0, 5, 5)
    assert (after.tokens_in, after.tokens_out, after.dollars) == (0, 0, 0.0)


def test_a_plan_says_which_key_is_not_set_and_counts_all_the_same(tmp_path: Path) -> None:
    study = collected(tmp_path, NOWHERE, {"broad": BROAD})
    text = (tmp_path / "study.yaml").read_text().replace("model: m", "model: m\n    key: NO_SUCH_KEY")
    (tmp_path / "study.yaml").write_text(text)
    assert unready(study) == []
    done = veneer("plan", tmp_path / "study.yaml")
    assert done.returncode == 2
    assert "1 would stop the run" in done.stdout
    assert "NO_SUCH_KEY is not set" in done.stdout
    assert " 5 " in done.stdout


def test_tasks_of_lm_eval_at_an_endpoint_are_planned_and_asked(tmp_path: Path) -> None:
    rows = [{"question": f"{place}+1?", "answer": f"so\n#### {place + 1}"} for place in range(6)]
    (tmp_path / "data" / "gsm8k").mkdir(parents=True)
    data = tmp_path / "data" / "gsm8k" / "test.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serving() as server:
        models = {
            name: {"endpoint": {"url": server.url, "model": name, "price": {"input": 1.0, "output": 2.0}}}
            for name in ("base", "student", "teacher")
        }
        study = {
            "name": "tasks",
            "bases": {"base": models["base"]},
            "students": {"student": {"base": "base", **models["student"]}},
            "teacher": models["teacher"],
            "evaluate": {"bundle": "data", "benchmarks": {"sums": {"task": "gsm8k", "shots": 0}}},
            "analyze": {"resamples": 100},
        }
        file = tmp_path / "study.yaml"
        file.write_text(yaml.safe_dump(study))
        planned = veneer("plan", file)
        assert planned.returncode == 0, planned.stderr
        assert "sums (plain)" in planned.stdout
        assert server.seen() == []
        done = veneer("run", file, "--until", "answer", "--workers", "1")
        assert done.returncode == 0, done.stderr
        assert len(server.seen()) == 3 * 6
