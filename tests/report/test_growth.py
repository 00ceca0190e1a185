"""Ratings over data and scores over bases are drawn where there is something to see."""

from typing import Any

from veneer.report import growth
from veneer.report.shown import read

Row = dict[str, Any]


def test_each_judge_and_source_has_a_panel_of_ratings(study: Row) -> None:
    names = [drawn.name for drawn in growth.rating_panels(read(study))]
    assert names == [
        "rating-likely-broad",
        "rating-likely-local-city",
        "rating-simulated-broad",
        "rating-simulated-local-city",
    ]


def test_a_panel_of_ratings_has_every_amount_of_every_base(study: Row) -> None:
    drawn = growth.rating_panels(read(study))[0]
    places = {(row["base"], row["amount"]) for row in drawn.rows}
    assert len(places) == len(study["study"]["bases"]) * len(study["study"]["amounts"])
    assert all(row["replay"] == 0 for row in drawn.rows)


def test_scores_over_bases_stand_beside_no_imitation(study: Row) -> None:
    drawn = next(one for one in growth.base_panels(read(study)) if one.name == "bases-city")
    assert {row["kind"] for row in drawn.rows} == {
        "no imitation",
        "broad imitation",
        "local-city imitation",
    }
    assert {row["amount"] for row in drawn.rows} == {0, max(study["study"]["amounts"])}


def test_an_audit_has_neither(audit: Row) -> None:
    assert growth.rating_panels(read(audit)) == growth.base_panels(read(audit)) == []
