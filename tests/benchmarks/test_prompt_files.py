import json
import sys
import types
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from veneer.benchmarks.items import load_prompts
from veneer.benchmarks.prompt_files import resolve
from veneer.errors import DataError
from veneer.study import PromptsSpec
from veneer.study_data import HubSpec

REVISION = "0" * 40


def asked(spec: PromptsSpec, folder: Path) -> list[tuple[str, str]]:
    return [(item.item_id, item.question) for item in load_prompts(resolve(spec, folder)).items]


def test_a_jsonl_file_stays_as_it_is(tmp_path: Path) -> None:
    spec = PromptsSpec(items=tmp_path / "p.jsonl")
    assert resolve(spec, tmp_path) is spec
    assert resolve(PromptsSpec(), tmp_path) == PromptsSpec()


def test_json_and_parquet_become_items(tmp_path: Path) -> None:
    rows = [
        {"name": "a", "text": "Why?", "references": ["so"]},
        {"name": "b", "text": "How?", "references": None},
    ]
    (tmp_path / "p.json").write_text(json.dumps(rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    for name in ("p.json", "p.parquet"):
        spec = PromptsSpec(items=tmp_path / name, id_field="name", question_field="text")
        assert asked(spec, tmp_path / "made") == [("a", "Why?"), ("b", "How?")]
        assert load_prompts(resolve(spec, tmp_path / "made")).items[0].references == ("so",)


def test_rows_without_ids_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps([{"question": "Why?"}, {"question": "How?"}]))
    assert asked(PromptsSpec(items=tmp_path / "p.json"), tmp_path) == [("1", "Why?"), ("2", "How?")]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [{"id": "a", "prompt": "Why?"}],
            "field question: found None.*name the right one as `question_field`",
        ),
        (["Why?"], "an object is wanted"),
        ([{"id": "a", "question": "Why?"}, {"question": "How?"}], "field id: found None"),
    ],
)
def test_a_row_that_is_no_prompt_is_named(tmp_path: Path, rows: list[Any], said: str) -> None:
    (tmp_path / "p.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=said):
        asked(PromptsSpec(items=tmp_path / "p.json"), tmp_path)


def test_a_hub_data_set_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, errors = types.ModuleType("datasets"), types.ModuleType("datasets.exceptions")
    calls: list[tuple[Any, ...]] = []

    def load_dataset(*given: Any, **named: Any) -> list[dict[str, str]]:
        calls.append((*given, *named.items()))
        return [{"prompt": "Why?"}]

    package.load_dataset = load_dataset  # type: ignore[attr-defined]
    errors.DatasetsError = OSError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", package)
    monkeypatch.setitem(sys.modules, "datasets.exceptions", errors)
    spec = PromptsSpec(hub=HubSpec(name="org/set", revision=REVISION), question_field="prompt")
    assert asked(spec, tmp_path) == asked(spec, tmp_path) == [("1", "Why?")]
    assert len(calls) == 1


def test_a_file_and_a_hub_data_set_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="name `items` or `hub`, not both"):
        PromptsSpec(items=tmp_path / "p.jsonl", hub=HubSpec(name="org/set", revision=REVISION))
