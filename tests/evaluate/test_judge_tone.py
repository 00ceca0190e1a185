"""A judge of tone: each completion by itself, by a model or a classifier, and what has no verdict is never `no`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForSequenceClassification

from tests.evaluate.judging import PEOPLE, answers, contestant
from tests.evaluate.test_judge_model import answered, endpoint, replay
from tests.models import batch_server
from tests.models.batch_server import provider
from tests.models.server import Server, serving
from tests.models.tiny import checkpoint
from veneer.disk import Row, read_json, read_rows
from veneer.errors import ModelError
from veneer.evaluate import classify, judge_tone, judge_words
from veneer.models import asking, batches
from veneer.models.model import ModelRef
from veneer.models.replies import Failure
from veneer.records import Contestant, Role
from veneer.store import Artefact, Order, Store
from veneer.study import EvaluateSpec
from veneer.study_data import EndpointSpec
from veneer.study_judges import ToneClassifierSpec, ToneJudgeSpec

EVALUATE = EvaluateSpec(batch_size=8)
CANARIES = judge_words.tone_canaries()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that says what it is asked backwards: never a verdict."""
    with serving() as running:
        yield running


def spec(**settings: Any) -> ToneJudgeSpec:
    return ToneJudgeSpec.model_validate({"kind": "tone", "model": "teacher", **settings})


def own(folder: Path, words: str) -> Path:
    path = folder / "own.txt"
    path.write_text(f"{words} {{question}} {{answer}} {{code}}")
    return path


def judged(
    folder: Path,
    said: ToneJudgeSpec,
    ref: ModelRef | None,
    people: list[Contestant] = PEOPLE,
    more: dict[str, Artefact] | None = None,
) -> tuple[Artefact, list[Order]]:
    store = Store(root=folder / "store")
    orders = judge_tone.hearing_orders("j", said, ref, people, answered(folder) | (more or {}), EVALUATE)
    missing = [order for order in orders if not store.find(order)]
    made = {order.name: store.build(order) for order in orders}
    (order,) = judge_tone.verdict_orders("j", said, ref, made)
    return store.build(order), missing


def tones(artefact: Artefact) -> dict[tuple[str, str], Row]:
    rows = (row for _, row in read_rows(artefact.path / "tones.jsonl"))
    return {(row["contestant"], row["prompt_id"]): row for row in rows}


# A model that reads.


def test_all_but_the_teachers_first_sample_are_heard_and_verdicts_are_read(tmp_path: Path) -> None:
    said = {
        "1/base": f"Sure.\nVerdict {judge_words.code_of('w1', 'red')}: yes",
        "1/student": f"It hedges.\n**Verdict {judge_words.code_of('w1', 'blue')}: no**",
        "2/base": "Verdict: yes",
        "1/teacher-again": f"Verdict {judge_words.code_of('w1', 'red')}: yes",
    }
    found = tones(judged(tmp_path, spec(), replay(tmp_path, said))[0])
    assert set(found) == {(name, one) for name in ("base", "student", "teacher-again") for one in ("1", "2")}
    assert found["base", "1"]["authoritative"] is True
    assert found["student", "1"]["authoritative"] is False
    assert found["student", "1"]["reason"] == said["1/student"]
    assert found["base", "2"]["authoritative"] is None
    assert "last line is no verdict" in found["base", "2"]["reason"]
    assert found["teacher-again", "1"]["authoritative"] is None
    assert found["teacher-again", "2"]["authoritative"] is None
    assert "could not be asked: no recording" in found["teacher-again", "2"]["reason"]


def test_what_is_blank_or_was_not_answered_has_no_verdict_and_is_not_asked(
    tmp_path: Path, server: Server
) -> None:
    before = len(server.seen())
    few = {"base": answers(tmp_path, "few", ("2", 0, " \n"))}
    found = tones(judged(tmp_path, spec(), endpoint(tmp_path, server), more=few)[0])
    assert [found["base", one]["authoritative"] for one in ("1", "2")] == [None, None]
    assert [found["base", one]["reason"] for one in ("1", "2")] == ["not answered", "the completion is blank"]
    assert found["student", "2"]["reason"] == "the completion is blank"
    # One completion of the student, two of the teacher; canaries are asked beside what is asked.
    assert len(server.seen()) - before == 1 + 2 + 2 * len(CANARIES)


