"""A checkpoint answers and is scored as plain transformers would, whatever else is in the batch."""

import json
import math
import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.models.tiny import checkpoint
from veneer.errors import ModelError
from veneer.models import local
from veneer.models.local import LocalModel
from veneer.models.model import Continuation, ModelRef, Sampling, ScoringModel
from veneer.models.open import open_model
from veneer.records import Completion, Message, Prompt, Stop


def ref(path: Path) -> ModelRef:
    return ModelRef(name="tiny", kind="checkpoint", path=path, digest="-")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def model(folder: Path) -> LocalModel:
    return local.load(ref(folder), batch_size=4)


def plain(count: int, shared: str = "") -> list[Prompt]:
    return [
        Prompt(
            prompt_id=f"p{place}",
            text=shared + " ".join(f"w{(place * 7 + step) % 40}" for step in range(1 + place % 5)),
        )
        for place in range(count)
    ]


def chats(count: int) -> list[Prompt]:
    return [
        Prompt(prompt_id=f"c{place}", messages=(Message(role="user", content=prompt.text),))
        for place, prompt in enumerate(plain(count))
    ]


def by_hand(model: LocalModel, ids: list[int], most: int) -> list[int]:
    """Return what the model writes greedily, one prompt at a time and without a cache."""
    written: list[int] = []
    while len(written) < most and (not written or written[-1] != 1):
        with torch.inference_mode():
            logits = model.network(input_ids=torch.tensor([ids + written])).logits
        written.append(int(logits[0, -1].argmax()))
    return written


@pytest.mark.parametrize("shared", ["", "w1 w2 w3 w4 w5 w6 w7 w8 w9 "])
def test_greedy_batches_write_what_one_prompt_at_a_time_writes(model: LocalModel, shared: str) -> None:
    prompts = plain(7, shared)
    found = list(model.generate(prompts, Sampling(temperature=0, max_tokens=9)))
    assert [completion.prompt_id for completion in found] == [prompt.prompt_id for prompt in prompts]
    for prompt, completion in zip(prompts, found, strict=True):
        ids = model.tokenizer(prompt.text)["input_ids"]
        written = by_hand(model, ids, 9)
        assert completion.tokens_out == len(written)
        assert completion.tokens_in == len(ids)
        assert completion.text == model.tokenizer.decode(written, skip_special_tokens=True)
        assert completion.stop == (Stop.END if written[-1] == 1 else Stop.LENGTH)


def test_chats_are_rendered_by_the_template_and_the_rendering_is_kept(model: LocalModel) -> None:
    (found,) = model.generate(chats(1), Sampling(temperature=0, max_tokens=3))
    assert found.rendered == "<user> w0 <asst>"
    assert found.text == found.text.strip()


def test_a_sample_depends_on_its_own_seed_prompt_and_number_only(model: LocalModel) -> None:
    sampling = Sampling(temperature=1.0, max_tokens=12, samples=2, seed=5)
    alone = {
        (one.prompt_id, one.sample): one.text
        for prompt in plain(7)
        for one in model.generate([prompt], sampling)
    }
    together = list(model.generate(plain(7), sampling))
    assert [(one.prompt_id, one.sample) for one in together[:3]] == [("p0", 0), ("p0", 1), ("p1", 0)]
    assert {(one.prompt_id, one.sample): one.text for one in together} == alone
    assert len(set(alone.values())) > 10
    other = Sampling(temperature=1.0, max_tokens=12, samples=2, seed=6)
    assert [one.text for one in model.generate(plain(7), other)] != [one.text for one in together]


