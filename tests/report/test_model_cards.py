"""Model cards that the hub reads, with the numbers of report.json."""

import copy
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import EvalResult

from veneer.report import model_cards
from veneer.report.shown import read

Row = dict[str, Any]


def results(text: str) -> list[EvalResult]:
    card = ModelCard(text, ignore_metadata_errors=False)
    found = getattr(card.data, "eval_results", None)
    assert found is not None
    return list(found)


def test_every_student_has_a_card_that_the_hub_reads(study_report: Path, study: Row) -> None:
    names = {row["name"] for row in study["contestants"] if row["role"] == "student"}
    cards = {path.stem: path for path in (study_report / "model-cards").glob("*.md")}
    assert set(cards) == names
    name = "large-broad-80k-s1"
    assert {one.metric_type for one in results(cards[name].read_text(encoding="utf-8"))} == {
        "accuracy",
        "gap_closed",
        "style_gap_closed",
        "capability_gap_closed",
        "win_rate",
    }


def test_a_cards_numbers_are_those_of_the_report(study: Row) -> None:
    data = read(study)
    student = next(row for row in data["contestants"] if row["name"] == "large-broad-80k-s1")
    (found,) = [
        one for one in results(model_cards.card(data, student)) if one.metric_type == "style_gap_closed"
    ]
    number = next(row for row in study["veneer"] if row["student"] == student["student"])["style_gap_closed"]
    assert found.metric_value == pytest.approx(number["value"], abs=1e-4)
    assert found.metric_args is not None
    assert found.metric_args["low"] == pytest.approx(number["low"], abs=1e-4)


def test_what_is_undefined_is_told_with_its_reason_and_is_no_result(audit: Row) -> None:
    data = read(audit)
    student = next(row for row in data["contestants"] if row["role"] == "student")
    text = model_cards.card(data, student)
    assert "Undefined: the study has no benchmark" in text
    assert {one.metric_type for one in results(text)} == {"style_gap_closed", "win_rate"}


def test_a_hostile_name_stays_a_name(audit: Row) -> None:
    hostile = copy.deepcopy(audit)
    hostile["study"]["teacher"] = "a|b\n---\n# <script>"
    data = read(hostile)
    student = next(row for row in data["contestants"] if row["role"] == "student")
    text = model_cards.card(data, student)
    assert results(text)
    assert text.count("\n---\n") == 1
    assert "\\<script\\>" in text


def test_a_card_without_a_number_has_no_index_for_the_hub_to_refuse(audit: Row) -> None:
    bare = {**audit, **{name: [] for name in ("scores", "gap_closed", "veneer", "preference")}}
    student = next(row for row in bare["contestants"] if row["role"] == "student")
    assert "model-index" not in model_cards.card(read(bare), student)
