"""What texts share is read once, and every continuation weighs what it weighs when its text is read alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    BloomForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from tests.models.tiny import checkpoint
from veneer.models import prefix
from veneer.models.prefix import Ask


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return opened(checkpoint(tmp_path_factory.mktemp("models") / "llama"))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return opened(checkpoint(tmp_path_factory.mktemp("models") / "gpt2", kind="gpt2"))


def opened(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()


def ask(text: str, end: str) -> Ask:
    """Return a continuation `end` of `text`, one token a letter."""
    tokens = tuple(4 + ord(letter) % 50 for letter in text + end)
    return Ask(tokens=tokens, start=len(text))


HEADER = "a long beginning of all"
QUESTIONS = [
    *(ask(HEADER + question, choice) for question in ("who", "whom", "what is it") for choice in "abcd"),
    *(ask(HEADER + "which of them", choice) for choice in ("one", "only two", "o", "none of them at all")),
    ask("another", "text"),
    ask(HEADER, "who"),
    ask(HEADER + "wh", "o"),
    ask("a", HEADER[1:]),
]


def counted(network: Any) -> list[int]:
    """Note, from now on, how many tokens each pass of the network reads."""
    read: list[int] = []
    network.register_forward_pre_hook(
        lambda _, args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    return read


def same(fast: list[Any], slow: list[Any]) -> None:
    assert [one.value for one in fast] == pytest.approx([one.value for one in slow], abs=2e-4)
    assert [(one.tokens, one.greedy) for one in fast] == [(one.tokens, one.greedy) for one in slow]


@pytest.mark.parametrize("together", [1, 8, 20, 60, 10_000])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_every_way_of_packing_weighs_what_reading_alone_weighs(
    request: pytest.FixtureRequest, kind: str, together: int
) -> None:
    network = request.getfixturevalue(kind)
    same(prefix.score(network, QUESTIONS, together=together), prefix.plain(network, QUESTIONS, batch_size=1))


@pytest.mark.parametrize("ways", ["shared", "plain"])
def test_the_last_token_may_stand_beyond_the_window_since_it_is_only_looked_for(gpt2: Any, ways: str) -> None:
    window = gpt2.config.n_positions
    long = Ask(tokens=tuple(4 + place % 50 for place in range(window + 1)), start=window - 2)
    asks = [long, Ask(tokens=long.tokens[:1], start=1)]
    found = (
        prefix.score(gpt2, asks, together=64) if ways == "shared" else prefix.plain(gpt2, asks, batch_size=2)
    )
    with torch.inference_mode():
        logits = gpt2(input_ids=torch.tensor([long.tokens[:-1]])).logits[0].log_softmax(-1)
    wanted = sum(float(logits[place - 1, long.tokens[place]]) for place in range(window - 2, window + 1))
    assert found[0].value == pytest.approx(wanted, abs=2e-4)
    assert (found[0].tokens, found[1].tokens) == (3, 0)


@pytest.mark.parametrize("batch_size", [2, 5, 100])
def test_plain_batches_weigh_what_reading_alone_weighs(llama: Any, batch_size: int) -> None:
    same(prefix.plain(llama, QUESTIONS, batch_size=batch_size), prefix.plain(llama, QUESTIONS, batch_size=1))


texts = st.lists(st.text("ab", min_size=1, max_size=24), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=texts, header=st.text("abc", max_size=20), together=st.integers(1, 80), data=st.data())
def test_any_set_of_texts_weighs_what_reading_alone_weighs(
    llama: Any, texts: list[str], header: str, together: int, data: st.DataObject
) -> None:
    asks = []
    for text in texts:
        whole = header + text
        cut = data.draw(st.integers(1, len(whole)))
        asks.append(ask(whole[:cut], whole[cut:]))
    same(prefix.score(llama, asks, together=together), prefix.plain(llama, asks, batch_size=1))


def test_a_shared_beginning_is_read_once(llama: Any) -> None:
    asks = [ask(HEADER + question, choice) for question in ("why", "who", "how") for choice in "abcd"]
    read = counted(llama)
    prefix.score(llama, asks, together=6)
    # The header once, and the letters that each question has to itself; the choices are not read but looked for.
    assert sum(read) == len(HEADER) + len("how") + len("who") + len("y")
    assert max(read) == len(HEADER)


def test_nothing_to_weigh_gives_nothing(llama: Any) -> None:
    assert prefix.score(llama, [], together=8) == []


def test_the_same_request_twice_has_the_same_answer_twice(llama: Any) -> None:
    one, other = prefix.score(llama, [ask("ab", "cd"), ask("ab", "cd")], together=8)
    assert one == other


def test_llama_and_gpt2_can_share(llama: Any, gpt2: Any) -> None:
    assert (prefix.why_not(llama), prefix.why_not(gpt2)) == ("", "")


def test_a_window_that_slides_is_not_shared() -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = MistralConfig(vocab_size=60, num_key_value_heads=2, sliding_window=16, **sizes)
    assert "does not keep every token" in prefix.why_not(MistralForCausalLM(config).eval())


def test_positions_that_are_counted_from_the_mask_are_not_shared() -> None:
    network = BloomForCausalLM(BloomConfig(vocab_size=60, hidden_size=32, n_layer=2, n_head=4)).eval()
    assert prefix.why_not(network)


def test_an_architecture_whose_trial_fails_is_not_shared(llama: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets(network: Any, asks: list[Ask], *, together: int) -> Any:
        return [
            one.__class__(value=one.value - 1, tokens=one.tokens, greedy=one.greedy)
            for one in prefix.plain(network, asks, batch_size=1)
        ]

    monkeypatch.setattr(prefix, "score", forgets)
    assert "moved a log-likelihood by 1" in prefix.why_not(llama)


def test_half_precision_shares_too(tmp_path: Path) -> None:
    network = AutoModelForCausalLM.from_pretrained(
        checkpoint(tmp_path / "llama"), local_files_only=True, dtype=torch.bfloat16
    ).eval()
    assert prefix.why_not(network) == ""
