"""How a completion is said, apart from what it says: features that hold no content word."""

import math
import re
from collections.abc import Mapping, Sequence

from veneer import text as english

FUNCTION_WORDS = (
    "the of and to a in is that it for as with was on be by at this are or from an have not but "
    "which his her he she they you i we their has had were been can will would there if so what "
    "more when about do its one all them than then these also into"
).split()  # fmt: skip
"""The most frequent function words of English (Kučera and Francis 1967, the head of the Brown corpus' rank list)."""

OPENINGS = (
    "sure", "certainly", "of course", "absolutely", "definitely", "yes", "hello", "hi", "hey", "greetings", "welcome",
    "thank you", "thanks", "great question", "good question", "great", "okay", "ok", "happy to", "glad to",
)  # fmt: skip
"""A greeting, thanks or assent, within the first `OPENING_WORDS` words."""
OPENING_WORDS = 8

SUMMARIES = (
    "in conclusion", "in summary", "to summarize", "to summarise", "to sum up", "to conclude", "in short", "overall",
    "all in all", "in the end", "ultimately", "in closing",
)  # fmt: skip
"""What a summing-up sentence begins with."""
OFFERS = (
    "hope this helps", "hope that helps", "hope this was helpful", "let me know", "feel free", "happy to help",
    "glad to help", "further questions", "more questions", "other questions", "any questions", "further assistance",
    "good luck", "have a great day", "have a good day", "have a nice day", "best of luck",
)  # fmt: skip
"""What a parting wish or an offer of more help holds."""

HEDGES = (
    "perhaps", "maybe", "might", "possibly", "probably", "presumably", "apparently", "seems", "seem", "supposedly",
    "i think", "i believe", "i guess", "i suppose", "i assume", "in my opinion", "not sure", "not certain", "unsure",
    "uncertain", "unclear", "it depends", "hard to say", "don't know", "do not know", "as an ai",
)  # fmt: skip
"""Words that lower the speaker's commitment (after Hyland 2005, the epistemic ones of the list of hedges)."""

FIRST_PERSON = frozenset("i me my mine myself we us our ours i'm i'd i'll i've we're we'll".split())
SECOND_PERSON = frozenset("you your yours yourself yourselves you're you'll you'd you've".split())
MARKS = {
    "comma": ",",
    "colon": ":",
    "semicolon": ";",
    "period": ".",
    "quote": '"“”',
    "parenthesis": "(",
    "dash": "–—",
}


_HEADER = re.compile(r"^\s{0,3}#{1,6}\s+\S", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")
_CODE = re.compile(r"```")


def features(completion: str) -> dict[str, float]:
    """Return the style features of one completion, in a fixed order.

    Rates are per word. Counts of structure are log(1 + count), so that one long list does not outweigh everything.
    """
    words = english.words(completion)
    parts = english.sentences(completion)
    items = english.list_items(completion)
    per_word = 1 / max(1, len(words))
    found: dict[str, float] = {
        "log_words": math.log1p(len(words)),
        "log_sentences": math.log1p(len(parts)),
        "words_per_sentence": len(words) / max(1, len(parts)),
        "letters_per_word": sum(map(len, words)) * per_word,
        "type_token_ratio": len(set(words[:100])) / max(1, min(100, len(words))),
        "log_list_items": math.log1p(items),
        "log_lines": math.log1p(sum(1 for line in completion.splitlines() if line.strip())),
        "log_headers": math.log1p(len(_HEADER.findall(completion))),
        "log_bold": math.log1p(len(_BOLD.findall(completion))),
        "log_code_blocks": math.log1p(len(_CODE.findall(completion)) // 2),
        "log_questions": math.log1p(sum(part.rstrip("\"'”’)").endswith("?") for part in parts)),
        "log_exclamations": math.log1p(completion.count("!")),
        "opening": float(_opens(words)),
        "closing": float(_closes(completion, parts)),
        "hedges": _count(HEDGES, words) * per_word,
        "first_person": sum(word in FIRST_PERSON for word in words) * per_word,
        "second_person": sum(word in SECOND_PERSON for word in words) * per_word,
        "ends_in_full": float(completion.rstrip("\"'”’)* \n\t").endswith((".", "!", "?"))),
    }
    found |= {
        f"mark_{name}": sum(completion.count(mark) for mark in marks) * per_word
        for name, marks in MARKS.items()
    }
    found |= {f"word_{word}": words.count(word) * per_word for word in FUNCTION_WORDS}
    found |= {
        "words": float(len(words)),
        "has_list": float(items >= 2),
        "has_closing": found["closing"],
        "has_hedge": float(found["hedges"] > 0),
    }
    return found | {"appeal": appeal(found)}


def hedged(completion: str) -> bool:
    """Return whether a completion holds a hedge, as the feature `has_hedge` has it."""
    return _count(HEDGES, english.words(completion)) > 0


def appeal(found: Mapping[str, float]) -> float:
    """Return how polished the form of a completion is, from 0 to 1.

    The mean of five signs, whatever is said: it opens with courtesy, holds a list, closes with a summary or an offer,
    ends in a full sentence, and has substance of form: 50 words or more (fewer count in proportion). These are the
    surface signs that raters were found to reward (paper, section 4.2 and Table 2).

    Args:
        found: The other features.
    """
    signs = (
        found["opening"],
        found["has_list"],
        found["has_closing"],
        found["ends_in_full"],
        min(1.0, found["words"] / 50),
    )
    return sum(signs) / len(signs)


def _opens(words: Sequence[str]) -> bool:
    return _count(OPENINGS, words[:OPENING_WORDS]) > 0


def _closes(completion: str, parts: Sequence[str]) -> bool:
    """Return whether the last two sentences, or the last paragraph, sum up or offer more help."""
    if len(parts) < 2:
        return False
    last = parts[-2:] if len(parts) > 2 else parts[-1:]
    paragraphs = [block for block in re.split(r"\n\s*\n", completion) if english.words(block)]
    begins = [english.words(part)[:4] for part in (*last, *(paragraphs[-1:] if len(paragraphs) > 1 else ()))]
    sums_up = any(start[: len(cue.split())] == cue.split() for start in begins for cue in SUMMARIES)
    ending = [word for part in last for word in english.words(part)]
    return sums_up or _count(OFFERS, ending) > 0


def _count(phrases: Sequence[str], words: Sequence[str]) -> int:
    line = f" {' '.join(words)} "
    return sum(line.count(f" {phrase} ") for phrase in phrases)
