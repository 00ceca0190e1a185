"""The lists of report.json as CSV."""

import csv
from pathlib import Path

from veneer.report.sheets import write_sheet
from veneer.report.shown import read


def test_numbers_take_columns_and_lists_of_them_stay_json(tmp_path: Path) -> None:
    number = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 8}
    data = read({"rows": [{"score": number, "curve": [{"gain": number}], "name": "a"}]})
    write_sheet(tmp_path / "rows.csv", data["rows"])
    (row,) = csv.DictReader((tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines())
    assert (row["score_value"], row["score_n"], row["name"]) == ("0.5", "8", "a")
    assert row["curve"] == '[{"gain": {"value": 0.5, "low": 0.25, "high": 0.75, "n": 8}}]'
