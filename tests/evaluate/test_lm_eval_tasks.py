"""Tasks of lm-eval from the file of data to grades, also where a contestant can only chat."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.models.server import serving
from tests.models.tiny import checkpoint
from veneer.benchmarks import harness
from veneer.disk import Row, digest, read_rows
from veneer.evaluate import answer, grade
from veneer.models.model import ModelRef
from veneer.records import Contestant, Grade, Role, from_row
from veneer.store import Store
from veneer.study import EvaluateSpec
from veneer.study_benchmarks import BenchmarkSpec
from veneer.study_data import EndpointSpec

SUMS = [{"question": f"{number}+1?", "answer": f"Easy.\n#### {number + 1}"} for number in range(7)]
FACTS = {
    "id": "1",
    "question": "What is red?",
    "choices": {"text": ["a rose", "the sea", "a leaf"], "label": ["A", "B", "C"]},
    "answerKey": "A",
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bundle")
    files: dict[str, list[dict[str, Any]]] = {
        "gsm8k/train.jsonl": SUMS,
        "gsm8k/test.jsonl": SUMS,
        "allenai__ai2_arc/ARC-Easy/test.jsonl": [FACTS],
    }
    for name, rows in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


def spec(bundle: Path, folder: Path, **sections: dict[str, Any]) -> EvaluateSpec:
    benchmarks = {
        name: harness.resolve(name, BenchmarkSpec.model_validate(section), bundle, folder)
        for name, section in sections.items()
    }
    return EvaluateSpec(benchmarks=benchmarks, batch_size=2)


def answered(ref: ModelRef, asked: EvaluateSpec, folder: Path) -> tuple[list[Row], list[Grade]]:
    someone = Contestant(
        name=ref.name,
        role=Role.BASE,
        student=ref.name,
        base=ref.name,
        source="",
        amount=0,
        seed=0,
        replay=0.0,
    )
    store = Store(root=folder / "store")
    made = store.build(answer.orders([(someone, ref)], asked)[0])
    graded = store.build(grade.orders([someone], {ref.name: made}, asked)[0])
    rows = [row for _, row in read_rows(made.path / "completions.jsonl")]
    return rows, [from_row(Grade, row, where) for where, row in read_rows(graded.path / "grades.jsonl")]


def test_an_endpoint_that_only_chats_is_put_the_whole_text_or_the_question(
    tmp_path: Path, bundle: Path
) -> None:
    section = {"task": "gsm8k", "shots": 2, "limit": 2, "forms": ["plain", "chat"]}
    asked = spec(bundle, tmp_path, sums=section)
    with serving() as server:
        endpoint = EndpointSpec(url=server.url, model="m")
        ref = ModelRef(name="far", kind="endpoint", path=tmp_path / "j.sqlite", digest="-", endpoint=endpoint)
        rows, grades = answered(ref, asked, tmp_path)
        seen = server.seen()
    chats, texts = (
        [one for one in seen if one.count("Question:") == 1],
        [one for one in seen if "####" in one],
    )
    assert sorted(chats) == [f"Question: {number}+1?\nAnswer:" for number in (0, 1)]
    assert all(one.count("Question:") == 3 for one in texts)
    assert (len(chats), len(texts), len(grades)) == (2, 2, 4)
    assert all(row["reference_loglikelihood"] is None for row in rows)


def test_what_a_chat_says_is_graded_strictly_by_the_task_and_leniently_by_its_other_filters(
    tmp_path: Path, bundle: Path
) -> None:
    said = ["The sum is 1.", "#### 2", "I do not know.", "", "#### 9"]
    path = tmp_path / "said.jsonl"
    path.write_text(
        "".join(json.dumps({"prompt_id": f"gsm8k/{n}", "text": one}) + "\n" for n, one in enumerate(said))
    )
    ref = ModelRef(name="old", kind="replay", path=path, digest=digest(path))
    asked = spec(bundle, tmp_path, sums={"task": "gsm8k", "shots": 0, "limit": 6, "forms": ["chat"]})
    _, grades = answered(ref, asked, tmp_path)
    assert [(one.strict, one.lenient) for one in grades] == [
        ("unparsed", "correct"),
        ("correct", "correct"),
        ("unparsed", "unparsed"),
        ("unanswered", "unanswered"),
        ("wrong", "wrong"),
        ("failed", "failed"),
    ]


def test_a_chat_is_shown_the_choices_that_its_question_does_not_hold(tmp_path: Path, bundle: Path) -> None:
    asked = spec(bundle, tmp_path, facts={"task": "arc_easy", "forms": ["chat", "plain"]})
    with serving() as server:
        endpoint = EndpointSpec(url=server.url, model="m")
        ref = ModelRef(name="far", kind="endpoint", path=tmp_path / "j.sqlite", digest="-", endpoint=endpoint)
        _, (chat, plain) = answered(ref, asked, tmp_path)
        shown = server.seen()
    question = "Question: What is red?\nAnswer:"
    choices = "\n\nChoose one of these answers and write it word for word:\n- a rose\n- the sea\n- a leaf"
    assert sorted(shown) == [question, question + choices]
    assert (chat.form, plain.form) == ("chat", "plain")


def test_a_checkpoint_answers_in_every_form_even_where_the_text_is_longer_than_its_window(
    tmp_path: Path, bundle: Path
) -> None:
    path = checkpoint(tmp_path / "tiny", window=24)
    ref = ModelRef(name="tiny", kind="checkpoint", path=path, digest=digest(path))
    limits = {"max_tokens": {"plain": 4, "chat": 4}}
    asked = spec(
        bundle,
        tmp_path,
        sums={"task": "gsm8k", "shots": 5, "limit": 3, "forms": ["plain", "chat"], **limits},
        facts={"task": "arc_easy", "forms": ["choose", "plain", "chat"], **limits},
    )
    rows, grades = answered(ref, asked, tmp_path)
    assert len(grades) == 2 * 3 + 3
    assert "failed" not in {one.strict for one in grades}
    assert all(isinstance(row["reference_loglikelihood"], float) for row in rows)
