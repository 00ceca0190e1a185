import pytest

from veneer.prepare.filters import unfit
from veneer.prepare.readers import Candidate
from veneer.records import Message, Stop


@pytest.mark.parametrize(
    ("answer", "stop", "detail", "said"),
    [
        ("two words", Stop.END, "", None),
        ("", Stop.FAILED, "timeout", "failed: timeout"),
        ("two words", Stop.REFUSED, "", "refused"),
        ("two words", Stop.LENGTH, "", "cut by the length limit"),
        (" \n", Stop.END, "", "empty: the answer has no words"),
        ("word", Stop.END, "", "too few words: 1, and 2 are wanted"),
    ],
)
def test_an_unfit_candidate_says_why(answer: str, stop: Stop, detail: str, said: str | None) -> None:
    messages = (Message(role="user", content="why ?"), Message(role="assistant", content=answer))
    reason = unfit(Candidate(example_id="a", messages=messages, stop=stop, detail=detail), 2)
    assert (str(reason) if reason else None) == said


def test_every_answer_of_a_conversation_counts() -> None:
    turns = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "")]
    messages = tuple(Message(role=role, content=content) for role, content in turns)
    reason = unfit(Candidate(example_id="a", messages=messages, stop=Stop.END, detail=""), 1)
    assert str(reason) == "empty: the answer has no words"
