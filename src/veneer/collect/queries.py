"""Queries: what the teacher is asked, read from a file in which every line holds an id and a query."""

from dataclasses import dataclass
from pathlib import Path

from veneer.errors import DataError
from veneer.store import read_rows

FIELDS = ("id", "query")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A prompt put to the teacher to collect data."""

    query_id: str
    text: str


def load(path: Path) -> list[Query]:
    """Return the queries of a JSONL file, in order.

    Raises:
        DataError: A line lacks `id` or `query`, holds something else in them, or repeats an id; or there are none.
    """
    queries: list[Query] = []
    seen: dict[str, str] = {}
    for where, row in read_rows(path):
        if missing := [field for field in FIELDS if field not in row]:
            raise DataError(
                f"{where}: lacks {missing}; a line of queries is like "
                f'{{"id": "q1", "query": "What is imitation?"}}; found the fields {sorted(row)}.'
            )
        query_id, text = row["id"], row["query"]
        if isinstance(query_id, bool) or not isinstance(query_id, str | int) or str(query_id) == "":
            raise DataError(f"{where}: `id` is {query_id!r}; a non-empty string or a whole number is wanted.")
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{where}: `query` is {text!r}; a text that is not blank is wanted.")
        name = str(query_id)
        if name in seen:
            raise DataError(
                f"{where}: the id {name!r} stands already at {seen[name]}; every id must be its own."
            )
        seen[name] = where
        queries.append(Query(query_id=name, text=text))
    if not queries:
        raise DataError(f"{path}: holds no queries; put at least one line with `id` and `query` into it.")
    return queries
