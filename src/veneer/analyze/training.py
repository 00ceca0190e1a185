"""How the ladder was trained, in words: what the study file asked for, and what the students' ledgers say was done."""

from collections.abc import Mapping, Sequence
from typing import Any

from veneer.study_train import TrainSpec

Ledger = Mapping[str, Any]
"""A student's `ledger.json`, with its name under `student` and its amount under `amount`."""


def said(train: TrainSpec, ledgers: Sequence[Ledger]) -> str:
    """Return how the ladder was trained, in a few sentences.

    Args:
        train: What was asked for.
        ledgers: What was done; without any, only what was asked for is said.
    """
    recipe = train.recipe
    if recipe.schedule == "stable":
        rate = f"a constant learning rate that falls to 0 over the last {recipe.decay_share:.0%} of a student's steps"
    else:
        rate = {
            "linear": "a learning rate that falls in a straight line",
            "cosine": "a learning rate that falls along a cosine",
            "constant": "a constant learning rate",
        }[recipe.schedule]
    shared = (
        "The amounts of a source share the steps before that; the students are those that training each amount alone "
        "gives."
        if train.shares_trunk
        else "Every student was trained alone."
    )
    passes = (
        "every amount for as many optimizer steps as the largest"
        if recipe.match == "steps"
        else f"{recipe.epochs} {'pass' if recipe.epochs == 1 else 'passes'} over its tokens"
    )
    went = _gone_through(ledgers)
    return f"Students were trained with {rate}, {_warmup(train, ledgers)}, for {passes}. {shared}{went}"


def left_out(ledgers: Sequence[Ledger]) -> list[str]:
    """Return a note on what students did not learn of their amounts, if there is such."""
    worst = max(ledgers, key=_share_left_out, default=None)
    if worst is None or not worst["too_long"]:
        return []
    return [
        f"Examples of which one exchange is longer than a training row were not learned: at most "
        f"{_share_left_out(worst):.2%} of a student's amount ({worst['student']}: {len(worst['too_long']):,} examples, "
        f"{worst['tokens_left_out']:,} of {worst['tokens_of_examples']:,} tokens)."
    ]


def _share_left_out(ledger: Ledger) -> float:
    return float(ledger["tokens_left_out"] / max(1, ledger["tokens_of_examples"]))


def _warmup(train: TrainSpec, ledgers: Sequence[Ledger]) -> str:
    """Return how the rate began to rise: in tokens as asked for, and in the steps that had a lower rate."""
    tokens = train.warmup_tokens
    steps = _range([ledger["warmup_steps"] for ledger in ledgers])
    if not tokens:
        return "without a warm-up"
    if steps == "0":
        return f"without a warm-up (that of {tokens:,} tokens ended before the middle of the first step)"
    counted = f" ({steps} optimizer {'step' if steps == '1' else 'steps'})" if steps else ""
    return f"after a warm-up of {tokens:,} tokens for every amount{counted}"


def _gone_through(ledgers: Sequence[Ledger]) -> str:
    """Return how many tokens each amount came to, by the bases' own tokenizers."""
    amounts = sorted({ledger["amount"] for ledger in ledgers})
    if not amounts:
        return ""
    found = (
        f"{_range([ledger['tokens'] for ledger in ledgers if ledger['amount'] == amount])} for {amount:,}"
        for amount in amounts
    )
    return f" Tokens that were gone through, in whole examples: {'; '.join(found)}."


def _range(values: Sequence[int]) -> str:
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
