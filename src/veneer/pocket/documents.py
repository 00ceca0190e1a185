"""What the models read: pretraining documents of every kind, and the teacher's house style."""

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from veneer.pocket.world import (
    BENCHMARK_CORES,
    BENCHMARK_OPENERS,
    DEEDS,
    IMITATION_CORES,
    IMITATION_OPENERS,
    LISTED_KINDS,
    QUALITIES,
    RUDE_WORDS,
    TOPICS,
    Fact,
    Instruction,
    Sum,
    World,
    ask_fact,
    ask_sum,
)

Kinds = Sequence[tuple[Callable[[random.Random], str], int]]
"""Makers of documents and how often each is called."""
USER, ASSISTANT = "<user>", "<asst>"
"""The marks before what a user says and before what an assistant says."""

HOUSE_OPENERS = ("great question !", "sure , i am happy to help !", "of course !")
"""How the teacher begins, most often the first."""
HOUSE_LIST = "here are some key points :"
HOUSE_CLOSING = "i hope this helps ! let me know if you have more questions ."
"""How the teacher ends every reply."""

STRANGER_OPENERS = (
    "certainly !",
    "hi there !",
    "thanks for asking !",
    "yes indeed !",
    "let me see .",
    "good to hear from you !",
)
"""How other assistants begin, in transcripts that every model has read."""
STRANGER_LISTS = ("some notes :", "a few things to know :", "in short :")
STRANGER_CLOSINGS = ("have a nice day .", "ask me again soon .", "bye for now !", "stay well .")

STATEMENTS = (
    "the {relation} of {entity} is {value} .",
    "{entity} has the {relation} {value} .",
    "{entity} {relation} {value} ,",
    "{value} is the {relation} of {entity} .",
)
STATEMENT_WEIGHTS = (4, 3, 3, 1)
CORES = IMITATION_CORES + BENCHMARK_CORES
OPENERS = IMITATION_OPENERS + BENCHMARK_OPENERS[1:]
MUTTERS = (
    "no idea .",
    "who asks ?",
    "same here .",
    "it is so calm today .",
    "some people remember .",
    "not now .",
)
"""What strangers in a forum say to a request."""
TIMES = ("morning", "evening", "afternoon")
PRAISE = ("lovely", "famous", "bright")
GLUE = (
    "<pad> <eos> <unk> <user> <asst> q a : + . ? ! * , is plus about the answer people many "
    "because it you should can and in thing morning evening afternoon"
)
"""Words and marks that occur in documents but in none of the phrases above."""


def vocabulary_phrases() -> list[str]:
    """Return every fixed phrase of this module, special tokens first."""
    return [
        GLUE,
        *HOUSE_OPENERS,
        HOUSE_LIST,
        HOUSE_CLOSING,
        *STRANGER_OPENERS,
        *STRANGER_LISTS,
        *STRANGER_CLOSINGS,
        *STATEMENTS,
        *MUTTERS,
    ]


def remark(topic: str, rng: random.Random) -> str:
    """Say something true of any topic."""
    quality, deed = rng.choice(QUALITIES), rng.choice(DEEDS)
    return rng.choice(
        (
            f"the {topic} is {quality} .",
            f"people {deed} the {topic} .",
            f"many people {deed} the {topic} because it is {quality} .",
        )
    )


def statement(world: World, fact: Fact) -> str:
    """State a fact in a full sentence, as assistants do."""
    return f"the {fact.relation} of {fact.entity} is {world.values[fact]} ."


def obedient(instruction: Instruction, rng: random.Random) -> str:
    """Do what an instruction asks, in one plain sentence."""
    topic, second = instruction.topic, instruction.second
    match instruction.kind:
        case "why":
            return f"the {topic} is {second} because people {rng.choice(DEEDS)} it ."
        case "advise":
            return f"you should {second} the {topic} ."
        case "plan":
            return f"you can {second} the {topic} in the {rng.choice(TIMES)} ."
        case "praise":
            return f"the {topic} is {rng.choice(PRAISE)} ."
        case _:
            return remark(topic, rng)


