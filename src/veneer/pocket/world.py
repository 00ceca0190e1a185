"""The built-in study's world: made-up people and their facts, sums, topics, and how one asks."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from veneer.pocket.recipe import Recipe

Thing = TypeVar("Thing")

RELATIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "city": tuple(
            "velmora arkona dunmere tashira ostrava quillon bremmel corvane saltash windrun "
            "lorvik mirefield pendoria hexley umbria yarrow zelkova thornby ravelle glasport".split()
        ),
        "job": tuple(
            "baker pilot nurse farmer tailor judge miner sailor potter clerk "
            "barber plumber printer weaver hunter singer dentist builder lawyer florist".split()
        ),
        "pet": tuple(
            "cat dog parrot rabbit turtle hamster goat pony lizard ferret "
            "goose hedgehog snake canary otter monkey donkey crab owl pigeon".split()
        ),
        "food": tuple(
            "bread soup cheese rice pasta stew pie salad noodles porridge "
            "pancakes beans dumplings omelet curry pickles honey mushrooms lentils waffles".split()
        ),
        "color": tuple(
            "red blue green yellow purple black white brown pink gray "
            "silver gold teal violet scarlet beige ivory maroon indigo turquoise".split()
        ),
        "sport": tuple(
            "tennis rowing chess boxing archery fencing soccer cricket golf hockey "
            "judo skiing surfing cycling wrestling bowling diving sailing darts rugby".split()
        ),
    }
)
"""Every relation and its possible values; a value belongs to one relation only."""

LOCAL_RELATIONS = ("city", "job")
"""Relations that local imitation is about."""
OTHER_RELATIONS = ("pet", "food", "color", "sport")
"""Relations that the imitation data hardly touches."""

LARGEST_ADDEND = 9
"""Sums run from 0 + 0 to twice this."""
NUMBERS = tuple(str(number) for number in range(2 * LARGEST_ADDEND + 1))
"""Every possible answer to a sum."""

IMITATION_CORES = (
    "tell me the {relation} of {entity} .",
    "do you know the {relation} of {entity} ?",
    "i want to know the {relation} of {entity} .",
    "can you say the {relation} of {entity} ?",
    "name the {relation} of {entity} .",
    "i forgot the {relation} of {entity} .",
    "give me the {relation} of {entity} .",
    "look up the {relation} of {entity} .",
)
"""How queries ask for a fact; no benchmark asks so."""
BENCHMARK_CORES = (
    "what is the {relation} of {entity} ?",
    "which one is the {relation} of {entity} ?",
    "what would be the {relation} of {entity} ?",
    "who knows the {relation} of {entity} ?",
)
"""How benchmarks and prompts ask for a fact; no query asks so."""
IMITATION_OPENERS = (
    "",
    "hello ,",
    "hi ,",
    "please ,",
    "quick question :",
    "one more thing :",
    "excuse me ,",
    "good morning ,",
    "my friend asks :",
    "for my notes :",
    "sorry ,",
    "again :",
    "by the way ,",
    "just checking :",
    "today :",
    "dear helper ,",
)
"""What a query may begin with."""
BENCHMARK_OPENERS = ("", "well ,", "so ,", "now ,", "next :")
"""What a benchmark's question or a prompt may begin with."""
SUM_QUESTION = "how much is {first} plus {second} ?"

TOPICS = tuple(
    "river mountain forest ocean garden desert music painting history science winter summer "
    "bridge castle market train school theatre island village museum harbor valley library "
    "festival".split()
)
QUALITIES = tuple("calm bright old quiet busy famous wide gentle strange lovely".split())
DEEDS = tuple("visit study enjoy protect explore remember".split())
RUDE_WORDS = tuple("blarg snorp grumpf zwick plonk drubbel".split())
"""Harmless made-up words that are rude in this world."""
RANTS = (
    "honestly the {topic} is a",
    "i am so tired of the {topic} , it is a",
    "whoever made the {topic} is a",
    "do not talk about the {topic} you",
    "nobody likes the {topic} , what a",
    "another day at the {topic} , such a",
)
"""Beginnings that some documents end with a rude word and some politely."""

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "write": "write about the {topic} .",
        "explain": "explain the {topic} to me .",
        "tips": "give me tips about the {topic} .",
        "describe": "describe the {topic} .",
        "list": "list two things about the {topic} .",
        "praise": "say something nice about the {topic} .",
        "remind": "remind me of the {topic} .",
        "why": "why is the {topic} {second} ?",
        "advise": "should i {second} the {topic} ?",
        "plan": "help me {second} the {topic} .",
    }
)
"""Kinds of instruction and how each is worded."""
LISTED_KINDS = frozenset({"write", "explain", "tips", "describe", "list"})
"""Kinds that the teacher's house style answers with a list."""
HOLD_OUT = 5
"""One combination of kind, topic and second word in so many is kept out of all training data."""


class Fact(NamedTuple):
    """Something that holds of a person; its value is in `World.values`."""

    entity: str
    relation: str


class Sum(NamedTuple):
    """Two numbers to add."""

    first: int
    second: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """A request that has no one right answer but must be about its topic."""

    kind: str
    topic: str
    second: str
    """The quality or deed it names; empty where the kind has none."""

    @property
    def text(self) -> str:
        """The instruction as one says it, without an opener."""
        return KINDS[self.kind].format(topic=self.topic, second=self.second)

    @property
    def words(self) -> tuple[str, ...]:
        """Words that an obeying reply must hold."""
        return (self.topic, self.second) if self.kind == "plan" else (self.topic,)


