"""A benchmark is a value: its items, how each is put to a model, and how an answer is graded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from veneer.records import Message, Prompt

Form = Literal["choose", "plain", "chat"]
"""choose: the likelihood of each choice after a plain text; plain: the text is continued; chat: it is answered."""
Grading = Literal["choice", "match", "checks", "lexicon", "program", "toxicity", "lm-eval", "inferred"]
Measures = Literal["knowledge", "skill", "instructions", "toxicity", "style"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What a reply to an instruction must hold."""

    contains: tuple[str, ...] = ()
    """Words or phrases that must all occur."""
    list_items: int = 0
    """The fewest list items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a program that a model wrote must pass."""

    before: str
    """Python that stands before a continuation; a whole program in a chat that defines `entry` does without."""
    after: str
    """Python that stands after it and raises if the program is wrong."""
    entry: str
    """The function that it must define."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question of a benchmark."""

    item_id: str
    question: str
    references: tuple[str, ...] = ()
    """Right answers; any one will do."""
    choices: tuple[str, ...] = ()
    """Possible answers, the references among them."""
    checks: Checks | None = None
    program: Program | None = None
    cluster: str
    """Items of one cluster are resampled together; an item that names none is its own."""
    context: str = ""
    """The whole text put in the forms `plain` and `choose`, shots included; empty where templates make it."""
    chat: str = ""
    """What is put in the form `chat`; empty: the question."""
    continuations: tuple[str, ...] = ()
    """What `choose` weighs after the context, put to it as it is; empty: the choices, parted by a space."""
    task: str = ""
    """The lm-eval task that grades it, such as `mmlu_anatomy`; empty for others."""
    doc: Mapping[str, Any] | None = None
    """What that task calls its document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A worked question, put before a plain one."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A test of one thing."""

    name: str
    items: tuple[Item, ...]
    measures: Measures
    grading: Grading
    """`inferred`: each item by what it has (see `grading_of`)."""
    forms: tuple[Form, ...]
    """How each item is put; the first is the one that headlines use."""
    shots: tuple[Shot, ...] = ()
    """Put before a plain question, in this order, the same for every item and contestant."""
    shot_template: str = "Q: {question}\nA: {answer}\n\n"
    question_template: str = "Q: {question}\nA:"
    stop: Mapping[Form, tuple[str, ...]]
    max_tokens: Mapping[Form, int]
    temperature: float
    seed: int = 0
    """Of sampling; idle at temperature 0."""
    samples: int = 1
    """Completions of each item."""
    pass_at: tuple[int, ...] = ()
    """Programs: for these k, the chance that one of k samples passes (pass@k)."""
    chance: float | None
    """The score of guessing among the choices; None where an item has none."""
    source: str
    """SHA-256 of the file of items."""

    def prompts(self, form: Form) -> list[Prompt]:
        """Return what every model is asked, one prompt an item, in the items' order."""
        if form == "chat":
            return [
                Prompt(
                    prompt_id=item.item_id,
                    messages=(Message(role="user", content=item.chat or item.question),),
                )
                for item in self.items
            ]
        shots = "".join(
            self.shot_template.format(question=shot.question, answer=shot.answer) for shot in self.shots
        )
        return [
            Prompt(
                prompt_id=item.item_id,
                text=item.context or shots + self.question_template.format(question=item.question),
            )
            for item in self.items
        ]


def grading_of(benchmark: Benchmark, item: Item) -> Grading | None:
    """Return how an item's answer is graded; None if the item offers nothing to check an answer by."""
    if benchmark.grading != "inferred":
        return benchmark.grading
    if item.references:
        return "choice" if item.choices else "match"
    return "checks" if item.checks else None
