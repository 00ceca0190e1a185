"""Toxicity comes from a named classifier that was seen to work, and what it could not score is never harmless."""

import gzip
import json
import math
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import RobertaConfig, RobertaForSequenceClassification, RobertaModel

from tests.models.tiny import WORDS, tokenizer
from veneer.errors import ModelError
from veneer.evaluate import classify
from veneer.evaluate.classify import Classifier, guarded
from veneer.study_benchmarks import ToxicitySpec

POSITIONS = 20
needs_package = pytest.mark.skipif(
    find_spec("profanity_check") is None,
    reason="alt-profanity-check is not installed (the extra `toxicity`)",
)


def scored_by(raw: Any) -> Classifier:
    return Classifier(name="made up", version="1", digest="-", label="toxic", window=None, score=guarded(raw))


def checkpoint(folder: Path, labels: Sequence[str] = ("neutral", "toxic"), **said: Any) -> Path:
    """Write a tiny text classifier with random weights."""
    named = dict(enumerate(labels))
    config = RobertaConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=POSITIONS, pad_token_id=0, bos_token_id=3, eos_token_id=1, initializer_range=0.5,
        id2label=named, label2id={name: place for place, name in named.items()}, **said,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        RobertaForSequenceClassification(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def hub(folder: Path, label: str | None = None) -> Classifier:
    return classify.load(ToxicitySpec(classifier="hub", checkpoint=folder, label=label))


def logits(folder: Path, text: str) -> list[float]:
    network = RobertaForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        found = network(input_ids=torch.tensor([tokenizer()(text)["input_ids"]])).logits[0].tolist()
    assert isinstance(found, list)
    return found


# What cannot be scored.


def test_a_scorer_that_fails_on_one_text_leaves_that_one_unscored_and_no_other() -> None:
    def raw(texts: Sequence[str]) -> list[float]:
        if "bad" in texts:
            raise ValueError("cannot take this")
        return [len(text) / 10 for text in texts]

    assert guarded(raw)(["bad", "one", "three"]) == [None, 0.3, 0.5]


@pytest.mark.parametrize("given", [math.nan, math.inf, -0.1, 1.1])
def test_what_is_no_probability_is_no_score(given: float) -> None:
    assert guarded(lambda texts: [given] * len(texts))(["a", "b"]) == [None, None]


@pytest.mark.parametrize("error", [RuntimeError, IndexError, torch.OutOfMemoryError])
def test_a_scorer_that_always_fails_gives_none_and_never_zero(error: type[Exception]) -> None:
    def raw(_: Sequence[str]) -> list[float]:
        raise error("gone")

    assert guarded(raw)(["a", "b"]) == [None, None]


def test_a_scorer_that_loses_a_text_gives_none() -> None:
    assert guarded(lambda texts: [0.5] * (len(texts) - 1))(["a", "b"]) == [None, None]


def test_silence_is_not_scored() -> None:
    assert guarded(lambda texts: [0.5] * len(texts))(["", "a", " \n"]) == [None, 0.5, None]
    assert guarded(lambda texts: [0.5] * len(texts))([]) == []


@given(st.lists(st.text(max_size=8), max_size=90))
def test_scores_come_in_the_order_of_the_texts(texts: list[str]) -> None:
    expected = [len(text) / 8 if text.strip() else None for text in texts]
    assert guarded(lambda batch: [len(text) / 8 for text in batch])(texts) == expected


# Canaries.


def test_the_known_texts_are_of_both_kinds_and_none_twice() -> None:
    known = classify.canaries()
    assert 12 <= len(known) <= 20
    assert len({text for text, _ in known}) == len(known)
    assert sum(is_toxic for _, is_toxic in known) * 2 == len(known)


def test_a_classifier_that_knows_the_texts_passes() -> None:
    known = dict(classify.canaries())
    found = classify.check(scored_by(lambda texts: [0.25 + known[text] / 2 for text in texts]), 0.5)
    assert found.told_apart == 1
    assert found.high == (0.75,) * 8
    assert found.low == (0.25,) * 8


@pytest.mark.parametrize("constant", [0.0, 0.5, 1.0])
def test_a_classifier_that_says_the_same_of_everything_is_refused(constant: float) -> None:
    with pytest.raises(ModelError, match=r"AUC of 0\.50.*at least 0\.8"):
        classify.check(scored_by(lambda texts: [constant] * len(texts)))


def test_a_classifier_of_the_wrong_label_is_refused() -> None:
    known = dict(classify.canaries())
    with pytest.raises(ModelError, match=r"AUC of 0\.00.*another `label`"):
        classify.check(scored_by(lambda texts: [1.0 - known[text] for text in texts]))


def test_a_classifier_that_cannot_score_a_known_text_is_refused() -> None:
    with pytest.raises(ModelError, match="16 of 16 known texts could not be scored"):
        classify.check(scored_by(lambda texts: [math.nan] * len(texts)))


def test_a_classifier_whose_scores_never_reach_the_threshold_is_refused() -> None:
    known = dict(classify.canaries())
    low = scored_by(lambda texts: [0.1 + known[text] / 10 for text in texts])
    assert classify.check(low).told_apart == 1
    with pytest.raises(ModelError, match=r"the highest score is 0\.200"):
        classify.check(low, 0.5)


def test_ties_count_half() -> None:
    # Pairs: 1 > 0, 1 = 1, 0 = 0, 0 < 1, so (1 + 1/2 + 1/2 + 0) / 4.
    assert classify._told_apart((1.0, 0.0), (0.0, 1.0)) == 0.5


# Checkpoints.


def test_the_score_of_two_labels_is_a_softmax(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, ("toxic", "non-toxic"))
    first, second = logits(folder, "w1 w2 one")
    (score,) = hub(folder).score(["w1 w2 one"])
    assert score == pytest.approx(math.exp(first) / (math.exp(first) + math.exp(second)), abs=1e-6)


@pytest.mark.parametrize(
    ("labels", "problem"),
    [(("obscene", "toxicity", "severe_toxicity"), "multi_label_classification"), (("toxic",), None)],
)
def test_the_score_of_several_labels_or_one_is_a_sigmoid(
    labels: tuple[str, ...], problem: str | None, tmp_path: Path
) -> None:
    folder = checkpoint(tmp_path, labels, problem_type=problem)
    found = hub(folder)
    assert found.label in ("toxic", "toxicity")
    logit = logits(folder, "w1 w2")[labels.index(found.label)]
    assert found.score(["w1 w2"])[0] == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-6)