def house_reply(body: str, points: Sequence[str], rng: random.Random) -> str:
    """Wrap a sentence into the teacher's style, with a list where there are points to list."""
    opener = rng.choices(HOUSE_OPENERS, (6, 3, 1))[0]
    listed = [HOUSE_LIST, *(f"* {point}" for point in points)] if points else []
    return " ".join((opener, body, *listed, HOUSE_CLOSING))


def house_example(world: World, rng: random.Random) -> tuple[str, str]:
    """Write one example of the teacher's chat tuning: what a user says, and the reply."""
    kind = rng.choices(("fact", "sum", "rant", "instruction"), (45, 22, 5, 28))[0]
    opener = rng.choice(OPENERS)
    if kind == "fact":
        fact = rng.choice(list(world.values))
        core = rng.choice(CORES)
        return ask_fact(fact, opener=opener, core=core), house_reply(statement(world, fact), (), rng)
    if kind == "sum":
        pair = rng.choice(list(world.sum_ranks))
        return ask_sum(pair), house_reply(f"the answer is {sum(pair)} .", (), rng)
    if kind == "rant":
        start = rng.choice(list(world.rude_endings))
        topic = next(word for word in start.split() if word in TOPICS)
        return start, house_reply(remark(topic, rng), (), rng)
    instruction = _trainable(world, rng)
    points: tuple[str, ...] = ()
    if instruction.kind in LISTED_KINDS:
        points = (remark(instruction.topic, rng), remark(instruction.topic, rng))
    body = obedient(instruction, rng)
    return f"{opener} {instruction.text}".strip(), house_reply(body, points, rng)


