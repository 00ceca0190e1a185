"""Tables hold every score with what became of its answers, and tell format from knowledge in all forms."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from veneer.report import pick, tables
from veneer.report.shown import Bare, Shown, every, read

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


def test_reasons_that_differ_in_figures_or_in_who_lacks_the_number_are_one(study: Row) -> None:
    data = copy.deepcopy(study)
    why = "style told nothing on 3 prompts"
    for number, row in enumerate(data["veneer"][:6], 1):
        seed = f"{row['student']}-s0"
        row["veneer"] = {"undefined": f"{seed}: {why.replace('3', str(number))}", "n": 0}
    (found,) = (one for one in tables.reasons(read(data)) if why[:18] in one.text)
    assert (found.times, len(found.wordings), found.lists) == (6, 6, ("veneer",))


def estimates(columns: int, most: int) -> Iterator[Any]:
    for place in range(columns):
        yield "word" if place >= most else next(iter(every(study_of_one())))


def study_of_one() -> Row:
    return read({"score": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}})


@pytest.mark.parametrize(("columns", "most", "look"), [(5, 4, ""), (7, 3, "stacked"), (7, 5, "dense")])
def test_a_table_of_many_columns_gives_its_estimates_lines_of_their_own(
    columns: int, most: int, look: str
) -> None:
    made = tables.table("", ["x"] * columns, [("", [list(estimates(columns, most))])])
    assert made.look == look
