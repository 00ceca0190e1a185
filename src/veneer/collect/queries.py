"""Queries: what the teacher is asked, from files, benchmarks' training splits, hub data sets, or documents."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from veneer import rows
from veneer.disk import read_rows
from veneer.errors import DataError
from veneer.study_benchmarks import BenchmarkSpec
from veneer.study_data import SourceSpec

DEFAULT_ID = "id"
LONGEST_FIELD = 2**31 - 1
"""Of a CSV file; the csv module takes no document of more than 131,072 characters by itself."""
Placed = tuple[str, Mapping[str, Any]]
"""Where a row stands, and the row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A prompt put to the teacher to collect data."""

    query_id: str
    text: str


def load(path: Path) -> list[Query]:
    """Return the queries of a JSONL file of `id` and `query`, in order.

    Raises:
        DataError: As `of`.
    """
    return of(SourceSpec(kind="broad", queries=path), {})


def of(source: SourceSpec, benchmarks: Mapping[str, BenchmarkSpec]) -> list[Query]:
    """Return the queries of a source, in order; its instruction stands around each.

    Args:
        source: One that asks: not a synthesis, not recorded.
        benchmarks: The study's, for sources that ask a training split.

    Raises:
        DataError: A row lacks its fields, holds something else in them, or repeats an id; or there are none.
    """
    place, found = _rows(source, benchmarks)
    id_field = source.id_field
    field = "question" if source.benchmark else source.query_field
    queries: list[Query] = []
    seen: dict[str, str] = {}
    for where, row in islice(found, source.limit):
        # A row without an id is named by its place; where the study names the field of ids, it must be there.
        wanted = (field,) if source.hub or id_field == DEFAULT_ID else (id_field, field)
        if missing := [name for name in wanted if name not in row]:
            raise DataError(
                f"{where}: lacks {missing}; a row of queries is like "
                f'{{"{id_field}": "q1", "{field}": "What is imitation?"}}; found the fields {sorted(row)}.'
            )
        query_id, text = row.get(id_field, len(queries) + 1), row[field]
        if isinstance(query_id, bool) or not isinstance(query_id, str | int) or str(query_id) == "":
            raise DataError(
                f"{where}: `{id_field}` is {query_id!r}; a non-empty string or a whole number is wanted."
            )
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{where}: `{field}` is {text!r}; a text that is not blank is wanted.")
        name = str(query_id)
        if name in seen:
            raise DataError(
                f"{where}: the id {name!r} stands already at {seen[name]}; every id must be its own."
            )
        seen[name] = where
        queries.append(Query(query_id=name, text=source.instruction.replace("{query}", text)))
    if not queries:
        raise DataError(
            f"{place}: holds no queries; put at least one line with `{id_field}` and `{field}` into it."
        )
    return queries


def files(source: SourceSpec, benchmarks: Mapping[str, BenchmarkSpec]) -> dict[str, Path]:
    """Return the files that a source's queries are read from, by their role in a key."""
    if source.benchmark:
        train = benchmarks[source.benchmark].train
        assert train is not None, "the study file was checked"
        return {"queries": train}
    return {"queries": source.queries} if source.queries else {}


def identity(source: SourceSpec) -> dict[str, Any]:
    """Return what else shapes a source's queries, ready for a key."""
    shaping = {"hub", "id_field", "query_field", "instruction", "limit"}
    return {**source.model_dump(mode="json", include=shaping), "benchmark": source.benchmark is not None}


def _rows(source: SourceSpec, benchmarks: Mapping[str, BenchmarkSpec]) -> tuple[str, Iterable[Placed]]:
    if source.hub:
        return source.hub.name, rows.of_hub(source.hub)
    path = files(source, benchmarks)["queries"]
    if path.suffix.lower() == ".csv":
        return str(path), _csv(path)
    if path.suffix.lower() == ".parquet":
        # Files of one name may lie in several folders: the whole path is told.
        return str(path), ((str(path.parent / where), row) for where, row in rows.of_file(path))
    return str(path), read_rows(path)


def _csv(path: Path) -> Iterator[Placed]:
    place = 0
    csv.field_size_limit(LONGEST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            table = csv.DictReader(lines, strict=True)
            for row in table:
                place = table.line_num
                if None in row or None in row.values():
                    raise DataError(
                        f"{path}:{place}: has another number of columns than the header {table.fieldnames}."
                    )
                yield f"{path}:{place}", row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}, after line {place}: cannot be read as CSV in UTF-8 with a header ({error})."
        ) from error
