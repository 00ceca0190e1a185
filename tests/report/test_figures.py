import copy
import re
from typing import Any
from xml.etree import ElementTree

import pytest

from veneer.report.figures import every_figure, headline_plane
from veneer.report.marks import Drawing
from veneer.report.shown import read

Row = dict[str, Any]


@pytest.fixture(scope="module")
def drawings(study: Row) -> list[Drawing]:
    return [drawn for section in every_figure(read(study)).values() for drawn in section]


def test_every_figure_is_sound_svg_with_a_spoken_label(drawings: list[Drawing]) -> None:
    for drawn in drawings:
        root = ElementTree.fromstring(drawn.svg)  # noqa: S314 (our own)
        assert root.get("role") == "img"
        assert root.get("aria-label") == drawn.alt


def test_no_figure_asks_for_anything_outside(drawings: list[Drawing]) -> None:
    for drawn in drawings:
        assert "http" not in drawn.svg.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert "<style" not in drawn.svg


def test_no_two_figures_share_an_id(drawings: list[Drawing]) -> None:
    ids = [name for drawn in drawings for name in set(re.findall(r'\bid="([^"]+)"', drawn.svg))]
    assert len(ids) == len(set(ids))


def test_every_reference_inside_a_figure_leads_somewhere(drawings: list[Drawing]) -> None:
    for drawn in drawings:
        wanted = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', drawn.svg))
        assert {one or other for one, other in wanted} <= set(re.findall(r'\bid="([^"]+)"', drawn.svg))


def test_the_headline_plane_is_drawn_alone_with_equal_bytes(study: Row) -> None:
    assert headline_plane(study) == headline_plane(copy.deepcopy(study))


def test_the_plane_has_a_row_of_data_for_every_student(study: Row, drawings: list[Drawing]) -> None:
    assert len(drawings[0].rows) == len(study["veneer"])


def test_a_benchmark_has_a_panel_for_each_source(drawings: list[Drawing]) -> None:
    names = {drawn.name for drawn in drawings}
    assert {"score-relations-broad", "score-relations-local-city", "gap-broad", "gap-local-city"} <= names


def test_seeds_stand_apart_in_a_scores_data(drawings: list[Drawing]) -> None:
    panel = next(drawn for drawn in drawings if drawn.name == "score-city-broad")
    assert {row["seed"] for row in panel.rows} == {0, 1}


def test_an_audit_is_drawn_without_amounts_or_benchmarks(audit: Row) -> None:
    drawn = every_figure(read(audit))
    assert [len(drawn[key]) for key in ("headline", "scores", "gaps", "preference", "leverage")] == [
        1,
        0,
        0,
        1,
        0,
    ]


def test_a_study_in_which_everything_is_undefined_is_drawn(study: Row) -> None:
    drawn = every_figure(read(without_numbers(study)))
    assert [len(drawn[key]) for key in ("headline", "preference", "leverage")] == [0, 0, 0]


def without_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        if "low" in value:
            return {"undefined": "it was not measured", "n": 0}
        return {key: without_numbers(item) for key, item in value.items()}
    return [without_numbers(item) for item in value] if isinstance(value, list) else value
