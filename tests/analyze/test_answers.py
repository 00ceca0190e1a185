"""The whole analysis of a made-up study finds what was planted in it, and leaves out nothing silently."""

import json
from pathlib import Path
from typing import Any

from tests.analyze.conftest import BENCHMARKS, KNOWS, Plan, write_study
from veneer import store
from veneer.analyze.answers import analyze, order
from veneer.analyze.measures import Evidence
from veneer.study import Study

MadeUp = tuple[Study, Evidence, dict[str, Any], list[dict[str, Any]]]


def numbers(value: object) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        if {"value", "low", "high", "n"} == set(value) or {"undefined", "n"} == set(value):
            return [value]
        return [number for item in value.values() for number in numbers(item)]
    return [number for item in value for number in numbers(item)] if isinstance(value, list) else []


def row(rows: list[dict[str, Any]], **wanted: object) -> dict[str, Any]:
    found = [one for one in rows if all(one[key] == value for key, value in wanted.items())]
    assert len(found) == 1, f"{len(found)} rows are {wanted}"
    return found[0]


def test_every_number_lies_in_its_interval_or_says_why_there_is_none(made_up: MadeUp) -> None:
    found = numbers(made_up[2])
    assert len(found) > 300
    for number in found:
        if "undefined" in number:
            assert number["undefined"]
        else:
            assert number["low"] <= number["value"] <= number["high"]


def test_outcomes_add_up_to_the_items(made_up: MadeUp) -> None:
    for score in made_up[2]["scores"]:
        assert sum(score["outcomes"].values()) == 60


def test_scores_come_out_as_planted(made_up: MadeUp) -> None:
    for name, knows in KNOWS.items():
        if name in ("small", "large", "teacher"):
            score = row(made_up[2]["scores"], contestant=name, benchmark="pet")["lenient"]
            assert score["low"] <= knows <= score["high"]


def test_local_imitation_closes_its_own_gap_only_where_its_data_supports_it(made_up: MadeUp) -> None:
    rows = made_up[2]["gap_closed"]
    wanted = {
        "source": "local-city",
        "base": "small",
        "amount": 4000,
        "benchmark": "city",
        "grading": "lenient",
    }
    supported, unsupported = (row(rows, **wanted, items=which) for which in ("supported", "unsupported"))
    assert supported["gap_closed"]["low"] > 0.5
    assert unsupported["gap_closed"]["high"] < 0.7
    assert supported["gap_closed"]["low"] > unsupported["gap_closed"]["value"]


def test_support_grows_with_the_amount_as_planted(made_up: MadeUp) -> None:
    shares = [
        row(made_up[2]["support"], source="local-city", benchmark="city", amount=amount)["share"]["value"]
        for amount in (1000, 2000, 4000)
    ]
    assert shares == [0.25, 0.5, 0.75]
    broad = row(made_up[2]["support"], source="broad", benchmark="city", amount=4000)["share"]["value"]
    assert broad == 0


def test_style_comes_out_as_planted(made_up: MadeUp) -> None:
    rows = made_up[2]["style_gap_closed"]
    broad = row(rows, source="broad", base="small", amount=4000, replay=0.0)["distance"]
    local = row(rows, source="local-city", base="small", amount=4000)["distance"]
    # Planted: the broad student has all of the teacher's style, the local one a tenth of it.
    assert broad["low"] <= 0.0 <= broad["high"] < local["low"]


def test_the_planted_veneer_is_seen(made_up: MadeUp) -> None:
    planted = row(made_up[2]["veneer"], source="broad", base="small", amount=4000, replay=0.0)
    assert planted["veneer"]["low"] > 0.3


def test_what_was_planted_by_far_is_supported_and_what_was_not_is_undecided(tmp_path: Path) -> None:
    study, evidence = write_study(Plan(items=120, prompts=100), tmp_path)
    content, _ = analyze(study, evidence)
    verdicts = {claim["number"]: claim["verdict"] for claim in content["claims"]}
    # Unsupported gaps (3, 7) are closed by nothing, as planted; so few items cannot tell that from a tenth.
    supported = {1, 2, 4, 8}
    assert verdicts == {number: "supported" if number in supported else "undecided" for number in range(1, 9)}


def test_the_confident_and_wrong_items_are_shown_in_full(made_up: MadeUp) -> None:
    rows = made_up[3]
    assert rows
    assert all("shared" in json.dumps(one) for one in rows)


def test_one_item_that_could_not_be_asked_leaves_the_score_undefined(tmp_path: Path) -> None:
    plan = Plan(failing=frozenset({"small"}), resamples=100)
    study, evidence = write_study(plan, tmp_path)
    content, _ = analyze(study, evidence)
    score = row(content["scores"], contestant="small", benchmark="pet")
    assert "1 " in score["lenient"]["undefined"]
    assert score["outcomes"]["failed"] == 1
    closed = row(
        content["gap_closed"], source="broad", base="small", amount=4000, replay=0.0,
        benchmark="pet", grading="lenient", items="all",
    )  # fmt: skip
    assert "undefined" in closed["gap_closed"]


def test_one_training_seed_is_said_to_make_intervals_too_narrow(tmp_path: Path) -> None:
    study, evidence = write_study(Plan(seeds=(0,), resamples=100), tmp_path)
    content, _ = analyze(study, evidence)
    assert any("one training seed" in note for note in content["study"]["notes"])


def test_the_same_evidence_gives_the_same_answers(tmp_path: Path, made_up: MadeUp) -> None:
    study, evidence, content, _ = made_up
    again = store.Store(root=tmp_path).build(order(study, evidence))
    assert json.loads((again.path / "answers.json").read_text()) == content


def test_every_benchmark_is_in_the_report(made_up: MadeUp) -> None:
    assert [one["name"] for one in made_up[2]["study"]["benchmarks"]] == list(BENCHMARKS)
