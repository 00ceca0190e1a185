"""One supervised run, top to bottom: a base learns a source's answers, and the student is written down."""

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from veneer.amounts import take
from veneer.errors import DataError, ModelError
from veneer.models.encode import IGNORED, Encoded, TooLongError, encode, split
from veneer.records import Example, from_row
from veneer.store import Row, read_rows, write_json, write_rows
from veneer.study import RecipeSpec
from veneer.train import preflight
from veneer.train.ladder import Run
from veneer.train.schedule import factor

SHORT = 256
"""Rows up to this long train faster with eager attention than with fused (measured on CPU, small models)."""
MICRO_TOKENS = 4096
"""A batch is gone through in pieces of at most so many tokens, padding included; the step is the same."""
PATIENCE = 20
"""Steps in a row that may be worse than knowing nothing before the run is called diverged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What a run goes through: rows, and which of them make each step's batch."""

    rows: tuple[Encoded, ...]
    batches: tuple[tuple[int, ...], ...]
    tokens: int
    """Tokens of all batches, without padding and replay."""


def train(run: Run, folder: Path) -> None:
    """Train one rung and write `checkpoint/`, `losses.jsonl`, `ledger.json` and `preflight.json`.

    Every number is a function of the run's settings and files: on a CPU two calls write the same bytes.

    Raises:
        PreflightError: The base's own set-up would break the student.
        ModelError: The base cannot be loaded, or the loss left the realm of numbers or of sense.
    """
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)  # An interrupted call may have left half of one.
    tokenizer, model = load(run.base)
    examples = read_amount(run.prepared, run.rung.amount)
    conversations = [example.messages for example in examples]
    before = preflight.look(tokenizer, conversations, model.get_input_embeddings().num_embeddings)
    preflight.refuse(before, run.rung.name)

    rows, too_long = encode_all(tokenizer, examples, _longest_row(model, run.recipe))
    course = plan(rows, run)
    replay = replay_stream(run, tokenizer) if run.pretraining else None
    # Dropout draws from the global generator: it is seeded for this run alone and put back afterwards.
    with torch.random.fork_rng():
        torch.manual_seed(run.rung.seed)
        losses, counts = fit(model, course, replay, run)

    _stop_where_training_does(model, tokenizer)
    model.save_pretrained(folder / "checkpoint")
    tokenizer.init_kwargs.pop("local_files_only", None)  # How it was loaded is no property of the tokenizer.
    tokenizer.save_pretrained(folder / "checkpoint")
    after = preflight.look_at_checkpoint(folder / "checkpoint", conversations)
    preflight.refuse(after, f"{run.rung.name}, trained")
    write_rows(folder / "losses.jsonl", losses)
    write_json(folder / "ledger.json", {"examples": len(examples), "too_long": too_long, **counts})
    write_json(
        folder / "preflight.json", {"before": list(map(asdict, before)), "after": list(map(asdict, after))}
    )


