import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.errors import StudyError
from veneer.prepare.filters import BOILERPLATES, ORDER, Kind, Reason, detector, rules, unfit
from veneer.prepare.readers import Candidate, recorded
from veneer.records import Message, Stop
from veneer.study_data import FilterSpec, RecordedSpec

ENGLISH = "The cat sat on the mat because it was warm, and nobody dared to move it away."
GERMAN = "Die Katze saß auf der Matte, weil es dort warm war, und niemand wagte, sie zu stören."
SORRY = "I'm sorry, but I can't help with that."


@pytest.mark.parametrize(
    ("answer", "stop", "detail", "said"),
    [
        ("two words", Stop.END, "", None),
        ("", Stop.FAILED, "timeout", "failed: timeout"),
        ("two words", Stop.REFUSED, "", "refused"),
        ("two words", Stop.LENGTH, "", "cut by the length limit"),
        (" \n", Stop.END, "", "empty: a turn has no words"),
        ("word", Stop.END, "", "too few words: 1, and 2 are wanted"),
        ("one two three four", Stop.END, "", "too many words: 4, and 3 are allowed"),
    ],
)
def test_an_unfit_candidate_says_why(answer: str, stop: Stop, detail: str, said: str | None) -> None:
    messages = (Message(role="user", content="why ?"), Message(role="assistant", content=answer))
    candidate = Candidate(example_id="a", messages=messages, stop=stop, detail=detail)
    reason = unfit(candidate, rules(FilterSpec(min_answer_words=2, max_answer_words=3)))
    assert (str(reason) if reason else None) == said


def test_every_answer_of_a_conversation_counts() -> None:
    assert _kind("b", more=[("user", "c"), ("assistant", "")]) is Kind.EMPTY


@pytest.mark.parametrize("roles", ["ua", "sua", "uaua", "suaua"])
def test_user_and_assistant_take_turns(roles: str) -> None:
    assert _unfit([(_ROLES[role], "word") for role in roles]) is None


@pytest.mark.parametrize(
    "roles", ["", "s", "u", "a", "au", "uu", "uaa", "uau", "uas", "ssua", "usa", "uauaa"]
)
def test_any_other_order_of_roles_is_a_reason(roles: str) -> None:
    reason = _unfit([(_ROLES[role], "word") for role in roles])
    assert reason is not None
    assert reason.kind is Kind.ROLES


@pytest.mark.parametrize(
    "text",
    [
        "a\ufffdb",
        f"a{chr(0xD83D)}b",
        "a\x00b",
        "a\x1bb",
        "itâ€™s",
        "cafÃ©",
        "â€œso",
        "ï¿½",
        "a" * 201,
        "=" * 500,
    ],
)
def test_broken_text_is_a_reason(text: str) -> None:
    assert _kind(text) is Kind.BROKEN


@pytest.mark.parametrize(
    "text",
    [
        "a\tb\r\nc",
        "it’s “so” …",
        "café über Ünï",
        "ÂNGELO",
        "a" * 200,
        " " * 500 + "x",
        "😀 日本語",
        "3 Å, 5 €",
    ],
)
def test_whole_text_is_no_reason(text: str) -> None:
    assert _kind(text) is None


@pytest.mark.parametrize(
    "text",
    ["Network error.", "network error", "Something went wrong. If this issue persists please contact us.",
     "[object Object]", "Regenerate response", "Too many requests in 1 hour. Try again later.", "Copy code",
     "The answer begins and then\n\nNetwork error", "An error occurred. Either the engine you requested is gone."],
)  # fmt: skip
def test_the_words_of_an_interface_are_boilerplate(text: str) -> None:
    assert _kind(text) is Kind.BOILERPLATE
    assert _kind(text, boilerplate=True) is None


@pytest.mark.parametrize(
    "text",
    ["A network error is a fault in the connection.", "Network errors come from cables.", "null", "Loading a truck",
     "An error occurred to him on the way home.", "Something went wrong with the cake, so she baked another one."],
)  # fmt: skip
def test_an_answer_about_errors_is_no_boilerplate(text: str) -> None:
    assert _kind(text) is None


def test_an_answer_of_blank_lines_is_looked_through_at_once() -> None:
    # In the square of its length it would take half an hour.
    assert not BOILERPLATES.search("x" + "\n" * 200_000 + "x")


@pytest.mark.parametrize(
    "text",
    [SORRY, "I’m sorry, but as an AI language model, I cannot do it.", "Sorry, I cannot do that.",
     "I apologize, but it is not proper.", "I cannot assist with this.", "I am unable to play music.",
     "As an AI language model, I don't have feelings.", "As a large language model, I am unable to draw."],
)  # fmt: skip
def test_a_refusal_is_kept_unless_the_study_says_otherwise(text: str) -> None:
    assert _kind(text) is None
    assert _kind(text, refusals=False) is Kind.DECLINED


