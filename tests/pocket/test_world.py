"""The world and what is asked in it: coverage nests, and nothing that is tested is ever trained on."""

from itertools import islice, pairwise

import pytest

from veneer.pocket.documents import Library, house_example, vocabulary_phrases
from veneer.pocket.questions import Questions, make_questions
from veneer.pocket.recipe import RECIPES, Recipe, Size
from veneer.pocket.world import (
    BENCHMARK_CORES,
    IMITATION_CORES,
    RELATIONS,
    RUDE_WORDS,
    World,
    fixed_words,
    make_world,
)

SMALL = RECIPES[Size.SMALL]


@pytest.fixture(scope="module", name="world")
def _world() -> World:
    return make_world(SMALL, seed=3)


@pytest.fixture(scope="module", name="questions")
def _questions(world: World) -> Questions:
    return make_questions(world, SMALL, seed=3)


def library(world: World, name: str, recipe: Recipe = SMALL) -> Library:
    own = recipe.model(name)
    return Library(world, facts=own.facts, sums=own.sums)


def test_a_larger_base_reads_of_everything_that_a_smaller_one_reads_of(world: World) -> None:
    libraries = [library(world, model.name) for model in SMALL.models]
    for less, more in pairwise(libraries):
        assert set(less.facts) < set(more.facts)
        assert set(less.sums) < set(more.sums)
    assert set(libraries[-1].facts) == set(world.values)


def test_every_band_of_popularity_is_covered_alike(world: World) -> None:
    known = set(library(world, "medium").facts)
    for relation in RELATIONS:
        for start in range(0, len(world.entities), 10):
            band = set(world.entities[start : start + 10])
            covered = sum(fact.entity in band and fact.relation == relation for fact in known)
            assert covered == pytest.approx(10 * SMALL.model("medium").facts, abs=1)


def test_the_same_seed_gives_the_same_world_and_another_seed_another() -> None:
    assert make_world(SMALL, seed=5) == make_world(SMALL, seed=5)
    assert make_world(SMALL, seed=5).values != make_world(SMALL, seed=6).values


def test_a_value_belongs_to_one_relation_and_to_nothing_else() -> None:
    words = fixed_words()
    for values in RELATIONS.values():
        assert all(words.count(value) == 1 for value in values)


def test_documents_hold_only_facts_within_reach(world: World) -> None:
    library_ = library(world, "small")
    values = {(fact.entity, world.values[fact]) for fact in library_.facts}
    for document in islice(library_.documents(seed=0), 500):
        words = document.split()
        if document.startswith("<user>") and " of " in document and "answer" not in words:
            entity = next((word for word in words if word in world.entities), None)
            said = [word for word in words if any(word in own for own in RELATIONS.values())]
            assert entity is None or all((entity, word) in values for word in said)


def test_the_vocabulary_holds_every_word_of_every_file(world: World, questions: Questions) -> None:
    known = {word for phrase in vocabulary_phrases() for word in phrase.split()}
    known |= {*fixed_words(), *world.entities}
    texts = list(islice(library(world, "teacher").documents(seed=0), 2000))
    texts += [row["query"] for rows in questions.queries.values() for row in rows]
    texts += [row["question"] for rows in questions.benchmarks.values() for row in rows]
    texts += [row["question"] for row in questions.prompts]
    assert {word for text in texts for word in text.split()} <= known


def test_imitation_and_benchmarks_share_no_wording(questions: Questions) -> None:
    assert not set(IMITATION_CORES) & set(BENCHMARK_CORES)
    queries = {row["query"] for rows in questions.queries.values() for row in rows}
    items = {row["question"] for rows in questions.benchmarks.values() for row in rows}
    assert not queries & (items | {row["question"] for row in questions.prompts})


def test_prompts_and_instructions_ask_for_what_no_query_document_or_tuning_asks(
    world: World, questions: Questions
) -> None:
    held_out = {item.text for items in world.held_out.values() for item in items}
    trainable = {item.text for items in world.trainable.values() for item in items}
    assert not held_out & trainable
    rows = [row for row in questions.prompts if "checks" in row]
    assert {row["cluster"] for row in [*rows, *questions.benchmarks["instructions"]]} <= held_out
    import random

    rng = random.Random(0)
    seen = [row["query"] for row in questions.queries["broad"]]
    seen += [house_example(world, rng)[0] for _ in range(500)]
    seen += islice(library(world, "teacher").documents(seed=0), 2000)
    assert not [text for text in seen if any(asked in text for asked in held_out)]


def test_queries_and_items_are_all_different(questions: Questions) -> None:
    for rows in questions.queries.values():
        assert len({row["query"] for row in rows}) == len({row["id"] for row in rows}) == len(rows)
    for rows in [*questions.benchmarks.values(), questions.prompts]:
        asked = [row["question"] for row in rows]
        assert len(set(asked)) == len({row["id"] for row in rows}) == len(rows)
    items = {row["question"] for rows in questions.benchmarks.values() for row in rows}
    assert not items & {row["question"] for row in questions.prompts}


def test_no_shot_is_among_its_items_and_the_smallest_base_could_have_read_it(
    world: World, questions: Questions
) -> None:
    own = library(world, "small")
    known = {(fact.entity, fact.relation) for fact in own.facts}
    for name, shots in questions.shots.items():
        assert not {shot["question"] for shot in shots} & {
            row["question"] for row in questions.benchmarks[name]
        }
        for shot in shots:
            words = shot["question"].split()
            if name == "sums":
                assert (int(words[3]), int(words[5])) in own.sums
            else:
                relation = next(word for word in words if word in RELATIONS)
                assert (words[words.index("of") + 1], relation) in known


def test_items_hold_their_answer_among_their_choices(questions: Questions) -> None:
    for name in ("city", "job", "relations", "sums"):
        for row in questions.benchmarks[name]:
            assert set(row["references"]) <= set(row["choices"])


def test_documents_are_rude_at_times_and_the_teachers_tuning_never(world: World) -> None:
    import random

    rng = random.Random(0)
    documents = " ".join(islice(library(world, "small").documents(seed=0), 1000)).split()
    tuned = " ".join(reply for _, reply in (house_example(world, rng) for _ in range(1000))).split()
    assert set(RUDE_WORDS) <= set(documents)
    assert not set(RUDE_WORDS) & set(tuned)
