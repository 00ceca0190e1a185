import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.collect.queries import Query, load
from veneer.errors import DataError
from veneer.store import write_rows

TEXT = st.text(min_size=1).filter(lambda text: text.strip() != "")


@given(st.dictionaries(st.text(min_size=1), TEXT, min_size=1))
def test_queries_come_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, asked: dict[str, str]
) -> None:
    path = tmp_path_factory.mktemp("queries") / "queries.jsonl"
    write_rows(path, [{"id": name, "query": text} for name, text in asked.items()])
    assert load(path) == [Query(query_id=name, text=text) for name, text in asked.items()]


def test_a_number_is_an_id(tmp_path: Path) -> None:
    assert load(_file(tmp_path, {"id": 7, "query": "why ?"})) == [Query(query_id="7", text="why ?")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"query": "why ?"}, "lacks \\['id'\\]"),
        ({"id": "b"}, "lacks \\['query'\\]"),
        ({"id": "", "query": "why ?"}, "`id` is ''"),
        ({"id": True, "query": "why ?"}, "`id` is True"),
        ({"id": "b", "query": "  "}, "`query` is '  '"),
        ({"id": "b", "query": ["why ?"]}, "`query` is \\['why \\?'\\]"),
        ({"id": "a", "query": "why ?"}, "the id 'a' stands already at .*queries.jsonl:1"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, row: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=f"queries.jsonl:2: {said}"):
        load(_file(tmp_path, {"id": "a", "query": "how ?"}, row))


def test_a_file_without_queries_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no queries"):
        load(_file(tmp_path))


def _file(folder: Path, *rows: dict[str, object]) -> Path:
    path = folder / "queries.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
