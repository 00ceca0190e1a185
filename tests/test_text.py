"""English is read in the same way by everybody."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer import text

PHRASES = st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=6), min_size=1, max_size=12)


def squad(answer: str) -> str:
    """SQuAD's official normalisation, word for word."""
    import re

    plain = "".join(sign for sign in answer.lower() if sign not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", plain).split())


@given(st.text(string.ascii_letters + " '’,!?;:\"()", max_size=40))
def test_normalising_agrees_with_squad_where_no_hyphen_digit_or_accent_stands(answer: str) -> None:
    answer = answer.replace("’", "'")
    wanted = squad(answer)
    spaced = "".join(sign if sign not in '!?;:"()' else " " for sign in answer)
    assert text.normalise(spaced) == squad(spaced) or not squad(spaced)
    assert text.normalise(answer).replace(" ", "") == wanted.replace(" ", "") or "a" in answer.lower()


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing_more(answer: str) -> None:
    once = text.normalise(answer)
    assert text.normalise(once) == once


def test_numbers_keep_their_point_and_sign_and_lose_their_thousands_mark() -> None:
    assert text.normalise("3.5") != text.normalise("35")
    assert text.normalise("-5") != text.normalise("5")
    assert text.normalise("1,000") == text.normalise("1000.") == "1000"


def test_an_answer_that_is_an_article_stays() -> None:
    assert text.normalise("A.") == "a"
    assert text.normalise("Zürich") == "zurich"


@pytest.mark.parametrize(
    "query", ["What is  imitation?", "what is imitation", "WHAT IS\nIMITATION ?!", "what is ｉmitation ."]
)
def test_case_spacing_and_final_marks_do_not_part_queries(query: str) -> None:
    assert text.plain_query(query) == "what is imitation"


@pytest.mark.parametrize(("one", "other"), [("3 - 4", "3 + 4"), ("f(x)", "f[x]"), ("is it so", "so it is")])
def test_queries_that_mean_something_else_stay_apart(one: str, other: str) -> None:
    assert text.plain_query(one) != text.plain_query(other)


@given(st.text())
def test_a_plain_query_is_its_own_plain_form(query: str) -> None:
    once = text.plain_query(query)
    assert text.plain_query(once) == once


@given(PHRASES, PHRASES, PHRASES)
def test_words_are_found_where_they_stand(before: list[str], wanted: list[str], after: list[str]) -> None:
    whole = before + wanted + after
    place = text.find_words(wanted, whole)
    assert 0 <= place <= len(before)
    assert whole[place : place + len(wanted)] == wanted
    assert text.find_words([*wanted, "ZZZ"], whole) == -1


@given(st.text(max_size=80))
def test_no_word_of_a_text_is_lost_between_its_sentences(whole: str) -> None:
    assert [word for part in text.sentences(whole) for word in text.words(part)] == [
        word for line in whole.splitlines() for word in text.words(line)
    ]


def test_sentences_end_at_marks_and_lines_not_at_abbreviations_or_list_numbers() -> None:
    assert text.sentences("Dr. Who lives in St. Ives. Does he?\n1. Yes!") == [
        "Dr. Who lives in St. Ives.",
        "Does he?",
        "1. Yes!",
    ]
    assert text.sentences("great question ! it is 4 .") == ["great question !", "it is 4 ."]


def test_the_first_sentence_is_the_answer_to_a_short_question() -> None:
    assert text.first_sentence("\n velmora . q : what") == "velmora"
    assert text.first_sentence(" 4. Because 2 + 2 is 4.") == "4"
    assert text.first_sentence("4 . q : how") == "4"
    assert text.first_sentence(" U.S. Grant\nQ: next") == "U.S. Grant"
    assert text.first_sentence(" ... \n") == ""


def test_list_items_are_counted_on_lines_and_on_one_line() -> None:
    assert text.list_items("Tips:\n\n1. Rest.\n2. Eat.\n  - often\n* well") == 4
    assert text.list_items("here are some key points : * it is calm . * it is old . bye .") == 2
    assert text.list_items("In short: 1. rest 2. eat 3. sleep") == 3
    assert text.list_items("5 * 4 is 20 , a - b , and 1. FC Köln won.\n**Bold** words") == 0
    assert text.list_items("") == 0
