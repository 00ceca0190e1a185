"""An audit of recordings gives what recordings can give, and says of the rest why it is Undefined."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from veneer import disk, pipeline, store
from veneer.cells import crew
from veneer.disk import Row
from veneer.lease import Holder
from veneer.study import load

STUDY = Path(__file__).parents[2] / "studies" / "vicuna80.yaml"


class Silent:
    def begin(self, stage: str, cells: int, done: int) -> None: ...

    def advance(self, stage: str, cell: str) -> None: ...

    def heard(self, answers: int, dollars: float) -> None: ...

    def lacks(self, stage: str, cell: str, said: str, closed: str) -> None: ...

    def waits(self, stage: str, cell: str, who: Holder, asks: bool) -> None: ...

    def learned(self, lines: Mapping[str, Row]) -> None: ...


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if not os.environ.get("VENEER_DATA"):
        pytest.skip("VENEER_DATA is not set")
    root = tmp_path_factory.mktemp("audit") / "artefacts"
    with crew(workers=1) as workers:
        made = pipeline.run(load(STUDY), store.Store(root=root), workers, Silent(), until="analyze")
    return disk.read_json(made["answers"].path / "answers.json")


def test_vicuna_sounds_more_like_the_teacher_than_alpaca_does(audit: Any) -> None:
    closed = {row["student"]: row["style_gap_closed"] for row in audit["style_gap_closed"]}
    assert closed["vicuna-13b"]["low"] > 0
    assert closed["vicuna-13b"]["low"] > closed["alpaca-13b"]["value"]


def test_the_recorded_verdicts_are_all_counted(audit: Any) -> None:
    for row in audit["preference"]:
        assert row["wins"] + row["ties"] + row["losses"] + row["none"] == 80


def test_what_recordings_cannot_tell_is_undefined_with_a_reason(audit: Any) -> None:
    assert all(row["veneer"]["undefined"] for row in audit["veneer"])
    assert {claim["verdict"] for claim in audit["claims"]} == {"undecided"}
    assert all(claim["note"] for claim in audit["claims"])
    assert audit["gap_closed"] == audit["scores"] == []
