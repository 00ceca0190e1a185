"""The learner: what learns, with which tokens, and by steps that do not depend on how they are cut up."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from torch.nn import functional
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM

from tests.models.tiny import CHAT, WORDS, checkpoint, tokenizer
from tests.train.runs import PACKED, examples
from veneer.errors import ModelError
from veneer.models.encode import IGNORED, Encoded, encode
from veneer.records import Message
from veneer.study_train import HardwareSpec, LoraSpec, RecipeSpec, TokensSpec
from veneer.train import learner as learning
from veneer.train.learner import Learner, learner_of, load, mean_loss, step
from veneer.train.scored import Scored, learned

pytestmark = pytest.mark.usefixtures("one_thread")

PADDED = PACKED.model_copy(update={"packing": False, "step_tokens": None, "batch_examples": 8})
LORA = PACKED.model_copy(update={"method": "lora"})
ROWS = [
    encode(tokenizer(), (Message(role="user", content=query), Message(role="assistant", content=answer)), 32)
    for query, answer in examples(12)
]
IDS = torch.tensor([ROWS[6].input_ids])
RATE = 1e-2
NEW = TokensSpec(add=("<one>", "<two>"))


def made(base: Path, recipe: RecipeSpec = PACKED, hardware: HardwareSpec | None = None) -> Learner:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return learner_of(load(base, recipe), recipe, hardware or HardwareSpec(), 32)


def with_tokens(recipe: RecipeSpec, spec: TokensSpec) -> RecipeSpec:
    return recipe.model_copy(update={"tokens": spec})


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    model.eval()
    own = model.config._attn_implementation
    model.set_attn_implementation("sdpa")
    found: torch.Tensor = model(input_ids=IDS, use_cache=False).logits
    model.set_attn_implementation(own)
    return found


def weights(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in learner.model.named_parameters()}


@pytest.fixture(params=["llama", "gpt2"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Untied embeddings, and tied ones."""
    return checkpoint(tmp_path / "base", kind=request.param)


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "llama")


# Adapters.


def test_with_lora_only_adapters_learn(base: Path) -> None:
    learner = made(base, LORA)
    before = weights(learner)
    step(learner, ROWS, RATE)
    step(learner, ROWS, RATE)
    moved = {name for name, weight in weights(learner).items() if not torch.equal(weight, before[name])}
    assert moved == {name for name in before if "lora_" in name}
    assert moved


@pytest.mark.parametrize("spec", [TokensSpec(), NEW], ids=["no new tokens", "new tokens"])
def test_merging_changes_nothing_of_what_the_model_says(base: Path, spec: TokensSpec) -> None:
    learner = made(base, with_tokens(LORA, spec))
    untrained = logits(learner.model)
    for _ in range(5):
        step(learner, ROWS, RATE)
    before = logits(learner.model)
    assert (before - untrained).abs().max() > 0.1
    torch.testing.assert_close(logits(learner.model.merge_and_unload()), before, rtol=1e-4, atol=1e-4)


def test_an_adapter_has_its_rank_and_the_layers_that_were_named(llama: Path) -> None:
    learner = made(llama, LORA.model_copy(update={"lora": LoraSpec(rank=3, targets=("q_proj",))}))
    found = {name: weight.shape for name, weight in learner.model.named_parameters() if weight.requires_grad}
    assert len(found) == 2 * 2
    assert all(".q_proj." in name and 3 in shape for name, shape in found.items())


def test_unknown_targets_are_named(base: Path) -> None:
    recipe = LORA.model_copy(update={"lora": LoraSpec(targets=("no_such_layer",))})
    with pytest.raises(ModelError, match=r"train\.recipe\.lora: .*no_such_layer.* Name layers of this model"):
        made(base, recipe)


