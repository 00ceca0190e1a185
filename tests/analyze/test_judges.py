"""What the judge report says of judges whose bent is planted, and what it leaves Undefined."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.analyze import accord, judges, panel
from veneer.analyze.panel import Judge
from veneer.analyze.reading import Replies, Reply
from veneer.records import Comparison, Contestant, Role, Verdict
from veneer.store import Artefact
from veneer.study import AnalyzeSpec, Study

SPEC = AnalyzeSpec(resamples=400)
TEACHER = ["teacher"]
REVIEW = {"first": "llama", "second": "opt"}


def said(
    prompt: object, first: str, second: str, verdict: Verdict = Verdict.FIRST, by: str = "j"
) -> Comparison:
    return Comparison(prompt_id=str(prompt), first=first, second=second, verdict=verdict, by=by, reason="")


def judge(comparisons: Sequence[Comparison], name: str = "j", **more: Any) -> Judge:
    return Judge(name=name, comparisons=comparisons, **{"kind": "model", "people": False, **more})


def row(one: Judge, replies: Replies | None = None, others: Sequence[Judge] = ()) -> dict[str, Any]:
    return judges.rows_of([one, *others], replies or {}, TEACHER, SPEC)[0]


def both_orders(
    prompts: int, rule: Callable[[int, str, str], Verdict], one: str = "student", other: str = "teacher"
) -> list[Comparison]:
    pairs = ((one, other), (other, one))
    return [said(place, *pair, rule(place, *pair)) for place in range(prompts) for pair in pairs]


def winner(name: str) -> Callable[[int, str, str], Verdict]:
    return lambda _, first, __: Verdict.FIRST if first == name else Verdict.SECOND


def reply(**features: float) -> Reply:
    return Reply(text="", features=MappingProxyType(features), outcome=None, answer="")


def test_a_judge_that_looks_at_the_place_alone_is_seen_through() -> None:
    found = row(judge(both_orders(60, lambda *_: Verdict.FIRST)))
    assert found["first_position"]["value"] == 1
    assert found["first_position"]["low"] > 0.9
    assert found["flips"]["value"] == 1


def test_a_judge_that_looks_at_the_completion_alone_has_no_place_and_never_flips() -> None:
    found = row(judge(both_orders(60, winner("student"))))
    assert found["first_position"]["value"] == 0.5
    assert found["first_position"]["low"] < 0.5 < found["first_position"]["high"]
    assert found["flips"]["value"] == 0
    assert found["flips"]["high"] > 0


def test_planted_position_bias_is_found() -> None:
    draw = random.Random(0)

    def rule(place: int, first: str, second: str) -> Verdict:
        if draw.random() < 0.4:
            return Verdict.FIRST
        return winner("student" if place % 2 else "teacher")(place, first, second)

    found = row(judge(both_orders(400, rule)))["first_position"]
    assert found["low"] < 0.7 < found["high"]
    assert found["high"] - found["low"] < 0.1


def test_one_order_tells_nothing_of_the_place() -> None:
    found = row(judge([said(place, "student", "teacher") for place in range(30)]))
    assert found["first_position"] == {"undefined": "no pair was shown in both orders", "n": 0}
    assert found["flips"]["undefined"] == "no pair has a verdict in both orders"


def test_a_tie_in_one_order_is_no_flip_and_no_verdict_is_counted() -> None:
    comparisons = [
        one
        for place in range(20)
        for one in (said(place, "a", "teacher"), said(place, "teacher", "a", Verdict.TIE))
    ]
    none = [said(place, "b", "teacher", Verdict.NONE) for place in range(20)]
    wrote = {
        name: {str(place): reply(words=1, has_list=0) for place in range(20)} for name in ("b", "teacher")
    }
    found = row(judge([*comparisons, *none]), wrote)
    assert found["flips"]["value"] == 0
    assert (found["none"], found["comparisons"]) == (20, 60)
    assert found["no_verdict"]["value"] == pytest.approx(1 / 3)


def test_a_completion_that_failed_is_not_held_against_the_judge() -> None:
    wrote = {
        name: {str(place): reply(words=1, has_list=0) for place in range(20)}
        for name in ("a", "b", "teacher")
    }
    del wrote["b"]["0"]
    none = [said(place, "b", "teacher", Verdict.NONE) for place in range(2)]
    asked = judge([*none, *(said(place, "a", "teacher") for place in range(18))])
    found = row(asked, wrote)
    assert (found["none"], found["lacking"]) == (2, 1)
    assert found["no_verdict"]["value"] == pytest.approx(1 / 19)
    recorded = row(judge(asked.comparisons, kind="recorded"), wrote)
    assert recorded["no_verdict"]["value"] == pytest.approx(2 / 20)


def test_preference_for_the_longer_and_for_lists_counts_only_where_the_two_differ() -> None:
    replies = {
        "student": {str(place): reply(words=100 + place % 2, has_list=1.0) for place in range(40)},
        "teacher": {str(place): reply(words=100, has_list=float(place % 2)) for place in range(40)},
    }
    found = row(judge(both_orders(40, winner("student"))), replies)
    assert (found["longer"]["value"], found["longer"]["n"]) == (1, 20)
    assert (found["lists"]["value"], found["lists"]["n"]) == (1, 20)
    unknown = row(judge(both_orders(40, winner("student"))))
    assert unknown["longer"]["undefined"] == "no two completions are known to differ in length"


def test_what_a_judge_gives_its_own_family_stands_beside_what_raters_give_it() -> None:
    own = judge(both_orders(40, winner("teacher")), family=frozenset({"teacher", "teacher-again"}))
    crowd = judge(
        [
            said(place, "student", "teacher", Verdict.FIRST if place % 4 else Verdict.SECOND, by=rater)
            for place in range(40)
            for rater in ("p1", "p2", "p3")
        ],
        "people",
        people=True,
    )
    found = row(own, others=[crowd])
    assert found["own_family"]["value"] == 1
    assert found["own_family_by_raters"]["value"] == 0.25
    simulated = judge(both_orders(40, winner("teacher")), "simulated", kind="simulated", people=True)
    assert row(own, others=[crowd, simulated])["own_family_by_raters"]["value"] == 0.25
    assert row(own, others=[simulated])["own_family_by_raters"]["value"] == 1
    assert row(own)["own_family_by_raters"]["undefined"] == "no raters judged the same pairs"
    kinless = row(judge(both_orders(40, winner("teacher"))))
    assert "family" in kinless["own_family"]["undefined"]


def test_agreement_is_measured_on_the_pairs_that_both_judged() -> None:
    one = judge(both_orders(40, lambda place, *pair: winner(("student", "teacher")[place % 2])(place, *pair)))
    crowd = judge(
        [
            said(place, "teacher", "student", (Verdict.SECOND, Verdict.FIRST)[place % 2], by=rater)
            for place in range(30)
            for rater in ("p1", "p2")
        ],
        "people",
        people=True,
    )
    among, persons, two = accord.rows_of([crowd, one], TEACHER, SPEC)
    assert (among["judge"], among["with"], among["pairs"], among["alone"]) == ("people", "each other", 30, 0)
    assert among["alpha"]["value"] == 1
    assert "of two" in among["kappa"]["undefined"]
    assert (persons["judge"], persons["with"], persons["kappa"]["value"]) == ("p1", "p2", 1)
    assert (two["judge"], two["with"], two["pairs"], two["alone"]) == ("j", "people", 30, 10)
    assert two["kappa"]["value"] == two["alpha"]["value"] == two["same"]["value"] == 1
    assert two["kappa"]["low"] < 1


def test_a_judge_that_contradicts_itself_says_tie() -> None:
    votes = accord.votes_of(both_orders(1, lambda *_: Verdict.FIRST), TEACHER)
    assert votes == {("0", "student", "teacher"): {"j": "tie"}}


@given(st.lists(st.sampled_from(["win", "tie", "loss"]), min_size=1))
def test_the_word_of_most_needs_more_than_any_other(words: list[str]) -> None:
    word = accord.most_of(words)
    rivals = [words.count(other) for other in ("win", "tie", "loss") if other != word]
    assert word == "tie" or words.count(word) > max(rivals)


def test_a_canary_that_is_decided_otherwise_tells_of_a_changed_judge() -> None:
    def beside(verdict: str, asked: int = 2) -> dict[str, Any]:
        return {"verdicts": {"a": "first", "b": verdict}, "right": 2, "asked": asked, "fingerprint": verdict}

    same = {"canaries": {"x": beside("first"), "y": beside("first")}, "served": {"m-1": 4}}
    assert panel.notes_of([judge([], told=same)], TEACHER) == []
    changed = {"canaries": {"x": beside("first"), "y": beside("second")}, "served": {"m-1": 2, "m-2": 2}}
    one = judge([], "gpt", told=changed)
    assert row(one)["canaries"] == {
        "asked": 4, "right": 4, "changed": ["b"], "fingerprints": ["first", "second"],
    }  # fmt: skip
    first, second = panel.notes_of([one], TEACHER)
    assert "gpt did not decide the canaries b alike" in first
    assert "several names: m-1, m-2" in second
    unasked = {"canaries": {"x": beside("first"), "y": beside("none", asked=0) | {"verdicts": {}}}}
    assert panel.notes_of([judge([], told=unasked)], TEACHER) == []


def test_comparisons_of_two_students_are_in_no_win_rate_and_that_is_said() -> None:
    pairs = [("a", "b"), ("b", "a"), ("a", "teacher"), ("teacher", "a")]
    of_two = judge([said(place, *pair) for place, pair in enumerate(pairs)], "gpt")
    (note,) = panel.notes_of([of_two], TEACHER)
    assert note.startswith("Comparisons of two students by gpt (2) stand in no win rate")


def test_two_contestants_that_were_shown_in_one_order_alone_are_told_of() -> None:
    fixed = [said(place, "teacher", "a") for place in range(3)]
    mixed = [said(0, "teacher", "b"), said(1, "b", "teacher")]
    (note,) = panel.notes_of([judge([*fixed, *mixed], "gpt")], TEACHER)
    assert note.startswith(
        "3 of 5 comparisons by gpt are of two contestants of whom the same one always came first"
    )
    assert panel.notes_of([judge(fixed, kind="likelihood")], TEACHER) == []


def test_a_family_is_the_judge_itself_what_was_made_from_it_and_what_shares_its_maker(tmp_path: Path) -> None:
    def model(**more: str) -> dict[str, Any]:
        return {"replay": tmp_path / "none.jsonl", **more}

    study = Study.model_validate(
        {
            "name": "kin",
            "bases": {
                "llama": model(maker="meta"),
                "opt": model(maker="meta"),
                "gpt2": model(maker="openai"),
            },
            "teacher": model(name="gpt-3.5", maker="openai"),
            "students": {"alpaca": model(base="llama", maker="stanford"), "koala": model(base="gpt2")},
            "evaluate": {"prompts": {"items": tmp_path}},
            "judges": {
                "teacher": {"kind": "model"},
                "base": {"kind": "likelihood", "model": "llama"},
                "other": {"kind": "model", "model": model(maker="stanford")},
                "gpt-4": {"kind": "recorded", "maker": "openai", "reviews": [REVIEW | {"path": tmp_path}]},
            },
        }
    )
    roles = {"alpaca": Role.STUDENT, "koala": Role.STUDENT, "gpt-3.5": Role.TEACHER}
    bases = {"alpaca": "llama", "koala": "gpt2", "gpt-3.5": ""}
    people = [
        Contestant(
            name=name, role=roles.get(name, Role.BASE), student=name, base=bases.get(name, name),
            source="", amount=0, seed=0, replay=0.0,
        )
        for name in ("llama", "opt", "gpt2", "alpaca", "koala", "gpt-3.5")
    ]  # fmt: skip
    (tmp_path / "comparisons.jsonl").write_text("")
    compared = {
        name: Artefact(stage="judge", name=name, key=name, path=tmp_path)
        for name in [*study.judges, "people"]
    }
    found = {one.name: one for one in panel.of_study(study, people, compared, frozenset())}
    assert found["teacher"].family == {"gpt-3.5", "gpt-3.5-again", "gpt2"}
    assert found["base"].family == {"llama", "opt", "alpaca"}
    assert found["other"].family == {"alpaca"}
    assert found["gpt-4"].family == {"gpt-3.5", "gpt-3.5-again", "gpt2"}
    assert [one.name for one in found.values() if one.people] == ["people"]
