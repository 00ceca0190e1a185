"""Documents that share a block are to each other as if they were never put together."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tests.train.runs import PACKED
from veneer.models.encode import Encoded
from veneer.train import documents
from veneer.train.scored import Scored

pytestmark = pytest.mark.usefixtures("one_thread")

VOCABULARY = 60
SPECIAL = {"vocab_size": VOCABULARY, "bos_token_id": 3, "eos_token_id": 1, "pad_token_id": 0}
# Four query heads for two of keys.
SIZES: dict[str, Any] = {
    **SPECIAL, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "initializer_range": 0.3,
}  # fmt: skip
NARROW = {"head_dim": 8, "sliding_window": 4}
GPT2: dict[str, Any] = {
    **SPECIAL,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "initializer_range": 0.3,
}
NO_DROPOUT = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
APART: dict[str, Callable[[], Any]] = {
    "llama with fewer key heads": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**GPT2, **NO_DROPOUT)),
    "mistral with a window of 4": lambda: MistralForCausalLM(MistralConfig(**SIZES, **NARROW)),
    "gemma2 with bounded products": lambda: Gemma2ForCausalLM(
        Gemma2Config(**SIZES, **NARROW, attn_logit_softcapping=2.0, final_logit_softcapping=3.0)
    ),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=16)),
}
TOGETHER: dict[str, Callable[[], Any]] = {
    "bloom": lambda: BloomForCausalLM(BloomConfig(**SPECIAL, hidden_size=32, n_layer=2, n_head=4)),
    "mamba": lambda: MambaForCausalLM(
        MambaConfig(**SPECIAL, hidden_size=32, state_size=4, num_hidden_layers=2)
    ),
}
LENGTHS = [11, 1, 7, 2]
"""Longer than the window, and as short as can be."""
DRAWN = torch.randint(6, VOCABULARY, (sum(LENGTHS),), generator=torch.Generator().manual_seed(1)).tolist()


def made(make: Callable[[], Any]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def texts() -> list[list[int]]:
    starts = [sum(LENGTHS[:place]) for place in range(len(LENGTHS))]
    return [DRAWN[start : start + length] for start, length in zip(starts, LENGTHS, strict=True)]


def rows() -> list[Encoded]:
    return [Encoded(input_ids=tuple(ids), labels=tuple(ids)) for ids in texts()]


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def alone(model: Any) -> tuple[float, dict[str, torch.Tensor]]:
    """Return the loss of all documents, each gone through by itself under the model's own attention; and gradients."""
    model.train()
    losses = [
        functional.cross_entropy(
            model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, :-1],
            torch.tensor(ids[1:]),
            reduction="sum",
        )
        for ids in texts()
        if len(ids) > 1
    ]
    total = torch.stack(losses).sum()
    total.backward()  # type: ignore[no-untyped-call]
    return total.item(), gradients(model)


def packed(model: Any) -> tuple[float, dict[str, torch.Tensor]]:
    """Return the same of one pass over all documents in one block."""
    scored = Scored(model, PACKED, eager=False)
    scored.train()
    starts = [sum(LENGTHS[:number]) for number in range(len(LENGTHS))]
    places = [start + at for start, length in zip(starts, LENGTHS, strict=True) for at in range(length - 1)]
    targets = [number for ids in texts() for number in ids[1:]]
    total = scored(torch.tensor([DRAWN]), torch.tensor(places), torch.tensor(targets), LENGTHS)
    total.backward()
    return total.item(), gradients(model)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "gradient checkpointing"])
@pytest.mark.parametrize("kind", APART)
def test_packed_and_unpacked_gradients_agree(kind: str, checkpointing: bool) -> None:
    model = made(APART[kind])
    if checkpointing:
        model.activation_checkpointing_enable()
    loss, found = packed(model)
    wanted_loss, wanted = alone(made(APART[kind]))
    assert loss == pytest.approx(wanted_loss, rel=1e-5)
    assert found.keys() == wanted.keys()
    assert len(found) == len(list(model.parameters()))
    for name, gradient in wanted.items():
        assert (found[name] - gradient).abs().max() <= 2e-5 * gradient.abs().max() + 1e-6, name


