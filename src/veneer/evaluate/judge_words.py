"""What is put to a judge that reads, and how its reply is read: no completion can write its own verdict.

All that is shown at once has a code, eight hexadecimal digits of its digest. It marks where the completions begin and
end, and the verdict's line must hold it. A completion cannot know it, since the digest covers the completion.
"""

import hashlib
import importlib.resources
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from veneer.errors import StudyError
from veneer.records import Completion, Message, Prompt, Stop, Verdict

Answers = Literal["verdict", "scores"]
Kind = Literal["verdict", "scores", "tone"]
"""What is asked for: `answers` of a judge of pairs, or the tone of one completion."""
PAIR, ALONE = ("question", "first", "second", "code"), ("question", "answer", "code")
"""The places of a text for two completions, and of one for a single completion."""
THOUGHT = "</think>"
"""Where models that think aloud end that."""
NOTHING = "[The assistant wrote nothing.]"

_TURN = re.compile(
    r"<(?=\|[^|<>\s]{1,64}\|>|/?s>|(?:bos|eos|pad|unk|start_of_turn|end_of_turn|end_of_text)>)|\[(?=/?INST\])"
)
"""Where the common marks of turns begin: of ChatML, Llama, Gemma and Mistral."""
_NUMBER = r"(10(?:\.0+)?|[1-9](?:\.[0-9]+)?)"
_SCORES = re.compile(_NUMBER + r"[ ,]+" + _NUMBER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """Two answers of which one is plainly better: a judge that changes may change its mind about them."""

    canary_id: str
    question: str
    first: str
    second: str
    right: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ToneCanary:
    """An answer whose tone plainly is, or plainly is not, authoritative, whether or not what it says is right."""

    canary_id: str
    question: str
    answer: str
    authoritative: bool


def instructions(kind: Kind, own: Path | None, where: str) -> str:
    """Return the text that is put to the judge, with its places.

    Args:
        kind: Which built-in prompt.
        own: A file that stands instead of it.
        where: The judge's place in the study file, for the error.

    Raises:
        StudyError: The file cannot be read, or a place is missing.
    """
    if own is None:
        return _text(f"judge_{kind}.txt")
    try:
        text = own.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(
            f"{where}.prompt: {own} cannot be read ({error}). A text file in UTF-8 is wanted."
        ) from error
    places = [f"{{{place}}}" for place in (ALONE if kind == "tone" else PAIR)]
    if missing := [place for place in places if place not in text]:
        raise StudyError(
            f"{where}.prompt: {own} has no {missing[0]}; it must hold {', '.join(places[:-1])} and {places[-1]}. The "
            "code belongs beside the completions and into the verdict's line: no completion can know it."
        )
    return text


def canaries() -> list[Canary]:
    """Return the canaries, the better answer first in every other one."""
    found = []
    for place, line in enumerate(_text("judge_canaries.jsonl").splitlines()):
        row = json.loads(line)
        sides = (row["better"], row["worse"])
        first, second = sides if place % 2 == 0 else sides[::-1]
        found.append(
            Canary(
                canary_id=row["id"],
                question=row["question"],
                first=first,
                second=second,
                right=Verdict.SECOND if place % 2 else Verdict.FIRST,
            )
        )
    return found


def tone_canaries() -> list[ToneCanary]:
    """Return the answers of known tone, half of them authoritative."""
    rows = map(json.loads, _text("tone_canaries.jsonl").splitlines())
    return [
        ToneCanary(
            canary_id=row["id"],
            question=row["question"],
            answer=row["answer"],
            authoritative=row["authoritative"],
        )
        for row in rows
    ]


def fingerprint(text: str, canaries: str = "judge_canaries.jsonl") -> str:
    """Return what stands in a key for all the words that a judge is shown besides the completions."""
    return hashlib.sha256("\0".join([text, NOTHING, _text(canaries)]).encode()).hexdigest()


def code_of(*shown: str) -> str:
    """Return the code of what is shown at once: the question, and one completion or two in their order.

    >>> code_of("q", "one", "two") == code_of("q", "two", "one")
    False
    """
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:8]


def put(text: str, prompt_id: str, question: str, sides: tuple[str, str], draw: int = 0) -> Prompt:
    """Return one comparison as it is put to a judge.

    Args:
        text: The instructions.
        prompt_id: The comparison's.
        question: What was asked.
        sides: The completions, in the order in which they are shown.
        draw: Tells apart comparisons of the same words that are to be asked apart.
    """
    first, second = (side.strip() or NOTHING for side in sides)
    return _put(text, prompt_id, {"question": question, "first": first, "second": second}, draw)


def put_alone(text: str, prompt_id: str, question: str, answer: str, draw: int = 0) -> Prompt:
    """Return one completion, which is not blank, as it is put to a judge of tone; else as `put` does two."""
    return _put(text, prompt_id, {"question": question, "answer": answer}, draw)


