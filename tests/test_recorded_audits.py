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
