"""All contestants are asked the same; an interruption changes nothing of what is written."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.models.server import serving
from tests.models.tiny import checkpoint
from veneer.disk import Row, digest, read_rows
from veneer.evaluate import answer
from veneer.models.local import LocalModel, load
from veneer.models.model import Agreement, Continuation, LogLikelihood, ModelRef, Sampling
from veneer.records import Completion, Contestant, Prompt, Role, Stop, from_row
from veneer.store import Artefact, Order, Store
from veneer.study import EvaluateSpec
from veneer.study_data import EndpointSpec

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
    assert asked == [("city", "chat")] * ITEMS + [("city", "plain")] * ITEMS + [("prompts", "chat")] * 12
    completions = [from_row(Completion, row["completion"], "") for row in rows]
    assert [one.prompt_id for one in completions[:ITEMS]] == [str(place) for place in range(ITEMS)]
    assert [(one.prompt_id, one.sample) for one in completions[-12:-9]] == [("p0", 0), ("p0", 1), ("p1", 0)]
    assert all(isinstance(row["reference_loglikelihood"], float) for row in rows[: 2 * ITEMS])
    assert all(row["reference_loglikelihood"] is None for row in rows[2 * ITEMS :])
    assert completions[ITEMS].rendered == "Q: w9 w8\nA: two\n\nQ: w0 ?\nA:"
    prompts = [from_row(Prompt, row, where) for where, row in read_rows(made / "prompts.jsonl")]
    assert [prompt.prompt_id for prompt in prompts] == [f"p{place}" for place in range(6)]
    assert not (made / "parts").exists()


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
import torch
torch.set_num_threads(1)
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
    while not any(part.stat().st_size for part in killed.glob("parts/*/*.jsonl")) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    order.make(killed)
    assert {file.name: file.read_bytes() for file in killed.iterdir()} == {
        file.name: file.read_bytes() for file in whole.iterdir()
    }


class Counting:
    """A model that notes what it is asked, and breaks down after so many completions or weighings."""

    def __init__(self, model: LocalModel, most: int) -> None:
        self.model, self.most = model, most
        self.name = model.name
        self.written: list[tuple[str, int]] = []
        self.weighed: list[str] = []

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Completion]:
        raise AssertionError("a checkpoint is asked by stream")

    def stream(self, prompts: Sequence[Prompt], sampling: Sampling, known: Any) -> Iterator[Completion]:
        for one in self.model.stream(prompts, sampling, known):
            self._count()
            self.written.append((one.prompt_id, one.sample))
            yield one

    def loglikelihoods(self, requests: Sequence[Continuation]) -> list[LogLikelihood]:
        self._count()
        self.weighed += [request.prompt.prompt_id for request in requests]
        return self.model.loglikelihoods(requests)

    def agreement(self, requests: Sequence[Continuation], found: Sequence[LogLikelihood]) -> Agreement:
        return self.model.agreement(requests, found)

    def _count(self) -> None:
        self.most -= 1
        if self.most < 0:
            raise KeyboardInterrupt


def test_what_was_answered_before_an_interruption_is_asked_once(
    tmp_path: Path, model: ModelRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = spec(tmp_path)
    section = asked.benchmarks["city"].model_copy(update={"forms": ("chat", "choose")})
    order = order_of(model, asked.model_copy(update={"benchmarks": {"city": section}}), Role.TEACHER)
    whole, made = tmp_path / "whole", tmp_path / "made"
    whole.mkdir()
    made.mkdir()
    order.make(whole)
    written: list[tuple[str, int]] = []
    weighed: list[str] = []
    steps = 0
    while not (made / "completions.jsonl").exists():
        counting = Counting(load(model, batch_size=2), most=7)
        monkeypatch.setattr(answer, "open_model", lambda *_, model=counting, **__: model)
        with contextlib.suppress(KeyboardInterrupt):
            order.make(made)
        written += counting.written
        weighed += counting.weighed
        steps += 1
    assert steps > 5
    assert len(written) == len(set(written)) == ITEMS + 12
    assert len(weighed) == ITEMS + 2 * (ITEMS + 8), "references, choices of two, and those read for agreement"
    texts = [[row["completion"]["text"] for row in rows_of(folder)] for folder in (whole, made)]
    assert texts[0] == texts[1]


def test_an_answer_ends_at_its_stop_string_whoever_gave_it(tmp_path: Path) -> None:
    asked = spec(tmp_path, prompts=None)
    section = asked.benchmarks["city"].model_copy(update={"forms": ("plain",), "stop": ("\n", "Q:")})
    path = tmp_path / "recorded.jsonl"
    path.write_text(
        "".join(json.dumps({"prompt_id": str(n), "text": "one Q: two\n"}) + "\n" for n in range(ITEMS))
    )
    ref = ModelRef(name="old", kind="replay", path=path, digest=digest(path))
    order_of(ref, asked.model_copy(update={"benchmarks": {"city": section}})).make(tmp_path)
    found = {(row["completion"]["text"], row["completion"]["detail"]) for row in rows_of(tmp_path)}
    assert found == {("one ", "Q:")}


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


def test_choices_whose_likelihood_is_no_number_are_failed_and_none_is_chosen(
    tmp_path: Path, model: ModelRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = spec(tmp_path)
    forms = asked.benchmarks["city"].model_copy(update={"forms": ("choose", "plain")})

    def broken(ref: ModelRef, **_: Any) -> LocalModel:
        made = load(ref, batch_size=2)
        made.network.lm_head.weight[:] = float("nan")
        return made

    monkeypatch.setattr(answer, "open_model", broken)
    order_of(model, asked.model_copy(update={"benchmarks": {"city": forms}})).make(tmp_path)
    for row in rows_of(tmp_path):
        assert row["completion"]["stop"] == Stop.FAILED
        assert row["completion"]["text"] == ""
        assert (row["reference_loglikelihood"], row["choices"]) == (None, [])


def test_a_choice_without_a_token_is_not_the_certain_one(
    tmp_path: Path, model: ModelRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = LogLikelihood(value=0.0, tokens=0, greedy=True)
    monkeypatch.setattr(LocalModel, "loglikelihoods", lambda _, requests: [nothing for _ in requests])
    asked = spec(tmp_path)
    forms = asked.benchmarks["city"].model_copy(update={"forms": ("choose",)})
    order_of(model, asked.model_copy(update={"benchmarks": {"city": forms}})).make(tmp_path)
    chosen = [row for row in rows_of(tmp_path) if row["form"] == "choose"]
    assert {row["completion"]["stop"] for row in chosen} == {Stop.FAILED}
    assert {row["reference_loglikelihood"] for row in chosen} == {None}


def test_recordings_are_not_asked_in_the_form_choose(tmp_path: Path) -> None:
    asked = spec(tmp_path)
    section = asked.benchmarks["city"].model_copy(update={"forms": ("plain", "choose")})
    asked = asked.model_copy(update={"benchmarks": {"city": section}})
    assert [sheet.form for sheet in answer.sheets(asked, 1, scored=False)] == ["plain", "chat"]


def test_what_an_endpoint_left_without_an_answer_is_asked_again_by_the_next_run(tmp_path: Path) -> None:
    rows = [{"id": said, "question": said, "references": ["x"]} for said in ("good", "400")]
    (tmp_path / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    section = {"items": tmp_path / "few.jsonl", "measures": "knowledge", "grading": "match"}
    asked = EvaluateSpec.model_validate({"benchmarks": {"few": section}})
    with serving() as server:
        endpoint = EndpointSpec(url=server.url, model="m", may_fail=0.5)
        ref = ModelRef(
            name="far", kind="endpoint", path=tmp_path / "journal.sqlite", digest="-", endpoint=endpoint
        )
        store = Store(root=tmp_path / "store")
        first = store.build(order_of(ref, asked))
        again = store.renew(order_of(ref, asked), first)
        seen = server.seen()
    assert first.lacks.startswith("1 of 2 requests have no answer")
    assert isinstance(again, Artefact)
    assert again.lacks == first.lacks
    assert [one["completion"]["stop"] for one in rows_of(again.path)] == ["end", "failed"]
    assert seen.count("good") == 1
    assert seen.count("400") > 1


def test_a_reference_that_does_not_fit_is_not_read_and_stops_nothing(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "small", window=12)
    ref = ModelRef(name="base", kind="checkpoint", path=path, digest=digest(path))
    rows = [{"id": n, "question": "w1", "references": [" ".join(["w2"] * n)]} for n in (2, 30)]
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    section = {
        "items": tmp_path / "long.jsonl", "measures": "knowledge", "grading": "match", "forms": ["plain", "chat"],
        "max_tokens": {"plain": 2, "chat": 2},
    }  # fmt: skip
    order_of(ref, EvaluateSpec.model_validate({"benchmarks": {"long": section}})).make(tmp_path)
    found = [
        (row["completion"]["prompt_id"], row["reference_loglikelihood"] is None) for row in rows_of(tmp_path)
    ]
    assert found == [("2", False), ("30", True)] * 2
