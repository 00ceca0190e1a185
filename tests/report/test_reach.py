"""The support curve is drawn where it is known, and for the largest amount of each source alone."""

from typing import Any

from veneer.report.reach import panels
from veneer.report.shown import read

Row = dict[str, Any]


def curve(study: Row, gain: Row) -> list[Row]:
    rungs = {row["student"]: row for row in study["gap_closed"]}.values()
    keys = ("student", "base", "source", "amount", "replay")
    return [
        {**{key: row[key] for key in keys}, "benchmark": "city", "form": "plain", "measure": "queries"}
        | {"nearness": place / 10, "gain": gain}
        for row in rungs
        for place in range(3)
    ]


def test_each_source_is_drawn_at_its_largest_amount(study: Row) -> None:
    known = {"value": 0.1, "low": 0.0, "high": 0.2, "n": 400}
    (drawn,) = panels(read({**study, "support_curve": curve(study, known)}))
    assert drawn.name == "support-city"
    assert {row["amount"] for row in drawn.rows} == {max(study["study"]["amounts"])}
    assert len({row["source"] for row in drawn.rows}) > 1
    assert all(row["replay"] == 0 for row in drawn.rows)


def test_a_curve_that_is_undefined_is_not_drawn(study: Row) -> None:
    assert panels(read({**study, "support_curve": curve(study, {"undefined": "few items", "n": 9})})) == []


def test_a_study_without_curves_has_no_panel(audit: Row) -> None:
    assert panels(read(audit)) == []
