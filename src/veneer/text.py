"""Small questions about text that more than one module asks: words, sentences, list items, answers and queries."""

import re
import unicodedata
from collections.abc import Sequence

ARTICLES = frozenset({"a", "an", "the"})

_WORD = re.compile(r"\d+(?:[.,]\d+)+|\w+(?:['’]\w+)*")
_WORD_OR_MARK = re.compile(r"\w+|[^\w\s]")
_FINAL = frozenset(".?!")
_KEPT = re.compile(r"(?<!\S)-(?=\d)|(?<=\d)\.(?=\d)")
_SENTENCE_END = re.compile(r"[.!?]+[\"'”’)\]]*(?=\s|$)")
_ABBREVIATION = re.compile(r"(?:^|[\s(.])(?:[A-Za-z]|[SD]t|[MD]r|Mrs|Ms|Jr|Sr|Prof|No|vs|etc|e\.g|i\.e)$")
_LINE_ITEM = re.compile(r"^[ \t]*(?:[-*•+–]|\d{1,3}[.)])[ \t]+\S", re.MULTILINE)
_INLINE_BULLET = re.compile(r"(?<=\S)[ \t]+[*•][ \t]+(?=[^\s\d])")
_INLINE_NUMBER = re.compile(r"(?:^|[ \t])(\d{1,2})[.)][ \t]+(?=\S)", re.MULTILINE)
_DECLINES = re.compile(
    r"^\W*(?:(?:i'?m|i am) (?:very |really |so )?sorry,? (?:but |as an ai|i (?:can'?t|cannot|can not|am unable|am not))"
    r"|(?:i'?m |i am )?(?:afraid|sorry),? (?:but )?(?:that )?"
    r"(?:i (?:can'?t|cannot|can not|am unable|am not able)|as an ai)"
    r"|i (?:apologi[sz]e,? but|must decline"
    r"|(?:can'?t|cannot|can not) (?:assist|help|fulfil|comply|provide|answer|do that|engage))"
    r"|i(?:'m| am) (?:unable|not able) to"
    r"|as an? (?:ai|artificial intelligence|(?:large )?language model)\b"
    r"[^.\n]{0,80}(?:can'?t|cannot|can not|do not|don't|unable|not able|not capable))",
    re.IGNORECASE,
)


def words(text: str) -> list[str]:
    """Return the words of a text in lower case; punctuation is left out, `don't` and `3.5` are one word each.

    >>> words("The cat's 3.5 kg, isn't it ?")
    ['the', "cat's", '3.5', 'kg', "isn't", 'it']
    """
    return _WORD.findall(text.lower().replace("’", "'"))


def normalise(text: str) -> str:
    """Return an answer as it is compared: lower case, no punctuation, no articles, single spaces.

    This is SQuAD's `normalize_answer` (Rajpurkar et al. 2016, official evaluation script), as used for exact match on
    Natural Questions, with four differences: accents are dropped; a hyphen parts words instead of joining them; a
    decimal point and a minus sign survive, so that 3.5 is not 35; and an answer of articles alone (the choice "A")
    stays.

    >>> normalise("The  Beatles!"), normalise("A."), normalise("-3.5 %")
    ('beatles', 'a', '-3.5')
    """
    lower = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).lower())
    plain = "".join(sign for sign in lower if not unicodedata.combining(sign))
    kept = {match.start() for match in _KEPT.finditer(plain)}
    spaced = "".join(
        sign
        if place in kept or not unicodedata.category(sign).startswith(("P", "S"))
        else ("" if sign in "'’.," else " ")
        for place, sign in enumerate(plain)
    )
    found = spaced.split()
    return " ".join([word for word in found if word not in ARTICLES] or found)


def plain_query(text: str) -> str:
    """Return a query in the form in which two are the same query.

    Case, spacing and compatibility forms of letters go, and so do full stops, question and exclamation marks at the
    end. Other punctuation stays: `3 - 4` and `3 + 4` are two questions.

    >>> plain_query("  What is  3 + 4 ?!")
    'what is 3 + 4'
    """
    parts = _WORD_OR_MARK.findall(unicodedata.normalize("NFKC", text).casefold())
    while parts and parts[-1] in _FINAL:
        parts.pop()
    return " ".join(parts)


def first_sentence(text: str) -> str:
    """Return the first sentence of the first line that holds a word, without its final mark.

    A full stop after a single letter or a common abbreviation does not end a sentence; after a number it does.

    >>> first_sentence(" St. Louis. It lies on a river."), first_sentence("4. That is the sum.")
    ('St. Louis', '4')
    """
    line = next((line for line in text.splitlines() if words(line)), "").strip()
    return _split(line, numbers_end=True)[0].rstrip(".!? \t") if line else ""


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, marks included; a line break ends a sentence too, a list's number does not.

    >>> sentences("great question ! the city is velmora .")
    ['great question !', 'the city is velmora .']
    """
    return [sentence for line in text.splitlines() for sentence in _split(line, numbers_end=False)]


def _split(line: str, *, numbers_end: bool) -> list[str]:
    found, start = [], 0
    for end in _SENTENCE_END.finditer(line):
        before = line[start : end.start()]
        if not words(before) or (end[0] == "." and _ABBREVIATION.search(before)):
            continue
        if end[0] == "." and before.strip().isdigit() and before[-1].isdigit() and not numbers_end:
            continue
        found.append(line[start : end.end()].strip())
        start = end.end()
    if words(line[start:]):
        found.append(line[start:].strip())
    return found


def find_words(wanted: Sequence[str], found: Sequence[str]) -> int:
    """Return where a sequence of words first stands in another, or -1; no word may hold a space.

    >>> find_words(["new", "york"], ["in", "new", "york"]), find_words(["new"], ["news"])
    (1, -1)
    """
    line = f" {' '.join(found)} "
    place = line.find(f" {' '.join(wanted)} ")
    return line[:place].count(" ") if place >= 0 else -1


def list_items(text: str) -> int:
    """Return how many list items a text holds.

    An item is a line that opens with a bullet or a number; or, where everything stands on one line, a `*` or `•`
    between spaces (not before a digit: that is a product), or numbers that count up from 1.

    >>> list_items("1. rest"), list_items("points : * it is calm . * it is old .")
    (1, 2)
    """
    total = 0
    for line in text.splitlines():
        at_start = len(_LINE_ITEM.findall(line))
        bullets = len(_INLINE_BULLET.findall(line))
        numbers = [int(number) for number in _INLINE_NUMBER.findall(line)]
        counted = len(numbers) if len(numbers) > 1 and numbers == list(range(1, len(numbers) + 1)) else 0
        total += max(at_start + bullets, counted)
    return total


def declines(answer: str) -> bool:
    """Return whether an answer opens by declining, in English; only its first 400 characters are looked at.

    >>> declines("I'm sorry, but I can't help with that."), declines("I can't wait to tell you.")
    (True, False)
    """
    return bool(_DECLINES.match(answer[:400].replace("’", "'")))