@pytest.mark.parametrize("kind", APART)
def test_a_change_in_one_document_never_changes_another_s_logits(kind: str) -> None:
    model = made(APART[kind]).eval()
    model.set_attn_implementation(documents.NAME)

    def logits(ids: list[int]) -> list[torch.Tensor]:
        where = documents.arguments(LENGTHS, "cpu")
        with torch.no_grad():
            return list(
                model(input_ids=torch.tensor([ids]), use_cache=False, **where).logits[0].split(LENGTHS)
            )

    before = logits(DRAWN)
    for place in range(len(LENGTHS)):
        start = sum(LENGTHS[:place])
        changed = [*DRAWN]
        changed[start] = 6 + (changed[start] - 5) % (VOCABULARY - 6)
        after = logits(changed)
        same = [torch.equal(one, other) for one, other in zip(before, after, strict=True)]
        assert same == [number != place for number in range(len(LENGTHS))]


@pytest.mark.parametrize("kind", [*APART, *TOGETHER])
@pytest.mark.parametrize("many", [4, 1], ids=["rows", "one row"])
def test_who_can_keep_documents_apart_is_found_and_nothing_is_left_changed(kind: str, many: int) -> None:
    model = made({**APART, **TOGETHER}[kind])
    model.train()
    own = model.config._attn_implementation
    assert documents.are_apart(model, rows()[:many]) == (kind in APART)
    assert model.config._attn_implementation == own
    assert model.training
    wanted, _ = alone(made({**APART, **TOGETHER}[kind]))
    assert alone(model)[0] == wanted


def test_a_position_is_counted_within_its_document() -> None:
    assert documents.arguments([3, 1, 2], "cpu")["position_ids"].tolist() == [[0, 1, 2, 0, 0, 1]]


def test_dropout_is_drawn_only_where_it_is_asked_for() -> None:
    states = torch.randn(1, 2, 4, 8, generator=torch.Generator().manual_seed(0))
    one = documents.arguments([4], "cpu")["documents"]

    def attended(softcap: float | None, dropout: float) -> torch.Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return documents.attention(
                None, states, states, states, None, dropout, documents=one, softcap=softcap
            )[0]

    for softcap in (None, 1.0):
        assert torch.equal(attended(softcap, 0.0), attended(softcap, 0.0))
        assert not torch.equal(attended(softcap, 0.5), attended(softcap, 0.0))


# What a GPU does at once.


def heads(device: str, kind: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return queries, and fewer heads of keys and values."""
    generator = torch.Generator().manual_seed(2)
    query, key, value = (
        torch.randn(1, many, sum(LENGTHS), 16, generator=generator).to(device, kind).requires_grad_()
        for many in (4, 2, 2)
    )
    return query, key, value


def attended_to(states: tuple[torch.Tensor, torch.Tensor, torch.Tensor], device: str) -> torch.Tensor:
    query, key, value = states
    there = documents.arguments(LENGTHS, device)["documents"]
    return documents.attention(None, query, key, value, None, documents=there)[0]


def test_the_kernel_for_all_documents_gives_tensors_of_the_same_shapes() -> None:
    states = heads("meta", torch.bfloat16)
    there = documents.Documents(
        lengths=tuple(LENGTHS), bounds=torch.zeros(5, dtype=torch.int32, device="meta")
    )
    how = documents.How(dropout=0.1, scaling=None, window=None, softcap=None)
    out = documents.at_once(*states, there, how)
    assert out.shape == (1, sum(LENGTHS), 4, 16)
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert all(state.grad is not None and state.grad.shape == state.shape for state in states)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("autocast", [False, True], ids=["bf16", "autocast"])
def test_a_gpu_attends_to_all_documents_at_once_as_to_each_alone(autocast: bool) -> None:
    wanted_states = heads("cpu", torch.float32)
    wanted = attended_to(wanted_states, "cpu")
    wanted.square().sum().backward()  # type: ignore[no-untyped-call]
    states = heads("cuda", torch.float32 if autocast else torch.bfloat16)
    with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
        out = attended_to(states, "cuda")
    out.float().square().sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(out.float().cpu(), wanted, rtol=2e-2, atol=2e-2)
    for state, one in zip(states, wanted_states, strict=True):
        assert state.grad is not None
        assert one.grad is not None
        torch.testing.assert_close(state.grad.float().cpu(), one.grad, rtol=5e-2, atol=1e-1)