def test_sampling_follows_the_models_probabilities(model: LocalModel) -> None:
    prompts = [Prompt(prompt_id=str(place), text="w3 w4") for place in range(3000)]
    big = LocalModel(name="tiny", tokenizer=model.tokenizer, network=model.network, batch_size=3000)
    sampling = Sampling(temperature=2.0, max_tokens=1)
    counts: dict[str, int] = {}
    for one in big.generate(prompts, sampling):
        counts[one.text] = counts.get(one.text, 0) + 1
    with torch.inference_mode():
        logits = model.network(input_ids=torch.tensor([model.tokenizer("w3 w4")["input_ids"]])).logits[0, -1]
    wanted = torch.softmax(logits / 2.0, -1)
    for token in wanted.topk(5).indices.tolist():
        share = counts.get(model.tokenizer.decode([token], skip_special_tokens=True), 0) / len(prompts)
        expected = float(wanted[token])
        if token > 5:  # Special tokens all read as nothing.
            assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / len(prompts)) + 1e-3


def test_stop_strings_cut_the_text_and_are_named(model: LocalModel) -> None:
    (whole,) = model.generate(plain(1), Sampling(temperature=0, max_tokens=8))
    words = whole.text.split()
    stop = next(word for word in words[1:] if word != words[0])
    (cut,) = model.generate(plain(1), Sampling(temperature=0, max_tokens=8, stop=(f" {stop}", "never")))
    assert cut.text == whole.text[: whole.text.index(f" {stop}")]
    assert (cut.stop, cut.detail) == (Stop.END, f" {stop}")
    assert cut.tokens_out == words.index(stop) + 1


def test_a_special_token_among_the_stop_strings_ends_a_completion_though_no_text_shows_it(
    model: LocalModel,
) -> None:
    prompts, asked = plain(30), Sampling(temperature=1.0, max_tokens=30, seed=3)
    whole = list(model.generate(prompts, asked))
    cut = list(model.generate(prompts, replace(asked, stop=("<user>",))))
    assert sum(one.tokens_out for one in cut) < sum(one.tokens_out for one in whole)
    for before, after in zip(whole, cut, strict=True):
        assert before.text.startswith(after.text)
        assert after.tokens_out == before.tokens_out or after.stop is Stop.END


def test_a_model_whose_probabilities_are_no_numbers_fails_and_answers_nothing(model: LocalModel) -> None:
    broken = replace(model, network=deepcopy(model.network))
    broken.network.lm_head.weight[7] = float("nan")
    (found,) = broken.generate(plain(1), Sampling(temperature=0, max_tokens=3))
    assert (found.stop, found.text) == (Stop.FAILED, "")
    assert "not numbers" in found.detail


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_full_window_ends_or_fails_a_completion_and_says_so(tmp_path: Path, kind: str) -> None:
    small = local.load(ref(checkpoint(tmp_path / kind, window=16, kind=kind)), batch_size=4)
    texts = {"fits": "w1 w2", "tight": " ".join(["w1"] * 14), "over": " ".join(["w1"] * 16)}
    prompts = [Prompt(prompt_id=name, text=text) for name, text in texts.items()]
    stop = Sampling(temperature=1, max_tokens=10, seed=1)
    found = {one.prompt_id: one for one in small.generate(prompts, stop)}
    assert found["tight"].tokens_out <= 2
    assert found["tight"].stop is Stop.END or "window of 16 tokens was full" in found["tight"].detail
    assert (found["over"].stop, found["over"].text) == (Stop.FAILED, "")
    assert "16 tokens" in found["over"].detail


def reference_score(model: LocalModel, head: list[int], tail: list[int]) -> float:
    with torch.inference_mode():
        logits = model.network(input_ids=torch.tensor([head + tail])).logits[0].log_softmax(-1)
    return sum(float(logits[len(head) + place - 1, token]) for place, token in enumerate(tail))