def test_qlora_without_a_gpu_says_what_it_needs(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    recipe = LORA.model_copy(update={"method": "qlora"})
    with pytest.raises(
        ModelError, match=r"train\.recipe\.method: qlora needs .* and a GPU; .* use `method: lora`"
    ):
        load(llama, recipe)


# Tokens.


def ends_of(model: Any) -> list[torch.Tensor]:
    return [model.get_input_embeddings().weight, model.get_output_embeddings().weight]


def test_new_tokens_begin_as_the_mean_on_both_ends(base: Path) -> None:
    plain = load(base, PACKED)
    grown = load(base, with_tokens(PACKED, NEW))
    assert plain.new == ()
    assert grown.new == (len(WORDS), len(WORDS) + 1)
    assert grown.tokenizer.convert_tokens_to_ids(["<one>", "<two>"]) == list(grown.new)
    assert grown.tokenizer.encode("w1 <two> w2", add_special_tokens=False)[1] == grown.new[1]
    assert grown.model.config.vocab_size == len(WORDS) + 2
    for before, after in zip(ends_of(plain.model), ends_of(grown.model), strict=True):
        assert torch.equal(after[: len(WORDS)], before)
        for token in grown.new:
            assert torch.equal(after[token], before.mean(dim=0))
    tied = ends_of(plain.model)[0] is ends_of(plain.model)[1]
    assert (ends_of(grown.model)[0] is ends_of(grown.model)[1]) == tied


def test_new_tokens_begin_as_the_mean_where_the_model_has_rows_to_spare_too(base: Path) -> None:
    spare = AutoModelForCausalLM.from_pretrained(base)
    spare.resize_token_embeddings(64, mean_resizing=False)
    spare.save_pretrained(base)
    grown = load(base, with_tokens(PACKED, NEW))
    for weight in ends_of(grown.model):
        assert len(weight) == 64
        assert torch.equal(weight[grown.new[1]], weight[: len(WORDS)].mean(dim=0))


def test_a_model_that_its_tokenizer_outgrew_is_not_mended_in_silence(base: Path) -> None:
    outgrown = tokenizer()
    outgrown.add_tokens(["novel"])
    outgrown.save_pretrained(base)
    assert load(base, PACKED).model.get_input_embeddings().num_embeddings == len(WORDS)


def test_tokens_that_are_known_add_nothing(base: Path) -> None:
    spec = TokensSpec(add=("<user>",), pad="<bos>", stop="<asst>")
    found = load(base, with_tokens(PACKED, spec))
    assert found.new == ()
    assert len(found.tokenizer) == found.model.get_input_embeddings().num_embeddings == len(WORDS)


def test_padding_stop_and_template_take_effect_in_tokenizer_and_configs(base: Path, tmp_path: Path) -> None:
    (tmp_path / "chat.jinja").write_text(CHAT.replace("<eos>", "<stop>"))
    spec = TokensSpec(pad="<padding>", stop="<stop>", chat_template=tmp_path / "chat.jinja")
    found = load(base, with_tokens(PACKED, spec))
    words, model = found.tokenizer, found.model
    assert (words.pad_token, words.eos_token) == ("<padding>", "<stop>")
    assert set(found.new) == {words.pad_token_id, words.eos_token_id}
    for config in (model.config, model.generation_config):
        assert (config.pad_token_id, config.eos_token_id) == (words.pad_token_id, words.eos_token_id)
    row = encode(words, (Message(role="user", content="w1"), Message(role="assistant", content="w2")), 32)
    assert row.input_ids[-1] == row.labels[-1] == words.eos_token_id


def test_with_lora_new_tokens_learn_where_they_go_in_and_where_they_come_out(base: Path) -> None:
    learner = made(base, with_tokens(LORA, NEW))
    one, two = len(WORDS), len(WORDS) + 1
    before = [weight.detach().clone() for weight in ends_of(learner.model)]
    ids = (4, one, 5, two, 1)
    step(learner, [Encoded(input_ids=ids, labels=ids)], RATE)
    for was, weight in zip(before, ends_of(learner.model), strict=True):
        moved = (weight != was).any(dim=1).nonzero().flatten().tolist()
        assert moved == [one, two]


# Optimizers and steps.


def rms(weight: torch.Tensor) -> float:
    return float(weight.square().mean().sqrt())


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_both_optimizers_learn(base: Path, optimizer: str) -> None:
    learner = made(base, PACKED.model_copy(update={"optimizer": optimizer}))
    losses = [step(learner, ROWS, 3e-2) for _ in range(20)]
    assert losses[-1] < 0.7 * losses[0]


def test_adafactor_moves_a_weight_twice_as_large_twice_as_far(llama: Path) -> None:
    def moved(factor: float, optimizer: str) -> float:
        learner = made(llama, PACKED.model_copy(update={"optimizer": optimizer}))
        (weight,) = (each for name, each in learner.model.named_parameters() if name == "lm_head.weight")
        with torch.no_grad():
            weight.mul_(factor)
            before = weight.clone()
        step(learner, ROWS, RATE)
        return rms(weight.detach() - before)

    assert moved(2, "adafactor") == pytest.approx(2 * moved(1, "adafactor"), rel=0.1)
    assert moved(2, "adamw") == pytest.approx(moved(1, "adamw"), rel=0.1)


def test_adafactor_moves_every_matrix_by_its_size_times_the_rate(llama: Path) -> None:
    learner = made(llama, PACKED.model_copy(update={"optimizer": "adafactor"}))
    before = weights(learner)
    step(learner, ROWS, RATE)
    after = weights(learner)
    for name in before:
        if "_proj." in name:
            assert rms(after[name] - before[name]) == pytest.approx(RATE * rms(before[name]), rel=0.2), name


def gradients_of(learner: Learner, rows: list[Encoded]) -> tuple[float, dict[str, torch.Tensor]]:
    """Take a step; return its loss and the gradient that it was made from."""
    found: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[[torch.Tensor], None]:
        def kept(weight: torch.Tensor) -> None:
            assert weight.grad is not None
            found[name] = weight.grad.clone()

        return kept

    for name, weight in learner.model.named_parameters():
        if weight.requires_grad:
            weight.register_post_accumulate_grad_hook(keep(name))
    return step(learner, rows, RATE), found


@pytest.mark.parametrize("recipe", [PACKED, PADDED, LORA], ids=["packed", "padded", "lora"])
@pytest.mark.parametrize("micro_tokens", [1, 20, 40])
def test_accumulation_in_pieces_is_one_piece(llama: Path, recipe: RecipeSpec, micro_tokens: int) -> None:
    loss, wanted = gradients_of(made(llama, recipe), ROWS)
    pieces, found = gradients_of(made(llama, recipe, HardwareSpec(micro_tokens=micro_tokens)), ROWS)
    assert pieces == pytest.approx(loss, rel=1e-5)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert (found[name] - gradient).abs().max() <= 2e-5 * gradient.abs().max() + 1e-7, name


def test_only_the_last_piece_of_a_step_asks_for_a_step(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DeepSpeed takes it in the backward pass; elsewhere the gradients of all processes meet in it."""
    learner = made(llama, hardware=HardwareSpec(micro_tokens=40))
    own, asked = learner.accelerator.backward, []

    def backward(loss: torch.Tensor) -> None:
        asked.append(learner.accelerator.sync_gradients)
        own(loss)

    monkeypatch.setattr(learner.accelerator, "backward", backward)
    step(learner, ROWS, RATE)
    assert len(asked) > 2
    assert asked == [False] * (len(asked) - 1) + [True]


def test_a_process_without_rows_in_a_step_brings_the_same_kind_of_number() -> None:
    brought: list[torch.Tensor] = []

    def reduce(own: torch.Tensor, reduction: str) -> torch.Tensor:
        brought.append(own)
        return own

    processes = SimpleNamespace(num_processes=2, device="cpu", reduce=reduce)
    assert [learning._summed(processes, value) for value in (0, 1.5)] == [0, 1.5]
    assert brought[0].dtype == brought[1].dtype == torch.float32


def test_deepspeed_is_told_what_the_recipe_says() -> None:
    config = {
        "gradient_accumulation_steps": 8,
        "gradient_clipping": "auto",
        "zero_optimization": {"stage": 2},
    }
    learning._instruct(SimpleNamespace(deepspeed_config=config), PACKED.model_copy(update={"clip": 0.5}))
    assert config == {
        "train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 1, "gradient_clipping": 0.5,
        "bf16": {"enabled": False}, "zero_optimization": {"stage": 2},
    }  # fmt: skip


@pytest.mark.parametrize("asked", ["bf16", "fp16"])
def test_only_the_recipe_says_in_what_precision(
    llama: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", asked)
    AcceleratorState._reset_state()
    assert made(llama).accelerator.mixed_precision == "no"


def test_packed_and_padded_rows_give_the_same_gradients(llama: Path) -> None:
    loss, wanted = gradients_of(made(llama, PADDED), ROWS)
    packed, found = gradients_of(made(llama, PACKED), ROWS)
    assert packed == pytest.approx(loss, rel=1e-5)
    for name, gradient in wanted.items():
        assert (found[name] - gradient).abs().max() <= 2e-5 * gradient.abs().max() + 1e-7, name


@pytest.mark.parametrize("method", ["full", "lora"])
def test_gradient_checkpointing_changes_no_gradient(llama: Path, method: str) -> None:
    recipe = PACKED.model_copy(update={"method": method})
    loss, wanted = gradients_of(made(llama, recipe), ROWS)
    again, found = gradients_of(made(llama, recipe, HardwareSpec(gradient_checkpointing=True)), ROWS)
    assert again == loss
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], gradient) for name, gradient in wanted.items())


def test_the_mean_loss_is_that_of_plain_transformers_and_nothing_is_learned_by_it(base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    total = 0.0
    for row in ROWS:
        with torch.no_grad():
            out = model(input_ids=torch.tensor([row.input_ids]), labels=torch.tensor([row.labels]))
        total += float(out.loss) * learned(row)
    learner = made(base)
    before = weights(learner)
    assert mean_loss(learner, ROWS) == pytest.approx(total / sum(map(learned, ROWS)), rel=1e-5)
    assert all(torch.equal(weight, before[name]) for name, weight in weights(learner).items())
    assert learner.scored.training


def test_a_step_returns_the_loss_before_it(llama: Path) -> None:
    learner = made(llama)
    assert mean_loss(learner, ROWS) == pytest.approx(step(learner, ROWS, RATE), rel=1e-5)


def test_what_is_learned_of_a_row_does_not_count_its_first_token() -> None:
    assert learned(Encoded(input_ids=(4, 5, 6), labels=(4, 5, IGNORED))) == 1


def test_a_model_that_caps_its_logits_is_trained_on_what_it_says_when_they_have_grown() -> None:
    config = Gemma2Config(
        vocab_size=len(WORDS), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, initializer_range=0.02, eos_token_id=1, pad_token_id=0, bos_token_id=3,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Gemma2ForCausalLM(config)
    # So small at first that the cap does nothing that could be seen.
    scored = Scored(model, PADDED, eager=True)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(1000)
        targets = IDS[:, 1:]
        wanted = functional.cross_entropy(model(input_ids=IDS).logits[0, :-1], targets[0], reduction="sum")
        places = torch.arange(IDS.shape[1] - 1)
        assert scored(IDS, places, targets[0], [IDS.shape[1]]).item() == pytest.approx(
            wanted.item(), rel=1e-5
        )


def test_a_folder_that_is_no_checkpoint_is_an_error(llama: Path) -> None:
    (llama / "config.json").unlink()
    with pytest.raises(ModelError, match=r"llama: cannot be loaded: .*`save_pretrained` is wanted"):
        learning.load(llama, PACKED)


class SeenError(Exception):
    """Raised by what looks at a model instead of going on."""


@pytest.mark.parametrize(("shared", "device"), [("NO", "meta"), ("MULTI_GPU", "meta"), ("FSDP", "cpu")])
def test_a_model_is_on_its_device_before_it_is_looked_at_unless_it_is_spread_out(
    shared: str, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere:
        device = torch.device("meta")
        distributed_type = shared
        state = SimpleNamespace(deepspeed_plugin=None)

        def __init__(self, **_: Any) -> None: ...

    def look(model: Any, *_: Any, **__: Any) -> None:
        raise SeenError({weight.device.type for weight in model.parameters()})

    monkeypatch.setattr("accelerate.Accelerator", Elsewhere)
    monkeypatch.setattr(learning, "Scored", look)
    with pytest.raises(SeenError) as seen:
        made(checkpoint(tmp_path))
    assert seen.value.args == ({device},)
