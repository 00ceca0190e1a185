import copy
import re
from typing import Any

import pytest

from veneer.report.sentences import VERDICTS, five_answers, headline, verdict
from veneer.report.shown import plain, read

Row = dict[str, Any]


def veneers(study: Row, *ends: tuple[float, float]) -> Row:
    """The study with these intervals of veneer for the broad students at the largest amount, by base."""
    changed = copy.deepcopy(study)
    by_base = dict(zip(study["study"]["bases"], ends, strict=True))
    for row in changed["veneer"]:
        low, high = by_base[row["base"]]
        row["veneer"] = {"value": (low + high) / 2, "low": low, "high": high, "n": 400}
    return changed


def lead(study: Row) -> str:
    return plain(headline(read(study))[0])


def test_the_headline_speaks_of_all_bases(study: Row) -> None:
    changed = veneers(study, (0.5, 0.9), (0.5, 0.9), (0.5, 0.9))
    assert lead(changed) == "More style than substance for small, medium and large."


def test_the_headline_says_no_more_than_the_intervals(study: Row) -> None:
    changed = veneers(study, (-0.1, 0.9), (0.1, 0.9), (-0.8, -0.2))
    assert lead(changed) == (
        "More style than substance for medium; more substance than style for large; undecided for small."
    )


def test_the_headline_is_undecided_where_all_intervals_hold_zero(study: Row) -> None:
    assert lead(veneers(study, (-0.1, 0.9), (-0.1, 0.9), (-0.8, 0.2))).startswith("Undecided")


def test_a_student_that_fell_behind_its_base_is_said_to(study: Row) -> None:
    assert "of the capability gap: it fell behind its base." in plain(headline(read(study))[2])


def test_a_gap_on_all_items_that_is_undefined_is_said_to_be(study: Row) -> None:
    changed = copy.deepcopy(study)
    for row in changed["veneer"]:
        row["capability_gap_closed"] = {"undefined": "nobody knows what the data supports", "n": 0}
    for row in changed["gap_closed"]:
        row["gap_closed"] = {"undefined": "the teacher does not measurably beat the base", "n": 40}
    said = " ".join(map(plain, headline(read(changed))))
    assert "closed on all items of" in said
    assert "(the teacher does not measurably beat the base)" in said


def test_each_claim_stands_with_its_own_verdict(study: Row, audit: Row) -> None:
    for answers in (study, audit):
        said = re.findall(rf"^  (\d) ({'|'.join(VERDICTS)})\b", verdict(answers), re.MULTILINE)
        assert said == [(str(row["number"]), row["verdict"]) for row in answers["claims"]]


def test_verdict_words_stand_nowhere_but_with_their_claims(study: Row) -> None:
    rest = re.sub(r"^  \d (supported|contradicted|undecided).*", "", verdict(study), flags=re.MULTILINE)
    rest = rest.replace("The paper's claims: 5 supported, 1 contradicted, 2 undecided.", "")
    assert not re.search(r"\b(contradicted|undecided)\b", rest)


def test_every_measured_number_of_the_verdict_is_in_the_answers(study: Row) -> None:
    known = {
        (round(100 * number["value"]), round(100 * number["low"]), round(100 * number["high"]))
        for number in numbers(study)
    }
    said = re.findall(r"([+−]?\d+)(?: %| points)?\s+\[(−?\d+), (−?\d+)\]", verdict(study).replace("\n", " "))
    assert len(said) >= 7
    assert {tuple(int(part.replace("−", "-")) for part in parts) for parts in said} <= known


def numbers(value: Any) -> list[Row]:
    if isinstance(value, dict):
        return [value] if "low" in value else [found for item in value.values() for found in numbers(item)]
    return [found for item in value for found in numbers(item)] if isinstance(value, list) else []


def test_the_verdict_is_a_screenful(study: Row, audit: Row) -> None:
    for answers in (study, audit):
        lines = verdict(answers).splitlines()
        assert len(lines) <= 48
        assert max(len(line) for line in lines) <= 80


def test_an_audit_says_what_it_cannot_tell_and_why(audit: Row) -> None:
    text = " ".join(verdict(audit).split())
    assert "Whether style or substance moved more is Undefined: the study has no benchmark." in text
    assert " 0 % of the capability gap" not in text


def test_simulated_raters_are_called_simulated(study: Row) -> None:
    changed = copy.deepcopy(study)
    changed["study"]["judges"] = [{"name": "raters", "kind": "simulated"}]
    for row in changed["preference"]:
        row["judge"], row["kind"] = "raters", "simulated"
    assert "raters (simulated)" in verdict(changed)


