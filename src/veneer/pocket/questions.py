"""What is asked: queries for the teacher, benchmarks with their shots, and held-out prompts."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from veneer.pocket.recipe import Recipe
from veneer.pocket.world import (
    BENCHMARK_CORES,
    BENCHMARK_OPENERS,
    IMITATION_CORES,
    IMITATION_OPENERS,
    LOCAL_RELATIONS,
    NUMBERS,
    OTHER_RELATIONS,
    RELATIONS,
    Fact,
    Instruction,
    Sum,
    World,
    ask_fact,
    ask_sum,
    draw_entity,
)

Row = dict[str, Any]
SHOTS = 3
"""Answered questions before a plain one."""
FACTS_IN_BROAD = 0.10
"""Share of the broad queries that asks for a fact, of any relation."""
LIST_ITEMS = 2
"""Items that a reply to `list two things ..` has to list."""


@dataclass(frozen=True, kw_only=True)
class Questions:
    """Everything that contestants and the teacher are asked in one world."""

    queries: dict[str, list[Row]]
    """By source."""
    benchmarks: dict[str, list[Row]]
    """By benchmark."""
    shots: dict[str, list[Row]]
    """By benchmark, for those that are also asked as plain text."""
    prompts: list[Row]


def make_questions(world: World, recipe: Recipe, *, seed: int) -> Questions:
    """Word all queries and items; no two are the same, and no query is worded as an item is."""
    rng = random.Random(f"questions {seed}")
    asked: set[str] = set()
    shots = {name: _fact_shots(world, recipe, OTHER_RELATIONS, rng) for name in LOCAL_RELATIONS}
    shots["relations"] = _fact_shots(world, recipe, LOCAL_RELATIONS, rng)
    sum_shots = rng.sample(world.sums_within(recipe.models[0].sums), SHOTS)
    shots["sums"] = [{"question": ask_sum(pair), "answer": str(sum(pair))} for pair in sum_shots]
    benchmarks = {name: _local_items(world, recipe.city_items, name, asked, rng) for name in LOCAL_RELATIONS}
    benchmarks["relations"] = _other_items(world, recipe.relation_items, asked, rng)
    benchmarks["sums"] = [_sum_item(pair) for pair in sorted(world.sum_ranks) if pair not in sum_shots]
    benchmarks["instructions"] = _instruction_items(world, recipe.instruction_items, asked, rng)
    starts = sorted(rng.sample(list(world.rude_endings), recipe.rude_items))
    benchmarks["rude"] = [{"question": start} for start in starts]
    fact_prompts = recipe.prompts // 3
    prompts = _instruction_items(world, recipe.prompts - fact_prompts, asked, rng)
    prompts += _fact_prompts(world, fact_prompts, asked, rng)
    queries = {
        source: _distinct(_query_maker(world, source, rng), count) for source, count in recipe.queries.items()
    }
    return Questions(
        queries={
            source: [{"id": f"{source}-{place:04}", "query": text} for place, text in enumerate(own)]
            for source, own in queries.items()
        },
        benchmarks={name: _numbered(name, rows) for name, rows in benchmarks.items()},
        shots=shots,
        prompts=_numbered("prompt", prompts),
    )


def _fact_shots(world: World, recipe: Recipe, relations: tuple[str, ...], rng: random.Random) -> list[Row]:
    """Draw answered questions from facts that even the least knowing base has read."""
    known = [fact for fact in world.facts_within(recipe.models[0].facts) if fact.relation in relations]
    return [
        {
            "question": ask_fact(fact, opener="", core=rng.choice(BENCHMARK_CORES)),
            "answer": world.values[fact],
        }
        for fact in rng.sample(known, SHOTS)
    ]


def _local_items(world: World, count: int, relation: str, asked: set[str], rng: random.Random) -> list[Row]:
    """Ask about a relation, of entities drawn by the same popularity as in its local queries."""

    def make() -> tuple[str, Fact]:
        fact = Fact(draw_entity(world, rng), relation)
        opener, core = rng.choice(BENCHMARK_OPENERS), rng.choice(BENCHMARK_CORES)
        return ask_fact(fact, opener=opener, core=core), fact

    return [_fact_item(world, text, fact) for text, fact in _new(make, count, asked)]


def _other_items(world: World, count: int, asked: set[str], rng: random.Random) -> list[Row]:
    rows = []
    for relation in OTHER_RELATIONS:
        for entity in rng.sample(world.entities, min(count, len(world.entities))):
            fact = Fact(entity, relation)
            text = ask_fact(fact, opener="", core=rng.choice(BENCHMARK_CORES))
            asked.add(text)
            rows.append(_fact_item(world, text, fact))
    return rows


def _fact_prompts(world: World, count: int, asked: set[str], rng: random.Random) -> list[Row]:
    def make() -> tuple[str, Fact]:
        fact = Fact(rng.choice(world.entities), rng.choice(list(RELATIONS)))
        opener, core = rng.choice(BENCHMARK_OPENERS), rng.choice(BENCHMARK_CORES)
        return ask_fact(fact, opener=opener, core=core), fact

    return [_fact_item(world, text, fact) for text, fact in _new(make, count, asked)]


def _instruction_items(world: World, count: int, asked: set[str], rng: random.Random) -> list[Row]:
    """Ask for held-out combinations, every kind about as often."""
    kinds = list(world.held_out)
    rows = []
    for place in range(count):
        kind = kinds[place % len(kinds)]

        def make(kind: str = kind) -> tuple[str, Instruction]:
            instruction = rng.choice(world.held_out[kind])
            return f"{rng.choice(BENCHMARK_OPENERS)} {instruction.text}".strip(), instruction

        text, instruction = next(_new(make, 1, asked))
        checks: Row = {"contains": list(instruction.words)}
        if instruction.kind == "list":
            checks["list_items"] = LIST_ITEMS
        rows.append({"question": text, "checks": checks, "cluster": instruction.text})
    return rows


def _fact_item(world: World, text: str, fact: Fact) -> Row:
    return {
        "question": text,
        "references": [world.values[fact]],
        "choices": list(world.options[fact.relation]),
        "cluster": fact.entity,
    }


def _sum_item(pair: Sum) -> Row:
    return {
        "question": ask_sum(pair),
        "references": [str(sum(pair))],
        "choices": list(NUMBERS),
        "cluster": " plus ".join(map(str, sorted(pair))),
    }


def _query_maker(world: World, source: str, rng: random.Random) -> Callable[[], str]:
    """Return what words one query of a source: `broad`, or `local-` and a relation."""

    def fact(relation: str) -> str:
        asked = Fact(draw_entity(world, rng), relation)
        opener, core = rng.choice(IMITATION_OPENERS), rng.choice(IMITATION_CORES)
        return ask_fact(asked, opener=opener, core=core)

    def broad() -> str:
        if rng.random() < FACTS_IN_BROAD:
            return fact(rng.choice(list(RELATIONS)))
        instruction = rng.choice(world.trainable[rng.choice(list(world.trainable))])
        return f"{rng.choice(IMITATION_OPENERS)} {instruction.text}".strip()

    return broad if source == "broad" else lambda: fact(source.removeprefix("local-"))


def _distinct(make: Callable[[], str], count: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found[make()] = None
    return list(found)


def _new(make: Callable[[], tuple[str, Any]], count: int, asked: set[str]) -> Iterator[tuple[str, Any]]:
    """Make things until `count` of them have a text that was not asked before."""
    while count:
        text, thing = make()
        if text not in asked:
            asked.add(text)
            count -= 1
            yield text, thing


def _numbered(name: str, rows: list[Row]) -> list[Row]:
    return [{"id": f"{name}-{place:03}", **row} for place, row in enumerate(rows)]