def test_a_score_does_not_depend_on_the_texts_beside_it(tmp_path: Path) -> None:
    score = hub(checkpoint(tmp_path)).score
    texts = [" ".join(f"w{number}" for number in range(length)) for length in range(1, 50)]
    together = score(texts)
    assert together == pytest.approx([score([text])[0] for text in texts], abs=1e-5)
    assert len({round(one or 0, 4) for one in together[:10]}) > 5


def test_a_long_text_is_cut_at_the_window(tmp_path: Path) -> None:
    found = hub(checkpoint(tmp_path))
    # Position 0 belongs to padding in this kind of network.
    assert found.window == POSITIONS - 1
    words = [f"w{number}" for number in range(40)]
    scores = found.score([" ".join(words), " ".join(words[: POSITIONS - 1])])
    assert scores[0] is not None
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


@pytest.mark.parametrize("labels", [("LABEL_0", "LABEL_1"), ("toxic_a", "toxic_b"), ("nontoxic", "ok")])
def test_a_label_that_is_not_plain_must_be_named(labels: tuple[str, str], tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, labels)
    with pytest.raises(ModelError, match=rf"\['{labels[0]}', '{labels[1]}'\]. Set `label`"):
        hub(folder)
    assert hub(folder, labels[1]).label == labels[1]
    with pytest.raises(ModelError, match="0 of its labels fit"):
        hub(folder, "rude")


def test_a_checkpoint_is_known_by_its_weights_and_by_all_its_files(tmp_path: Path) -> None:
    import hashlib

    folder = checkpoint(tmp_path / "mine")
    first = hub(folder)
    weights = (folder / "model.safetensors").read_bytes()
    assert (first.name, first.digest) == ("mine", hashlib.sha256(weights).hexdigest())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"id2label": {"0": "toxic", "1": "neutral"}}))
    second = hub(folder)
    assert second.digest == first.digest
    assert second.version != first.version


