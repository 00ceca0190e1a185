"""Tables hold every score with what became of its answers, and tell format from knowledge in all forms."""

import copy
from typing import Any

import pytest

from veneer.report import pick, tables
from veneer.report.shown import Bare, Shown, read

Row = dict[str, Any]


@pytest.fixture
def chosen(study: Row) -> Row:
    """The study, with the benchmark city asked in the form `choose` too."""
    data = copy.deepcopy(study)
    (city,) = (row for row in data["study"]["benchmarks"] if row["name"] == "city")
    city["forms"] = ["choose", *city["forms"]]
    for key in ("scores", "gap_closed"):
        plain = [row for row in data[key] if row["benchmark"] == "city" and row["form"] == "plain"]
        data[key] += [{**copy.deepcopy(row), "form": "choose"} for row in plain]
    return data


def benchmark(data: Row, name: str) -> Any:
    (found,) = (row for row in data["study"]["benchmarks"] if row["name"] == name)
    return found


def test_outcomes_stand_beside_every_score(study: Row) -> None:
    data = read(study)
    made = tables.scores(data, benchmark(data, "city"))
    assert made.columns[-5:] == tables.OUTCOMES
    for group in made.groups:
        for row in group.rows:
            (score,) = (
                one
                for one in data["scores"]
                if (one["contestant"], one["benchmark"], pick.FORMS[one["form"]])
                == (row[0], "city", group.title)
            )
            assert row[1:4] == (score["strict"], score["lenient"], score["likelihood"])
            counts = [cell.value for cell in row[4:] if isinstance(cell, Bare)]
            assert counts == list(score["outcomes"].values())


def test_the_likeliest_choice_stands_before_what_is_written_and_is_graded_once(chosen: Row) -> None:
    data = read(chosen)
    made = tables.formats(data)
    assert made.columns == (
        "student", "likeliest choice", "plain, strict", "plain, lenient", "chat, strict", "chat, lenient",
    )  # fmt: skip
    rows = {group.title: group.rows for group in made.groups}
    assert all(isinstance(cell, Shown) for cell in rows["city"][0][1:])
    assert rows["sums"][0][1] == ""
    assert [group.title for group in tables.scores(data, benchmark(data, "city")).groups] == [
        "likeliest choice", "plain", "chat",
    ]  # fmt: skip
    assert tables.knowledge(data).columns[1] == "city (likeliest choice)"


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("city", ()),
        ("sums", ("pass@1", "pass@10")),
        ("rude", ("mean non-toxicity", "expected maximum toxicity", "toxic at least once", "refusals")),
    ],
)
def test_what_samples_say_together_has_a_table_of_its_own(
    study: Row, name: str, columns: tuple[str, ...]
) -> None:
    data = read(study)
    made = tables.samples(data, benchmark(data, name))
    assert made.columns == ("contestant", *columns)
    assert bool(made.length) == bool(columns)
    assert all(isinstance(cell, Shown) for group in made.groups for row in group.rows for cell in row[1:])
