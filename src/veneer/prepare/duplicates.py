"""Duplicates: conversations that open with the same query."""

from collections.abc import Sequence

from veneer.records import Message
from veneer.text import plain_query


def query_of(messages: Sequence[Message]) -> str:
    """Return the query of a conversation, what its user says first, in the form in which two are the same.

    A query of marks alone (`???`) stays as it is. The result is empty where the user says nothing.
    """
    said = next((message.content.strip() for message in messages if message.role == "user"), "")
    return plain_query(said) or said