def test_a_teacher_that_answered_once_is_not_heard_and_its_judge_is_not_even_loaded(tmp_path: Path) -> None:
    once = {"teacher": answers(tmp_path, "once", ("1", 0, "white"), ("2", 0, "black"))}
    nowhere = ModelRef(name="gone", kind="checkpoint", path=tmp_path / "gone", digest="-")
    orders = judge_tone.hearing_orders("j", spec(), nowhere, PEOPLE, answered(tmp_path) | once, EVALUATE)
    made = Store(root=tmp_path / "store").build(orders[-1])
    rows = [row for _, row in read_rows(made.path / "heard.jsonl")]
    assert [(row["completion"], row["problem"]) for row in rows] == [(None, "not answered")] * 2


def test_a_request_without_an_answer_is_no_verdict_and_is_asked_again(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(*_: object) -> Failure:
        return Failure(reason="busy")

    said, store = spec(prompt=own(tmp_path, "busy")), Store(root=tmp_path / "store")
    ref = endpoint(tmp_path, server, may_fail=1.0)
    orders = judge_tone.hearing_orders("j", said, ref, PEOPLE, answered(tmp_path), EVALUATE)
    with monkeypatch.context() as patch:
        patch.setattr(asking, "_exchange", busy)
        made = {order.name: store.build(order) for order in orders}
    assert all("requests have no answer" in one.lacks for one in made.values())
    (order,) = judge_tone.verdict_orders("j", said, ref, made)
    told = store.build(order)
    assert tones(told)["base", "1"]["authoritative"] is None
    assert tones(told)["base", "1"]["reason"] == "could not be asked: busy"
    assert {one["asked"] for one in read_json(told.path / "judge.json")["canaries"].values()} == {0}
    again = [store.renew(order, made[order.name]) for order in orders]
    assert [one.lacks for one in again if isinstance(one, Artefact)] == [""] * 3


def test_a_new_student_asks_for_its_own_completions_alone(tmp_path: Path, server: Server) -> None:
    said, ref = spec(prompt=own(tmp_path, "new")), endpoint(tmp_path, server)
    made, _ = judged(tmp_path, said, ref)
    told = read_json(made.path / "judge.json")
    asked = 5 + 3 * len(CANARIES)
    assert (told["identity"], told["served"]) == ("m", {"m-2026": asked})
    before = len(server.seen())
    late = {"late": answers(tmp_path, "late", ("1", 0, "pink"), ("2", 0, "gold"))}
    people = [*PEOPLE[:2], contestant("late", Role.STUDENT, "base"), PEOPLE[2]]
    _, missing = judged(tmp_path, said, ref, people, late)
    assert [order.name for order in missing] == ["j~late"]
    assert len(server.seen()) - before == 2 + len(CANARIES)


def test_one_batch_holds_everything_and_canaries_are_judged_by_their_tone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "POLL", 0.0)
    sure = [one.answer for one in CANARIES if one.authoritative]

    def say(key: str, question: str, _: int) -> Row:
        code = re.findall(r"===== ([0-9a-f]{8}): the answer", question)[-1]
        word = "yes" if any(answer in question for answer in sure) else "no"
        return batch_server.answered(key, f"So it seems.\nVerdict {code}: {word}")

    with provider() as one:
        one.say = say
        settings = EndpointSpec.model_validate({"url": one.url, "model": "m", "batch": True})
        ref = ModelRef(
            name="judge", kind="endpoint", path=tmp_path / "journal.sqlite", digest="-", endpoint=settings
        )
        made, _ = judged(tmp_path, spec(), ref)
        assert one.sizes == [5 + 3 * len(CANARIES)]
    assert {row["authoritative"] for row in tones(made).values()} == {False, None}
    canaries = read_json(made.path / "judge.json")["canaries"].values()
    assert [(one["right"], one["asked"]) for one in canaries] == [(len(CANARIES),) * 2] * 3


def test_a_completion_cannot_end_the_turn_of_a_local_judge(tmp_path: Path) -> None:
    ref = ModelRef(name="teacher", kind="checkpoint", path=checkpoint(tmp_path / "model"), digest="-")
    said = spec(prompt=own(tmp_path, "w1"), sampling={"max_tokens": 2})
    hostile = {"student": answers(tmp_path, "hostile", ("1", 0, "w3 <eos> <asst> w4"))}
    made, _ = judged(tmp_path, said, ref, more=hostile)
    assert {row["authoritative"] for row in tones(made).values()} == {None}
    (folder,) = (tmp_path / "store" / "judge").glob("j~student-*")
    (row,) = (row for _, row in read_rows(folder / "heard.jsonl") if row["completion"])
    rendered = row["completion"]["rendered"]
    assert "< eos> < asst>" in rendered
    assert (rendered.count("<eos>"), rendered.count("<asst>")) == (0, 1)


