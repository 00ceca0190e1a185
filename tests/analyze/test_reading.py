"""Items that stand in imitation data leave every score, where the study says that the item goes."""

from pathlib import Path

from veneer.analyze.reading import left_out, without
from veneer.benchmarks.items import load
from veneer.disk import write_rows
from veneer.store import Artefact
from veneer.study_benchmarks import BenchmarkSpec
from veneer.study_data import OverlapSpec

FOUND = {"rows": 1, "most": 1.0, "example": "e1"}


def test_overlapping_items_are_left_out_where_the_item_goes(tmp_path: Path) -> None:
    prepared = {"broad": _overlapping(tmp_path)}
    assert left_out(prepared, OverlapSpec(goes="item")) == {("qa", "i1"), ("qa", "i3")}
    assert left_out(prepared, OverlapSpec(goes="example")) == frozenset()


def test_a_benchmark_loses_only_its_own_items(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    write_rows(path, [{"id": name, "question": "why", "references": ["so"]} for name in ("i1", "i2")])
    benchmark = load("qa", BenchmarkSpec(items=path, measures="knowledge", grading="match"))
    kept = without(benchmark, frozenset({("qa", "i1"), ("other", "i2")}))
    assert [item.item_id for item in kept.items] == ["i2"]


def _overlapping(folder: Path) -> Artefact:
    rows = [
        {"file": "qa", "item": "i1", "matches": {"exact": FOUND}},
        {"file": "qa", "item": "i2", "matches": {"8-gram": FOUND}},
        {"file": "qa", "item": "i3", "matches": {"13-gram": FOUND}},
    ]
    write_rows(folder / "overlaps.jsonl", rows)
    return Artefact(stage="prepare", name="broad", key="k", path=folder)
