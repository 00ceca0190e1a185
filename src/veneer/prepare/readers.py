"""Readers: each turns one kind of file into candidates, one a conversation, in the file's order."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from veneer import rows
from veneer.disk import read_rows
from veneer.errors import DataError
from veneer.prepare.markdown import to_markdown
from veneer.records import Completion, Message, Stop, from_row
from veneer.study_data import RecordedSpec

SPOKEN = {
    "system": ("system", "developer"),
    "user": ("user", "human", "prompter"),
    "assistant": ("assistant", "gpt", "chatgpt", "model", "bot", "bing", "bard", "claude"),
}
ROLES = {name: role for role, names in SPOKEN.items() for name in names}
"""Who speaks, by the names that collections use."""
WANTED = {
    "sharegpt": '{{"id", "conversations": [{{"from": "human" or "gpt", "value"}}, ...]}} (or `items`, `conversation`)',
    "hc3": '{{"question", "chatgpt_answers": [text, ...]}}',
    "alpaca": '{{"instruction", "input", "output"}}',
    "messages": '{{"messages": [{{"role", "content"}}, ...]}}',
    "pairs": '{{"{query}", "{answer}"}} (`query_field` and `answer_field` name the two)',
}
"""The shape of a row, in braces that `str.format` leaves single."""
PATIENCE = 100
"""So many malformed rows and not one good one mean that the file is of another kind."""
ALPACA_INPUT = "{instruction}\n\n{input}"

Turns = Sequence[tuple[str, str]]
"""Role and text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A conversation that may become an example."""

    example_id: str
    messages: tuple[Message, ...]
    stop: Stop
    detail: str
    """What the stop needs said, as the completion has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """A row that is no conversation."""

    where: str
    """File and line, or file and row."""
    reason: str
    raw: str
    """The row as JSON, whole."""


class _NotARowError(Exception):
    """Internal: a row is not as its format has it; the text says how."""


def collected(folder: Path) -> Iterator[Candidate]:
    """Yield what the teacher said first to each query of a collected source.

    Raises:
        DataError: A completion answers no query, or a query has no first completion or several.
    """
    queries = {row["id"]: row["query"] for _, row in read_rows(folder / "queries.jsonl")}
    for where, row in read_rows(folder / "completions.jsonl"):
        completion = from_row(Completion, row, where)
        if completion.sample:
            continue
        if completion.prompt_id not in queries:
            raise DataError(f"{where}: answers {completion.prompt_id!r}, which is no query left to answer.")
        query = queries.pop(completion.prompt_id)
        yield Candidate(
            example_id=completion.prompt_id,
            messages=(
                Message(role="user", content=query),
                Message(role="assistant", content=completion.text),
            ),
            stop=completion.stop,
            detail=completion.detail,
        )
    if queries:
        raise DataError(
            f"{folder / 'completions.jsonl'}: {len(queries)} queries have no row, {min(queries)!r} first."
        )


def recorded(spec: RecordedSpec) -> Iterator[Candidate | Malformed]:
    """Yield every conversation of a recorded file or hub data set; a row that is none comes back as `Malformed`.

    Answers that were saved as HTML come back as Markdown. A row without an id is named by its place; an id that
    stands already gets `#2`, `#3` and so on. An answer of HC3 is named by its row and its place in it: `7-2`.

    Raises:
        DataError: The file cannot be read, holds no row, or its first rows are all of another shape.
    """
    read = _reader(spec)
    names = _Names()
    bad: list[Malformed] = []
    good = False
    number = 0
    for number, (where, row) in enumerate(
        rows.of_hub(spec.hub) if spec.hub else rows.of_file(_path(spec)), 1
    ):
        try:
            found = list(_candidates(row, read(row), spec, number, names))
        except _NotARowError as error:
            malformed = Malformed(where=where, reason=str(error), raw=_raw(row))
            if good:
                yield malformed
                continue
            bad.append(malformed)
            if len(bad) == PATIENCE:
                raise DataError(_wrong_shape(spec, bad)) from error
            continue
        if not good:
            good = True
            yield from bad
            bad.clear()
        yield from found
    if not number:
        raise DataError(f"{_place(spec)}: holds no row. {_wanted(spec)}")
    if not good:
        raise DataError(_wrong_shape(spec, bad))


