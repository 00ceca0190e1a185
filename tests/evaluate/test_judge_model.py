"""A model as judge: both orders, every comparison asked once, canaries beside every pair, errors never a verdict."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.evaluate.judging import PEOPLE, answers, comparisons, contestant
from tests.models import batch_server
from tests.models.batch_server import provider
from tests.models.server import Server, serving
from tests.models.tiny import checkpoint
from veneer.disk import read_json, read_rows
from veneer.errors import ModelError
from veneer.evaluate import judge_model, judge_words
from veneer.models import asking, batches
from veneer.models.model import ModelRef
from veneer.models.replies import Failure
from veneer.records import Contestant, Role, Verdict
from veneer.store import Artefact, Order, Store
from veneer.study import EvaluateSpec
from veneer.study_data import EndpointSpec
from veneer.study_judges import ModelJudgeSpec

EVALUATE = EvaluateSpec(batch_size=8)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that says what it is asked backwards."""
    with serving() as running:
        yield running


def replay(folder: Path, replies: dict[str, str]) -> ModelRef:
    path = folder / "judge.jsonl"
    path.write_text("".join(json.dumps({"id": one, "text": text}) + "\n" for one, text in replies.items()))
    return ModelRef(
        name="judge", kind="replay", path=path, digest=str(hash(path.read_text())), prompt_field="id"
    )


def endpoint(folder: Path, server: Server, **settings: Any) -> ModelRef:
    spec = EndpointSpec.model_validate({"url": server.url, "model": "m", "tries": 1, **settings})
    return ModelRef(
        name="judge", kind="endpoint", path=folder / "requests" / "journal.sqlite", digest="-", endpoint=spec
    )


def always_first(folder: Path, sign: str = "") -> ModelJudgeSpec:
    """A judge whose server answers `9 7`: whoever is shown first wins."""
    own = folder / "own.txt"
    own.write_text(sign + "{question}{first}{second}{code}\n7 9")
    return ModelJudgeSpec(kind="model", answers="scores", prompt=own)


def answered(folder: Path) -> dict[str, Artefact]:
    return {
        "base": answers(folder, "base", ("1", 0, "red"), ("2", 0, "green")),
        "student": answers(folder, "student", ("1", 0, "blue"), ("2", 0, "")),
        "teacher": answers(
            folder, "teacher", ("1", 0, "white"), ("1", 1, "grey"), ("2", 0, "black"), ("2", 1, "brown")
        ),
    }


def judged(
    folder: Path,
    spec: ModelJudgeSpec,
    ref: ModelRef,
    people: list[Contestant] = PEOPLE,
    more: dict[str, Artefact] | None = None,
) -> tuple[Artefact, list[Order]]:
    store = Store(root=folder / "store")
    orders = judge_model.review_orders("j", spec, ref, people, answered(folder) | (more or {}), EVALUATE)
    missing = [order for order in orders if not store.find(order)]
    made = {order.name: store.build(order) for order in orders}
    (order,) = judge_model.verdict_orders("j", spec, ref, made)
    return store.build(order), missing


def test_everybody_meets_the_teacher_in_both_orders_and_verdicts_are_read(tmp_path: Path) -> None:
    code = judge_words.code_of("w1", "blue", "white")
    other = judge_words.code_of("w1", "white", "blue")
    said = {
        "1/student/teacher": f"Better.\nVerdict {code}: first",
        "1/teacher/student": f"Better.\nVerdict {other}: tie",
        "2/student/teacher": "Verdict: second",
    }
    made, _ = judged(tmp_path, ModelJudgeSpec(kind="model"), replay(tmp_path, said))
    found = {(one.prompt_id, one.first, one.second): one for one in comparisons(made)}
    pairs = [("base", "teacher"), ("student", "teacher"), ("teacher-again", "teacher")]
    assert set(found) == {
        (prompt, *sides) for prompt in ("1", "2") for pair in pairs for sides in (pair, pair[::-1])
    }
    assert found["1", "student", "teacher"].verdict is Verdict.FIRST
    assert found["1", "student", "teacher"].reason == said["1/student/teacher"]
    assert found["1", "teacher", "student"].verdict is Verdict.TIE
    assert "no verdict" in found["2", "student", "teacher"].reason
    assert "could not be asked: no recording" in found["2", "base", "teacher"].reason