@pytest.mark.parametrize("shared", ["", "w1 w2 w3 w4 w5 w6 w7 w8 w9 "])
def test_log_likelihoods_are_those_of_one_sequence_at_a_time(model: LocalModel, shared: str) -> None:
    requests = [
        Continuation(prompt=prompt, continuation=" ".join(["one", "two", "three"][: 1 + place % 3]))
        for place, prompt in enumerate(plain(9, shared))
    ]
    for request, score in zip(requests, model.loglikelihoods(requests), strict=True):
        head = model.tokenizer(request.prompt.text)["input_ids"]
        tail = model.tokenizer(request.continuation)["input_ids"]
        assert score.value == pytest.approx(reference_score(model, head, tail), abs=1e-4)
        assert score.tokens == len(tail)


def test_a_reply_in_a_chat_is_scored_with_its_end_token(model: LocalModel) -> None:
    (score,) = model.loglikelihoods([Continuation(prompt=chats(1)[0], continuation="one two")])
    head = model.tokenizer("<user> w0 <asst>")["input_ids"]
    tail = model.tokenizer("one two <eos>")["input_ids"]
    assert score.tokens == 3
    assert score.value == pytest.approx(reference_score(model, head, tail), abs=1e-4)


def test_what_the_model_writes_greedily_is_greedy_to_score(model: LocalModel) -> None:
    completions = model.generate(plain(6), Sampling(temperature=0, max_tokens=3))
    pairs = list(zip(plain(6), completions, strict=True))
    requests = [Continuation(prompt=prompt, continuation=one.text) for prompt, one in pairs]
    for (_, one), score in zip(pairs, model.loglikelihoods(requests), strict=True):
        assert score.greedy or one.stop is Stop.END or score.tokens != one.tokens_out


def test_scoring_beyond_the_window_is_an_error_that_names_the_prompt(model: LocalModel) -> None:
    request = Continuation(prompt=Prompt(prompt_id="long", text="w1 " * 128), continuation="one")
    with pytest.raises(ModelError, match=r"'long'.*129 tokens.*128"):
        model.loglikelihoods([request])


def test_an_empty_list_of_requests_or_prompts_is_no_work(model: LocalModel) -> None:
    assert model.loglikelihoods([]) == []
    assert list(model.generate([], Sampling(temperature=0, max_tokens=3))) == []


def test_the_same_call_gives_the_same_bits(folder: Path) -> None:
    def ask(work: Callable[[LocalModel], Any]) -> Any:
        return work(local.load(ref(folder), batch_size=4))

    requests = [Continuation(prompt=prompt, continuation="one") for prompt in plain(9)]
    assert ask(lambda model: model.loglikelihoods(requests)) == ask(
        lambda model: model.loglikelihoods(requests)
    )
    sampling = Sampling(temperature=1.0, max_tokens=9)
    first: list[Completion] = ask(lambda model: list(model.generate(chats(9), sampling)))
    assert first == ask(lambda model: list(model.generate(chats(9), sampling)))


def test_an_opened_checkpoint_can_be_scored(folder: Path) -> None:
    assert isinstance(open_model(ref(folder)), ScoringModel)


def test_a_folder_that_is_no_checkpoint_is_an_error_that_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="save_pretrained"):
        open_model(ref(tmp_path))
    with pytest.raises(ModelError, match="does not exist"):
        open_model(ref(tmp_path / "nowhere"))


def test_a_checkpoint_that_lacks_weights_is_an_error_and_not_a_poor_model(
    tmp_path: Path, folder: Path
) -> None:
    whole = shutil.copytree(folder, tmp_path / "whole")
    weights = load_file(whole / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, whole / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights \(lm_head.weight"):
        open_model(ref(whole))


def test_code_that_a_checkpoint_brings_is_neither_run_nor_asked_about(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shutil.copytree(folder, tmp_path / "own")
    config = json.loads((own / "config.json").read_text())
    config |= {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "mine.Mine", "AutoModelForCausalLM": "mine.Model"},
    }
    (own / "config.json").write_text(json.dumps(config))
    (own / "mine.py").write_text("raise SystemExit('run')\n")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(ModelError, match="no code that it brings is run"):
        open_model(ref(own))
