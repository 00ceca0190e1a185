"""Overlap: which held-out items, of benchmarks and prompts, are asked word for word in a query."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veneer.errors import DataError
from veneer.prepare.duplicates import normalise
from veneer.store import read_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """A file of items that imitation data must not hold."""

    path: Path
    id_field: str = "id"
    question_field: str = "question"
    """Holds the question: a text, or a list of texts (the user's turns)."""


def index(held_out: Sequence[HeldOut]) -> Mapping[str, str]:
    """Return the normalised questions of all held-out items, each with the words that say which item it is.

    Raises:
        DataError: A row lacks its id or its question, or they are of the wrong type.
    """
    found: dict[str, str] = {}
    for file in held_out:
        for where, row in read_rows(file.path):
            name = _field(row, file.id_field, where)
            questions = _field(row, file.question_field, where)
            for question in questions if isinstance(questions, list) else [questions]:
                if not isinstance(question, str):
                    raise DataError(f"{where}: `{file.question_field}` holds {question!r}; a text is wanted.")
                if key := normalise(question):
                    found.setdefault(key, f"item {name!s} of {file.path.name}")
    return found


def _field(row: Mapping[str, Any], field: str, where: str) -> Any:
    if field not in row:
        raise DataError(f"{where}: lacks the field `{field}`; its fields are {sorted(row)}.")
    return row[field]
