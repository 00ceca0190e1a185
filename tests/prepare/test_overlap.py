from pathlib import Path
from typing import Any

import pytest

from veneer.errors import DataError
from veneer.prepare.overlap import HeldOut, index
from veneer.store import write_rows


def test_items_are_found_by_their_normalised_question(tmp_path: Path) -> None:
    path = _file(tmp_path, {"id": "i1", "question": "Where is Ada?"})
    assert index([HeldOut(path=path)]) == {"where is ada": "item i1 of items.jsonl"}


def test_fields_can_be_named_and_hold_several_turns(tmp_path: Path) -> None:
    path = _file(tmp_path, {"question_id": 81, "turns": ["One?", "Two?"]})
    found = index([HeldOut(path=path, id_field="question_id", question_field="turns")])
    assert set(found) == {"one", "two"}


@pytest.mark.parametrize("row", [{"id": "a"}, {"question": "why ?"}, {"id": "a", "question": 3}])
def test_an_item_without_question_or_id_is_an_error(tmp_path: Path, row: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="items.jsonl:1"):
        index([HeldOut(path=_file(tmp_path, row))])


def _file(folder: Path, *rows: dict[str, Any]) -> Path:
    write_rows(folder / "items.jsonl", rows)
    return folder / "items.jsonl"
