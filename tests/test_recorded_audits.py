"""The audits of recorded verdicts give back what was published of them."""

import json
import os
import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import veneer

STUDIES = Path(__file__).parent.parent / "studies"
pytestmark = pytest.mark.skipif("VENEER_DATA" not in os.environ, reason="VENEER_DATA is not set")


def report(study: Path) -> Any:
    done = veneer("run", study)
    assert done.returncode == 0, done.stderr
    return json.loads((study.with_suffix("") / "report" / "report.json").read_text())


def test_pandalms_annotators_agree_as_published(tmp_path: Path) -> None:
    script = runpy.run_path(str(STUDIES / "pandalm.py"))
    script["main"](Path(os.environ["VENEER_DATA"]) / "pandalm", tmp_path)
    found = {(row["judge"], row["with"]): row for row in report(tmp_path / "study.yaml")["agreement"]}
    published = {(1, 2): 0.85, (1, 3): 0.88, (2, 3): 0.86}
    for (one, other), kappa in published.items():
        row = found[f"annotator{one}", f"annotator{other}"]
        assert round(row["kappa"]["value"], 2) == kappa
        assert row["pairs"] == 999
    alpha = found["annotators", "each other"]["alpha"]
    assert alpha["low"] < 0.86 < alpha["high"]
    assert alpha["n"] == 170
    # What GPT-3.5 garbled is no verdict.
    assert round(found["pandalm-7b", "annotators"]["same"]["value"], 3) == 0.668
    gpt = found["gpt-3.5", "annotators"]
    assert (gpt["pairs"], round(gpt["same"]["value"] * gpt["pairs"])) == (974, 697)


def test_gpt_4s_reviews_in_both_orders_tell_its_liking_for_a_place(tmp_path: Path) -> None:
    study = tmp_path / "guanaco80.yaml"
    study.write_text((STUDIES / "guanaco80.yaml").read_text())
    found = report(study)
    scores, classes = found["judges"]
    assert (scores["comparisons"], scores["none"], classes["comparisons"]) == (1440, 6, 480)
    assert scores["first_position"]["low"] > 0.5
    assert classes["first_position"]["low"] > 0.6
    assert scores["flips"]["high"] < classes["flips"]["low"]
    wins = {(row["judge"], row["contestant"]): row for row in found["preference"]}
    alpaca = wins["gpt-4-scores", "alpaca-13b"]
    assert (alpaca["wins"], alpaca["losses"], alpaca["none"]) == (1, 156, 3)
    vicuna = wins["gpt-4-class", "vicuna-13b"]
    assert vicuna["win_rate"]["value"] == 0.525
    assert vicuna["style_controlled"]["value"] < vicuna["win_rate"]["value"]


def made_by(script: str, data: str, place: Path) -> Any:
    """Return the report of a study that one of the scripts in `studies` writes."""
    runpy.run_path(str(STUDIES / script))["main"](Path(os.environ["VENEER_DATA"]) / data, place)
    return report(place / "study.yaml")


def test_peoples_grades_of_evouna_are_those_published_and_strings_fall_short(tmp_path: Path) -> None:
    found = made_by("evouna.py", "evouna_qa_eval", tmp_path)
    rows = {(row["contestant"], row["grading"]): row for row in found["second_grades"]}
    people = {"fid": 2082, "text-davinci-003": 1978, "chatgpt": 2204, "gpt-4": 2381}
    for name, right in people.items():
        strict, lenient = rows[name, "strict"], rows[name, "lenient"]
        assert (lenient["items"], round(lenient["second_score"]["value"] * 3020)) == (3020, right)
        assert strict["off"]["value"] < lenient["off"]["value"] < lenient["off"]["high"] < -0.08
    # Who answers in sentences is graded lower than who answers in a word.
    assert rows["gpt-4", "lenient"]["off"]["high"] < rows["fid", "lenient"]["off"]["low"]
    strict, lenient = found["second_gaps"]
    assert "does not measurably beat" in strict["gap_closed"]["undefined"]
    assert lenient["off"]["low"] < 0 < lenient["off"]["high"]


def test_gsm8ks_grades_are_the_authors_own_and_a_verifier_beats_size(tmp_path: Path) -> None:
    found = made_by("gsm8k.py", "gsm8k", tmp_path)
    assert {row["same"]["value"] for row in found["second_grades"]} == {1.0}
    closed = {row["student"]: row["gap_closed"]["value"] for row in found["second_gaps"]}
    assert round(closed["6b-verified"], 3) == round((515 - 286) / (742 - 286), 3)
    assert closed["6b-verified"] > closed["175b"]


def test_only_one_of_eight_instruction_sets_wins_against_gpt_35_at_any_size(tmp_path: Path) -> None:
    study = tmp_path / "guanaco-ladder.yaml"
    study.write_text((STUDIES / "guanaco-ladder.yaml").read_text())
    found = report(study)
    wins = {row["contestant"]: row["wins"] for row in found["preference"]}
    assert len(wins) == 32
    assert [wins[f"guanaco-{size}"] for size in ("7b", "13b", "30b", "65b")] == [37, 46, 69, 68]
    assert max(number for name, number in wins.items() if not name.startswith("guanaco")) == 4
