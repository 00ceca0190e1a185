"""What a run goes through: the rows of its examples, and which of them make each optimizer step."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from veneer.amounts import parted
from veneer.disk import Row, read_rows
from veneer.errors import DataError, ModelError, PreflightError
from veneer.models.encode import IGNORED, Encoded, TooLongError, encode, split
from veneer.records import Example, Message, from_row
from veneer.train.ladder import Run
from veneer.train.packing import OPEN, Block, pack
from veneer.train.preflight import probes

_Arrays = tuple[NDArray[np.int32], NDArray[np.bool_]]
"""One row's tokens, and which of them are learned."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Training rows in flat arrays, since as Python numbers 150M tokens would not fit the memory."""

    ids: NDArray[np.int32]
    learned: NDArray[np.bool_]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, place: int) -> Encoded:
        start, end = self.ends[place - 1] if place else 0, self.ends[place]
        ids, learned = self.ids[start:end], self.learned[start:end]
        labels = np.where(learned, ids, IGNORED)
        return Encoded(input_ids=tuple(ids.tolist()), labels=tuple(labels.tolist()))

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        found: list[int] = np.diff(self.ends, prepend=0).tolist()
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A run's rows and steps."""

    rows: Rows
    held_out: Rows | None
    """Rows of the last examples of the source, to measure the loss on; None where this amount learns them."""
    steps: tuple[tuple[Block, ...], ...]
    """Each step's blocks; without packing a block is one row."""
    ends: tuple[int, ...]
    """Tokens that are trained on when each step is done, without padding and replay."""
    branch: int
    """Steps before the rate falls; up to there, larger amounts take the same steps."""
    fill: float | None
    """Share of the blocks' room that holds tokens; None without packing."""
    examples: int
    probes: tuple[tuple[Message, ...], ...]
    """The few conversations that preflight looks at, the first of each shape among them."""
    too_long: tuple[Row, ...]
    """Examples left out because one exchange alone is too long."""
    tokens: int
    """Of all examples, those left out included, as the amounts count them."""
    longest: int
    """Tokens that a row, or a block of rows, may have."""
    held_out_too_long: int
    """Examples left out of those that the loss is measured on."""

    @property
    def tokens_left_out(self) -> int:
        """Of `tokens`, those of the examples left out."""
        return sum(row["tokens"] for row in self.too_long)


def course_of(run: Run, tokenizer: Any, longest: int) -> Course:
    """Return the course of a run.

    One pass at a stable rate takes the amounts in order, each shuffled apart by the rung's seed, so that the steps of
    one amount begin those of the next. Any other run shuffles its amount anew for each pass.

    Args:
        run: What to train.
        tokenizer: The base's.
        longest: Tokens a row, or a block of rows, may have.

    Raises:
        DataError: There are no rows, or more is left out than the recipe allows.
        PreflightError: The template breaks an example.
        ModelError: It refuses one.
    """
    parts, held_out = _read(run)
    coded = [_encode(tokenizer, part, longest) for part in parts]
    rows = _joined([row for part, _ in coded for row in part])
    if not len(rows):
        raise DataError(
            f"{run.rung.name}: every example is longer than a training row. Raise train.recipe.max_length (now "
            f"{run.recipe.max_length}), as far as the base's own limit allows."
        )
    too_long = tuple(row for _, left in coded for row in left)
    tokens = sum(example.tokens for part in parts for example in part)
    _refuse_losses(run, too_long, tokens, longest)
    measured, unmeasured = _encode(tokenizer, held_out, longest)
    lengths = rows.lengths
    generator = torch.Generator().manual_seed(run.rung.seed)
    if run.nested:
        orders = iter([_shuffled([len(part) for part, _ in coded], generator)])
    else:
        orders = _passes(len(rows), generator)
    steps, sure, fill = _steps(run, lengths, orders, longest, _wanted(run, tokenizer, longest))
    sizes = [sum(lengths[row] for block in step for row in block) for step in steps]
    decay = max(1, round(run.recipe.decay_share * len(steps)))
    return Course(
        rows=rows,
        held_out=_joined(measured) if held_out else None,
        steps=tuple(steps),
        ends=tuple(accumulate(sizes)),
        branch=_branch(run, len(steps), decay, sure),
        fill=fill,
        examples=sum(map(len, parts)),
        probes=tuple(map(tuple, probes([example.messages for part in parts for example in part]))),
        too_long=too_long,
        tokens=tokens,
        longest=longest,
        held_out_too_long=len(unmeasured),
    )


def _refuse_losses(run: Run, too_long: Sequence[Row], tokens: int, longest: int) -> None:
    """Raise if the student would be called after an amount of which it learns too little."""
    lost, allowed = sum(row["tokens"] for row in too_long) / max(1, tokens), run.recipe.left_out_share
    if lost > allowed:
        raise DataError(
            f"{run.rung.name}: {lost:.1%} of its tokens stand in examples of which one exchange is longer than a "
            f"training row of {longest} tokens ({len(too_long)} examples; {too_long[0]['example_id']} is the first), "
            f"and train.recipe.left_out_share allows {allowed:.1%}. Raise train.recipe.max_length (now "
            f"{run.recipe.max_length}), as far as the base's own limit allows; or lower prepare.block, which takes "
            "such examples out before amounts are counted; or allow more."
        )