def _path(spec: RecordedSpec) -> Path:
    assert spec.path is not None, "the study file names exactly one of path and hub"
    return spec.path


def _place(spec: RecordedSpec) -> str:
    return spec.hub.name if spec.hub else str(_path(spec))


@dataclass(slots=True)
class _Names:
    """The names that rows of a file have, each given once."""

    taken: dict[str, int] = field(default_factory=dict)
    """How often each was asked for."""

    def unique(self, name: str) -> str:
        self.taken[name] = self.taken.get(name, 0) + 1
        if self.taken[name] == 1:
            return name
        # A row may be called `a#2` by its own id.
        while (other := f"{name}#{self.taken[name]}") in self.taken:
            self.taken[name] += 1
        self.taken[other] = 1
        return other


def _candidates(
    row: Mapping[str, Any], found: Sequence[Turns], spec: RecordedSpec, number: int, names: _Names
) -> Iterator[Candidate]:
    name = _name(row.get(spec.id_field), number, spec.id_field)
    for place, messages in enumerate([_messages(turns) for turns in found], 1):
        own = f"{name}-{place}" if spec.format == "hc3" else name
        yield Candidate(example_id=names.unique(own), messages=messages, stop=Stop.END, detail="")


def _name(given: Any, number: int, id_field: str) -> str:
    if given is None or given == "" or _is_nan(given):
        return str(number)
    if isinstance(given, bool) or not isinstance(given, str | int | float | Decimal):
        raise _NotARowError(f"`{id_field}` holds {_short(given)}; a text or a number is wanted")
    # A column of whole numbers in which some are missing comes out of many tools as one of fractions.
    if isinstance(given, float | Decimal) and math.isfinite(given) and given == int(given):
        given = int(given)
    return _whole(str(given), f"`{id_field}`")


def _messages(turns: Turns) -> tuple[Message, ...]:
    return tuple(
        Message(role=role, content=to_markdown(text) if role == "assistant" else text)
        for role, text in (
            (role, _whole(text, f"turn {place}")) for place, (role, text) in enumerate(turns, 1)
        )
    )


