"""Requirements of a pipeline: read, and decided by intervals alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.analyze.require import Checked, Decision, Term, check, parse
from veneer.errors import StudyError
from veneer.stats import Draws, Estimate, Undefined


def around(value: float, width: float = 0.1) -> Draws:
    return Draws(value=value, draws=value + width * np.linspace(-1, 1, 401), n=400)


def decided(text: str, numbers: dict[str, Draws | Undefined]) -> Checked:
    return check([parse(text)], lambda term: numbers[str(term)], 0.95)[0]


def test_a_requirement_names_measures_by_what_they_are_of() -> None:
    found = parse(" gap_closed[nq_open, vicuna-13b] >= 10% ")
    assert found.left == Term(measure="gap_closed", of=("nq_open", "vicuna-13b"))
    assert (found.compared, found.right) == (">=", 0.1)


@pytest.mark.parametrize(("text", "number"), [(".1", 0.1), ("-1.", -1.0), ("1e-1", 0.1), ("+50 %", 0.5)])
def test_numbers_are_read_as_people_write_them(text: str, number: float) -> None:
    assert parse(f"gain[a] < {text}").right == number


@pytest.mark.parametrize(
    "text",
    ["", "score[a]", "score[a] = 1", "score a > 1", "1 > score[a]", "score[a] > 1 > 2", "score[a] > x"],
)
def test_what_is_no_requirement_is_refused_with_the_grammar(text: str) -> None:
    with pytest.raises(StudyError, match="MEASURE"):
        parse(text)


@pytest.mark.parametrize(
    ("value", "decision"), [(0.5, Decision.MET), (0.3, Decision.UNDECIDED), (0.05, Decision.NOT_MET)]
)
def test_only_the_whole_interval_decides(value: float, decision: Decision) -> None:
    assert decided("gain[a] > 0.25", {"gain[a]": around(value)}).decision is decision


def test_a_share_s_interval_lies_between_0_and_1() -> None:
    number = decided("score[a] >= 0", {"score[a]": around(0.01)}).number
    assert isinstance(number, Estimate)
    assert number.low >= 0


def test_a_number_that_is_undefined_decides_nothing() -> None:
    found = decided("score[a] < 1", {"score[a]": Undefined(reason="nobody was asked", n=0)})
    assert (found.decision, found.number) == (Decision.UNDECIDED, Undefined(reason="nobody was asked", n=0))


def test_two_numbers_are_compared_on_the_same_items() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 0.2, 2000)
    one = Draws(value=0.52, draws=0.52 + shared, n=100)
    other = Draws(value=0.5, draws=0.5 + shared + rng.normal(0, 0.001, 2000), n=100)
    found = decided("score[m, a] >= score[m, b]", {"score[m, a]": one, "score[m, b]": other})
    assert found.decision is Decision.MET


@given(st.floats(-2, 2), st.floats(-2, 2), st.sampled_from([">", ">=", "<", "<="]))
def test_what_is_met_is_never_met_the_other_way_round(value: float, bound: float, compared: str) -> None:
    other = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}[compared]
    numbers: dict[str, Draws | Undefined] = {"gain[a]": around(value)}
    here = decided(f"gain[a] {compared} {bound:.6f}", numbers).decision
    there = decided(f"gain[a] {other} {bound:.6f}", numbers).decision
    assert {here, there} in ({Decision.MET, Decision.NOT_MET}, {Decision.UNDECIDED})