def _branch(run: Run, steps: int, decay: int, sure: int) -> int:
    """Return after how many steps the rate begins to fall.

    Steps that a larger amount would take otherwise (all but the first `sure`) belong to the branch, but only where
    there is a trunk to share: elsewhere the decay has exactly its share of the steps.
    """
    if run.recipe.schedule != "stable":
        return steps
    return min(steps - decay, sure) if run.nested else steps - decay


def _read(run: Run) -> tuple[list[list[Example]], list[Example]]:
    """Return the run's examples, parted where the ladder's amounts end, and the source's last, if it learns none."""
    examples = (from_row(Example, row, where) for where, row in read_rows(run.prepared / "examples.jsonl"))
    own = run.amounts.index(run.rung.amount)
    parts: list[list[Example]] = [[] for _ in range(own + 1)]
    last: deque[tuple[int, Example]] = deque()
    room = tokens = run.recipe.holdout_tokens or 0
    for place, example in parted(examples, run.amounts):
        if place <= own:
            parts[place].append(example)
        if room:
            last.append((place, example))
            tokens -= example.tokens
            # The fewest last examples that have the tokens.
            while tokens + last[0][1].tokens <= 0:
                tokens += last.popleft()[1].tokens
    learned = any(place <= own for place, _ in last)
    return parts, [] if learned else [example for _, example in last]


def _encode(tokenizer: Any, examples: Sequence[Example], longest: int) -> tuple[list[_Arrays], list[Row]]:
    """Return the training rows of examples, and the examples of which one exchange alone is too long.

    A conversation longer than a row becomes several rows, cut between its exchanges.

    Raises:
        PreflightError: The template breaks an example.
        ModelError: It refuses one.
    """
    rows: list[_Arrays] = []
    too_long: list[Row] = []
    for example in examples:
        try:
            coded = _rows(tokenizer, example, longest)
        except TooLongError as error:
            row = {"example_id": example.example_id, "tokens": example.tokens, "reason": str(error)}
            too_long.append(row)
        except (PreflightError, ModelError) as error:
            raise type(error)(f"example {example.example_id}: {error}") from error
        else:
            rows += [(np.array(row.input_ids, np.int32), np.array(row.labels) != IGNORED) for row in coded]
    return rows, too_long


def _rows(tokenizer: Any, example: Example, longest: int) -> list[Encoded]:
    try:
        return [encode(tokenizer, example.messages, longest)]
    except TooLongError:
        return [encode(tokenizer, piece, longest) for piece in split(tokenizer, example.messages, longest)]


def _joined(rows: Sequence[_Arrays]) -> Rows:
    nothing = (np.zeros(0, np.int32), np.zeros(0, np.bool_))
    ids, learned = zip(nothing, *rows, strict=True)
    return Rows(
        ids=np.concatenate(ids),
        learned=np.concatenate(learned),
        ends=np.cumsum([len(row) for row, _ in rows], dtype=np.int64),
    )


def _shuffled(parts: Sequence[int], generator: torch.Generator) -> list[int]:
    order: list[int] = []
    for size in parts:
        order += [len(order) + place for place in torch.randperm(size, generator=generator).tolist()]
    return order


def _passes(rows: int, generator: torch.Generator) -> Iterator[list[int]]:
    while True:
        yield torch.randperm(rows, generator=generator).tolist()


def _steps(
    run: Run, lengths: Sequence[int], orders: Iterator[list[int]], longest: int, wanted: int | None
) -> tuple[list[tuple[Block, ...]], int, float | None]:
    """Return the steps, how many of them a longer course would share, and how full their blocks are."""
    many = run.recipe.rows_per_step(longest)
    steps: list[tuple[Block, ...]] = []
    sure = passes = blocks = 0
    while len(steps) < wanted if wanted else passes < run.recipe.epochs:
        order = next(orders)
        packed: list[Block] = [(row,) for row in order]
        closed = len(order)
        if run.recipe.packing:
            found, closed = pack([lengths[row] for row in order], longest, _opened(run, longest))
            packed = [tuple(order[place] for place in block) for block in found]
        sure = len(steps) + closed // many
        steps += [tuple(packed[start : start + many]) for start in range(0, len(packed), many)]
        passes, blocks = passes + 1, blocks + len(packed)
    fill = passes * sum(lengths) / (blocks * longest) if run.recipe.packing else None
    return steps[:wanted], sure, fill


def _opened(run: Run, longest: int) -> int:
    """Return how many blocks are filled at once: no more than are trained on while the smallest amount's rate falls.

    Blocks that are still open when an amount ends are its own, so that no larger amount shares the steps that have
    them; and every amount of a ladder must pack alike.
    """
    if not run.nested:
        return OPEN
    return max(1, min(OPEN, int(run.recipe.decay_share * run.amounts[0] / longest)))


def _wanted(run: Run, tokenizer: Any, longest: int) -> int | None:
    """Return how many steps the study wants of this amount, if it matches steps: those of one pass of the largest."""
    largest = run.amounts[-1]
    if run.recipe.match == "tokens" or run.rung.amount == largest:
        return None
    # Counted and not estimated: how full blocks are, and how long rows, shows only once there are rows.
    return len(course_of(replace(run, rung=replace(run.rung, amount=largest)), tokenizer, longest).steps)
