from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from tests.models.tiny import CHAT, WORDS, checkpoint, tokenizer
from veneer.errors import PreflightError
from veneer.records import Message
from veneer.train.preflight import look, look_at_checkpoint, refuse

TALK = [(Message(role="user", content="w1 w2 ?"), Message(role="assistant", content="w3 ."))]


def unset(field: str) -> Callable[[Any], None]:
    return lambda broken: setattr(broken, field, None)


def templated(old: str, new: str) -> Callable[[Any], None]:
    assert old in CHAT
    return lambda broken: setattr(broken, "chat_template", CHAT.replace(old, new))


def pad_with_stop(broken: Any) -> None:
    broken.pad_token = broken.eos_token


BROKEN = {
    "there is a stop token": unset("eos_token"),
    "there is a padding token": unset("pad_token"),
    "the stop token is not the padding": pad_with_stop,
    "training begins as generation does": templated("%}<asst>{% endif", "%}<asst> w9{% endif"),
    "a turn ends with the stop token, inside the loss": templated(" <eos> ", " "),
    "the beginning stands once": templated("{% for m in", "<bos> <bos> {% for m in"),
    "every token has an embedding": lambda broken: broken.add_tokens(["novel"]),
    "the template renders": templated("<user> {{", "{{ raise_exception('no') }}{{"),
}


def test_a_healthy_tokenizer_passes_every_check() -> None:
    findings = look(tokenizer(), TALK, len(WORDS))
    assert {finding.check for finding in findings} == set(BROKEN)
    assert all(finding.passed and finding.message == "" for finding in findings)
    refuse(findings, "small")


@pytest.mark.parametrize("check", BROKEN)
def test_a_tokenizer_broken_in_one_way_fails_that_check_and_is_told_how_to_mend(check: str) -> None:
    broken = tokenizer()
    BROKEN[check](broken)
    failed = {
        finding.check: finding.message for finding in look(broken, TALK, len(WORDS)) if not finding.passed
    }
    # Without a stop token, no turn can end with it either.
    assert set(failed) - {"a turn ends with the stop token, inside the loss"} <= {check}
    assert any(word in failed[check] for word in ("Set", "Mend", "mend", "Give", "Let", "Resize"))


@pytest.mark.parametrize("check", sorted(set(BROKEN) - {"there is a padding token"}))
def test_training_refuses_what_would_measure_the_fault(check: str) -> None:
    broken = tokenizer()
    BROKEN[check](broken)
    with pytest.raises(
        PreflightError, match=f"small: training would measure a fault of the set-up:\n.*{check}"
    ):
        refuse(look(broken, TALK, len(WORDS)), "small")


def test_a_missing_padding_token_can_be_borne() -> None:
    broken = tokenizer()
    broken.pad_token = None
    refuse(look(broken, TALK, len(WORDS)), "small")


def test_a_finished_checkpoint_passes(tmp_path: Path) -> None:
    findings = look_at_checkpoint(checkpoint(tmp_path / "model"), TALK)
    assert [finding.message for finding in findings if not finding.passed] == []


def test_a_checkpoint_whose_generation_never_stops_is_found(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model")
    GenerationConfig(eos_token_id=7).save_pretrained(folder)
    (failed,) = (finding for finding in look_at_checkpoint(folder, TALK) if not finding.passed)
    assert failed.fatal
    assert "generation stops at the tokens [7], and training ends a turn with 1" in failed.message


def test_a_checkpoint_of_no_numbers_is_found(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(folder)
    torch.nn.init.constant_(model.lm_head.weight, float("nan"))
    model.save_pretrained(folder)
    (failed,) = (finding for finding in look_at_checkpoint(folder, TALK) if not finding.passed)
    assert failed.message == "not so in lm_head.weight; lower train.recipe.learning_rate."