def test_how_many_examples_the_report_lists_is_told(study: Row) -> None:
    assert "In full in the report: 12." in " ".join(verdict(study, 12).split())


@pytest.mark.parametrize("key", ["veneer", "preference", "leverage", "gap_closed", "claims"])
def test_a_list_without_rows_leaves_words(study: Row, key: str) -> None:
    assert verdict(study | {key: []}).startswith("pocket")


def test_a_reason_shared_but_for_its_figures_is_given_once(study: Row) -> None:
    changed = copy.deepcopy(study)
    for place, row in enumerate(changed["veneer"]):
        reason = f"the teacher does not measurably beat the base: +0.0{place:02} [-0.010, +0.040]"
        row["capability_gap_closed"] = row["veneer"] = {"undefined": reason, "n": 9}
    assert lead(changed).endswith("Undefined: the teacher does not measurably beat the base.")
    text = " ".join(verdict(changed).split())
    assert "support: Undefined for large (the teacher does not measurably beat the base);" in text


def test_a_study_without_checkable_prompts_says_why_it_lists_no_wrong_answers(audit: Row) -> None:
    assert "5 Undefined (no student answered all prompts, or none that can be checked" in " ".join(
        verdict(audit, 0).split()
    )


def next_step(best: str, *buys: float) -> Row:
    options = [
        {"step": step, "buys": {"value": value, "low": value - 0.01, "high": value + 0.01, "n": 90}}
        for step, value in zip(("twice the broad data", "a better base"), buys, strict=True)
    ]
    ahead = {"value": 0.1, "low": 0.05, "high": 0.15, "n": 90}
    return {"measure": "capability", "unit": "score", "options": options, "best": best, "ahead": ahead}


@pytest.mark.parametrize(
    ("best", "opening"),
    [
        ("a better base", "Next, to raise capability: a better base."),
        ("", "What to do next to raise capability"),
    ],
)
def test_the_next_step_is_said_or_that_it_cannot_be_told(study: Row, best: str, opening: str) -> None:
    changed = {**study, "next_step": [next_step(best, 0.01, 0.11)]}
    said = [plain(sentence) for answer in five_answers(read(changed), None) for sentence in answer.more]
    (found,) = [sentence for sentence in said if sentence.startswith(opening)]
    assert "twice the broad data buys +1" in found
    assert ("can't tell" in found) == (not best)


def test_of_many_students_of_an_audit_the_nearest_in_style_are_named(audit: Row) -> None:
    many = copy.deepcopy(audit)
    first = many["veneer"][0]
    for place in range(10):
        closed = {"value": 0.9 + place / 1000, "low": 0.8, "high": 1.0, "n": 80}
        many["veneer"].append({**first, "student": f"copy-{place}", "style_gap_closed": closed})
    said = " ".join(plain(sentence) for sentence in headline(read(many)))
    assert "Of 13 students the nearest in style are these: copy-9 closed" in said
    assert "copy-1 " not in said


def test_an_audit_without_imitation_data_is_told_what_it_closed_on_all_items(study: Row) -> None:
    bare = copy.deepcopy(study)
    bare["study"]["kind"] = "audit"
    why = {"undefined": "no prompts for style", "n": 0}
    for row in bare["veneer"]:
        row |= {"capability_gap_closed": why, "veneer": why, "style_gap_closed": why}
    bare["veneer"] = bare["veneer"][:2]
    said = [plain(sentence) for sentence in headline(read(bare))]
    assert re.match(r"On all items of city, \S+ closed .+ of the gap to teacher\.", said[1])
    assert any(sentence.startswith("The style gap closed: Undefined for") for sentence in said)


def test_those_that_are_undefined_for_one_reason_are_named_together_beside_the_numbers(audit: Row) -> None:
    changed = copy.deepcopy(audit)
    for row in changed["preference"]:
        rate = {"undefined": "too few prompts", "n": 3}
        row["win_rate"] = row["win_rate"] if row["contestant"] == "vicuna-13b" else rate
    for row in changed["veneer"][:2]:
        row["style_gap_closed"] = {"undefined": "it was not asked", "n": 0}
    data = read(changed)
    short = plain(five_answers(data, 0)[1].short)
    assert re.fullmatch(
        r"Win rate against gpt-3\.5 by gpt-4: vicuna-13b \d+ % \[\d+, \d+\]; "
        r"Undefined for alpaca-13b, vicuna-7b and the base llama-13b \(too few prompts\)\.",
        short,
    )
    assert re.fullmatch(
        r"Undefined for alpaca-13b and vicuna-7b \(it was not asked\); vicuna-13b closed \d+ % .* of the style gap\.",
        plain(headline(data)[1]),
    )
