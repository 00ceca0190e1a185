"""What preflight finds about finished checkpoints, loaded as anybody would load them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GenerationConfig

from tests.models.tiny import CHAT, WORDS, checkpoint, tokenizer
from tests.train.findings import TALK, failed, fatal, only
from veneer.models.encode import tokens_of
from veneer.train.preflight import look_at_checkpoint

TRAINED = [tokens_of(tokenizer(), talk) for talk in TALK]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "model")


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_finished_checkpoint_passes(tmp_path: Path, kind: str) -> None:
    folder = checkpoint(tmp_path / "model", kind=kind)
    plain = look_at_checkpoint(folder, TALK)
    findings = look_at_checkpoint(folder, TALK, expected=TRAINED)
    assert not failed([*plain, *findings])
    # Without the tokens of training nothing is said about them.
    more = {finding.check for finding in findings} - {finding.check for finding in plain}
    assert more == {"the checkpoint renders as training did"}


def test_a_checkpoint_whose_generation_never_stops_is_found(folder: Path) -> None:
    GenerationConfig(eos_token_id=7).save_pretrained(folder)
    message = fatal("generation stops where training does", look_at_checkpoint(folder, TALK))
    assert "generation stops at the tokens [7], and training ends a turn with 1; name that one" in message


def test_a_checkpoint_whose_generation_pads_with_the_stop_token_can_be_borne(folder: Path) -> None:
    GenerationConfig(eos_token_id=[1, 7], pad_token_id=1).save_pretrained(folder)
    found = only(look_at_checkpoint(folder, TALK))
    assert (found.check, found.fatal) == ("generation pads with no stop token", False)
    assert "Set its `pad_token_id` to the tokenizer's (0), or to none." in found.message


def test_a_checkpoint_of_no_numbers_is_found(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    torch.nn.init.constant_(model.lm_head.weight, float("nan"))
    model.save_pretrained(folder)
    message = fatal("the weights are numbers", look_at_checkpoint(folder, TALK))
    assert message == "not so in lm_head.weight; lower train.recipe.learning_rate."


def test_a_checkpoint_without_its_output_layer_is_found(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    message = fatal("the checkpoint holds every weight", look_at_checkpoint(folder, TALK))
    assert message.startswith("lm_head.weight (1 in all) are missing, and transformers puts random numbers")
    assert "Save the whole model" in message


def test_a_checkpoint_whose_tokenizer_outgrew_it_is_found(folder: Path) -> None:
    grown = tokenizer()
    grown.add_tokens(["novel"])
    grown.save_pretrained(folder)
    message = fatal("every token has an embedding", look_at_checkpoint(folder, TALK))
    assert "Resize the model's embeddings and its output layer" in message


def test_a_checkpoint_whose_embeddings_grew_without_its_output_layer_does_not_load(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.set_input_embeddings(torch.nn.Embedding(len(WORDS) + 1, 32))
    model.config.vocab_size = len(WORDS) + 1
    model.save_pretrained(folder)
    message = fatal("the checkpoint loads", look_at_checkpoint(folder, TALK))
    assert "the embeddings and the output layer must be as long as config.json says" in message


def cut_weights(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def cut_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "llama",')


def drop_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize("damage", [cut_weights, cut_config, drop_weights])
def test_a_damaged_checkpoint_is_a_finding_and_no_crash(folder: Path, damage: Callable[[Path], None]) -> None:
    damage(folder)
    message = fatal("the checkpoint loads", look_at_checkpoint(folder, TALK))
    assert "Save the model and its tokenizer whole with `save_pretrained`" in message


@pytest.mark.parametrize(
    ("chat", "where"),
    [
        pytest.param(
            CHAT.replace("<asst> {{", "<asst> w9 {{"), "from token 6 of conversation 1 on", id="words"
        ),
        pytest.param(CHAT + "w9", "from token 9 of conversation 1 on, training saw '' ([])", id="end"),
    ],
)
def test_a_saved_template_other_than_the_one_that_trained_is_found(
    folder: Path, chat: str, where: str
) -> None:
    tokenizer(chat=chat).save_pretrained(folder)
    found = failed(look_at_checkpoint(folder, TALK, expected=TRAINED))[
        "the checkpoint renders as training did"
    ]
    assert found.fatal
    assert where in found.message
    assert "Save the tokenizer that trained, its chat template included" in found.message


def test_a_saved_tokenizer_with_other_ids_is_found(folder: Path) -> None:
    saved = json.loads((folder / "tokenizer.json").read_text())
    ids = saved["model"]["vocab"]
    ids["w1"], ids["w2"] = ids["w2"], ids["w1"]
    (folder / "tokenizer.json").write_text(json.dumps(saved))
    message = fatal(
        "the checkpoint renders as training did", look_at_checkpoint(folder, TALK, expected=TRAINED)
    )
    assert "from token 2 of conversation 1 on" in message


def test_a_saved_template_that_refuses_what_was_trained_on_is_found(folder: Path) -> None:
    tokenizer(chat=CHAT.replace("<user> {{", "{{ raise_exception('no') }}{{")).save_pretrained(folder)
    found = failed(look_at_checkpoint(folder, TALK, expected=TRAINED))
    assert set(found) == {"the template renders", "the checkpoint renders as training did"}
    assert all("mend the template" in finding.message for finding in found.values())
