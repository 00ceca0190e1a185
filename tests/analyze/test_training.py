"""The report says of training what the ledgers say was done."""

from typing import Any

import pytest

from veneer.analyze.training import left_out, said
from veneer.study_train import TrainSpec

LADDER = TrainSpec.model_validate({"amounts": ["1M", "3M"]})


def ledger(amount: int = 1_000_000, **changes: Any) -> dict[str, Any]:
    return {
        "student": f"tiny-broad-{amount}-s0",
        "amount": amount,
        "warmup_steps": 2,
        "tokens": amount + 17,
        "too_long": [],
        "tokens_of_examples": amount + 17,
        "tokens_left_out": 0,
        **changes,
    }


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([], "after a warm-up of 100,000 tokens for every amount, for 1 pass"),
        ([2, 2], "after a warm-up of 100,000 tokens for every amount (2 optimizer steps), for 1 pass"),
        ([1, 1], "(1 optimizer step)"),
        ([1, 2], "(1 to 2 optimizer steps)"),
        ([0, 0], "without a warm-up (that of 100,000 tokens ended before the middle of the first step), for"),
    ],
)
def test_the_warm_up_is_told_in_the_steps_that_had_it(steps: list[int], told: str) -> None:
    assert told in said(LADDER, [ledger(warmup_steps=count) for count in steps])


def test_where_none_was_asked_for_there_was_none() -> None:
    small = TrainSpec.model_validate({"amounts": ["10k"]})
    assert "falls to 0 over the last 20% of a student's steps, without a warm-up, for" in said(small, [])


def test_what_was_gone_through_is_told_for_each_amount() -> None:
    found = said(LADDER, [ledger(), ledger(tokens=1_000_400), ledger(3_000_000)])
    assert found.endswith("in whole examples: 1,000,017 to 1,000,400 for 1,000,000; 3,000,017 for 3,000,000.")


def test_what_was_not_learned_is_a_note_about_the_student_that_lacks_most() -> None:
    assert left_out([]) == left_out([ledger()]) == []
    lacking = ledger(too_long=[{"example_id": "a"}], tokens_of_examples=1000, tokens_left_out=5)
    (note,) = left_out([ledger(3_000_000), lacking])
    assert (
        "at most 0.50% of a student's amount (tiny-broad-1000000-s0: 1 examples, 5 of 1,000 tokens)" in note
    )
