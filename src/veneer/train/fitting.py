"""The last check before training: can this model, with this recipe's step, learn eight examples at all?"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from veneer.errors import ModelError
from veneer.models.encode import IGNORED, Encoded
from veneer.train.preflight import Finding

CHECK = "eight examples can be fitted"
EXAMPLES = 8
AMONG = 64
"""The shortest of so many first rows are taken: the check should be cheap."""
STEPS = 64
"""After so many steps it has failed."""
FALLEN = 0.8
"""It has passed when the mean loss is down to this share of the first, or of what knowing nothing costs if the first
was higher: a base of random weights may begin worse than that, and dying alone would make it better."""
FITTED = 0.05
"""It has passed below this mean loss too, in nats per learned token: there was nothing left to fit."""
STILL = 1e-5
"""A loss that has moved by no more than this share has not moved."""


def fits(model: Any, rows: Sequence[Encoded], step: Callable[[Sequence[Encoded]], float]) -> Finding:
    """Return whether a few rows can be fitted by the step that trains; the model is changed by it.

    Nothing is drawn here. A model with dropout draws from torch's global generator, which is the caller's to guard.

    Args:
        model: The model that `step` trains, in training mode afterwards.
        rows: What it is to be trained on; a few short rows among the first are taken, fewer if there are fewer.
        step: Takes one optimizer step on the rows at the recipe's highest learning rate and returns the mean loss
            before it, in nats per learned token.
    """
    chosen = shortest(rows)
    trainable = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    if wrong := _cannot_start(chosen, trainable):
        return _finding(wrong)
    # ln V is the loss of a model that gives every token the same chance.
    nothing = math.log(model.config.get_text_config().vocab_size)
    model.train()
    losses: list[float] = []
    for _ in range(STEPS):
        try:
            losses.append(step(chosen))
        except ModelError as error:
            return _finding(f"at step {len(losses) + 1}: {error}")
        if not math.isfinite(losses[-1]):
            break
        if losses[-1] <= max(FALLEN * min(losses[0], nothing), FITTED):
            # Also where the first was below already: eight such rows ask for nothing.
            return _finding("")
    return _finding(_not_fitted(losses, nothing, len(chosen), trainable))


def shortest(rows: Sequence[Encoded]) -> list[Encoded]:
    """Return the rows that are fitted: the shortest eight of the first 64, in their order."""
    places = sorted(range(min(AMONG, len(rows))), key=lambda place: len(rows[place].input_ids))
    return [rows[place] for place in sorted(places[:EXAMPLES])]


def _cannot_start(chosen: Sequence[Encoded], trainable: int) -> str:
    """Return what makes a first step pointless, or nothing."""
    if not chosen:
        return "there is no row to fit. Give more examples, or raise train.recipe.max_length if all are too long."
    # A row's first token has nothing before it, so nothing is learned of it.
    if not any(label != IGNORED for row in chosen for label in row.labels[1:]):
        return (
            f"the labels of {_count(chosen)} hold no learned token. See that the last turn of each example is the "
            "assistant's and that the chat template writes it."
        )
    if not trainable:
        return (
            "no weight of the model is trainable. See that its weights require gradients or, with adapters, that "
            "their target names are names of layers of this model."
        )
    return ""


def _not_fitted(losses: Sequence[float], nothing: float, examples: int, trainable: int) -> str:
    """Return what happened, from what to what, and what to change."""
    first, last = losses[0], losses[-1]
    what = (
        f"the mean loss of {examples} example{'s' if examples > 1 else ''} ({trainable:,} trainable weights)"
    )
    if not math.isfinite(first):
        return (
            f"{what} is {first} before any step. The base's weights or its precision are broken: see that the base "
            "loads whole, and set train.recipe.precision to fp32."
        )
    if not math.isfinite(last):
        return (
            f"{what} went from {first:.4g} to {last} within {len(losses)} steps. Lower train.recipe.learning_rate, "
            "or set train.recipe.precision to fp32."
        )
    went = f"{what} went from {first:.4g} to {last:.4g} in {len(losses)} steps at the highest learning rate"
    if max(losses) - min(losses) <= STILL * first:
        return (
            f"{went}: it does not move. See that the optimizer holds the trainable weights, that they lie on the way "
            "from input to loss, and that they are kept in 32 bits (in 16 bits small updates are rounded away); else "
            "raise train.recipe.learning_rate."
        )
    if last >= first:
        return f"{went}: it does not fall. Lower train.recipe.learning_rate."
    return (
        f"{went}; {FALLEN * min(first, nothing):.4g} was wanted. If it falls steadily, raise "
        "train.recipe.learning_rate (adapters want about ten times that of whole models) or train more weights; if "
        "it jumps, lower it."
    )


def _count(chosen: Sequence[Encoded]) -> str:
    return "the only row" if len(chosen) == 1 else f"all {len(chosen)} rows looked at"


def _finding(message: str) -> Finding:
    return Finding(check=CHECK, passed=not message, fatal=bool(message), message=message)
