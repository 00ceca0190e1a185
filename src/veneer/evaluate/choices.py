"""Which of an item's choices a text names."""

import re
from collections.abc import Sequence

from veneer import text
from veneer.benchmarks.benchmark import Item
from veneer.records import Outcome

Marks = tuple[Outcome, Outcome, str]
"""Strict, lenient, and what was extracted."""


def outcome_of(is_right: bool) -> Outcome:
    """Return CORRECT or WRONG."""
    return Outcome.CORRECT if is_right else Outcome.WRONG


def grade(said: str, item: Item) -> Marks:
    """Strict: the first sentence is a choice, and a right one. Lenient: the first choice named is a right one."""
    right = {text.normalise(reference) for reference in item.references}
    choices = {text.normalise(choice): choice for choice in item.choices}
    sentence = text.normalise(text.first_sentence(said))
    strict = outcome_of(sentence in right) if sentence in choices else Outcome.UNPARSED
    named = sentence if sentence in choices else _first_named(said, list(item.choices))
    if named is None:
        return strict, Outcome.UNPARSED, ""
    return strict, outcome_of(named in right), choices[named]


def stands(item: Item, said: str) -> bool:
    """Return whether one of an item's references stands anywhere in a text, as a lenient reader has it."""
    found = text.normalise(said).split()
    return any(
        text.find_words(text.normalise(reference).split(), found) >= 0
        for reference in item.references
        if text.words(reference)
    )


def _first_named(said: str, choices: Sequence[str]) -> str | None:
    """Return the normalised choice that is named first; where two begin at one place, the longer."""
    if all(len(choice) == 1 and choice.isalpha() for choice in choices):
        return _first_letter(said, choices)
    found = text.normalise(said).split()
    normal = [text.normalise(choice) for choice in choices]
    places = [(text.find_words(choice.split(), found), -len(choice), choice) for choice in normal]
    return min((place for place in places if place[0] >= 0), default=(0, 0, None))[2]


def _first_letter(said: str, choices: Sequence[str]) -> str | None:
    """Return the letter that is named first: a capital on its own, or a small one in brackets.

    An A or I that a small word follows is an article or a pronoun ("A good answer", "I think").
    """
    letters = "".join(re.escape(choice.upper()) for choice in choices)
    found = re.search(rf"(?<![\w'’])(?![AI]\s+[a-z])([{letters}])(?![\w'’])", said)
    found = found or re.search(rf"(?<!\w)\(?([{letters.lower()}])\)", said)
    return text.normalise(found[1]) if found else None
