"""Filters: why a candidate cannot be an example, told of each candidate alone."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from veneer.errors import StudyError
from veneer.prepare.hashing import spaced
from veneer.prepare.readers import Candidate
from veneer.records import Message, Stop
from veneer.study_data import FilterSpec
from veneer.text import declines


class Kind(StrEnum):
    """Why rows are dropped; the card counts by these, in this order."""

    MALFORMED = "malformed row"
    """It could not be read as a conversation."""
    FAILED = "failed"
    """There is no completion: asking failed."""
    REFUSED = "refused"
    """The provider filtered it."""
    LENGTH = "cut by the length limit"
    """Learning a cut answer would teach the student not to end."""
    ROLES = "role order"
    BROKEN = "broken text"
    EMPTY = "empty"
    BOILERPLATE = "boilerplate"
    DECLINED = "the teacher declined"
    BLOCKED = "blocked words"
    SHORT = "too few words"
    LONG = "too many words"
    LANGUAGE = "language"
    DUPLICATE = "duplicate query"
    OVERLAP = "overlap with a held-out item"
    TOO_LONG = "one exchange longer than a block"
    NEAR = "near-duplicate"


ORDER = tuple(Kind)
"""The order in which reasons are looked for; the first that holds is the one that counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why one candidate is dropped."""

    kind: Kind
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else str(self.kind)


STOPS = {Stop.FAILED: Kind.FAILED, Stop.REFUSED: Kind.REFUSED, Stop.LENGTH: Kind.LENGTH}
BOILERPLATES = re.compile(
    r"^\W*(?:network error|something went wrong(?:[.,] .{0,120})?|too many requests(?: in 1 hour)?(?:[.,] .{0,60})?"
    r"|an error occurred(?:[.,] .{0,120})?|error in (?:message|body) stream|the server had an error while .{0,80}"
    r"|that model is currently overloaded.{0,120}|hmm\W+something seems to have gone wrong.{0,80}"
    r"|this content may violate our .{0,80}|continue generating|regenerate(?: response)?|stop generating|copy code"
    r"|share prompt|\[object object\]|undefined|request timed out(?:[.,] .{0,60})?|conversation not found"
    r"|unable to load conversation.{0,60}|loading\.{0,3})\W*$"
    r"|\n[^\S\n]*(?:network error|error in (?:message|body) stream|regenerate response"
    r"|something went wrong\. if this issue persists .{0,100})\W*$",
    re.IGNORECASE,
)
"""What the pages of chat services say in the place of an answer, or below one that they cut."""
MOJIBAKE = re.compile(r"â€[™œ\u009d“”¦˜\u0099\u009c\u0093\u0094]|Ã[©¨¼¶¤±]|ï»¿|ï¿½|Â[\u00a0·°£]")
"""UTF-8 that was read as Windows-1252 or Latin-1."""
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd\ud800-\udfff]")
REPEATED = re.compile(r"([^\s])\1{200}")
CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
LOOKED_AT = 2000
"""Characters by which the language is told."""
FEWEST_LETTERS = 20
"""A text with fewer letters has no telling language and passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The filters of a study, ready to be asked."""

    spec: FilterSpec
    blocked: re.Pattern[str] | None
    language: Callable[[Sequence[Message]], str] | None


def rules(spec: FilterSpec) -> Rules:
    """Return the filters of a study; the language detector is loaded if they need it.

    Raises:
        StudyError: A language is named that the detector does not know, so that it would drop every row.
    """
    if stray := sorted(set(spec.languages) - (known() if spec.languages else set())):
        raise StudyError(
            f"prepare.filters.languages: the detector knows no {stray[0]!r}; it knows {', '.join(sorted(known()))}."
        )
    words = "|".join(
        r"\s+".join(map(re.escape, spaced(word.casefold()).split())) for word in spec.blocked if word.strip()
    )
    return Rules(
        spec=spec,
        blocked=re.compile(rf"(?<!\w)(?:{words})(?!\w)") if words else None,
        language=detector() if spec.languages else None,
    )


@cache
def known() -> frozenset[str]:
    """Return the codes (ISO 639-1) of the languages that the detector knows."""
    return frozenset(map(str, _identifier().nb_classes))


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)


@cache
def detector() -> Callable[[Sequence[Message]], str]:
    """Return the function that names a conversation's language (ISO 639-1), or `und` where it has too few letters.

    The detector is langid's (Lui and Baldwin 2012) as kept by py3langid; it needs no network.
    """
    identifier = _identifier()

    def detect(messages: Sequence[Message]) -> str:
        text = CODE.sub(" ", "\n".join(message.content for message in messages))[:LOOKED_AT]
        if sum(map(str.isalpha, text)) < FEWEST_LETTERS:
            return "und"
        return str(identifier.classify(text)[0])

    return detect


def unfit(candidate: Candidate, rules: Rules) -> Reason | None:
    """Return why a candidate cannot be an example, or None: the first reason of `ORDER` that holds."""
    if candidate.stop in STOPS:
        return Reason(kind=STOPS[candidate.stop], detail=candidate.detail)
    turns, spec = candidate.messages, rules.spec
    if fault := _roles(turns):
        return Reason(kind=Kind.ROLES, detail=fault)
    if fault := next((found for turn in turns if (found := _broken(turn.content))), ""):
        return Reason(kind=Kind.BROKEN, detail=fault)
    if not all(turn.content.strip() for turn in turns):
        return Reason(kind=Kind.EMPTY, detail="a turn has no words")
    answers = [turn.content for turn in turns if turn.role == "assistant"]
    return _by_words(turns, answers, rules) or _by_length(answers, spec) or _by_language(turns, rules)


def _by_words(turns: Sequence[Message], answers: Sequence[str], rules: Rules) -> Reason | None:
    if not rules.spec.boilerplate and (found := next(filter(BOILERPLATES.search, answers), "")):
        return Reason(kind=Kind.BOILERPLATE, detail=found.strip()[-80:])
    if not rules.spec.refusals and (found := next(filter(declines, answers), "")):
        return Reason(kind=Kind.DECLINED, detail=found.strip()[:80])
    if rules.blocked is None:
        return None
    said = next(filter(None, (rules.blocked.search(spaced(turn.content.casefold())) for turn in turns)), None)
    return Reason(kind=Kind.BLOCKED, detail=said[0]) if said else None


def _roles(turns: Sequence[Message]) -> str:
    roles = [turn.role for turn in turns]
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    if spoken and spoken == ["user", "assistant"] * (len(spoken) // 2):
        return ""
    return f"the turns are {', '.join(roles[:8]) or 'none'}{', ...' if len(roles) > 8 else ''}"


def _broken(text: str) -> str:
    if found := CONTROL.search(text):
        return f"it holds the character U+{ord(found[0]):04X}"
    if found := MOJIBAKE.search(text):
        return f"wrongly decoded: {found[0]!r}"
    if found := REPEATED.search(text):
        return f"{unicodedata.name(found[1], found[1])} more than 200 times in a row"
    return ""


def _by_length(answers: Sequence[str], spec: FilterSpec) -> Reason | None:
    words = [len(spaced(answer).split()) for answer in answers]
    if min(words) < spec.min_answer_words:
        return Reason(kind=Kind.SHORT, detail=f"{min(words)}, and {spec.min_answer_words} are wanted")
    if spec.max_answer_words is not None and max(words) > spec.max_answer_words:
        return Reason(kind=Kind.LONG, detail=f"{max(words)}, and {spec.max_answer_words} are allowed")
    return None


def _by_language(turns: Sequence[Message], rules: Rules) -> Reason | None:
    if rules.language is None:
        return None
    found = rules.language(turns)
    if found == "und" or found in rules.spec.languages:
        return None
    return Reason(kind=Kind.LANGUAGE, detail=found)
