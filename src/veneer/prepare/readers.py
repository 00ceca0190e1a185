"""Readers: each turns one kind of file into candidates, one a row, in the file's order."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veneer.errors import DataError
from veneer.records import Completion, Message, Stop, from_row
from veneer.store import read_rows

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A conversation that may become an example."""

    example_id: str
    messages: tuple[Message, ...]
    stop: Stop
    detail: str
    """What the stop needs said, as the completion has it."""


def collected(folder: Path) -> Iterator[Candidate]:
    """Yield what the teacher said to each query of a collected source (`queries.jsonl`, `completions.jsonl`).

    Raises:
        DataError: A completion answers no query, or a query has no completion or several.
    """
    queries = {row["id"]: row["query"] for _, row in read_rows(folder / "queries.jsonl")}
    for where, row in read_rows(folder / "completions.jsonl"):
        completion = from_row(Completion, row, where)
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


def chat_messages(path: Path) -> Iterator[Candidate]:
    """Yield the conversations of a JSONL file of `{"messages": [{"role", "content"}, ...]}`, `id` optional.

    A row without an id is named by its place: `1` for the first.

    Raises:
        DataError: A row is no conversation in which user and assistant take turns and the assistant has the last
            word, or repeats an id.
    """
    seen: dict[str, str] = {}
    for number, (where, row) in enumerate(read_rows(path), 1):
        name = str(row.get("id", number))
        if name in seen:
            raise DataError(
                f"{where}: the id {name!r} stands already at {seen[name]}; every id must be its own."
            )
        seen[name] = where
        yield Candidate(
            example_id=name, messages=_conversation(row.get("messages"), where), stop=Stop.END, detail=""
        )


def _conversation(turns: Any, where: str) -> tuple[Message, ...]:
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
        raise DataError(
            f'{where}: `messages` must be a list of {{"role", "content"}}; found {_short(turns)}.'
        )
    messages = tuple(from_row(Message, turn, f"{where}, turn {at}") for at, turn in enumerate(turns, 1))
    roles = [message.role for message in messages]
    if unknown := sorted(set(roles) - set(ROLES)):
        raise DataError(f"{where}: unknown roles {unknown}; allowed are {list(ROLES)}.")
    spoken = roles[1:] if roles[0] == "system" else roles
    wanted = ["user", "assistant"] * (len(spoken) // 2)
    if not spoken or spoken != wanted:
        raise DataError(
            f"{where}: the turns are {roles}; wanted is user, assistant, user, assistant and so on, the assistant "
            "last, with at most one system message before them."
        )
    return messages


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
