"""All contestants are asked the same; an interruption changes nothing of what is written."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.models.tiny import checkpoint
from veneer.evaluate import answer
from veneer.models.model import ModelRef
from veneer.records import Completion, Contestant, Prompt, Role, Stop, from_row
from veneer.store import Order, Row, digest, read_rows
from veneer.study import EvaluateSpec

ITEMS = 40


def contestant(name: str, role: Role) -> Contestant:
    return Contestant(name=name, role=role, student=name, base=name, source="", amount=0, seed=0, replay=0.0)


def spec(folder: Path, **settings: Any) -> EvaluateSpec:
    items = [
        {"id": place, "question": f"w{place % 40} ?", "references": ["one"], "choices": ["one", "two"]}
        for place in range(ITEMS)
    ]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in items))
    (folder / "prompts.jsonl").write_text(
        "".join(json.dumps({"id": f"p{place}", "question": f"w{place}"}) + "\n" for place in range(6))
    )
    (folder / "shots.jsonl").write_text('{"question": "w9 w8", "answer": "two"}\n')
    return EvaluateSpec.model_validate(
        {
            "benchmarks": {
                "city": {
                    "items": folder / "items.jsonl", "measures": "knowledge", "grading": "choice",
                    "forms": ["plain", "chat"], "shots": folder / "shots.jsonl",
                    "max_tokens": {"plain": 3, "chat": 6},
                }
            },
            "prompts": {"items": folder / "prompts.jsonl", "sampling": {"temperature": 1.0, "max_tokens": 6}},
            "batch_size": 2,
            **settings,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    path = checkpoint(tmp_path_factory.mktemp("model") / "tiny")
    return ModelRef(name="base", kind="checkpoint", path=path, digest=digest(path))


def order_of(model: ModelRef, spec: EvaluateSpec, role: Role = Role.BASE) -> Order:
    return answer.orders([(contestant(model.name, role), model)], spec)[0]


def rows_of(folder: Path) -> list[Row]:
    return [row for _, row in read_rows(folder / "completions.jsonl")]


def test_every_benchmark_form_and_prompt_is_answered_in_order(tmp_path: Path, model: ModelRef) -> None:
    made = tmp_path / "made"
    made.mkdir()
    order_of(model, spec(tmp_path), Role.TEACHER).make(made)
    rows = rows_of(made)
    asked = [(row["benchmark"], row["form"]) for row in rows]
    assert asked == [("city", "plain")] * ITEMS + [("city", "chat")] * ITEMS + [("prompts", "chat")] * 12
    completions = [from_row(Completion, row["completion"], "") for row in rows]
    assert [one.prompt_id for one in completions[:ITEMS]] == [str(place) for place in range(ITEMS)]
    assert [(one.prompt_id, one.sample) for one in completions[-12:-9]] == [("p0", 0), ("p0", 1), ("p1", 0)]
    assert all(isinstance(row["reference_loglikelihood"], float) for row in rows[: 2 * ITEMS])
    assert all(row["reference_loglikelihood"] is None for row in rows[2 * ITEMS :])
    assert completions[0].rendered == "Q: w9 w8\nA: two\n\nQ: w0 ?\nA:"
    prompts = [from_row(Prompt, row, where) for where, row in read_rows(made / "prompts.jsonl")]
    assert [prompt.prompt_id for prompt in prompts] == [f"p{place}" for place in range(6)]
    assert not (made / "chunks").exists()


def test_recordings_answer_what_they_hold_and_fail_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "recorded.jsonl"
    path.write_text('{"prompt_id": "p1", "text": "one"}\n')
    ref = ModelRef(name="old", kind="replay", path=path, digest=digest(path))
    order_of(ref, spec(tmp_path, benchmarks={})).make(tmp_path)
    completions = [from_row(Completion, row["completion"], "") for row in rows_of(tmp_path)]
    assert [one.stop for one in completions] == [Stop.FAILED, Stop.END, *[Stop.FAILED] * 4]
    assert all(row["reference_loglikelihood"] is None for row in rows_of(tmp_path))


def test_the_key_holds_what_is_asked_and_not_how_it_is_graded(tmp_path: Path, model: ModelRef) -> None:
    asked = spec(tmp_path)
    key = order_of(model, asked).key
    city = asked.benchmarks["city"]
    same = asked.model_copy(update={"benchmarks": {"city": city.model_copy(update={"grading": "match"})}})
    other = asked.model_copy(update={"benchmarks": {"city": city.model_copy(update={"temperature": 1.0})}})
    assert order_of(model, same).key == key
    assert order_of(model, other).key != key
    assert order_of(model, asked.model_copy(update={"batch_size": 3})).key != key
    (tmp_path / "shots.jsonl").write_text('{"question": "w9", "answer": "two"}\n')
    assert order_of(model, asked).key != key


PROGRAM = """
import sys
from pathlib import Path
from tests.evaluate.test_answer import order_of, spec
from veneer.models.model import ModelRef
study, checkpoint, made = map(Path, sys.argv[1:])
ref = ModelRef(name="base", kind="checkpoint", path=checkpoint, digest="-")
order_of(ref, spec(study)).make(made)
"""


def test_a_killed_call_carries_on_to_the_same_bytes(tmp_path: Path, model: ModelRef) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    order = order_of(model, spec(tmp_path))
    order.make(whole)
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(model.path), str(killed)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    while not list(killed.glob("chunks/*.jsonl")) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    order.make(killed)
    assert {file.name: file.read_bytes() for file in killed.iterdir()} == {
        file.name: file.read_bytes() for file in whole.iterdir()
    }


def test_the_form_choose_weighs_every_choice_and_says_how_far_the_fast_way_is_off(
    tmp_path: Path, model: ModelRef
) -> None:
    asked = spec(tmp_path)
    section = asked.benchmarks["city"].model_copy(update={"forms": ("choose", "plain")})
    asked = asked.model_copy(update={"benchmarks": {"city": section}, "prompts": None})
    made = tmp_path / "made"
    made.mkdir()
    order_of(model, asked).make(made)
    rows = [row for row in rows_of(made) if row["form"] == "choose"]
    assert len(rows) == ITEMS
    for row in rows:
        weighed = [value for value, _, _ in row["choices"]]
        assert row["completion"]["text"] == ("one", "two")[weighed.index(max(weighed))]
        assert row["reference_loglikelihood"] == weighed[0]
    (agreed,) = json.loads((made / "agreement.json").read_text()).values()
    assert agreed["fast"]
    assert agreed["checked"] == 16
    assert agreed["largest"] < 1e-3
    assert agreed["flipped"] == 0


def test_recordings_are_not_asked_in_the_form_choose(tmp_path: Path) -> None:
    asked = spec(tmp_path)
    section = asked.benchmarks["city"].model_copy(update={"forms": ("plain", "choose")})
    asked = asked.model_copy(update={"benchmarks": {"city": section}})
    assert [sheet.form for sheet in answer.sheets(asked, 1, scored=False)] == ["plain", "chat"]
