"""Rows survive the trip through JSON, and malformed ones are refused with their place."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.errors import DataError
from veneer.records import Completion, Example, Grade, Message, Outcome, Stop, from_row, to_row

texts = st.text(max_size=30)


@given(text=texts, stop=st.sampled_from(Stop), tokens=st.integers(0, 10**6))
def test_a_completion_survives_json(text: str, stop: Stop, tokens: int) -> None:
    row = Completion(
        prompt_id="p", sample=0, model="m", rendered=text, text=text, stop=stop, detail="",
        tokens_in=tokens, tokens_out=tokens,
    )  # fmt: skip
    assert from_row(Completion, json.loads(json.dumps(to_row(row))), "here") == row


@given(turns=st.lists(texts, max_size=4))
def test_an_example_survives_json_with_its_turns(turns: list[str]) -> None:
    row = Example(
        example_id="e",
        source="s",
        messages=tuple(Message(role="user", content=turn) for turn in turns),
        tokens=3,
    )
    assert from_row(Example, json.loads(json.dumps(to_row(row))), "here") == row


def grade_row(**changes: Any) -> dict[str, Any]:
    grade = Grade(
        contestant="c", benchmark="b", form="chat", prompt_id="p", cluster="k", sample=0,
        strict=Outcome.WRONG, lenient=Outcome.CORRECT, answer="", reference_loglikelihood=None,
    )  # fmt: skip
    return to_row(grade) | changes


def test_a_missing_number_may_be_none_where_the_field_allows_it() -> None:
    assert from_row(Grade, grade_row(), "here").reference_loglikelihood is None
    assert from_row(Grade, grade_row(reference_loglikelihood=-1), "here").reference_loglikelihood == -1.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"strict": "perhaps"}, "f.jsonl:3, field strict: found 'perhaps'"),
        ({"sample": "one"}, "f.jsonl:3, field sample: found 'one'"),
        ({"sample": True}, "field sample"),
        ({"colour": "red"}, "unknown ['colour']"),
    ],
)
def test_a_malformed_row_is_refused_with_its_place(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as error:
        from_row(Grade, grade_row(**changes), "f.jsonl:3")
    assert said in str(error.value)
