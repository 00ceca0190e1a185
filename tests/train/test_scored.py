"""A model's loss as one forward pass, and the tensors that it takes."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel, Llama4ForCausalLM, Llama4TextConfig
from transformers.activations import NewGELUActivation
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tests.train.runs import PACKED
from veneer.models.encode import IGNORED, Encoded
from veneer.train.scored import Scored, aligned, normed, tensors_of

ROWS = [
    Encoded(input_ids=(4, 5, 6), labels=(4, IGNORED, 6)),
    Encoded(input_ids=(7, 8), labels=(IGNORED, 8)),
]


def test_packed_rows_lie_one_behind_the_other_and_no_first_token_is_learned() -> None:
    inputs, places, targets, lengths = tensors_of(ROWS, packing=True, device="cpu")
    assert inputs.tolist() == [[4, 5, 6, 7, 8]]
    assert (places.tolist(), targets.tolist()) == ([1, 3], [6, 8])
    assert lengths == [3, 2]


def test_padded_rows_lie_one_below_the_other() -> None:
    inputs, places, targets, _ = tensors_of(ROWS, packing=False, device="cpu")
    assert inputs.tolist() == [[4, 5, 6], [7, 8, 0]]
    assert (places.tolist(), targets.tolist()) == ([1, 3], [6, 8])


def test_a_model_that_hides_its_body_is_trained_on_what_it_says() -> None:
    config = Llama4TextConfig(
        vocab_size=60, hidden_size=32, intermediate_size=48, intermediate_size_mlp=48, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, num_local_experts=2, pad_token_id=0,
    )  # fmt: skip
    model = Llama4ForCausalLM(config)
    scored = Scored(model, PACKED.model_copy(update={"packing": False}), eager=False)
    ids = torch.tensor([[4, 5, 6]])
    wanted = functional.cross_entropy(model(input_ids=ids).logits[0, :-1], ids[0, 1:], reduction="sum")
    torch.testing.assert_close(scored(ids, torch.arange(2), ids[0, 1:], [3]), wanted)


def test_gpt2_s_activation_is_computed_in_one_go_and_is_the_same_function() -> None:
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=60, n_embd=32, n_layer=2, n_head=4, bos_token_id=3, eos_token_id=1)
    )
    kinds = {type(module) for module in model.modules()}
    assert NewGELUActivation in kinds
    Scored(model, PACKED, eager=False)
    kinds = {type(module) for module in model.modules()}
    assert NewGELUActivation not in kinds
    assert nn.GELU in kinds
    values = torch.linspace(-6, 6, 101)
    torch.testing.assert_close(nn.GELU(approximate="tanh")(values), NewGELUActivation()(values))


@pytest.mark.parametrize("packing", [True, False])
def test_rows_without_anything_learned_have_no_loss(packing: bool) -> None:
    nothing = [Encoded(input_ids=(4, 5), labels=(IGNORED, IGNORED))]
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=60, n_embd=32, n_layer=1, n_head=4, bos_token_id=3, eos_token_id=1)
    )
    recipe = PACKED.model_copy(update={"packing": packing})
    scored = Scored(model, recipe, eager=False)
    assert scored(*tensors_of(nothing, packing=packing, device="cpu")).item() == 0


def test_a_vocabulary_that_is_made_wider_for_a_gpu_gives_the_same_numbers() -> None:
    head = nn.Linear(16, 57, bias=False)
    hidden = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    assert aligned(head.weight, hidden).shape == (5, 57)
    torch.testing.assert_close(aligned(head.weight, hidden), head(hidden))


def test_llamas_norm_in_one_go_is_the_same_function_with_the_same_gradients() -> None:
    norm = LlamaRMSNorm(16, eps=1e-5)
    hidden = torch.randn(5, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    there = torch.autograd.grad(norm(hidden).square().sum(), [hidden, norm.weight])
    here = torch.autograd.grad(normed(norm, hidden).square().sum(), [hidden, norm.weight])
    torch.testing.assert_close(here, there)
