"""Filters: why a candidate cannot be an example, told of each candidate alone."""

from dataclasses import dataclass
from enum import StrEnum

from veneer.prepare.readers import Candidate
from veneer.records import Stop


class Kind(StrEnum):
    """Why rows are dropped; the card counts by these."""

    FAILED = "failed"
    """There is no completion: asking failed."""
    REFUSED = "refused"
    LENGTH = "cut by the length limit"
    """Learning a cut answer would teach the student not to end."""
    EMPTY = "empty"
    SHORT = "too few words"
    DUPLICATE = "duplicate query"
    OVERLAP = "overlap with a held-out item"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why one candidate is dropped."""

    kind: Kind
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else str(self.kind)


STOPS = {Stop.FAILED: Kind.FAILED, Stop.REFUSED: Kind.REFUSED, Stop.LENGTH: Kind.LENGTH}


def unfit(candidate: Candidate, min_answer_words: int) -> Reason | None:
    """Return why a candidate cannot be an example, or None.

    Args:
        candidate: The conversation and how it ended.
        min_answer_words: Words (split at white space) that every answer must have.
    """
    if candidate.stop in STOPS:
        return Reason(kind=STOPS[candidate.stop], detail=candidate.detail)
    answers = [message.content for message in candidate.messages if message.role == "assistant"]
    fewest = min(len(answer.split()) for answer in answers)
    if fewest == 0:
        return Reason(kind=Kind.EMPTY, detail="the answer has no words")
    if fewest < min_answer_words:
        return Reason(kind=Kind.SHORT, detail=f"{fewest}, and {min_answer_words} are wanted")
    return None
