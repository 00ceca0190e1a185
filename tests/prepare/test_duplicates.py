import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.prepare.duplicates import normalise, query_of
from veneer.records import Message


@pytest.mark.parametrize(
    "text", ["What is  imitation?", "what is imitation", "WHAT IS\nIMITATION ?!", "what is ｉmitation ."]
)
def test_case_spacing_and_final_marks_do_not_part_queries(text: str) -> None:
    assert normalise(text) == "what is imitation"


@pytest.mark.parametrize(("one", "other"), [("3 - 4", "3 + 4"), ("f(x)", "f[x]"), ("is it so", "so it is")])
def test_what_means_something_else_stays_apart(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


@given(st.text())
def test_a_normal_form_is_its_own(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


def test_the_query_is_what_the_user_says_first() -> None:
    said = [("system", "Be short."), ("user", "What is  it?"), ("assistant", "A cat."), ("user", "And this?")]
    assert query_of([Message(role=role, content=content) for role, content in said]) == "what is it"