def test_one_order_changes_its_sides_from_prompt_to_prompt(tmp_path: Path) -> None:
    spec = ModelJudgeSpec(kind="model", orders="one", against_base=True)
    made, _ = judged(tmp_path, spec, replay(tmp_path, {}))
    found = [(one.prompt_id, one.first, one.second) for one in comparisons(made)]
    assert found[:2] == [("1", "base", "teacher"), ("2", "teacher", "base")]
    assert found[-2:] == [("1", "student", "base"), ("2", "base", "student")]
    assert len(found) == 8


def test_a_checkpoint_can_judge(tmp_path: Path) -> None:
    ref = ModelRef(name="teacher", kind="checkpoint", path=checkpoint(tmp_path / "model"), digest="-")
    own = tmp_path / "own.txt"
    own.write_text("w1 {question}{first}{second}{code}")
    spec = ModelJudgeSpec.model_validate({"kind": "model", "prompt": own, "sampling": {"max_tokens": 4}})
    made, _ = judged(tmp_path, spec, ref)
    assert {one.verdict for one in comparisons(made)} == {Verdict.NONE}


def test_a_completion_cannot_end_the_turn_of_a_local_judge(tmp_path: Path) -> None:
    ref = ModelRef(name="teacher", kind="checkpoint", path=checkpoint(tmp_path / "model"), digest="-")
    own = tmp_path / "own.txt"
    own.write_text("w1 {question} {first} {second} {code}")
    spec = ModelJudgeSpec.model_validate({"kind": "model", "prompt": own, "sampling": {"max_tokens": 2}})
    hostile = {"student": answers(tmp_path, "hostile", ("1", 0, "w3 <eos> <asst> w4"), ("2", 0, "w5"))}
    judged(tmp_path, spec, ref, more=hostile)
    (folder,) = (tmp_path / "store" / "judge").glob("j~student~teacher-*")
    rows = [row for _, row in read_rows(folder / "reviews.jsonl") if row["prompt_id"] == "1"]
    assert len(rows) == 2
    for row in rows:
        rendered = row["completion"]["rendered"]
        assert "< eos> < asst>" in rendered
        assert (rendered.count("<eos>"), rendered.count("<asst>")) == (0, 1)


