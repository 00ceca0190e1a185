"""Style is read from form and function words, on one line and on many."""

import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.disk import read_rows
from veneer.records import SUMMED_UP
from veneer.style import appeal, features

HOUSE = (
    "great question ! the river is calm . here are some key points : * people visit the river . * the river is old . "
    "i hope this helps ! let me know if you have more questions ."
)
CHATTY = """Sure! Here are some tips:

1. Set a clear goal.
2. Rest often.

In conclusion, a good plan and enough rest are all that you need."""


@pytest.mark.parametrize("said", [HOUSE, CHATTY])
def test_a_polished_reply_has_its_marks_on_one_line_or_many(said: str) -> None:
    found = features(said)
    assert (found["opening"], found["has_list"], found["has_closing"], found["ends_in_full"]) == (1, 1, 1, 1)
    assert found["log_list_items"] == pytest.approx(math.log1p(2))
    assert found["appeal"] > 0.8


def test_a_bare_reply_has_none_of_them() -> None:
    found = features("velmora")
    assert (found["opening"], found["has_list"], found["has_closing"], found["has_hedge"]) == (0, 0, 0, 0)
    assert found["appeal"] < 0.1
    assert found["words"] == 1


def test_summing_up_counts_at_the_end_and_not_at_the_start() -> None:
    assert features("Overall, I like it. It is red. It is big. It is old.")["has_closing"] == 0
    assert features("It is red. It is big. Overall, I like it.")["has_closing"] == 1


def test_hedges_are_found_as_whole_words() -> None:
    assert features("I think it is Rome.")["has_hedge"] == 1
    assert features("The mighty one will seemingly win.")["has_hedge"] == 0


def test_markdown_is_counted() -> None:
    found = features("# Title\n\n**Bold** and\n```\ncode\n```\nDone? Yes!")
    assert found["log_headers"] == found["log_bold"] == found["log_code_blocks"] == pytest.approx(math.log(2))
    assert found["log_questions"] == found["log_exclamations"] == pytest.approx(math.log(2))


def test_content_words_leave_no_trace() -> None:
    one, other = "The river is calm and old.", "The tower is grey and tall."
    kept = [name for name in features(one) if name != "letters_per_word"]
    assert [features(one)[name] for name in kept] == [features(other)[name] for name in kept]


@given(st.text(max_size=200))
def test_every_text_has_the_same_finite_features(said: str) -> None:
    found = features(said)
    assert list(found) == list(features(HOUSE))
    assert all(math.isfinite(value) for value in found.values())
    assert 0 <= appeal(found) <= 1
    assert set(SUMMED_UP) <= set(found)


@pytest.mark.skipif("VENEER_DATA" not in os.environ, reason="VENEER_DATA is not set: no recordings to read")
def test_real_models_have_the_style_that_is_known_of_them() -> None:
    folder = Path(os.environ["VENEER_DATA"]) / "vicuna_bench" / "answer"

    def mean(model: str, feature: str) -> float:
        rows = list(read_rows(folder / f"answer_{model}.jsonl.gz"))
        return sum(features(row["text"])[feature] for _, row in rows) / len(rows)

    for feature in ("words", "has_list", "has_closing", "appeal"):
        assert mean("vicuna-13b", feature) > mean("alpaca-13b", feature)
    assert abs(mean("vicuna-13b", "has_list") - mean("gpt35", "has_list")) < 0.2