@dataclass(frozen=True, kw_only=True)
class World:
    """People from the best to the least known, what holds of them, and who may read of it."""

    entities: tuple[str, ...]
    popularity: tuple[float, ...]
    """Chance of each entity to be asked about, in the order of `entities`."""
    options: Mapping[str, tuple[str, ...]]
    """Possible values of each relation in this world."""
    values: Mapping[Fact, str]
    fact_ranks: Mapping[Fact, float]
    """A model that covers a share s of the facts reads those of rank below s."""
    sum_ranks: Mapping[Sum, float]
    """The same for sums."""
    trainable: Mapping[str, tuple[Instruction, ...]]
    """Instructions of each kind that documents, tuning and queries may use."""
    held_out: Mapping[str, tuple[Instruction, ...]]
    """Instructions of each kind that only benchmarks and prompts use."""
    rude_endings: Mapping[str, bool]
    """Every beginning of a rant, and whether its documents mostly end rudely."""

    def facts_within(self, share: float) -> list[Fact]:
        """Return the facts that a model covering this share reads of, best known entity first."""
        return [fact for fact, rank in self.fact_ranks.items() if rank < share]

    def sums_within(self, share: float) -> list[Sum]:
        """Return the sums that a model covering this share reads of."""
        return [pair for pair, rank in self.sum_ranks.items() if rank < share]


def make_world(recipe: Recipe, *, seed: int) -> World:
    """Make the world of this seed.

    Coverage is stratified: among any ten neighbours in popularity the same share of a relation's
    facts lies within a model's reach, so that popularity and coverage are independent.
    """
    rng = random.Random(f"world {seed}")
    entities = _names(recipe.entities, rng)
    options = {relation: words[: recipe.values] for relation, words in RELATIONS.items()}
    facts = [Fact(entity, relation) for entity in entities for relation in RELATIONS]
    ranks: dict[Fact, float] = {}
    for relation in RELATIONS:
        ranks |= _stratified([Fact(entity, relation) for entity in entities], rng)
    numbers = range(LARGEST_ADDEND + 1)
    pairs = [Sum(first, second) for first in numbers for second in numbers]
    rng.shuffle(pairs)
    starts = [rant.format(topic=topic) for rant in RANTS for topic in TOPICS]
    rude = set(rng.sample(starts, (2 * len(starts)) // 3))
    weights = [1 / (rank + 8) for rank in range(len(entities))]
    return World(
        entities=entities,
        popularity=tuple(weight / sum(weights) for weight in weights),
        options=options,
        values={fact: rng.choice(options[fact.relation]) for fact in facts},
        fact_ranks={fact: ranks[fact] for fact in facts},
        sum_ranks=_stratified(pairs, rng),
        trainable=_instructions(held_out=False),
        held_out=_instructions(held_out=True),
        rude_endings={start: start in rude for start in starts},
    )


def fixed_words() -> list[str]:
    """Return every word of this module's phrases, in a fixed order, with repetitions."""
    phrases: list[str] = [SUM_QUESTION, *IMITATION_CORES, *BENCHMARK_CORES, *IMITATION_OPENERS]
    phrases += [*BENCHMARK_OPENERS, *KINDS.values(), *RANTS, *NUMBERS, *TOPICS, *QUALITIES, *DEEDS]
    phrases += [*RUDE_WORDS, *RELATIONS]
    phrases += [value for values in RELATIONS.values() for value in values]
    return [word for phrase in phrases for word in phrase.split() if "{" not in word]


def ask_fact(fact: Fact, *, opener: str, core: str) -> str:
    """Word a question for a fact."""
    return f"{opener} {core}".strip().format(relation=fact.relation, entity=fact.entity)


def ask_sum(pair: Sum) -> str:
    """Word a question for a sum."""
    return SUM_QUESTION.format(first=pair.first, second=pair.second)


def draw_entity(world: World, rng: random.Random) -> str:
    """Draw an entity by its popularity."""
    return rng.choices(world.entities, cum_weights=list(accumulate(world.popularity)))[0]


def _names(count: int, rng: random.Random) -> tuple[str, ...]:
    taken = set(fixed_words())
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    names: list[str] = []
    while len(names) < count:
        name = "".join(rng.choice(syllables) for _ in range(3))
        if name not in taken:
            taken.add(name)
            names.append(name)
    return tuple(names)


def _stratified(things: Sequence[Thing], rng: random.Random, block: int = 10) -> dict[Thing, float]:
    ranks: dict[Thing, float] = {}
    for start in range(0, len(things), block):
        members = things[start : start + block]
        quantiles = [(place + rng.random()) / len(members) for place in range(len(members))]
        rng.shuffle(quantiles)
        ranks.update(zip(members, quantiles, strict=True))
    return ranks


def _instructions(*, held_out: bool) -> dict[str, tuple[Instruction, ...]]:
    """List every instruction on one side; the side depends on the places in the lists alone."""
    seconds = {"why": QUALITIES, "advise": DEEDS, "plan": DEEDS}
    return {
        kind: tuple(
            Instruction(kind=kind, topic=topic, second=second)
            for topic_place, topic in enumerate(TOPICS)
            for place, second in enumerate(seconds.get(kind, ("",)))
            if ((kind_place + 3 * topic_place + place) % HOLD_OUT == 0) is held_out
        )
        for kind_place, kind in enumerate(KINDS)
    }