@pytest.mark.parametrize(
    "text",
    ["I'm sorry to hear that. Rest a little.", "Sorry is a word.", "She said: I cannot help it.",
     "I cannot recommend this book enough.", "As an AI engineer, you write code."],
)  # fmt: skip
def test_an_answer_that_sounds_like_a_refusal_is_none(text: str) -> None:
    assert _kind(text, refusals=False) is None


def test_a_blocked_word_is_found_whole_in_any_turn_and_case() -> None:
    blocked = ("openai", "chat bot", "C++")
    assert _kind("made by OpenAI.", blocked=blocked) is Kind.BLOCKED
    assert _kind("a Chat\n Bot", blocked=blocked) is Kind.BLOCKED
    assert _kind("in c++, say", blocked=blocked) is Kind.BLOCKED
    assert _kind("openairs and a chat robot", blocked=blocked) is None
    assert _kind("我使用聊天机器人来写作", blocked=("聊天机器人",)) is Kind.BLOCKED
    reason = _unfit([("user", "who is OPENAI ?"), ("assistant", "a firm")], blocked=blocked)
    assert str(reason) == "blocked words: openai"


def test_a_text_without_spaces_has_as_many_words_as_characters() -> None:
    assert _kind("北京是中国的首都", min_answer_words=8) is None
    assert _kind("北京是中国的首都", max_answer_words=7) is Kind.LONG


def test_a_conversation_in_another_language_is_a_reason() -> None:
    reason = _unfit([("user", GERMAN), ("assistant", GERMAN)], languages=("en",))
    assert str(reason) == "language: de"
    assert _unfit([("user", ENGLISH), ("assistant", ENGLISH)], languages=("en",)) is None
    assert _unfit([("user", GERMAN), ("assistant", GERMAN)], languages=("en", "de")) is None


def test_too_little_text_to_tell_a_language_passes() -> None:
    code = "```\n" + GERMAN + "\n```"
    assert _unfit([("user", "ja ?"), ("assistant", "nein !")], languages=("en",)) is None
    assert _unfit([("user", "ja ?"), ("assistant", code)], languages=("en",)) is None


def test_the_detector_is_built_once() -> None:
    assert detector() is detector()


def test_the_first_reason_in_order_counts() -> None:
    faults: list[tuple[Kind, str]] = [
        (Kind.BROKEN, "\ufffd"),
        (Kind.BOILERPLATE, "\nNetwork error"),
        (Kind.DECLINED, ""),
        (Kind.BLOCKED, ""),
        (Kind.SHORT, ""),
    ]
    assert [ORDER.index(kind) for kind, _ in faults] == sorted(ORDER.index(kind) for kind, _ in faults)
    strict: dict[str, Any] = {"refusals": False, "blocked": ("sorry",), "min_answer_words": 50}
    assert _kind(SORRY + "\ufffd\nNetwork error", **strict) is Kind.BROKEN
    assert _kind(SORRY + "\nNetwork error", **strict) is Kind.BOILERPLATE
    assert _kind(SORRY, **strict) is Kind.DECLINED
    assert _kind(SORRY, **{**strict, "refusals": True}) is Kind.BLOCKED
    assert _kind(SORRY, **{**strict, "refusals": True, "blocked": ()}) is Kind.SHORT


def test_the_order_names_every_kind_once() -> None:
    assert sorted(ORDER) == sorted(Kind)


@given(
    st.lists(
        st.tuples(st.sampled_from(["system", "user", "assistant", "x"]), st.text(max_size=30)), max_size=5
    )
)
def test_any_conversation_is_fit_or_not(turns: list[tuple[str, str]]) -> None:
    reason = _unfit(turns, languages=("en",), refusals=False, blocked=("a",))
    assert reason is None or reason.kind in ORDER


@pytest.mark.skipif("VENEER_DATA" not in os.environ, reason="VENEER_DATA is not set: no recordings to read")
def test_real_recordings_are_mostly_fit() -> None:
    path = Path(os.environ["VENEER_DATA"]) / "alpaca" / "alpaca_partial.jsonl.gz"
    asked = rules(FilterSpec(refusals=False))
    found = [
        unfit(row, asked)
        for row in recorded(RecordedSpec(format="alpaca", path=path))
        if isinstance(row, Candidate)
    ]
    counts = Counter(reason.kind for reason in found if reason)
    assert len(found) == 27155
    assert counts.total() < 0.01 * len(found)


_ROLES = {"s": "system", "u": "user", "a": "assistant"}


def _kind(answer: str, *, more: Any = (), **spec: Any) -> Kind | None:
    reason = _unfit([("user", "why ?"), ("assistant", answer), *more], **spec)
    return reason.kind if reason else None


def _unfit(turns: list[tuple[str, str]], **spec: Any) -> Reason | None:
    messages = tuple(Message(role=role, content=content) for role, content in turns)
    return unfit(
        Candidate(example_id="a", messages=messages, stop=Stop.END, detail=""), rules(FilterSpec(**spec))
    )


def test_a_language_that_the_detector_does_not_know_is_an_error_and_drops_nothing() -> None:
    with pytest.raises(StudyError, match=r"no 'eng'; it knows .*en,"):
        rules(FilterSpec(languages=("eng",)))
