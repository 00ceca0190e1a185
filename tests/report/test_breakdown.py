"""The tables that take numbers apart hold what report.json holds, and say so where there is nothing."""

import copy
from typing import Any

from veneer.report import breakdown, preferred, tables
from veneer.report.shown import Bare, Shown, read

Row = dict[str, Any]


def test_each_gain_has_what_would_be_found_and_a_test_beside_it(study: Row) -> None:
    data = read(study)
    made = breakdown.gains(data, largest=True)
    rows = {group.title: group.rows for group in made.groups}
    assert [row[0] for row in rows["city"]][:2] == ["small · broad · 80k", "medium · broad · 80k"]
    (known,) = (
        row for row in data["gains"] if (row["student"], row["benchmark"]) == ("large-broad-80k", "city")
    )
    line = rows["city"][2]
    assert line[1:4] == (known["strict_gain"], known["knowledge_gain"], known["format_gain"])
    assert [cell.text for cell in line[4:6] if isinstance(cell, Bare)] == ["6.1", "<\u202f0.001"]
    assert line[6] == "above"


def test_a_gain_that_could_not_be_had_has_no_p_value_either(study: Row) -> None:
    (rude,) = (group for group in breakdown.gains(read(study), largest=True).groups if group.title == "rude")
    assert all(isinstance(cell, Shown) and cell.reason for cell in rude.rows[0][1:6])


def test_every_student_s_gain_is_told_where_the_largest_amounts_are_not_enough(study: Row) -> None:
    assert breakdown.gains(read(study), largest=False).length == len(study["gains"])


def test_each_student_s_subjects_stand_one_under_the_other(study: Row) -> None:
    data = read(study)
    city, relations = (row for row in data["study"]["benchmarks"] if row["name"] in ("city", "relations"))
    made = breakdown.subjects(data, city)
    assert [group.title for group in made.groups][:2] == ["small · broad · 80k", "medium · broad · 80k"]
    assert len(made.groups) == 6
    assert [row[0] for row in made.groups[0].rows] == ["where one lives", "where one works"]
    assert all(isinstance(cell, Shown) for cell in made.groups[0].rows[0][2:])
    assert not breakdown.subjects(data, relations).length


def test_nearness_has_a_column_for_each_measure_that_the_study_has(study: Row) -> None:
    made = breakdown.nearness(read(study))
    assert made.columns == (
        "benchmark", "tokens", "words of the nearest query", "words of the nearest answer",
        "items whose reference it holds",
    )  # fmt: skip
    lines = {(group.title, row[0]): row for group in made.groups for row in group.rows}
    assert lines["broad", "rude"][4] == ""
    assert isinstance(lines["broad", "city"][4], Shown)


def test_what_a_study_lacks_makes_no_rows(audit: Row) -> None:
    data = read(audit)
    made = [breakdown.gains(data, largest=True), breakdown.nearness(data), tables.steps(data)]
    made += [breakdown.differences(data), breakdown.contaminated(data)]
    assert [one.length for one in made] == [0] * 5


def test_next_steps_are_priced_where_the_study_has_prices(study: Row) -> None:
    priced, free = read(study), copy.deepcopy(study)
    for option in free["next_step"][0]["options"]:
        del option["cost"], option["per_thousand_dollars"]
    (group,) = tables.steps(priced).groups
    assert [cell.text for cell in group.rows[0] if isinstance(cell, Bare)] == [
        "80\u202f000",
        "2.40e+13",
        "0.0123",
        "1.5",
    ]
    assert not tables.steps(read(free)).length


def test_what_people_said_of_style_and_of_correctness_stands_side_by_side(study: Row) -> None:
    data = read(study)
    made = preferred.apart(data)
    assert made.columns == ("contestant", "better overall", "better written", "more correct")
    (style, right) = (
        row["win_rate"] for row in data["asked_apart"] if row["contestant"] == "large-broad-80k"
    )
    (line,) = (row for group in made.groups for row in group.rows if row[0] == "large · broad · 80k")
    assert line[1:] == ("", style, right)
    assert preferred.apart_ways(data).length == len(study["asked_apart"])


def test_where_nothing_was_asked_apart_there_is_no_table_of_it(audit: Row) -> None:
    assert not preferred.apart(read(audit)).length
