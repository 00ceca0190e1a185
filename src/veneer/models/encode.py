"""A conversation as a model is trained on it: token ids under its own template, and which of them are learned."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from veneer.errors import DataError, PreflightError
from veneer.models.render import encode_rendered, render
from veneer.records import Message

IGNORED = -100
"""The label of tokens that take no part in the loss."""


class TooLongError(DataError):
    """One exchange alone is longer than a training row may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One training row."""

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    """The same ids where the assistant speaks, its stop token included; IGNORED everywhere else."""


def length(tokenizer: Any, messages: Sequence[Message]) -> int:
    """Return how many tokens a conversation has, template included."""
    return len(tokens_of(tokenizer, messages))


def encode(tokenizer: Any, messages: Sequence[Message], max_length: int) -> Encoded:
    """Return a conversation as one training row whose loss lies on what the assistant says and on its stop token.

    Each assistant turn is learned from where its generation render ends, so that training and generation see the
    same tokens before it. What a template puts behind the stop token is not learned: no model gets to write it.

    Args:
        tokenizer: The model's own.
        messages: The conversation; the last turn is the assistant's.
        max_length: Tokens a row may have.

    Raises:
        PreflightError: The template does not render for training what it renders for generation, or ends an
            assistant turn without the stop token.
        TooLongError: The row would be longer than `max_length`; nothing is ever cut.
    """
    assert messages[-1].role == "assistant", "a training conversation ends with the assistant"
    whole = tokens_of(tokenizer, messages)
    if len(whole) > max_length:
        raise TooLongError(f"it has {len(whole)} tokens, and a row holds {max_length}")
    labels = [IGNORED] * len(whole)
    for place, message in enumerate(messages):
        if message.role == "assistant":
            start = turn_start(tokenizer, messages, place, whole)
            end = turn_end(tokenizer, messages, place, whole, start)
            labels[start:end] = whole[start:end]
    return Encoded(input_ids=tuple(whole), labels=tuple(labels))


def split(tokenizer: Any, messages: Sequence[Message], max_length: int) -> list[tuple[Message, ...]]:
    """Return the conversation in pieces that each fit `max_length`, cut only before a user's turn.

    The system's message, if there is one, opens every piece.

    Raises:
        TooLongError: One exchange alone does not fit.
    """
    system = tuple(message for message in messages[:1] if message.role == "system")
    pieces: list[tuple[Message, ...]] = []
    for exchange in _exchanges(messages[len(system) :]):
        joined = (*pieces[-1], *exchange) if pieces else (*system, *exchange)
        if length(tokenizer, joined) <= max_length:
            pieces[-1:] = [joined]
            continue
        alone = (*system, *exchange)
        if (tokens := length(tokenizer, alone)) > max_length:
            raise TooLongError(f"one exchange has {tokens} tokens, and a row holds {max_length}")
        pieces.append(alone)
    return pieces


def cut(
    tokenizer: Any, messages: Sequence[Message], max_length: int
) -> list[tuple[tuple[Message, ...], int]]:
    """Return a conversation in pieces that each fit `max_length`, each with its tokens; one piece if it fits whole.

    Raises:
        TooLongError: One exchange alone does not fit.
    """
    whole = tuple(messages)
    tokens = length(tokenizer, whole)
    if tokens <= max_length:
        return [(whole, tokens)]
    return [(piece, length(tokenizer, piece)) for piece in split(tokenizer, whole, max_length)]


def _exchanges(messages: Sequence[Message]) -> list[tuple[Message, ...]]:
    """Return the conversation as runs that each end where the assistant has spoken and the user speaks next."""
    found: list[tuple[Message, ...]] = []
    for message in messages:
        if found and not (message.role == "user" and found[-1][-1].role == "assistant"):
            found[-1] = (*found[-1], message)
        else:
            found.append((message,))
    return found


def tokens_of(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Return a conversation's tokens as training sees them."""
    return encode_rendered(tokenizer, render(tokenizer, messages, generate=False))


def turn_start(tokenizer: Any, messages: Sequence[Message], place: int, whole: Sequence[int]) -> int:
    """Return where the assistant's words at `place` begin: where the generation render of what precedes them ends.

    Args:
        tokenizer: The model's.
        messages: The conversation.
        place: Which turn.
        whole: The conversation's tokens.

    Raises:
        PreflightError: The training render does not begin with that generation render, token by token.
    """
    before = encode_rendered(tokenizer, render(tokenizer, messages[:place], generate=True))
    if list(whole[: len(before)]) != before:
        mend = "with and without `add_generation_prompt` it must write the same before the answer."
        if messages[place].content[:1].isspace():
            mend += (
                " The answer begins with white space, which some tokenizers join with what stands before it: write "
                "the words with `| trim`."
            )
        raise PreflightError(
            "the training render does not begin with the generation render, token by token: generation asks with "
            f"{_end(tokenizer, before)!r}, training has {_end(tokenizer, whole[: len(before)])!r} there. Mend the "
            f"chat template: {mend}"
        )
    return len(before)


def turn_end(
    tokenizer: Any, messages: Sequence[Message], place: int, whole: Sequence[int], start: int
) -> int:
    """Return where the stop token of the assistant's words at `place`, which begin at `start`, ends.

    Args:
        tokenizer: The model's.
        messages: The conversation.
        place: Which turn.
        whole: The conversation's tokens.
        start: Where the turn's words begin among them.

    Raises:
        PreflightError: There is no stop token, or the template changes what it wrote once the conversation goes on.
    """
    turn = list(whole)
    if place + 1 < len(messages):
        turn = tokens_of(tokenizer, messages[: place + 1])
        if list(whole[: len(turn)]) != turn:
            raise PreflightError(
                f"the template renders turn {place + 1} otherwise once the conversation goes on, so the model would "
                "learn what it never sees. Mend the chat template: what it wrote of earlier turns must stay."
            )
    stops = [at for at in range(start, len(turn)) if turn[at] == tokenizer.eos_token_id]
    if not stops:
        raise PreflightError(
            f"the template ends the assistant's turn with {_end(tokenizer, turn)!r}, without the stop token "
            f"{tokenizer.eos_token!r}: a model trained on it could never stop. Mend the chat template to write it "
            "after the assistant's words, or set the tokenizer's `eos_token` to what the template writes there."
        )
    return stops[-1] + 1


def _end(tokenizer: Any, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(ids[-8:]))