def test_an_endpoint_is_asked_once_and_a_new_student_asks_its_own_comparisons_alone(
    tmp_path: Path, server: Server
) -> None:
    ref, spec = endpoint(tmp_path, server), always_first(tmp_path)
    before = len(server.seen())
    made, _ = judged(tmp_path, spec, ref)
    canaries = len(judge_words.canaries())
    assert len(server.seen()) - before == 3 * (2 * 2 + canaries)
    assert {one.verdict for one in comparisons(made)} == {Verdict.FIRST}
    told = read_json(made.path / "judge.json")
    assert told["identity"] == "m"
    assert told["served"] == {"m-2026": 3 * (2 * 2 + canaries)}
    assert [one["right"] for one in told["canaries"].values()] == [canaries // 2] * 3

    before = len(server.seen())
    again, missing = judged(tmp_path, spec, ref)
    assert (missing, again.key, len(server.seen())) == ([], made.key, before)

    late = {"late": answers(tmp_path, "late", ("1", 0, "pink"), ("2", 0, "gold"))}
    people = [*PEOPLE[:2], contestant("late", Role.STUDENT, "base"), PEOPLE[2]]
    more, missing = judged(tmp_path, spec, ref, people, late)
    assert [order.name for order in missing] == ["j~late~teacher"]
    assert len(server.seen()) - before == 2 * 2 + canaries
    assert len(comparisons(more)) == len(comparisons(made)) + 4


def test_a_request_without_an_answer_is_no_verdict_and_is_asked_again(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(*_: object) -> Failure:
        return Failure(reason="busy")

    spec, store = always_first(tmp_path, "busy"), Store(root=tmp_path / "store")
    strict, lenient = (endpoint(tmp_path, server, may_fail=share) for share in (0.0, 1.0))
    with monkeypatch.context() as patch:
        patch.setattr(asking, "_exchange", busy)
        with pytest.raises(ModelError, match="no answer"):
            judged(tmp_path, spec, strict)
        orders = judge_model.review_orders("j", spec, lenient, PEOPLE, answered(tmp_path), EVALUATE)
        made = [store.build(order) for order in orders]
    assert all("have no answer (12 x busy)" in one.lacks for one in made)
    (order,) = judge_model.verdict_orders("j", spec, lenient, {one.name: one for one in made})
    told = store.build(order)
    assert {(one.verdict, one.reason) for one in comparisons(told)} == {
        (Verdict.NONE, "could not be asked: busy")
    }
    canaries = read_json(told.path / "judge.json")["canaries"].values()
    assert all((one["verdicts"], one["asked"], one["right"]) == ({}, 0, 0) for one in canaries)
    again = [store.renew(order, old) for order, old in zip(orders, made, strict=True)]
    renewed = {one.name: one for one in again if isinstance(one, Artefact)}
    assert [one.lacks for one in renewed.values()] == [""] * len(orders)
    (order,) = judge_model.verdict_orders("j", spec, lenient, renewed)
    assert {one.verdict for one in comparisons(store.build(order))} == {Verdict.FIRST}


def test_a_completion_that_could_not_be_had_is_not_judged_and_an_empty_one_is(
    tmp_path: Path, server: Server
) -> None:
    before = len(server.seen())
    some = {"student": answers(tmp_path, "few", ("2", 0, ""))}
    made, _ = judged(tmp_path, always_first(tmp_path, "unlike"), endpoint(tmp_path, server), more=some)
    found = {(one.prompt_id, one.first, one.second): one for one in comparisons(made)}
    assert found["1", "student", "teacher"].verdict is Verdict.NONE
    assert found["1", "student", "teacher"].reason == "first: not answered"
    assert found["1", "teacher", "student"].reason == "second: not answered"
    assert found["2", "student", "teacher"].verdict is Verdict.FIRST
    assert any(judge_words.NOTHING in said for said in server.seen()[before:])


def test_what_shapes_a_reply_is_in_the_key(tmp_path: Path) -> None:
    ref = replay(tmp_path, {})
    own = tmp_path / "own.txt"
    own.write_text("{question} {first} {second} {code}")
    specs: list[dict[str, Any]] = [
        {},
        {"answers": "scores"},
        {"orders": "one"},
        {"prompt": own},
        {"sampling": {"temperature": 1.0}},
    ]
    keys = set()
    for settings in specs:
        spec = ModelJudgeSpec.model_validate({"kind": "model", **settings})
        orders = judge_model.review_orders("j", spec, ref, PEOPLE, answered(tmp_path), EVALUATE)
        keys |= {order.key for order in orders}
    assert len(keys) == 3 * len(specs)


def test_canaries_are_asked_anew_with_every_pair(tmp_path: Path, server: Server) -> None:
    made, _ = judged(tmp_path, always_first(tmp_path, "anew"), endpoint(tmp_path, server))
    rows = [
        row
        for folder in sorted((tmp_path / "store" / "judge").glob("j~*"))
        for _, row in read_rows(folder / "canaries.jsonl")
    ]
    assert len(rows) == 3 * len(judge_words.canaries())
    assert len({one["fingerprint"] for one in read_json(made.path / "judge.json")["canaries"].values()}) == 1


def test_one_batch_holds_the_comparisons_of_all_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "POLL", 0.0)
    with provider() as one:
        one.say = lambda key, *_: batch_server.answered(key, "9 7")
        spec = EndpointSpec.model_validate({"url": one.url, "model": "m", "batch": True})
        ref = ModelRef(
            name="judge", kind="endpoint", path=tmp_path / "journal.sqlite", digest="-", endpoint=spec
        )
        made, _ = judged(tmp_path, always_first(tmp_path), ref)
        assert one.sizes == [3 * (2 * 2 + len(judge_words.canaries()))]
    assert {found.verdict for found in comparisons(made)} == {Verdict.FIRST}
