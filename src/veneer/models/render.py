"""How a prompt becomes the text and the tokens that a model sees: the same for training, answering and scoring.

The rule about special tokens: a rendering holds every special token that the model sees, written out, and is tokenized
without adding any. A plain prompt begins with the beginning-of-text token if the tokenizer adds one to plain text; a
conversation has what its chat template writes and nothing else.
"""

import hashlib
import importlib.resources
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from veneer.errors import ModelError
from veneer.records import Message, Prompt

Tokenizer = Any
"""A transformers tokenizer; that library's classes are not typed."""


def default_template() -> str:
    """Return the chat template for tokenizers that bring none."""
    folder = importlib.resources.files("veneer") / "prompts"
    return (folder / "default_chat.jinja").read_text(encoding="utf-8").rstrip("\n")


def default_template_digest() -> str:
    """Return the fingerprint of the default chat template, for the keys of what was rendered with it."""
    return hashlib.sha256(default_template().encode()).hexdigest()


def render(tokenizer: Tokenizer, messages: Sequence[Message], generate: bool) -> str:
    """Return a conversation as this tokenizer's model sees it, special tokens written out.

    Args:
        tokenizer: Its chat template is used; one without gets Veneer's default.
        messages: The conversation.
        generate: Whether the rendering ends where the assistant's next reply begins.

    Raises:
        ModelError: The template refuses the conversation.
    """
    own = tokenizer.chat_template
    template: Mapping[str, str | None] = {"chat_template": None if own else default_template()}
    try:
        rendered: str = tokenizer.apply_chat_template(
            [{"role": message.role, "content": message.content} for message in messages],
            tokenize=False,
            add_generation_prompt=generate,
            bos=_beginning(tokenizer),
            **template,
        )
    except (jinja2.TemplateError, ValueError) as error:
        roles = [message.role for message in messages]
        raise ModelError(
            f"The chat template of {tokenizer.name_or_path} refuses a conversation with the roles {roles}: {error}. "
            "Use roles that it knows, or mend the template."
        ) from error
    return rendered


def render_prompt(tokenizer: Tokenizer, prompt: Prompt) -> str:
    """Return a prompt as the model sees it: a conversation up to the reply, or plain text."""
    if prompt.messages:
        return render(tokenizer, prompt.messages, generate=True)
    return _beginning(tokenizer) + prompt.text


def encode(tokenizer: Tokenizer, prompts: Sequence[Prompt], rendered: Sequence[str]) -> list[list[int]]:
    """Return the tokens of renderings.

    Args:
        tokenizer: The model's.
        prompts: What was rendered.
        rendered: The rendering of each, possibly continued.
    """
    if not prompts:
        return []
    beginning = _beginning(tokenizer)
    plain = [bool(beginning) and not prompt.messages for prompt in prompts]
    # Plain text is tokenized apart from its first token: some tokenizers mark the start of a text by a leading space
    # that they do not add after a written special token.
    texts = [
        text.removeprefix(beginning) if apart else text for text, apart in zip(rendered, plain, strict=True)
    ]
    # All at once: a fast tokenizer spreads them over the processor's cores.
    found: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return [[tokenizer.bos_token_id, *ids] if apart else ids for ids, apart in zip(found, plain, strict=True)]


def encode_rendered(tokenizer: Tokenizer, rendered: str) -> list[int]:
    """Return the tokens of a rendered conversation, none added."""
    ids: list[int] = tokenizer(rendered, add_special_tokens=False)["input_ids"]
    return ids


def _beginning(tokenizer: Tokenizer) -> str:
    """Return the beginning-of-text token if the tokenizer adds one to plain text, else nothing."""
    first = tokenizer("")["input_ids"][:1]
    return tokenizer.bos_token if first and first[0] == tokenizer.bos_token_id else ""
