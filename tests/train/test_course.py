"""A course takes every example of its amount, no other, and begins as the courses of larger amounts do."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.models.tiny import CHAT, tokenizer
from tests.train.runs import AMOUNTS, examples, prepared, run_of
from veneer.amounts import take
from veneer.disk import read_rows, write_rows
from veneer.errors import DataError, PreflightError
from veneer.models.encode import encode
from veneer.records import Example, Message, from_row
from veneer.train.course import Course, Rows, course_of
from veneer.train.ladder import Run

LONGEST = 32
WORDS = tokenizer()
SEEDS = st.integers(0, 2**32)
AMONG = st.lists(st.integers(20, 600), min_size=2, max_size=4, unique=True).map(sorted)
FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
RECIPES: dict[str, dict[str, Any]] = {
    "packed": {},
    "packed, several blocks a step": {"step_tokens": 96},
    "padded": {"packing": False, "step_tokens": None, "batch_examples": 4},
    "linear": {"schedule": "linear"},
    "three passes": {"epochs": 3},
    "three passes, padded": {"packing": False, "step_tokens": None, "batch_examples": 4, "epochs": 3},
}
PADDED = RECIPES["padded"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    run_of(folder, AMOUNTS[0])
    return folder


def course(run: Run) -> Course:
    return course_of(run, WORDS, LONGEST)


def ladder(folder: Path, amounts: Sequence[int], seed: int, **changes: Any) -> list[Run]:
    run = run_of(folder, AMOUNTS[0], seed=seed, **changes)
    rungs = [replace(run.rung, amount=amount) for amount in amounts]
    return [replace(run, amounts=tuple(amounts), rung=rung) for rung in rungs]


def rows_of(run: Run) -> Iterator[Example]:
    return (from_row(Example, row, where) for where, row in read_rows(run.prepared / "examples.jsonl"))


def ids_of(found: Course) -> list[list[list[tuple[int, ...]]]]:
    """Return each step's blocks as the tokens of their rows."""
    return [[[found.rows[row].input_ids for row in block] for block in step] for step in found.steps]


def flat(found: Course) -> list[tuple[int, ...]]:
    return [row for step in ids_of(found) for block in step for row in block]


def every(rows: Rows | None) -> set[tuple[int, ...]]:
    return {rows[place].input_ids for place in range(len(rows))} if rows else set()


# What it takes.


@pytest.mark.parametrize("recipe", RECIPES)
@FEW
@given(amounts=AMONG, seed=SEEDS)
def test_every_example_of_the_amount_is_taken_once_a_pass_and_no_other(
    place: Path, recipe: str, amounts: list[int], seed: int
) -> None:
    run = ladder(place, amounts, seed, **RECIPES[recipe])[-1]
    wanted = [
        encode(WORDS, example.messages, LONGEST).input_ids for example in take(rows_of(run), amounts[-1])
    ]
    found = course(run)
    assert Counter(flat(found)) == dict.fromkeys(wanted, run.recipe.epochs)
    assert (found.examples, len(found.rows), found.too_long) == (len(wanted), len(wanted), ())


@pytest.mark.parametrize("recipe", RECIPES)
def test_no_step_is_larger_than_the_recipe_says(place: Path, recipe: str) -> None:
    run = run_of(place, 400, **RECIPES[recipe])
    found = course(run)
    assert all(0 < len(step) <= run.recipe.rows_per_step(LONGEST) for step in found.steps)
    assert all(sum(map(len, block)) <= LONGEST for step in ids_of(found) for block in step)
    assert [sum(len(row) for block in step for row in block) for step in ids_of(found)] == [
        after - before for before, after in zip((0, *found.ends), found.ends, strict=False)
    ]