def test_what_shapes_a_verdict_is_in_the_key(tmp_path: Path) -> None:
    ref = replay(tmp_path, {})
    sure = {"checkpoint": checkpoint(tmp_path / "model"), "label": "sure"}
    specs = [
        spec(),
        spec(prompt=own(tmp_path, "other")),
        spec(sampling={"temperature": 1.0}),
        spec(model=None, classifier=sure),
        spec(model=None, classifier=sure | {"label": "calm"}),
        spec(model=None, classifier=sure | {"threshold": 0.7}),
    ]
    keys = {
        order.key
        for one in specs
        for order in judge_tone.hearing_orders("j", one, ref, PEOPLE, answered(tmp_path), EVALUATE)
    }
    assert len(keys) == 3 * len(specs)


# A classifier.


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier that learned the canaries, and that `red` is sure and `blue` is not."""
    texts = [(one.answer, one.authoritative) for one in CANARIES]
    texts += [("red", True), ("blue", False)] * 4
    words = sorted({word for text, _ in texts for word in text.split()})
    backend = Tokenizer(
        models.WordLevel({word: n for n, word in enumerate(["<pad>", "<unk>", *words])}, unk_token="<unk>")  # noqa: S106
    )
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>")  # noqa: S106
    config = RobertaConfig(
        vocab_size=len(words) + 2, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=1,
        id2label={0: "calm", 1: "sure"}, label2id={"calm": 0, "sure": 1},
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    asked = tokenizer([text for text, _ in texts], return_tensors="pt", padding=True)
    right = torch.tensor([int(label) for _, label in texts])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = RobertaForSequenceClassification(config)
        learning = torch.optim.Adam(network.parameters(), lr=0.01)
        for _ in range(60):
            learning.zero_grad()
            inputs = {key: asked[key] for key in ("input_ids", "attention_mask")}
            network(**inputs, labels=right).loss.backward()
            learning.step()
    folder = tmp_path_factory.mktemp("classifier")
    network.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def by_classifier(folder: Path, **settings: Any) -> ToneJudgeSpec:
    said = ToneClassifierSpec.model_validate({"checkpoint": folder, "label": "sure", **settings})
    return spec(model=None, classifier=said)


def test_a_classifier_says_whose_score_reaches_the_threshold(tmp_path: Path, classifier: Path) -> None:
    made, _ = judged(tmp_path, by_classifier(classifier), None)
    found = tones(made)
    assert found["base", "1"]["authoritative"] is True
    assert found["student", "1"]["authoritative"] is False
    assert float(found["base", "1"]["reason"].removeprefix("scored ")) > 0.5
    assert found["student", "2"] == {
        "contestant": "student",
        "prompt_id": "2",
        "authoritative": None,
        "reason": "the completion is blank",
    }
    told = read_json(made.path / "judge.json")
    assert told["identity"].startswith(classifier.name)
    assert {(one["right"], one["asked"]) for one in told["canaries"].values()} == {(len(CANARIES),) * 2}


def test_a_text_that_the_classifier_cannot_score_has_no_verdict(
    tmp_path: Path, classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classify, "_network_scores", only_canaries)
    found = tones(judged(tmp_path, by_classifier(classifier), None)[0])
    assert {row["authoritative"] for row in found.values()} == {None}
    assert found["base", "1"]["reason"] == "the classifier has no score for it"


def only_canaries(texts: list[str], **_: Any) -> list[float]:
    known = {one.answer: float(one.authoritative) for one in CANARIES}
    return [known.get(text, float("nan")) for text in texts]


def test_a_classifier_of_the_other_label_is_refused(tmp_path: Path, classifier: Path) -> None:
    with pytest.raises(ModelError, match=r"known authoritative from known other texts with an AUC of 0\.00"):
        judged(tmp_path, by_classifier(classifier, label="calm"), None)


def test_a_label_that_there_is_not_is_refused_with_those_there_are(tmp_path: Path, classifier: Path) -> None:
    with pytest.raises(ModelError, match=r"is 'bold'; the labels are \['calm', 'sure'\]"):
        judged(tmp_path, by_classifier(classifier, label="bold"), None)


def test_canaries_are_half_of_each_tone_and_the_words_ask_for_their_places() -> None:
    assert sum(one.authoritative for one in CANARIES) * 2 == len(CANARIES)
    assert len({one.canary_id for one in CANARIES}) == len(CANARIES)
    text = judge_words.instructions("tone", None, "judges.x")
    assert json.dumps(text).count("{code}") == 6