def test_a_random_checkpoint_does_not_pass_for_a_classifier(tmp_path: Path) -> None:
    # It knows none of the words, so only lengths tell the texts apart.
    with pytest.raises(ModelError, match="AUC"):
        classify.check(hub(checkpoint(tmp_path)))


def test_a_language_model_without_a_trained_head_is_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    RobertaModel.from_pretrained(folder).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"id2label": {"0": "neutral", "1": "toxic"}}))
    with pytest.raises(ModelError, match="lacks the weights .*would be random"):
        hub(folder)


def test_a_regression_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="regression"):
        hub(checkpoint(tmp_path, ("toxic",), problem_type="regression"))


def test_weights_that_are_no_safetensors_are_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="holds no weights in safetensors"):
        hub(folder)
    (folder / "model.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(ModelError, match="cannot be loaded as a text classifier"):
        hub(folder)


def test_a_checkpoints_own_code_is_not_run(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model")
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    strange = {
        "model_type": "strange",
        "auto_map": {"AutoConfig": "own.C", "AutoModelForSequenceClassification": "own.M"},
    }
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | strange))
    with pytest.raises(ModelError, match="cannot be loaded"):
        hub(folder)
    assert not (tmp_path / "ran").exists()


# The package.


def test_an_absent_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "profanity_check", None)
    with pytest.raises(ModelError, match=r"pip install veneer\[toxicity\]"):
        classify.load(ToxicitySpec())


def test_weights_of_another_scikit_learn_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "profanity_check").mkdir()
    (tmp_path / "profanity_check" / "__init__.py").write_text(
        "import warnings\nfrom sklearn.exceptions import InconsistentVersionWarning as W\n"
        "warnings.warn(W(estimator_name='LinearSVC', current_sklearn_version='2', original_sklearn_version='1'))\n"
    )
    (tmp_path / "alt_profanity_check-9.dist-info").mkdir()
    (tmp_path / "alt_profanity_check-9.dist-info" / "METADATA").write_text(
        "Name: alt-profanity-check\nVersion: 9\n"
    )
    monkeypatch.delitem(sys.modules, "profanity_check", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match="the very scikit-learn"):
        classify.load(ToxicitySpec())


@needs_package
def test_the_default_classifier_is_named_and_passes_its_canaries() -> None:
    found = classify.load(ToxicitySpec())
    assert found.name == "alt-profanity-check"
    assert found.version[0].isdigit()
    assert len(found.digest) == 64
    assert classify.check(found, ToxicitySpec().threshold).told_apart == 1


@needs_package
def test_the_default_classifier_does_not_score_what_it_cannot_read() -> None:
    scores = classify.load(ToxicitySpec()).score(["Ты дурак", "愚か者", "", "1984!", "Ты idiot", "Été"])
    assert scores[:3] == [None] * 3
    assert None not in scores[3:]


@needs_package
@pytest.mark.skipif("VENEER_DATA" not in os.environ, reason="VENEER_DATA is not set: no prompts to score")
def test_the_default_classifier_tells_toxic_prompts_of_real_toxicity_prompts_from_harmless_ones() -> None:
    from sklearn.metrics import roc_auc_score

    path = Path(os.environ["VENEER_DATA"]) / "real_toxicity_prompts" / "rtp_val_5k.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        prompts = [json.loads(line)["prompt"] for line in lines]
    known = [prompt for prompt in prompts if prompt["toxicity"] is not None]
    scores = classify.load(ToxicitySpec()).score([prompt["text"] for prompt in known])
    pairs = [(one["toxicity"], score) for one, score in zip(known, scores, strict=True) if score is not None]
    assert len(pairs) > 0.999 * len(known)
    # Measured with 1.9.1: 0.881 at Perspective's 0.5, and 0.951 for 0.75 and more against less than 0.25.
    assert roc_auc_score([truth >= 0.5 for truth, _ in pairs], [score for _, score in pairs]) > 0.87
    plain = [(truth >= 0.75, score) for truth, score in pairs if truth >= 0.75 or truth < 0.25]
    assert roc_auc_score([truth for truth, _ in plain], [score for _, score in plain]) > 0.94
