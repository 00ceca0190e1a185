"""A student on disk is a plain checkpoint: anybody loads it, it says what was trained, and nothing else is in it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.models.tiny import checkpoint, tokenizer
from tests.train.runs import PACKED, examples
from veneer.disk import digest, read_json
from veneer.models.encode import encode, tokens_of
from veneer.records import Message
from veneer.study_train import HardwareSpec, LoraSpec, RecipeSpec, TokensSpec
from veneer.train.checkpoint import write
from veneer.train.learner import Learner, learner_of, load, step
from veneer.train.preflight import stop_ids

pytestmark = pytest.mark.usefixtures("one_thread")
OF_PEFT = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
"""It asks transformers by an old name when it loads an adapter."""

TALKS = [
    (Message(role="user", content=query), Message(role="assistant", content=answer))
    for query, answer in examples(8)
]
ROWS = [encode(tokenizer(), talk, 32) for talk in TALKS]
IDS = torch.tensor([ROWS[6].input_ids])
WAYS: dict[str, dict[str, Any]] = {
    "full": {},
    "padded": {"packing": False, "step_tokens": None},
    "bf16 weights": {"weights": "bf16"},
    "new tokens": {"tokens": TokensSpec(add=("<one>",), pad="<padding>")},
    "lora": {"method": "lora"},
    "lora on some layers, new tokens": {
        "method": "lora", "lora": LoraSpec(targets=("c_attn", "q_proj")), "tokens": TokensSpec(add=("<one>",)),
    },
}  # fmt: skip


def trained(base: Path, way: str) -> Learner:
    recipe = PACKED.model_copy(update=WAYS[way])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        learner = learner_of(load(base, recipe), recipe, HardwareSpec(), 32)
        for _ in range(3):
            step(learner, ROWS, 1e-2)
    return learner


@torch.no_grad()
def logits(model: Any, attention: str = "sdpa") -> torch.Tensor:
    model.eval()
    model.set_attn_implementation(attention)
    found: torch.Tensor = model(input_ids=IDS.to(model.device), use_cache=False).logits
    return found


def written(learner: Learner, base: Path, folder: Path) -> Path:
    folder.mkdir()
    write(learner, base, folder / "checkpoint")
    return folder / "checkpoint"


@pytest.fixture(params=["llama", "gpt2"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "base", kind=request.param)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_written_loads_with_plain_transformers_and_says_the_same(
    base: Path, tmp_path: Path, way: str
) -> None:
    learner = trained(base, way)
    said = logits(learner.model)
    assert (said[..., :57] - logits(AutoModelForCausalLM.from_pretrained(base))).abs().max() > 0.1
    folder = written(learner, base, tmp_path / "made")
    model, loading = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    # Adapters are merged, and GPT-2's activation is computed in one go where it is trained.
    near = 5e-2 if way == "bf16 weights" else 1e-4
    torch.testing.assert_close(logits(model), said, rtol=near, atol=near)
    if "lora" not in way:
        assert all(
            torch.equal(weight, learner.model.state_dict()[name])
            for name, weight in model.state_dict().items()
        )


@pytest.mark.parametrize("way", WAYS)
def test_its_config_holds_nothing_of_how_it_was_trained(base: Path, tmp_path: Path, way: str) -> None:
    folder = written(trained(base, way), base, tmp_path / "made")
    config, before = read_json(folder / "config.json"), read_json(base / "config.json")
    config.pop("dtype")
    # Of the base's, only how many tokens there are and what pads has changed.
    changed = {key for key in config if config[key] != before.get(key)} | (
        before.keys() - config.keys() - {"dtype"}
    )
    assert changed <= ({"vocab_size", "pad_token_id"} if "new tokens" in way else set())
    for file in folder.parent.rglob("*.json"):
        text = file.read_text()
        assert "veneer" not in text
        assert "attn_implementation" not in text


@pytest.mark.parametrize("way", WAYS)
def test_there_are_no_pickles_and_no_paths_in_it(base: Path, tmp_path: Path, way: str) -> None:
    folder = written(trained(base, way), base, tmp_path / "made")
    files = [file for file in folder.parent.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".json", ".jinja", ".safetensors"}
    assert not any(str(tmp_path).encode() in file.read_bytes() for file in files)


def test_the_tokenizer_beside_it_renders_as_training_did(base: Path, tmp_path: Path) -> None:
    learner = trained(base, "new tokens")
    wanted = [tokens_of(learner.tokenizer, talk) for talk in TALKS]
    folder = written(learner, base, tmp_path / "made")
    saved = AutoTokenizer.from_pretrained(folder)
    assert [tokens_of(saved, talk) for talk in TALKS] == wanted
    assert saved.pad_token_id == learner.tokenizer.pad_token_id == 58


def test_generation_stops_where_training_does_and_wherever_the_base_did(base: Path, tmp_path: Path) -> None:
    learner = trained(base, "full")
    learner.model.generation_config.eos_token_id = [7, 9]
    folder = written(learner, base, tmp_path / "made")
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert stop_ids(model.generation_config) == {1, 7, 9}


def test_two_trainings_alike_write_the_same_bytes(base: Path, tmp_path: Path) -> None:
    for way in ("full", "lora"):
        one, two = (written(trained(base, way), base, tmp_path / f"{way}-{place}") for place in range(2))
        assert digest(one.parent) == digest(two.parent)


@OF_PEFT
def test_an_adapter_beside_it_turns_the_base_into_the_student(base: Path, tmp_path: Path) -> None:
    learner = trained(base, "lora")
    said = logits(learner.model)
    folder = written(learner, base, tmp_path / "made")
    again = peft.PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base), folder.with_name("adapter")
    )
    torch.testing.assert_close(logits(again), said, rtol=1e-4, atol=1e-4)


@OF_PEFT
@pytest.mark.parametrize("way", ["lora", "lora on some layers, new tokens"])
def test_adapters_of_a_base_in_four_bits_are_merged_into_the_base_as_it_was(
    base: Path, tmp_path: Path, way: str
) -> None:
    learner = trained(base, way)
    said = logits(learner.model)
    quantized: RecipeSpec = learner.recipe.model_copy(update={"method": "qlora"})
    folder = written(replace(learner, recipe=quantized), base, tmp_path / "made")
    found = logits(AutoModelForCausalLM.from_pretrained(folder))
    torch.testing.assert_close(found, said, rtol=1e-4, atol=1e-4)
