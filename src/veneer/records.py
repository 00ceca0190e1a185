"""What travels between the stages: frozen rows, one class a kind, each readable from JSON and writable to it."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar, Union

from veneer.errors import DataError

T = TypeVar("T")


class Stop(StrEnum):
    """Why a completion ended."""

    END = "end"
    """The model stopped by itself, or at a stop string."""
    LENGTH = "length"
    """The token limit cut it."""
    REFUSED = "refused"
    """The provider filtered it."""
    FAILED = "failed"
    """Retries ran out; there is no text, and it is asked again on the next run."""


class Outcome(StrEnum):
    """What became of one item. The first four are the model's doing, the last is ours."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSED = "unparsed"
    """It answered, and no answer could be read from it."""
    UNANSWERED = "unanswered"
    """It wrote nothing, or refused."""
    FAILED = "failed"
    """We could not ask or grade it; there is no score until it is asked again."""


class Verdict(StrEnum):
    """What a judge or rater said of two completions shown in order."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"
    NONE = "none"
    """No verdict could be had; counted and shown, never dropped."""


class Role(StrEnum):
    """What a contestant is in its study."""

    BASE = "base"
    STUDENT = "student"
    TEACHER = "teacher"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A model that is evaluated."""

    name: str
    role: Role
    student: str
    """The rung without its seed: students that differ by training seed alone share it. Bases and teacher: the name."""
    base: str
    """The base it was made from; a base's own name; empty for the teacher."""
    source: str
    """Students: the source of imitation data; empty for others."""
    amount: int
    """Students: tokens of imitation data; 0 where unknown or none."""
    seed: int
    """Students: the training seed; 0 for others."""
    replay: float
    """Students: the share of pretraining text mixed into training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: str
    """`user`, `assistant` or `system`."""
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a model is asked: plain text that it continues, or a conversation that it answers."""

    prompt_id: str
    text: str = ""
    """The text to continue; empty for a conversation."""
    messages: tuple[Message, ...] = ()
    """The conversation; empty for plain text."""
    draw: int = 0
    """Tells apart prompts of the same words that are to be sampled apart; an endpoint is asked once for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a model wrote."""

    prompt_id: str
    sample: int
    """0 for the first completion of a prompt, 1 for the second, and so on."""
    model: str
    rendered: str
    """The prompt exactly as this model saw it, special tokens included."""
    text: str
    stop: Stop
    detail: str
    """What the stop needs said: the stop string met, the provider's reason, the last error."""
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row of imitation data."""

    example_id: str
    """A piece of a conversation that was longer than a block ends in `/1`, `/2` and so on."""
    source: str
    """Where it comes from: in a mixture, the part."""
    messages: tuple[Message, ...]
    tokens: int
    """Length under the counting tokenizer, template included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A row that was set aside, and why."""

    example_id: str
    """A malformed row's place: its file and line."""
    source: str
    """The source, with the file's name where a source has several."""
    kind: str
    """Why it is dropped, as the card counts it."""
    detail: str
    kept_instead: str
    """Duplicates: the example that stands for it; empty otherwise."""
    messages: tuple[Message, ...]
    raw: str
    """A malformed row as it was read; empty otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """One item's result for one contestant."""

    contestant: str
    benchmark: str
    form: str
    """`choose` (the likeliest of the choices), `plain` (text that is continued) or `chat` (a conversation)."""
    prompt_id: str
    cluster: str
    """Items of one cluster are resampled together."""
    sample: int
    strict: Outcome
    """As published: the extracted answer equals a reference."""
    lenient: Outcome
    """The reference is found anywhere in the completion (for choices: the first one named is right)."""
    answer: str
    """What was extracted; empty when nothing could be."""
    reference_loglikelihood: float | None
    """Log-probability (nats) of the first reference after the prompt; None where it cannot be read."""
    points: float | None = None
    """The item's score, 0 to 1, where the benchmark gives one that is finer than right and wrong; None elsewhere, and
    where it could not be had."""
    refused: bool = False
    """The provider filtered it, or it opens by declining (`text.declines`). It may be graded all the same."""
    unscored: bool = False
    """Its outcome is FAILED because no classifier could score the text: asking again would not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """The style features of one completion (see `evaluate/style.py`)."""

    contestant: str
    prompt_id: str
    sample: int
    features: Mapping[str, float]


SUMMED_UP = frozenset({"words", "has_list", "has_closing", "has_hedge", "appeal"})
"""Style features that follow from the others: for Table 2 and the simulated raters, not for the style classifier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One verdict of a judge or a rater on two contestants' completions of one prompt."""

    prompt_id: str
    first: str
    """The contestant shown first."""
    second: str
    verdict: Verdict
    by: str
    """Who judged."""
    reason: str


def to_row(record: Any) -> dict[str, Any]:
    """Return a record as a JSON-ready mapping, fields in their order."""
    return dataclasses.asdict(record)


def from_row(kind: type[T], row: Mapping[str, Any], where: str) -> T:
    """Return the record of class `kind` that `row` holds.

    Args:
        kind: One of this module's dataclasses.
        row: The mapping read from a file.
        where: File and line, for the error.

    Raises:
        DataError: A field is missing, unknown or of the wrong type.
    """
    hints = _hints(kind)
    unknown, missing = sorted(set(row) - set(hints)), sorted(set(hints) - set(row))
    if unknown or missing:
        raise DataError(
            f"{where}: not a {kind.__name__} row: missing {missing}, unknown {unknown}; "
            f"the fields are {sorted(hints)}."
        )
    return kind(**{name: _value(hints[name], row[name], f"{where}, field {name}") for name in hints})


_CACHE: dict[type, dict[str, Any]] = {}


def _hints(kind: type) -> dict[str, Any]:
    if kind not in _CACHE:
        _CACHE[kind] = typing.get_type_hints(kind)
    return _CACHE[kind]


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return None if value is None else _value(args[0], value, where)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_value(args[0], item, where) for item in value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
        return from_row(hint, value, where)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        if value in set(hint):
            return hint(value)
        raise DataError(f"{where}: found {value!r}; allowed are {[str(item) for item in hint]}.")
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, origin or hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise DataError(f"{where}: found {value!r}, and a {getattr(hint, '__name__', hint)} is wanted.")
