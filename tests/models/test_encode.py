from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from veneer.errors import PreflightError
from veneer.models.encode import IGNORED, TooLongError, encode, length, split
from veneer.models.render import encode_rendered, render
from veneer.records import Message

WORDS = ["<unk>", "<eos>", "<system>", "<user>", "<asst>", "a", "b", "c", "d", "end"]
NAMES = "{'system': 'system', 'user': 'user', 'assistant': 'asst'}"
TEMPLATE = (
    f"{{% for m in messages %}}<{{{{ {NAMES}[m.role] }}}}> {{{{ m.content }}}} "
    "{% if m.role == 'assistant' %}<eos> end {% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<asst>{% endif %}"
)
"""Writes something behind the stop token, as ChatML does."""
UNKNOWN, END = {"unk_token": "<unk>"}, {"eos_token": "<eos>"}
SPEECH = st.lists(st.sampled_from("abcd"), min_size=1, max_size=5).map(" ".join)
CONVERSATIONS = st.tuples(st.booleans(), st.lists(st.tuples(SPEECH, SPEECH), min_size=1, max_size=4))


def tokenizer(template: str = TEMPLATE) -> PreTrainedTokenizerFast:
    words = {word: place for place, word in enumerate(WORDS)}
    backend = Tokenizer(models.WordLevel(words, **UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=backend, **UNKNOWN, **END)
    made.chat_template = template
    return made


TOKENIZER = tokenizer()


def conversation(*turns: str, system: bool = False) -> tuple[Message, ...]:
    roles = ["user", "assistant"] * len(turns)
    opening = (Message(role="system", content="d"),) if system else ()
    return (*opening, *(Message(role=role, content=turn) for role, turn in zip(roles, turns, strict=False)))


def test_the_loss_lies_on_the_answer_and_its_stop_token_alone() -> None:
    row = encode(TOKENIZER, conversation("a", "b c", "d", "a"), 32)
    said = [WORDS[label] if label != IGNORED else "." for label in row.labels]
    assert " ".join(WORDS[token] for token in row.input_ids) == (
        "<user> a <asst> b c <eos> end <user> d <asst> a <eos> end"
    )
    assert " ".join(said) == ". . . b c <eos> . . . . a <eos> ."


@given(CONVERSATIONS)
def test_before_every_answer_training_sees_what_generation_sees(
    drawn: tuple[bool, list[tuple[str, str]]],
) -> None:
    system, exchanges = drawn
    messages = conversation(*(turn for exchange in exchanges for turn in exchange), system=system)
    row = encode(TOKENIZER, messages, 1000)
    for place, message in enumerate(messages):
        if message.role == "assistant":
            before = encode_rendered(TOKENIZER, render(TOKENIZER, messages[:place], generate=True))
            spoken = [*encode_rendered(TOKENIZER, message.content), TOKENIZER.eos_token_id]
            end = len(before) + len(spoken)
            assert list(row.input_ids[:end]) == before + spoken
            assert list(row.labels[len(before) : end]) == spoken
            assert row.labels[len(before) - 1] == IGNORED


@given(CONVERSATIONS, st.integers(13, 30))
def test_a_long_conversation_is_cut_between_exchanges_and_nothing_is_lost(
    drawn: tuple[bool, list[tuple[str, str]]], longest: int
) -> None:
    system, exchanges = drawn
    messages = conversation(*(turn for exchange in exchanges for turn in exchange), system=system)
    try:
        pieces = split(TOKENIZER, messages, longest)
    except TooLongError:
        alone = [conversation(*exchange, system=system) for exchange in exchanges]
        assert max(length(TOKENIZER, exchange) for exchange in alone) > longest
        return
    assert all(length(TOKENIZER, piece) <= longest for piece in pieces)
    assert all((piece[0].role == "system") == system for piece in pieces)
    assert _spoken(*pieces) == _spoken(messages)


def test_what_is_too_long_is_never_cut() -> None:
    messages = conversation("a", "b c d a b c d")
    with pytest.raises(TooLongError, match="it has 12 tokens, and a row holds 11"):
        encode(TOKENIZER, messages, 11)
    with pytest.raises(TooLongError, match="one exchange has 12 tokens, and a row holds 11"):
        split(TOKENIZER, messages, 11)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("%}<asst>{% endif", "%}<asst> a{% endif", "does not begin with the generation render"),
        ("<eos> end ", "end ", "without the stop token '<eos>'"),
        ("<eos> end ", "<eos> {% if loop.last %}end {% endif %}", "renders turn 2 otherwise"),
    ],
)
def test_a_template_that_would_break_the_student_is_refused(old: str, new: str, said: str) -> None:
    broken = tokenizer(TEMPLATE.replace(old, new))
    with pytest.raises(PreflightError, match=said):
        encode(broken, conversation("b", "b", "b", "b"), 64)


def _spoken(*conversations: Sequence[Message]) -> list[Message]:
    return [message for messages in conversations for message in messages if message.role != "system"]
