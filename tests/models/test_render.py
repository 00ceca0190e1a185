"""Prompts are rendered and tokenized the same way for training, answering and scoring."""

import pytest

from tests.models.tiny import tokenizer
from veneer.errors import ModelError
from veneer.models.render import encode, encode_rendered, render, render_prompt
from veneer.records import Message, Prompt

TALK = (Message(role="user", content="w1 w2"), Message(role="assistant", content="w3"))


def test_the_tokenizers_own_template_comes_first() -> None:
    assert render(tokenizer(), TALK[:1], generate=True) == "<user> w1 w2 <asst>"
    assert render(tokenizer(), TALK, generate=False).startswith("<user> w1 w2 <asst> w3 <eos>")


def test_a_tokenizer_without_a_template_gets_the_default() -> None:
    bare = tokenizer(chat=None)
    assert render(bare, TALK, generate=False) == "User: w1 w2\nAssistant: w3<eos>\n"
    assert render(bare, TALK[:1], generate=True) == "User: w1 w2\nAssistant:"
    system = (Message(role="system", content="w9"), *TALK)
    assert render(bare, system, generate=True).startswith("System: w9\nUser: w1 w2\nAssistant: w3<eos>\n")


@pytest.mark.parametrize("own", [True, False])
def test_training_begins_with_what_generation_sees(own: bool) -> None:
    made = tokenizer() if own else tokenizer(chat=None, bos=True)
    asked = encode_rendered(made, render(made, TALK[:1], generate=True))
    whole = encode_rendered(made, render(made, TALK, generate=False))
    assert whole[: len(asked)] == asked
    assert 1 in whole[len(asked) :]


def test_a_beginning_token_stands_once_where_the_tokenizer_adds_one() -> None:
    prompt = Prompt(prompt_id="1", text="w1 w2")
    adds, plain = tokenizer(bos=True), tokenizer()
    assert render_prompt(adds, prompt) == "<bos>w1 w2"
    assert encode(adds, [prompt], ["<bos>w1 w2"]) == [adds("w1 w2")["input_ids"]]
    assert encode(plain, [prompt], [render_prompt(plain, prompt)]) == [plain("w1 w2")["input_ids"]]
    bare = tokenizer(chat=None, bos=True)
    chat = Prompt(prompt_id="1", messages=TALK[:1])
    assert encode(bare, [chat], [render_prompt(bare, chat)])[0].count(3) == 1
    assert render(adds, TALK[:1], generate=True) == "<user> w1 w2 <asst>"


def test_a_refused_conversation_is_an_error_that_names_the_roles() -> None:
    with pytest.raises(ModelError, match=r"\['system'\].*no such role"):
        render(tokenizer(), (Message(role="system", content="w1"),), generate=True)