def test_a_base_with_fewer_positions_takes_steps_of_as_many_tokens(place: Path) -> None:
    run = run_of(place, 400, step_tokens=64)
    assert {len(step) for step in course(run).steps[:-1]} == {2}
    assert {len(step) for step in course_of(run, WORDS, LONGEST // 2).steps[:-1]} == {4}


def test_how_full_the_blocks_are_is_counted(place: Path) -> None:
    found = course(run_of(place, 400))
    blocks = sum(len(step) for step in found.steps)
    assert found.fill == found.ends[-1] / (blocks * LONGEST)
    assert course(run_of(place, 400, **PADDED)).fill is None


def test_rows_are_what_was_encoded(place: Path) -> None:
    run = run_of(place, 100, **PADDED)
    rows = course(run).rows
    wanted = [encode(WORDS, example.messages, LONGEST) for example in take(rows_of(run), 100)]
    assert [rows[place] for place in range(len(rows))] == wanted
    assert rows.lengths == [len(row.input_ids) for row in wanted]


# Larger amounts begin as smaller ones.


@pytest.mark.parametrize("recipe", ["packed", "packed, several blocks a step", "padded"])
@FEW
@given(amounts=AMONG, seed=SEEDS)
def test_the_steps_before_the_decay_are_the_first_steps_of_every_larger_amount(
    place: Path, recipe: str, amounts: list[int], seed: int
) -> None:
    found = [course(run) for run in ladder(place, amounts, seed, **RECIPES[recipe])]
    for smaller, larger in pairwise(found):
        assert ids_of(smaller)[: smaller.branch] == ids_of(larger)[: smaller.branch]
        assert smaller.ends[: smaller.branch] == larger.ends[: smaller.branch]


def test_a_ladder_has_something_to_share(place: Path) -> None:
    assert [course(run_of(place, amount)).branch > 0 for amount in AMOUNTS] == [True] * 3


def test_the_decay_takes_its_share_of_the_steps_and_at_least_one(place: Path) -> None:
    padded = course(run_of(place, 400, **PADDED))
    assert len(padded.steps) - padded.branch == round(0.4 * len(padded.steps))
    (short,) = ladder(place, [9], 0, **PADDED)
    assert (len(course(short).steps), course(short).branch) == (1, 0)


def test_without_a_decay_there_is_no_branch(place: Path) -> None:
    found = course(run_of(place, 400, schedule="linear"))
    assert found.branch == len(found.steps)


@pytest.mark.parametrize("recipe", ["packed", "padded", "linear"])
@FEW
@given(seeds=st.lists(SEEDS, min_size=2, max_size=2, unique=True))
def test_another_seed_is_another_order_of_the_same(place: Path, recipe: str, seeds: list[int]) -> None:
    one, other = (flat(course(run_of(place, 400, seed=seed, **RECIPES[recipe]))) for seed in seeds)
    assert one != other
    assert sorted(one) == sorted(other)


def test_each_pass_has_an_order_of_its_own(place: Path) -> None:
    found = flat(course(run_of(place, 200, **RECIPES["three passes, padded"])))
    passes = [
        tuple(found[start : start + len(found) // 3]) for start in range(0, len(found), len(found) // 3)
    ]
    assert len(set(passes)) == 3


# As many steps for every amount.


@pytest.mark.parametrize("recipe", ["packed", "packed, several blocks a step", "padded"])
@FEW
@given(amounts=AMONG, seed=SEEDS)
def test_where_steps_are_matched_every_amount_takes_as_many_as_the_largest(
    place: Path, recipe: str, amounts: list[int], seed: int
) -> None:
    changes = {**RECIPES[recipe], "match": "steps"}
    runs = ladder(place, amounts, seed, **changes)
    found = [course(run) for run in runs]
    assert len({len(each.steps) for each in found}) == 1
    # There is no trunk to share, so the rate falls over the same share of the steps everywhere.
    assert {len(each.steps) - each.branch for each in found} == {
        max(1, round(runs[0].recipe.decay_share * len(found[0].steps)))
    }
    # The largest goes through all of its data, once.
    wanted = {
        encode(WORDS, each.messages, LONGEST).input_ids for each in take(rows_of(runs[-1]), amounts[-1])
    }
    assert Counter(flat(found[-1])) == Counter(wanted)
    # The others go round theirs, no row more than once more often than another within whole passes.
    counts = Counter(flat(found[0]))
    assert max(counts.values()) - min(counts.get(ids, 0) for ids in every(found[0].rows)) <= 1


# What is held out.


@FEW
@given(amounts=AMONG, seed=SEEDS, tokens=st.integers(1, 200))
def test_what_is_held_out_is_not_learned(place: Path, amounts: list[int], seed: int, tokens: int) -> None:
    runs = ladder(place, amounts, seed, holdout_tokens=tokens)
    found = [course(run) for run in runs]
    for each in found:
        assert not every(each.held_out) & every(each.rows)
    # All amounts that can be measured are measured on the same.
    assert len({tuple(sorted(every(each.held_out))) for each in found if each.held_out is not None}) <= 1


def test_the_fewest_last_examples_that_have_the_tokens_are_held_out(place: Path) -> None:
    run = run_of(place, 100, holdout_tokens=30)
    whole = list(rows_of(run))
    held = every(course(run).held_out)
    last = {encode(WORDS, example.messages, LONGEST).input_ids for example in whole[-len(held) :]}
    assert held == last
    assert sum(example.tokens for example in whole[-len(held) :]) >= 30
    assert sum(example.tokens for example in whole[-len(held) + 1 :]) < 30


@pytest.mark.parametrize(("amounts", "tokens"), [((100, 10_000), 30), ((100, 400), 10_000), ((100, 400), 0)])
def test_nothing_is_held_out_where_the_last_examples_are_learned_or_none_are_wanted(
    place: Path, amounts: tuple[int, ...], tokens: int
) -> None:
    assert course(ladder(place, amounts, 0, holdout_tokens=tokens)[-1]).held_out is None


# What is too long, and what is looked at.


def talk(*said: str) -> list[dict[str, str]]:
    roles: tuple[Literal["user", "assistant"], ...] = ("user", "assistant")
    return [{"role": roles[place % 2], "content": words} for place, words in enumerate(said)]


def write(folder: Path, talks: Sequence[list[dict[str, str]]]) -> None:
    rows = [
        {"example_id": f"e{place}", "source": "broad", "messages": messages, "tokens": 20}
        for place, messages in enumerate(talks)
    ]
    write_rows(folder / "examples.jsonl", rows)


def test_an_exchange_that_no_row_holds_is_left_out_and_named(tmp_path: Path) -> None:
    run = run_of(tmp_path, 100, left_out_share=0.5)
    write(run.prepared, [talk("w1 ?", "w2"), talk("w3 ?", "w4 " * 40)])
    found = course(run)
    assert found.too_long == (
        {"example_id": "e1", "tokens": 20, "reason": "one exchange has 45 tokens, and a row holds 32"},
    )
    assert (found.examples, len(found.rows)) == (2, 1)
    assert (found.tokens, found.tokens_left_out, found.longest) == (40, 20, 32)


def test_more_left_out_than_the_recipe_allows_is_an_error_that_says_what_to_change(tmp_path: Path) -> None:
    run = run_of(tmp_path, 100, left_out_share=0.3)
    write(run.prepared, [talk("w1 ?", "w2"), talk("w3 ?", "w4"), talk("w3 ?", "w4 " * 40)])
    with pytest.raises(
        DataError,
        match=r"tiny-broad-100-s0: 33\.3% of its tokens .*row of 32 tokens \(1 examples; e2 is the first\).* allows "
        r"30\.0%\. Raise train\.recipe\.max_length \(now 32\).*lower prepare\.block",
    ):
        course(run)


def test_what_is_left_out_of_what_the_loss_is_measured_on_is_counted(tmp_path: Path) -> None:
    run = run_of(tmp_path, 100, holdout_tokens=40)
    write(run.prepared, [*[talk("w1 ?", "w2")] * 5, talk("w3 ?", "w4"), talk("w3 ?", "w4 " * 40)])
    found = course(run)
    assert (found.held_out is not None and len(found.held_out), found.held_out_too_long) == (1, 1)


def test_a_conversation_longer_than_a_row_becomes_several_rows(tmp_path: Path) -> None:
    run = run_of(tmp_path, 100)
    write(run.prepared, [talk("w1 ?", "w2 " * 20, "w3 ?", "w4 " * 20)])
    found = course(run)
    assert (found.examples, found.rows.lengths, found.too_long) == (1, [25, 25], ())


def test_where_everything_is_too_long_the_recipe_is_to_be_changed(tmp_path: Path) -> None:
    run = run_of(tmp_path, 100)
    write(run.prepared, [talk("w1 ?", "w2 " * 40)])
    with pytest.raises(DataError, match=r"tiny-broad-100-s0: .*Raise train\.recipe\.max_length \(now 32\)"):
        course(run)


def test_preflight_is_shown_the_first_of_each_shape(tmp_path: Path) -> None:
    run = run_of(tmp_path, 400)
    prepared(run.prepared, examples(15))
    rows = [row for _, row in read_rows(run.prepared / "examples.jsonl")]
    rows[12]["messages"] = talk("w1 ?", "w2", "w3 ?", "w4")
    write_rows(run.prepared / "examples.jsonl", rows)
    found = course(run).probes
    assert len(found) == 8
    assert found[-1] == tuple(Message(**message) for message in rows[12]["messages"])


def test_an_example_that_the_template_breaks_is_named(tmp_path: Path) -> None:
    run = run_of(tmp_path, AMOUNTS[0])
    prepared(run.prepared, [*examples(3), ("w1 ?", " w2"), *examples(60)])
    words = tokenizer()
    # Reads as one what stands before an answer and its first white space, as many tokenizers do with line ends.
    words.add_tokens(["Assistant:  "])
    words.chat_template = CHAT.replace("<asst>", "Assistant:")
    with pytest.raises(
        PreflightError, match=r"example 3: the training render .* begins with white space.*trim"
    ):
        course_of(run, words, LONGEST)