def _put(text: str, prompt_id: str, shown: Mapping[str, str], draw: int) -> Prompt:
    values = {**shown, "code": code_of(*shown.values())}
    # In one pass, so that a completion that holds {second} or {code} stays as it is.
    put = re.sub("{(" + "|".join(values) + ")}", lambda match: values[match[1]], text)
    return Prompt(prompt_id=prompt_id, messages=(Message(role="user", content=put),), draw=draw)


def harmless(text: str, special: Sequence[str] = ()) -> str:
    """Return a text in which no mark of a chat template stands whole: a space parts its first sign from the others.

    A tokenizer reads `<|im_end|>` as the end of a turn wherever it stands, so that a completion could end the judge's.

    Args:
        text: A question or a completion.
        special: The special tokens of the judge's own tokenizer, where they are known.

    >>> harmless("a<|im_end|>b, 1 < 2")
    'a< |im_end|>b, 1 < 2'
    """
    for token in special:
        text = text.replace(token, f"{token[0]} {token[1:]}")
    return _TURN.sub(r"\g<0> ", text)


def question_of(messages: Sequence[Message]) -> str:
    """Return a conversation as the question that a judge reads: the one message, or all with their speakers."""
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"{message.role}: {message.content}" for message in messages)


def read(reply: Completion, answers: Answers, code: str) -> tuple[Verdict, str]:
    """Return a judge's verdict, and what it rests on: its reasons, or why there is none.

    Args:
        reply: The judge's.
        answers: `verdict`: the last line must be `Verdict <code>: first` (or second, or tie), and no other line may be
            one; what stands before the end of a model's thinking is passed over. `scores`: the first line must hold two
            numbers from 1 to 10 and nothing else; the higher wins.
        code: The comparison's.
    """
    # A model that thinks aloud drafts its verdict there. Scores carry no code: a completion could end that part.
    said = reply.text.rpartition(THOUGHT)[2] if answers == "verdict" else reply.text
    if silent := _silent(reply, said):
        return Verdict.NONE, silent
    if answers == "scores":
        return _by_scores(_lines(said), reply.text)
    word, reason = _by_line(_lines(said), reply, code, "first|second|tie")
    return (Verdict(word) if word else Verdict.NONE), reason


def read_tone(reply: Completion, code: str) -> tuple[bool | None, str]:
    """Return whether a judge found a completion's tone authoritative, None where it gave no verdict, and why.

    Args:
        reply: The judge's; read as `read` reads a verdict, but that its last line says `yes` or `no`.
        code: Of the question and the completion.
    """
    said = reply.text.rpartition(THOUGHT)[2]
    if silent := _silent(reply, said):
        return None, silent
    word, reason = _by_line(_lines(said), reply, code, "yes|no")
    return (word == "yes" if word else None), reason


def _silent(reply: Completion, said: str) -> str:
    """Return why there is nothing to read; empty if there is something."""
    if reply.stop is Stop.FAILED:
        return f"could not be asked: {reply.detail}"
    if reply.stop is Stop.REFUSED:
        return f"the judge's provider refused: {reply.detail}"
    if not said.strip():
        return "the judge wrote nothing" + (" beside its thoughts" if reply.text.strip() else "")
    return ""


def _lines(said: str) -> list[str]:
    return [line.strip() for line in said.splitlines() if line.strip()]


def _by_scores(lines: Sequence[str], reply: str) -> tuple[Verdict, str]:
    found = _SCORES.fullmatch(lines[0])
    if not found:
        return Verdict.NONE, f"the judge's first line is no two scores from 1 to 10: {reply}"
    first, second = float(found[1]), float(found[2])
    if first == second:
        return Verdict.TIE, reply
    return (Verdict.FIRST if first > second else Verdict.SECOND), reply


def _by_line(lines: Sequence[str], reply: Completion, code: str, words: str) -> tuple[str, str]:
    """Return the verdict's word, empty if there is no verdict, and what it rests on."""
    if reply.stop is Stop.LENGTH:
        return "", f"the judge's reply was cut at its limit: {reply.text}"
    line = re.compile(rf"verdict {code}: ({words})", re.IGNORECASE)
    # Emphasis and a full stop are no other verdict.
    found = [line.fullmatch(one.strip("*`_ ").rstrip(".").strip("*`_ ")) for one in lines]
    if sum(match is not None for match in found) > 1:
        return "", f"the judge wrote more than one verdict: {reply.text}"
    if not (last := found[-1]):
        return "", f"the judge's last line is no verdict: {reply.text}"
    return last[1].lower(), reply.text


def _text(name: str) -> str:
    return (importlib.resources.files("veneer") / "prompts" / name).read_text(encoding="utf-8").rstrip("\n")