def load(base: Path) -> tuple[Any, Any]:
    """Return a base's tokenizer and its model, in 32-bit master weights, on the accelerator if there is one.

    Raises:
        ModelError: It cannot be loaded.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{base}: cannot be loaded: {error}. A folder as written by `save_pretrained` is wanted."
        ) from error
    return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu")


def read_amount(prepared: Path, amount: int) -> list[Example]:
    """Return the examples of one amount of a source."""
    rows = read_rows(prepared / "examples.jsonl")
    return list(take((from_row(Example, row, where) for where, row in rows), amount))


def encode_all(tokenizer: Any, examples: Sequence[Example], longest: int) -> tuple[list[Encoded], list[Row]]:
    """Return the training rows, and the examples that are left out because one exchange alone is too long.

    A conversation longer than a row becomes several rows, cut between its exchanges.
    """
    rows: list[Encoded] = []
    too_long: list[Row] = []
    for example in examples:
        try:
            rows += _rows(tokenizer, example, longest)
        except TooLongError as error:
            too_long.append({"example_id": example.example_id, "reason": str(error)})
    return rows, too_long


def _rows(tokenizer: Any, example: Example, longest: int) -> list[Encoded]:
    try:
        return [encode(tokenizer, example.messages, longest)]
    except TooLongError:
        return [encode(tokenizer, piece, longest) for piece in split(tokenizer, example.messages, longest)]


def plan(rows: Sequence[Encoded], run: Run) -> Course:
    """Return the batches of all epochs; each epoch is shuffled anew by the rung's seed.

    Raises:
        DataError: There are no rows.
    """
    if not rows:
        raise DataError(
            f"{run.rung.name}: every example is longer than a training row. Raise train.recipe.max_length (now "
            f"{run.recipe.max_length}), as far as the base's own limit allows."
        )
    generator = torch.Generator().manual_seed(run.rung.seed)
    batches: list[tuple[int, ...]] = []
    for _ in range(run.recipe.epochs):
        order = torch.randperm(len(rows), generator=generator).tolist()
        starts = range(0, len(order), run.recipe.batch_examples)
        batches += [tuple(order[start : start + run.recipe.batch_examples]) for start in starts]
    tokens = run.recipe.epochs * sum(len(row.input_ids) for row in rows)
    return Course(rows=tuple(rows), batches=tuple(batches), tokens=tokens)


def replay_stream(run: Run, tokenizer: Any) -> Iterator[int]:
    """Yield the tokens of the base's pretraining text without end: documents in random order, each ended.

    Raises:
        DataError: The file holds no text.
    """
    assert run.pretraining is not None
    texts = []
    for where, row in read_rows(run.pretraining):
        if not isinstance(row.get("text"), str):
            raise DataError(f"{where}: `text` is {row.get('text')!r}; a document is wanted there.")
        texts.append(row["text"])
    if not any(texts):
        raise DataError(f"{run.pretraining}: holds no text to replay.")
    # A generator of its own, so that the twin without replay sees its examples in the same order.
    generator = torch.Generator().manual_seed(run.rung.seed)
    while True:
        for place in torch.randperm(len(texts), generator=generator).tolist():
            ids = tokenizer(texts[place])["input_ids"]
            yield from ids
            if ids[-1:] != [tokenizer.eos_token_id]:
                yield tokenizer.eos_token_id


def fit(model: Any, course: Course, replay: Iterator[int] | None, run: Run) -> tuple[list[Row], Row]:
    """Train the model in place; return one row a step, and what was done in all.

    Raises:
        ModelError: The loss is no number, or has stayed worse than knowing nothing.
    """
    recipe = run.recipe
    optimizer = _optimizer(model, recipe)
    if max(len(row.input_ids) for row in course.rows) <= SHORT:
        model.set_attn_implementation("eager")
    direct = _has_plain_head(model, course.rows[0])
    model.train()
    losses: list[Row] = []
    seen = warmup_steps = loss_tokens = replay_rows = replay_tokens = 0
    for step, batch in enumerate(course.batches, 1):
        rows = [course.rows[place] for place in batch]
        tokens = sum(len(row.input_ids) for row in rows)
        # The rate at the middle of the batch, so that neither the first step nor the last is lost.
        share = factor(recipe.schedule, seen + tokens / 2, total=course.tokens, warmup=recipe.warmup_tokens)
        replayed = _replayed(replay, rows, run.rung.replay) if replay else []
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * share
        loss = _step(model, optimizer, [*rows, *replayed], recipe, direct)
        warmup_steps += seen + tokens / 2 < recipe.warmup_tokens
        seen += tokens
        loss_tokens += sum(_learned(row) for row in rows)
        replay_rows += len(replayed)
        replay_tokens += sum(len(row.input_ids) for row in replayed)
        losses.append({"step": step, "tokens": seen, "lr": recipe.learning_rate * share, "loss": loss})
        _check(losses, model.config.get_text_config().vocab_size, run)
    model.eval()
    return losses, {
        "rows": len(course.rows),
        "epochs": recipe.epochs,
        "optimizer_steps": len(course.batches),
        "warmup_steps": warmup_steps,
        "highest_learning_rate": max(row["lr"] for row in losses),
        "tokens": seen,
        "loss_tokens": loss_tokens,
        "replay_rows": replay_rows,
        "replay_tokens": replay_tokens,
    }


def _step(model: Any, optimizer: Any, rows: Sequence[Encoded], recipe: RecipeSpec, direct: bool) -> float:
    """Take one optimizer step on a batch and return its mean loss per learned token."""
    learned = sum(map(_learned, rows))
    total = 0.0
    for piece in _pieces(rows):
        inputs, labels = _padded(piece, model.device)
        with torch.autocast(model.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            logits, targets = _logits(model, inputs, labels, direct)
        loss = functional.cross_entropy(logits.float(), targets, reduction="sum") / learned
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


def _logits(model: Any, inputs: Tensor, labels: Tensor, direct: bool) -> tuple[Tensor, Tensor]:
    """Return the logits before every learned token, and those tokens.

    Rows are padded at their end, where no learned token can look: no attention mask is needed.
    """
    targets = labels[:, 1:]
    learned = targets != IGNORED
    if not direct:
        return model(input_ids=inputs, use_cache=False).logits[:, :-1][learned], targets[learned]
    hidden = model.base_model(input_ids=inputs, use_cache=False).last_hidden_state[:, :-1]
    # Only where something is learned: the output layer is most of a small model's work.
    return model.get_output_embeddings()(hidden[learned]), targets[learned]


@torch.no_grad()
def _has_plain_head(model: Any, row: Encoded) -> bool:
    """Return whether logits are just the output layer over the last hidden state (some models scale or cap them)."""
    model.eval()
    inputs, _ = _padded([row], model.device)
    hidden = model.base_model(input_ids=inputs, use_cache=False).last_hidden_state
    whole = model(input_ids=inputs, use_cache=False).logits
    return bool(torch.allclose(model.get_output_embeddings()(hidden), whole, rtol=1e-4, atol=1e-4))


def _pieces(rows: Sequence[Encoded]) -> Iterator[list[Encoded]]:
    """Yield a batch in pieces of similar length that fit the memory."""
    piece: list[Encoded] = []
    for row in sorted(rows, key=lambda row: len(row.input_ids), reverse=True):
        if piece and (len(piece) + 1) * len(piece[0].input_ids) > MICRO_TOKENS:
            yield piece
            piece = []
        piece.append(row)
    yield piece


def _padded(rows: Sequence[Encoded], device: Any) -> tuple[Tensor, Tensor]:
    longest = max(len(row.input_ids) for row in rows)
    # Which token pads does not matter: nothing that is learned can see it.
    inputs = [[*row.input_ids, *[0] * (longest - len(row.input_ids))] for row in rows]
    labels = [[*row.labels, *[IGNORED] * (longest - len(row.labels))] for row in rows]
    return torch.tensor(inputs, device=device), torch.tensor(labels, device=device)


def _replayed(replay: Iterator[int], rows: Sequence[Encoded], share: float) -> list[Encoded]:
    """Return so many rows of pretraining text that they are `share` of the batch, each as long as its longest row."""
    longest = max(len(row.input_ids) for row in rows)
    count = round(len(rows) * share / (1 - share))
    texts = [tuple(islice(replay, longest)) for _ in range(count)]
    return [Encoded(input_ids=ids, labels=ids) for ids in texts]


def _learned(row: Encoded) -> int:
    return sum(label != IGNORED for label in row.labels[1:])


def _optimizer(model: Any, recipe: RecipeSpec) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov and Hutter 2019) whose decay leaves biases and norms alone."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, fused=True)


def _check(losses: Sequence[Row], vocabulary: int, run: Run) -> None:
    """Raise if the run has left the realm of numbers, or for long that of sense."""
    last = losses[-1]
    at = f"{run.rung.name}: at step {last['step']} (learning rate {last['lr']:.3g}) the loss"
    advice = "Lower train.recipe.learning_rate or lengthen train.recipe.warmup_tokens."
    if not math.isfinite(last["loss"]):
        raise ModelError(f"{at} is {last['loss']}. {advice}")
    # ln V is the loss of a model that gives every token the same chance.
    worst = 2 * max(math.log(vocabulary), losses[0]["loss"])
    recent = [row["loss"] for row in losses[-PATIENCE:]]
    if len(recent) == PATIENCE and min(recent) > worst:
        raise ModelError(
            f"{at} is {last['loss']:.3g}, and for {PATIENCE} steps it has been above {worst:.3g}, twice what knowing "
            f"nothing costs: the run has diverged. {advice}"
        )


def _longest_row(model: Any, recipe: RecipeSpec) -> int:
    """Return how many tokens a row may have: as the recipe says, and no more than the model has places for."""
    places = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return min(recipe.max_length, places or recipe.max_length)


def _stop_where_training_does(model: Any, tokenizer: Any) -> None:
    stops = sorted(preflight.stop_ids(model.generation_config) | {tokenizer.eos_token_id})
    model.generation_config.eos_token_id = stops[0] if len(stops) == 1 else stops
