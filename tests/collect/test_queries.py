"""Queries come from files, benchmarks and the hub; what is wrong with a row is said with its place."""

import gzip
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from veneer.collect.queries import Query, files, identity, load, of
from veneer.disk import write_rows
from veneer.errors import DataError
from veneer.study import load as study_of
from veneer.study_benchmarks import BenchmarkSpec
from veneer.study_data import HubSpec, SourceSpec

HUB = SourceSpec(kind="broad", hub=HubSpec(name="org/set", revision="a" * 40))
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


def test_a_row_without_an_id_is_named_by_its_place(tmp_path: Path) -> None:
    asked = load(_file(tmp_path, {"query": "how ?"}, {"query": "why ?"}))
    assert [query.query_id for query in asked] == ["1", "2"]


def test_a_field_of_ids_that_the_study_names_must_be_there(tmp_path: Path) -> None:
    source = SourceSpec(kind="broad", queries=_file(tmp_path, {"query": "how ?"}), id_field="post_id")
    with pytest.raises(DataError, match="queries.jsonl:1: lacks \\['post_id'\\]"):
        of(source, {})


def test_gzipped_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl.gz"
    path.write_bytes(gzip.compress(_file(tmp_path, {"id": "a", "query": "how ?"}).read_bytes()))
    assert load(path) == [Query(query_id="a", text="how ?")]


def test_a_table_with_a_header_is_read(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    long = "long " * 40_000
    path.write_text(f'post,id\n"two\nlines, one field",a\n{long},b\n')
    source = SourceSpec(kind="broad", queries=path, query_field="post")
    assert [query.text for query in of(source, {})] == ["two\nlines, one field", long]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"id,query\na,how ?,x\n", "posts.csv:2: has another number of columns"),
        (b"id,query\na,how ?\nb\n", "posts.csv:3: has another number of columns"),
        (b'id,query\na,how ?\nb,"why ?" x\n', "posts.csv, after line 2: cannot be read as CSV"),
        (b"id,query\na,\xff\n", "posts.csv, after line 0: cannot be read as CSV in UTF-8"),
        (b"id,text\na,how ?\n", "posts.csv:2: lacks \\['query'\\]"),
        (b"", "holds no queries"),
    ],
)
def test_a_bad_table_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "posts.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        load(path)


def test_a_parquet_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "posts.parquet"
    parquet.write_table(pyarrow.table({"id": [3, 4], "query": ["how ?", "why ?"]}), path)
    assert load(path) == [Query(query_id="3", text="how ?"), Query(query_id="4", text="why ?")]


def test_a_bad_row_of_a_parquet_file_is_named_with_the_whole_path(tmp_path: Path) -> None:
    path = tmp_path / "posts.parquet"
    parquet.write_table(pyarrow.table({"id": [3, 4], "query": ["how ?", " "]}), path)
    with pytest.raises(DataError, match=f"{path}, row 2: `query` is ' '"):
        load(path)


def test_what_is_no_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "posts.parquet"
    path.write_text("id,query")
    with pytest.raises(DataError, match="posts.parquet: cannot be read as Parquet"):
        load(path)


def test_an_instruction_stands_around_every_document_braces_and_all(tmp_path: Path) -> None:
    path = _file(tmp_path, {"id": "a", "query": "code {x} and {query}"})
    source = SourceSpec(kind="broad", queries=path, instruction="Sum up {this}: {query}!")
    assert of(source, {})[0].text == "Sum up {this}: code {x} and {query}!"


def test_a_limit_takes_the_first_and_reads_no_further(tmp_path: Path) -> None:
    path = _file(tmp_path, {"id": "a", "query": "how ?"}, {"id": "a", "query": ""})
    assert len(of(SourceSpec(kind="broad", queries=path, limit=1), {})) == 1


def test_a_benchmark_lends_its_training_questions(tmp_path: Path) -> None:
    train = tmp_path / "train.jsonl"
    write_rows(train, [{"id": "t1", "question": "who ?", "references": ["me"]}])
    benchmark = BenchmarkSpec(items=train, measures="knowledge", grading="match", train=train)
    source = SourceSpec(kind="local", task="qa", benchmark="qa")
    assert of(source, {"qa": benchmark}) == [Query(query_id="t1", text="who ?")]
    assert files(source, {"qa": benchmark}) == {"queries": train}


def test_a_hub_data_set_is_asked_for_at_its_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def load_dataset(*place: object, split: str, revision: str, **_: object) -> list[dict[str, str]]:
        asked.extend([*place, split, revision])
        return [{"query": "how ?"}, {"query": "why ?"}]

    _hub(monkeypatch, load_dataset)
    assert [query.query_id for query in of(HUB, {})] == ["1", "2"]
    assert asked == ["org/set", None, "train", "a" * 40]


def test_a_hub_data_set_that_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*place: object, **how: object) -> None:
        raise ConnectionError("offline")

    _hub(monkeypatch, load_dataset)
    with pytest.raises(DataError, match="org/set@aaaaaaaaaaaa, split 'train': cannot be had from the hub"):
        of(HUB, {})


def _hub(monkeypatch: pytest.MonkeyPatch, load_dataset: Any) -> None:
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    monkeypatch.setitem(sys.modules, "datasets.exceptions", SimpleNamespace(DatasetsError=ConnectionError))


def test_the_package_for_hub_data_sets_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match="pip install 'veneer\\[hub\\]'"):
        of(HUB, {})


def test_all_that_shapes_the_queries_is_in_their_identity(tmp_path: Path) -> None:
    path = _file(tmp_path, {"id": "a", "query": "how ?"})
    plain = SourceSpec(kind="broad", queries=path)
    changes: list[dict[str, Any]] = [
        {"id_field": "x"}, {"query_field": "x"}, {"instruction": "x {query}"}, {"limit": 3},
        {"queries": None, "hub": HUB.hub},
    ]  # fmt: skip
    others = [identity(plain.model_copy(update=change)) for change in changes]
    assert identity(plain) not in others
    assert json.loads(json.dumps(others)) == others


@pytest.mark.parametrize("name", ["nq-synthetic", "tldr-synthetic"])
def test_the_built_in_data_studies_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for variable in ("SEEDS", "ITEMS", "POSTS", "TOKENIZER"):
        monkeypatch.setenv(variable, str(tmp_path))
    study = study_of(Path(__file__).parents[2] / "studies" / f"{name}.yaml")
    assert (study.is_data_only, study.spend_cap is not None) == (True, True)
    assert study.imitated == {name: ("local", name.removesuffix("-synthetic"))}
