from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tests.models.tiny import CHAT, END, PAD, UNKNOWN, WORDS, tokenizer
from tests.train.findings import TALK, failed, fatal, only
from veneer.errors import PreflightError
from veneer.models.encode import tokens_of
from veneer.records import Message
from veneer.train.preflight import BEARABLE, CHECKS, look, probes, refuse

LONG_TALK = [(*TALK[0], Message(role="user", content="w4 ?"), Message(role="assistant", content="w5 !"))]
TOLD = [(Message(role="system", content="w9 ."), *TALK[0])]

NOT_A_WORD = "</s>"
NO_SYSTEM = "{% else %}{{ raise_exception('no such role') }}{% endif %}"
SYSTEM = "{{% elif {} %}}System: {{{{ m['content'] }}}} {{% endif %}}"


def unset(field: str) -> Callable[[Any], None]:
    return lambda broken: setattr(broken, field, None)


def templated(old: str, new: str) -> Callable[[Any], None]:
    assert old in CHAT
    return lambda broken: setattr(broken, "chat_template", CHAT.replace(old, new))


def pad_with_stop(broken: Any) -> None:
    broken.pad_token = broken.eos_token


def double_elsewhere(broken: Any) -> None:
    broken.backend_tokenizer.post_processor = tokenizer(bos=True).backend_tokenizer.post_processor
    broken.chat_template = "{{ bos_token }} " + CHAT


BROKEN = {
    "there is a stop token": unset("eos_token"),
    "there is a padding token": unset("pad_token"),
    "the stop token is not the padding": pad_with_stop,
    "training begins as generation does": templated("%}<asst>{% endif", "%}<asst> w9{% endif"),
    "a turn ends with the stop token, inside the loss": templated(" <eos> ", " "),
    "the assistant is asked before the end": templated("%}<asst>{% endif", "%}<asst> <eos> {% endif"),
    "the beginning stands once": templated("{% for m in", "<bos> <bos> {% for m in"),
    "the beginning stands once elsewhere": double_elsewhere,
    "every token has an embedding": lambda broken: broken.add_tokens(["novel"]),
    "the template renders": templated("<user> {{", "{{ raise_exception('no') }}{{"),
}
# Without a stop token, no turn can end with it either; and what asks after the end must be in training too.
FOLLOWS = {
    "there is a stop token": {"a turn ends with the stop token, inside the loss"},
    "the assistant is asked before the end": {"training begins as generation does"},
}


def test_a_healthy_tokenizer_passes_every_check() -> None:
    findings = look(tokenizer(), TALK, len(WORDS), head=len(WORDS))
    assert [finding.check for finding in findings] == ["the template renders", *CHECKS]
    assert set(BROKEN) == {"the template renders", *CHECKS}
    assert all(finding.passed and not finding.fatal and finding.message == "" for finding in findings)
    refuse(findings, "small")


@pytest.mark.parametrize("check", BROKEN)
def test_a_tokenizer_broken_in_one_way_fails_that_check_and_is_told_how_to_mend(check: str) -> None:
    broken = tokenizer()
    BROKEN[check](broken)
    findings = look(broken, TALK, len(WORDS))
    found = failed(findings)
    assert set(found) - FOLLOWS.get(check, set()) == {check}
    assert any(word in found[check].message for word in ("Set", "Mend", "mend", "Give", "Let", "Resize"))
    assert found[check].fatal == (check not in BEARABLE)
    if check in BEARABLE:
        refuse(findings, "small")
        return
    with pytest.raises(PreflightError, match="small: training would measure a fault") as caught:
        refuse(findings, "small")
    assert f"  {check}? {found[check].message}" in str(caught.value)


def test_nothing_to_look_at_is_said() -> None:
    message = fatal("the template renders", look(tokenizer(), [], len(WORDS)))
    assert message.startswith("there is no conversation to look at. Give it what it is to be trained on")


# The student can stop.


def test_a_stop_token_outside_the_vocabulary_is_no_stop_token() -> None:
    broken = tokenizer()
    broken.eos_token = NOT_A_WORD
    assert broken.eos_token_id == broken.unk_token_id
    found = failed(look(broken, TALK, len(WORDS)))["there is a stop token"]
    assert found.fatal
    assert "is '</s>', which it does not know and reads as '<unk>'. Set it to a token of" in found.message


def test_a_stop_token_other_than_what_ends_a_turn_is_found() -> None:
    # A chat template laid over a base that keeps the base's own end of text.
    broken = tokenizer(chat=CHAT.replace("<eos>", UNKNOWN))
    message = fatal("a turn ends with the stop token, inside the loss", look(broken, TALK, len(WORDS)))
    assert "set the tokenizer's `eos_token` to what the template writes there" in message
    broken.eos_token = UNKNOWN
    assert not failed(look(broken, TALK, len(WORDS)))


@pytest.mark.parametrize("talk", [TALK, LONG_TALK])
def test_a_stop_token_that_comes_only_with_the_next_turn_lies_behind_the_loss(talk: Any) -> None:
    late = CHAT.replace(" <eos> ", " ").replace(
        "<user> {{", "{% if not loop.first %}<eos> {% endif %}<user> {{"
    )
    message = fatal(
        "a turn ends with the stop token, inside the loss", look(tokenizer(chat=late), talk, len(WORDS))
    )
    assert "a model trained on it could never stop. Mend the chat template" in message


def test_a_stop_token_only_at_the_end_of_a_conversation_is_found() -> None:
    late = CHAT.replace(" <eos> ", " {% if loop.last %}<eos>{% endif %}")
    assert not failed(look(tokenizer(chat=late), TALK, len(WORDS)))
    message = fatal(
        "a turn ends with the stop token, inside the loss", look(tokenizer(chat=late), LONG_TALK, len(WORDS))
    )
    assert "renders turn 2 otherwise once the conversation goes on" in message


