"""Rows that are decoded side by side, join and leave: each gets what it gets alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    Lfm2Config,
    Lfm2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    RwkvConfig,
    RwkvForCausalLM,
)

from tests.models.tiny import checkpoint
from veneer.errors import ModelError
from veneer.models.cache import cache_of
from veneer.models.decode import Ending, Row, Written, decode, uniforms
from veneer.models.prefix import why_not
from veneer.records import Stop

NEVER = Ending(tokens=frozenset(), string_met=lambda _: "")
SOME = Ending(
    tokens=frozenset({1, 9, 17, 25}), string_met=lambda tokens: "x" if tokens[-2:] == [12, 12] else ""
)


def rows_of(count: int, *, seed: int, drawn: bool) -> list[Row]:
    rng = np.random.default_rng(seed)
    shared = rng.integers(4, 50, 12).tolist()
    rows = []
    for number in range(count):
        own = rng.integers(4, 50, int(rng.integers(1, 20))).tolist()
        limit = int(rng.integers(1, 14))
        draws = uniforms(0, str(number), 0, limit if drawn else 0)
        rows.append(Row(tokens=[*(shared if number % 3 else []), *own], limit=limit, uniforms=draws))
    return rows


def decoded(
    network: Any, rows: list[Row], slots: int, *, temperature: float = 0.0, ending: Ending = SOME
) -> Any:
    shares = not why_not(network)
    found = list(decode(network, rows, slots=slots, temperature=temperature, ending=ending, shares=shares))
    assert sorted(number for number, _ in found) == list(range(len(rows)))
    return dict(found)


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return read(checkpoint(tmp_path_factory.mktemp(request.param), kind=request.param))


def read(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder).eval().requires_grad_(False)


@pytest.mark.parametrize("slots", [2, 5, 64])
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_who_is_decoded_beside_a_row_changes_nothing(network: Any, slots: int, temperature: float) -> None:
    rows = rows_of(23, seed=slots, drawn=temperature > 0)
    alone = decoded(network, rows, 1, temperature=temperature)
    assert decoded(network, rows, slots, temperature=temperature) == alone


def test_greedy_rows_are_those_of_transformers(network: Any) -> None:
    rows = rows_of(9, seed=7, drawn=False)
    for number, written in decoded(network, rows, 4, ending=NEVER).items():
        ids = torch.tensor([list(rows[number].tokens)])
        whole = network.generate(ids, max_new_tokens=rows[number].limit, do_sample=False, eos_token_id=None)
        assert written == Written(tokens=tuple(whole[0, ids.shape[1] :].tolist()), stop=Stop.LENGTH, met="")


def test_a_beginning_that_all_share_is_read_once_however_often_rows_join(network: Any) -> None:
    shared = list(range(4, 44))
    rows = [Row(tokens=[*shared, 4 + number], limit=2, uniforms=np.zeros(0)) for number in range(12)]
    read: list[int] = []
    hook = network.register_forward_pre_hook(
        lambda _, args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    decoded_by = decode(network, rows, slots=4, temperature=0.0, ending=NEVER, shares=True)
    assert len(list(decoded_by)) == 12
    hook.remove()
    assert sum(read) == len(shared) + 12 + 12


def test_nothing_to_decode_is_nothing(network: Any) -> None:
    assert decoded(network, [], 4) == {}


SIZES = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "initializer_range": 0.3}
HEADS = {"intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
OTHERS: dict[str, Callable[[], Any]] = {
    "slides": lambda: MistralForCausalLM(MistralConfig(**SIZES, **HEADS, sliding_window=14)),
    "sees near columns alone": lambda: GPTNeoForCausalLM(
        GPTNeoConfig(
            vocab_size=60,
            hidden_size=32,
            num_layers=2,
            num_heads=4,
            attention_types=[[["global", "local"], 1]],
            window_size=14,
            initializer_range=0.3,
            max_position_embeddings=64,
        )
    ),
    "sums up": lambda: MambaForCausalLM(MambaConfig(**SIZES, state_size=8)),
    "does both": lambda: Lfm2ForCausalLM(
        Lfm2Config(**SIZES, **HEADS, layer_types=["conv", "full_attention"])
    ),
}


def made(kind: Callable[[], Any]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind().eval().requires_grad_(False)


@pytest.mark.parametrize("kind", list(OTHERS))
def test_where_no_beginning_can_be_shared_rows_are_what_reading_them_whole_gives(kind: str) -> None:
    network = made(OTHERS[kind])
    assert why_not(network)
    rows = rows_of(13, seed=3, drawn=False)
    for number, written in decoded(network, rows, 4, ending=NEVER).items():
        ids = list(rows[number].tokens)
        for token in written.tokens:
            with torch.inference_mode():
                logits = network(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
            assert token == int(logits.argmax())
            ids.append(token)


def test_a_model_that_keeps_its_state_to_itself_is_an_error_and_no_text() -> None:
    network = made(
        lambda: RwkvForCausalLM(
            RwkvConfig(vocab_size=60, hidden_size=32, num_hidden_layers=2, context_length=64)
        )
    )
    with pytest.raises(ModelError, match="RwkvForCausalLM: keeps what it has read in a place of its own"):
        decoded(network, rows_of(3, seed=1, drawn=False), 2)


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_a_row_whose_probabilities_are_no_numbers_fails_and_others_do_not(temperature: float) -> None:
    broken = made(OTHERS["slides"])
    broken.get_input_embeddings().weight[59] = float("nan")
    rows = [replace(row, limit=1) for row in rows_of(6, seed=2, drawn=temperature > 0)]
    rows[2] = replace(rows[2], tokens=[*rows[2].tokens, 59])
    found = decoded(broken, rows, 3, temperature=temperature)
    assert found[2] == Written(tokens=(), stop=Stop.FAILED, met="")
    assert [number for number, one in found.items() if one.stop is Stop.FAILED] == [2]


def test_a_cache_that_grows_holds_what_transformers_own_holds(network: Any) -> None:
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    grown = cache_of(network)
    with torch.inference_mode():
        for step in range(4):
            step_by_step = network(
                input_ids=ids[:, step : step + 1], past_key_values=grown, use_cache=True
            ).logits
        grown.crop(-2)
        again = network(input_ids=ids[:, 2:], past_key_values=grown, use_cache=True).logits
        whole = network(input_ids=ids, use_cache=False).logits
    torch.testing.assert_close(step_by_step[:, -1], whole[:, -1])
    torch.testing.assert_close(again, whole[:, 2:])
    assert grown.get_seq_length() == 4