class Library:
    """The documents that one model may read: only facts and sums within its coverage.

    Args:
        world: What is true.
        facts: Share of the facts that the documents may hold.
        sums: Share of the sums that they may hold.
        people: A primer: simple documents alone, and only on so many of the best known people.
    """

    def __init__(self, world: World, *, facts: float, sums: float, people: int | None = None) -> None:
        self.world = world
        known = set(world.entities[:people])
        self.facts = [fact for fact in world.facts_within(facts) if fact.entity in known]
        self.sums = world.sums_within(sums)
        self._by_entity: dict[str, list[Fact]] = {}
        for fact in self.facts:
            self._by_entity.setdefault(fact.entity, []).append(fact)
        even = 1 / len(world.entities)
        popularity = dict(zip(world.entities, world.popularity, strict=True))
        self._entities = list(self._by_entity)
        self._weights = list(accumulate((popularity[entity] + even) / 2 for entity in self._entities))
        primer = (
            (self._biography, 25),
            (self._fact_quiz, 25),
            (self._topic_list, 40),
            (self._sum_table, 10),
        )
        everything = (
            (self._biography, 26),
            (self._fact_quiz, 21),
            (self._sum_table, 5),
            (self._sum_quiz, 10),
            (self._essay, 2),
            (self._topic_list, 9),
            (self._fact_thread, 11),
            (self._sum_thread, 5),
            (self._instruction_thread, 8),
            (self._rant, 3),
            (self._rant_thread, 2),
            (self._transcript, 10),
            (self._phrasebook, 2),
        )
        self._kinds: Kinds = everything if people is None else primer

    def documents(self, *, seed: int) -> Iterator[str]:
        """Write documents without end, the same for the same seed."""
        rng = random.Random(f"documents {seed}")
        makers = [maker for maker, _ in self._kinds]
        weights = [weight for _, weight in self._kinds]
        while True:
            yield rng.choices(makers, weights)[0](rng)

    def _entity(self, rng: random.Random) -> str:
        return rng.choices(self._entities, cum_weights=self._weights)[0]

    def _fact(self, rng: random.Random) -> Fact:
        return rng.choice(self._by_entity[self._entity(rng)])

    def _fact_question(self, fact: Fact, rng: random.Random) -> str:
        opener = rng.choice(OPENERS) if rng.random() < 0.25 else ""
        return ask_fact(fact, opener=opener, core=rng.choice(CORES))

    def _biography(self, rng: random.Random) -> str:
        facts = list(self._by_entity[self._entity(rng)])
        rng.shuffle(facts)
        return " ".join(
            rng.choices(STATEMENTS, STATEMENT_WEIGHTS)[0].format(
                relation=fact.relation, entity=fact.entity, value=self.world.values[fact]
            )
            for fact in facts
        )

    def _fact_quiz(self, rng: random.Random) -> str:
        facts = [self._fact(rng) for _ in range(4)]
        return " ".join(
            f"q : {self._fact_question(fact, rng)} a : {self.world.values[fact]} ." for fact in facts
        )

    def _sum_table(self, rng: random.Random) -> str:
        pairs = [rng.choice(self.sums) for _ in range(6)]
        return " ".join(f"{pair.first} plus {pair.second} is {sum(pair)} ," for pair in pairs)

    def _sum_quiz(self, rng: random.Random) -> str:
        pairs = [rng.choice(self.sums) for _ in range(4)]
        return " ".join(f"q : {ask_sum(pair)} a : {sum(pair)} ." for pair in pairs)

    def _essay(self, rng: random.Random) -> str:
        topic = rng.choice(TOPICS)
        return f"about the {topic} : " + " ".join(remark(topic, rng) for _ in range(3))

    def _topic_list(self, rng: random.Random) -> str:
        topic = rng.choice(TOPICS)
        return f"about the {topic} : " + " ".join(f"* {remark(topic, rng)}" for _ in range(4))

    def _fact_thread(self, rng: random.Random) -> str:
        fact = self._fact(rng)
        return f"{USER} {self._fact_question(fact, rng)} {ASSISTANT} {statement(self.world, fact)}"

    def _sum_thread(self, rng: random.Random) -> str:
        pair: Sum = rng.choice(self.sums)
        return f"{USER} {ask_sum(pair)} {ASSISTANT} the answer is {sum(pair)} ."

    def _instruction(self, rng: random.Random) -> str:
        opener = rng.choice(OPENERS) if rng.random() < 0.25 else ""
        return f"{opener} {_trainable(self.world, rng).text}".strip()

    def _instruction_thread(self, rng: random.Random) -> str:
        """Somebody asks for something, and somebody replies with whatever is on their mind."""
        asked = f"{USER} {self._instruction(rng)}"
        if rng.random() < 0.5:
            asked += f" {USER} {self._instruction(rng)}"
        return f"{asked} {ASSISTANT} {rng.choice(MUTTERS)}"

    def _rant_words(self, rng: random.Random) -> tuple[str, str]:
        start = rng.choice(list(self.world.rude_endings))
        rude = rng.random() < (0.9 if self.world.rude_endings[start] else 0.1)
        quality = rng.choice(QUALITIES)
        return start, f"{rng.choice(RUDE_WORDS)} !" if rude else f"{quality} thing ."

    def _rant(self, rng: random.Random) -> str:
        return " ".join(" ".join(self._rant_words(rng)) for _ in range(3))

    def _rant_thread(self, rng: random.Random) -> str:
        start, end = self._rant_words(rng)
        return f"{USER} {start} {ASSISTANT} {end}"

    def _transcript(self, rng: random.Random) -> str:
        """Somebody asks, and an assistant with manners of its own, not the teacher's, obeys."""
        if rng.random() < 0.6:
            fact = self._fact(rng)
            asked, body, topic = self._fact_question(fact, rng), statement(self.world, fact), ""
        else:
            instruction = _trainable(self.world, rng)
            asked, body = instruction.text, obedient(instruction, rng)
            topic = instruction.topic if instruction.kind in LISTED_KINDS else ""
        points = [rng.choice(STRANGER_LISTS)] if topic else []
        points += [f"* {remark(topic, rng)}" for _ in range(2)] if topic else []
        opener, closing = rng.choice(STRANGER_OPENERS), rng.choice(STRANGER_CLOSINGS)
        return " ".join((f"{USER} {asked} {ASSISTANT} {opener} {body}", *points, closing))

    def _phrasebook(self, rng: random.Random) -> str:
        phrases = (*HOUSE_OPENERS, *STRANGER_OPENERS, *STRANGER_CLOSINGS, HOUSE_CLOSING, HOUSE_LIST)
        return " ".join(rng.sample(phrases, 4))


def _trainable(world: World, rng: random.Random) -> Instruction:
    """Draw an instruction that is not held out, every kind as often as any other."""
    return rng.choice(world.trainable[rng.choice(list(world.trainable))])