def test_a_stop_token_before_the_words_does_not_end_them() -> None:
    early = CHAT.replace("<asst> {{ m['content'] }} <eos> ", "<asst> <eos> {{ m['content'] }} ")
    message = fatal(
        "a turn ends with the stop token, inside the loss", look(tokenizer(chat=early), TALK, len(WORDS))
    )
    assert "Mend the chat template to write the stop token behind the words" in message


def test_a_stop_token_inside_an_answer_does_not_stand_in_for_the_template_s() -> None:
    talk = [(TALK[0][0], Message(role="assistant", content="w3 <eos> w4 ."))]
    assert not failed(look(tokenizer(), talk, len(WORDS)))
    found = only(look(tokenizer(chat=CHAT.replace(" <eos> ", " ")), talk, len(WORDS)))
    assert "stands before the end of the assistant's words and not behind them" in found.message


def test_an_empty_answer_can_be_looked_at() -> None:
    talk = [(TALK[0][0], Message(role="assistant", content=""))]
    assert not failed(look(tokenizer(), talk, len(WORDS)))


def test_a_template_that_ends_all_turns_alike_and_opens_none_for_the_answer_is_found() -> None:
    # It passes every check of tokens: training and generation agree, and the header would be learned.
    alike = "{% for m in messages %}<{{ m['role'][:4] }}> {{ m['content'] }} <eos> {% endfor %}"
    message = fatal("the assistant is asked before the end", look(tokenizer(chat=alike), TALK, len(WORDS)))
    assert "with `add_generation_prompt` it must write what opens the assistant's turn" in message


# Training and generation see the same, token by token.


def spelled(chat: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer of single characters, spaces included, that knows ' w' as one token."""
    special = [PAD, END, UNKNOWN, "<user>", "<asst>"]
    letters = [*special, *"Ġ0123456789w?.!", "Ġw"]
    backend = Tokenizer(
        models.BPE(
            vocab={token: place for place, token in enumerate(letters)},
            merges=[("Ġ", "w")],
            unk_token=UNKNOWN,
        )
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=PAD, eos_token=END, unk_token=UNKNOWN,
        additional_special_tokens=["<user>", "<asst>"],
    )  # fmt: skip
    made.chat_template = chat
    return made


SPACED = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<user>{{ m['content'] }}"
    "{% else %}<asst> {{ m['content'] }}<eos>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<asst>{% endif %}"
)
OPENED = "{% if add_generation_prompt %}<asst>"


def test_a_space_that_belongs_to_the_answer_passes() -> None:
    assert not failed(look(spelled(SPACED), TALK, 40))


@pytest.mark.parametrize(
    "chat",
    [
        pytest.param(
            SPACED.replace(OPENED, OPENED + " "), id="training merges the space with the first word"
        ),
        pytest.param(
            SPACED.replace(OPENED, OPENED + " ").replace("<asst> {{", "<asst>{{"),
            id="training strips the space",
        ),
        pytest.param(
            SPACED.replace("<asst> {{", " <asst> {{"), id="training adds a space before the answer opens"
        ),
    ],
)
def test_a_space_that_only_generation_or_only_training_writes_is_found(chat: str) -> None:
    message = fatal("training begins as generation does", look(spelled(chat), TALK, 40))
    assert (
        "Mend the chat template: with and without `add_generation_prompt` it must write the same" in message
    )


@pytest.mark.parametrize("when", ["add_generation_prompt", "not add_generation_prompt"])
def test_a_system_message_that_only_generation_or_only_training_writes_is_found(when: str) -> None:
    assert not failed(look(tokenizer(chat=CHAT.replace(NO_SYSTEM, SYSTEM.format("true"))), TOLD, len(WORDS)))
    chat = CHAT.replace(NO_SYSTEM, SYSTEM.format(when))
    message = fatal("training begins as generation does", look(tokenizer(chat=chat), TOLD, len(WORDS)))
    assert "Mend the chat template" in message


def test_a_rare_shape_of_conversation_is_looked_at_too() -> None:
    many = [*TALK * 50, *TOLD, *LONG_TALK]
    assert probes(many) == [*TALK * 6, *TOLD, *LONG_TALK]
    assert probes(probes(many)) == probes(many)


# The beginning stands once.


def test_a_doubled_beginning_elsewhere_is_mended_as_the_message_says(tmp_path: Path) -> None:
    broken = tokenizer()
    double_elsewhere(broken)
    assert tokens_of(broken, TALK[0])[:2] == [3, 4]
    message = only(look(broken, TALK, len(WORDS))).message
    assert "other programs that tokenize the rendering will double it" in message
    assert "load the tokenizer with `add_bos_token=False` and save it" in message
    broken.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tmp_path, add_bos_token=False).save_pretrained(tmp_path)
    assert not failed(look(AutoTokenizer.from_pretrained(tmp_path), TALK, len(WORDS)))


# Embeddings and output layer.


def test_a_tokenizer_longer_than_the_embeddings_is_found_by_its_highest_token() -> None:
    message = fatal("every token has an embedding", look(tokenizer(), TALK, len(WORDS) - 1, head=len(WORDS)))
    assert f"'?' has the id {len(WORDS) - 1}, and the model has embeddings for" in message


def test_an_output_layer_that_was_not_resized_with_the_embeddings_is_found() -> None:
    grown = tokenizer()
    grown.add_tokens(["novel"])
    message = fatal("every token has an embedding", look(grown, TALK, len(WORDS) + 1, head=len(WORDS)))
    assert "'novel'" in message
    assert "the two are not tied. Resize the model's embeddings and its output layer" in message
