"""Duplicates: queries that say the same once case, spacing and final punctuation are put aside."""

import re
import unicodedata
from collections.abc import Sequence

from veneer.records import Message

FINAL = frozenset(".?!")


def normalise(text: str) -> str:
    """Return a text in the form in which two queries are the same query.

    Case, spacing and compatibility forms of letters go, and so do full stops, question and exclamation marks at the
    end. Other punctuation stays: `3 - 4` and `3 + 4` are two questions.

    >>> normalise("  What is  3 + 4 ?!")
    'what is 3 + 4'
    """
    parts = re.findall(r"\w+|[^\w\s]", unicodedata.normalize("NFKC", text).casefold())
    while parts and parts[-1] in FINAL:
        parts.pop()
    return " ".join(parts)


def query_of(messages: Sequence[Message]) -> str:
    """Return the normalised query of a conversation: what its user says first."""
    return normalise(next(message.content for message in messages if message.role == "user"))
