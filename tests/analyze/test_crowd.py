"""What people said of style and of correctness, asked apart, becomes win rates of their own."""

from pathlib import Path
from typing import Any

import pytest

from tests.analyze.opinions import said
from veneer import disk
from veneer.analyze import crowd
from veneer.analyze.measure import Rung
from veneer.benchmarks.items import PROMPTS
from veneer.records import to_row
from veneer.store import Artefact
from veneer.study import AnalyzeSpec

SPEC = AnalyzeSpec(resamples=200)
RUNGS = [Rung(student="s", base="b", source="broad", amount=1, replay=0.0, seeds=("s-0",))]


def rows(folder: Path, style: str, correctness: str, out: frozenset[tuple[str, str]] = frozenset()) -> Any:
    for name, marks in (("style", style), ("correctness", correctness)):
        disk.write_rows(folder / f"{name}.jsonl", (to_row(one) for one in said("s-0", "teacher", marks)))
    people = Artefact(stage="rate", name="people", key="k", path=folder)
    return crowd.apart_rows(people, out, ["teacher", "b"], RUNGS, SPEC)


def test_style_and_correctness_have_win_rates_of_their_own(tmp_path: Path) -> None:
    style, right = rows(tmp_path, "1" * 16 + "2" * 4, "2" * 17 + "=" * 2 + "?")
    assert (style["question"], style["contestant"], style["opponent"]) == ("style", "s", "teacher")
    assert [style[key] for key in ("wins", "ties", "losses", "none")] == [16, 0, 4, 0]
    assert style["win_rate"]["value"] == pytest.approx(0.8)
    assert right["question"] == "correctness"
    assert [right[key] for key in ("wins", "ties", "losses", "none")] == [0, 2, 17, 1]
    assert right["win_rate"]["value"] == pytest.approx(1 / 19)
    assert not [key for key in style if "controlled" in key or key == "style_share"]


def test_what_was_not_asked_apart_has_no_row(tmp_path: Path) -> None:
    assert [row["question"] for row in rows(tmp_path, "1" * 20, "")] == ["style"]


def test_prompts_that_are_left_out_of_scores_are_left_out_here_too(tmp_path: Path) -> None:
    (style,) = rows(tmp_path, "1" * 20, "", frozenset({(PROMPTS, "p0")}))
    assert style["wins"] == 19