def _whole(text: str, what: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _NotARowError(
            f"{what} holds half of a character, or a byte that is no UTF-8 (U+{ord(text[error.start]):04X})"
        ) from error
    return text


def _reader(spec: RecordedSpec) -> Callable[[Any], list[Turns]]:
    readers: dict[str, Callable[[Mapping[str, Any]], list[Turns]]] = {
        "sharegpt": lambda row: [_conversation(_first(row, "conversations", "conversation", "items"))],
        "hc3": _hc3,
        "alpaca": _alpaca,
        "messages": lambda row: [_conversation(_first(row, "messages"))],
        "pairs": lambda row: [
            [("user", _text(row, spec.query_field)), ("assistant", _text(row, spec.answer_field))]
        ],
    }

    def read(row: Any) -> list[Turns]:
        if isinstance(row, rows.Unreadable):
            raise _NotARowError("the line is not JSON")
        if not isinstance(row, Mapping):
            raise _NotARowError(f"the row is {_short(row)}; an object is wanted")
        return readers[spec.format](row)

    return read


def _first(row: Mapping[str, Any], *fields: str) -> Any:
    for name in fields:
        if name in row:
            return row[name]
    raise _NotARowError(f"lacks `{fields[0]}`; its fields are {_short(sorted(map(str, row)))}")


def _text(row: Mapping[str, Any], name: str) -> str:
    value = _first(row, name)
    if not isinstance(value, str):
        raise _NotARowError(f"`{name}` holds {_short(value)}; a text is wanted")
    return value


def _conversation(turns: Any) -> Turns:
    if not isinstance(turns, list) or not turns:
        raise _NotARowError(f"the conversation is {_short(turns)}; a list of turns is wanted")
    return [_turn(turn, place) for place, turn in enumerate(turns, 1)]


def _turn(turn: Any, place: int) -> tuple[str, str]:
    if not isinstance(turn, Mapping):
        raise _NotARowError(f"turn {place} is {_short(turn)}; an object is wanted")
    # Parquet gives every turn all fields that any turn has: those that a turn lacks are null.
    role = next((turn[name] for name in ("from", "role") if turn.get(name) is not None), None)
    text = next((turn[name] for name in ("value", "content", "text") if turn.get(name) is not None), None)
    if not isinstance(role, str) or role.lower() not in ROLES:
        raise _NotARowError(f"turn {place} is spoken by {_short(role)}; known are {', '.join(ROLES)}")
    if turn.get("tool_calls"):
        raise _NotARowError(f"turn {place} calls a tool; a text is wanted")
    if isinstance(text, list):
        text = _joined(text, place)
    if not isinstance(text, str):
        raise _NotARowError(f"turn {place} says {_short(text)}; a text is wanted")
    return ROLES[role.lower()], text


def _joined(parts: list[Any], place: int) -> str:
    """Return the text of a message in parts, as the chat interface allows them."""
    texts = [part.get("text") if isinstance(part, Mapping) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise _NotARowError(f"turn {place} holds a part that is no text: {_short(parts)}")
    return "".join(map(str, texts))


def _hc3(row: Mapping[str, Any]) -> list[Turns]:
    question, answers = _text(row, "question"), _first(row, "chatgpt_answers")
    if not isinstance(answers, list) or not answers:
        raise _NotARowError(f"`chatgpt_answers` is {_short(answers)}; a list of texts is wanted")
    if not all(isinstance(answer, str) for answer in answers):
        raise _NotARowError(f"`chatgpt_answers` holds something that is no text: {_short(answers)}")
    return [[("user", question), ("assistant", answer)] for answer in answers]


def _alpaca(row: Mapping[str, Any]) -> list[Turns]:
    instruction, given = _text(row, "instruction"), row.get("input")
    given = "" if given is None or _is_nan(given) else given
    if not isinstance(given, str):
        raise _NotARowError(f"`input` holds {_short(given)}; a text is wanted")
    query = ALPACA_INPUT.format(instruction=instruction, input=given) if given.strip() else instruction
    return [[("user", query), ("assistant", _text(row, "output"))]]


def _is_nan(value: Any) -> bool:
    """Return whether a value is the NaN that tables hold where nothing was given."""
    return isinstance(value, float) and math.isnan(value)


def _raw(row: Any) -> str:
    if isinstance(row, rows.Unreadable):
        return row.encode("utf-8", "backslashreplace").decode()
    return _json(row)


def _json(value: Any) -> str:
    """Return a value as JSON that any file can hold; half a surrogate is written as its escape."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return json.dumps("nested too deeply to be written")
    return text if text.isascii() or _is_whole(text) else json.dumps(value, default=str)


def _is_whole(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _wrong_shape(spec: RecordedSpec, bad: Sequence[Malformed]) -> str:
    first = bad[0]
    rest = f" {_cut(first.raw)}" if first.raw else ""
    return (
        f"{_place(spec)}: none of its first {len(bad)} rows can be read as {spec.format!r}. The first "
        f"({first.where}): {first.reason}. Found:{rest}. {_wanted(spec)}"
    )


def _wanted(spec: RecordedSpec) -> str:
    shape = WANTED[spec.format].format(query=spec.query_field, answer=spec.answer_field)
    return f"Wanted are rows like {shape}; mend the file, or name another `format` or other fields in the study file."


def _short(value: Any) -> str:
    return _cut(_json(value))


def _cut(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
