"""Which of an item's choices a text names."""

import re
from collections.abc import Callable, Sequence

from veneer import text
from veneer.benchmarks.benchmark import Item
from veneer.records import Outcome

Marks = tuple[Outcome, Outcome, str]
"""Strict, lenient, and what was extracted."""


def outcome_of(is_right: bool) -> Outcome:
    """Return CORRECT or WRONG."""
    return Outcome.CORRECT if is_right else Outcome.WRONG


def grade(said: str, item: Item) -> Marks:
    """Strict: the text or its first sentence is a choice, and a right one. Lenient: the first choice named is right."""
    plain = _plain(item.choices)
    right = {plain(reference) for reference in item.references}
    choices = {plain(choice): choice for choice in item.choices if plain(choice)}
    # A choice may hold the end of a sentence.
    sentence = whole if (whole := plain(said)) in choices else plain(text.first_sentence(said))
    strict = outcome_of(sentence in right) if sentence in choices else Outcome.UNPARSED
    named = sentence if sentence in choices else _first_named(said, list(choices.values()), plain)
    if named is None:
        return strict, Outcome.UNPARSED, ""
    return strict, outcome_of(named in right), choices[named]


def stands(item: Item, said: str) -> bool:
    """Return whether one of an item's references stands anywhere in a text, as a lenient reader has it."""
    found = text.normalise(said).split()
    plain = [text.normalise(reference) for reference in item.references if text.words(reference)]
    # The article "a" is no answer, and the letter A stands in no text without its articles.
    return any(
        _first_letter(said, [one]) is not None if one == "a" else text.find_words(one.split(), found) >= 0
        for one in plain
    )


def _plain(choices: Sequence[str]) -> Callable[[str], str]:
    """Return how choices and answers are compared: as loosely as tells all choices apart (`Rr` and `RR` differ)."""
    for plain in (text.normalise, _caseless):
        if len(set(map(plain, choices)) - {""}) == len(choices):
            return plain
    return _exact


def _caseless(said: str) -> str:
    return _exact(said).casefold()


def _exact(said: str) -> str:
    return " ".join(said.split()).rstrip(".!? ")


def _first_named(said: str, choices: Sequence[str], plain: Callable[[str], str]) -> str | None:
    """Return the choice that is named first, in the form in which they are compared; of two at one place the longer."""
    if plain is text.normalise and all(len(choice) == 1 and choice.isalpha() for choice in choices):
        return _first_letter(said, choices)
    found = plain(said).split()
    normal = [plain(choice) for choice in choices]
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
