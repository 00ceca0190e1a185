"""One supervised run, top to bottom: a base learns a source's answers, and the student is written down."""

import errno
import gc
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from veneer.disk import Row, write_json, write_rows
from veneer.errors import DataError, ModelError, StoreError
from veneer.models.encode import Encoded, tokens_of
from veneer.study_train import RecipeSpec
from veneer.train import card, checkpoint, documents, fitting, preflight, replay
from veneer.train.course import Course, course_of
from veneer.train.hardware import Log, shape_of
from veneer.train.ladder import Run
from veneer.train.learner import Learner, Loaded, learner_of, load, mean_loss, step
from veneer.train.preflight import Finding
from veneer.train.schedule import factor
from veneer.train.scored import learned
from veneer.train.state import State, newest, restore, save, tidy

PATIENCE = 20
"""Steps in a row that may be worse than knowing nothing before the run is called diverged."""
ENDS_WORSE = 1.5
"""A run that ends with so many times the loss of its first step, and a nat more, is called diverged."""
SAVED = ".states"
"""Where a run saves itself, in its own folder; sealing an artefact removes what begins with a dot."""


def train(run: Run, folder: Path) -> None:
    """Train one rung and write `checkpoint/`, `losses.jsonl`, `losses.svg`, `ledger.json` and `preflight.json`.

    Every number in them is a function of the run's settings and files: on a CPU two calls write the same bytes,
    however often they were interrupted and whatever trunk they went on from. What is no such function (times, speeds)
    goes into the run's log folder.

    Raises:
        PreflightError: The base's own set-up would break the student.
        ModelError: The base cannot be loaded, memory does not suffice, or the loss left the realm of numbers or of
            sense.
        StoreError: The disk is full.
    """
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)  # An interrupted call may have left half of one.
    with (
        _own_randomness(run.rung.seed), _threads(run.hardware.threads), _memory_explained(run), _room_explained(run)
    ):  # fmt: skip
        loaded = load(run.base, run.recipe)
        course = course_of(run, loaded.tokenizer, _longest_row(loaded.model, run.recipe))
        _refuse_no_replay(run, course)
        first = _furthest(run, course, folder) is None
        before = _looked_at(run, course, loaded, first=first)
        if first:
            # The base has learned eight examples by now: it is let go before it is loaded anew.
            del loaded
            gc.collect()
            loaded = load(run.base, run.recipe)
        torch.manual_seed(run.rung.seed)
        learner = learner_of(loaded, run.recipe, run.hardware, max(course.rows.lengths), run.log)
        log = Log(folder=run.log, learner=learner, shape=shape_of(learner), of=folder.name)
        losses = fit(learner, course, run, folder, log)
        held_out = _held_out_loss(learner, course)
        log.close()
        expected = [tokens_of(loaded.tokenizer, conversation) for conversation in course.probes]
        checkpoint.write(learner, run.base, folder / "checkpoint")
        if not learner.accelerator.is_main_process:
            return
    learner.accelerator.free_memory()
    del learner, loaded, log  # Or the student would be loaded beside what trained it.
    after = preflight.look_at_checkpoint(folder / "checkpoint", course.probes, expected=expected)
    preflight.refuse(after, f"{run.rung.name}, trained")
    _write_down(run, course, losses, held_out, folder)
    found = {"before": list(map(asdict, before)), "after": list(map(asdict, after))}
    write_json(folder / "preflight.json", found)
    if run.trunk and run.rung.amount == run.amounts[-1]:
        shutil.rmtree(run.trunk, ignore_errors=True)  # Nobody goes on from it any more.


def _refuse_no_replay(run: Run, course: Course) -> None:
    """Raise if a twin would be trained without a single row of replay."""
    rows = max(sum(map(len, step)) for step in course.steps)
    if run.rung.replay and not replay.rows_beside(rows, run.rung.replay):
        raise DataError(
            f"{run.rung.name}: train.replay.share is {run.rung.replay:g}, and no optimizer step has more than {rows} "
            "rows: the share of that rounds to no row at all. Raise the share, or let a step learn from more "
            "(step_tokens, or batch_examples without packing)."
        )


def fit(learner: Learner, course: Course, run: Run, folder: Path, log: Log) -> list[Row]:
    """Train in place, from the furthest state that is at hand; return one row a step, those done before included.

    Raises:
        ModelError: The loss is no number, or has stayed worse than knowing nothing.
    """
    if learner.accelerator.is_main_process:
        for place in filter(None, (folder / SAVED, run.trunk)):
            tidy(place)
    state = _furthest(run, course, folder)
    losses = list(state[1].losses) if state else []
    if state:
        restore(learner, state[0])
    vocabulary = learner.model.config.get_text_config().vocab_size
    text = replay.stream(run.pretraining, learner.tokenizer, run.rung.seed) if run.pretraining else None
    log.open(run.rung.name, len(losses), losses[-1]["tokens"] if losses else 0)
    saved = time.monotonic()
    for number, rows, rate in _plan(course, run):
        # Drawn for steps that are done as well, so that a run that goes on sees the text that it would have seen.
        mixed = replay.draw(text, rows, run.rung.replay) if text else []
        if number < len(losses):
            continue
        if number == course.branch and run.trunk and run.rung.amount < run.amounts[-1]:
            # For larger amounts, which go on from here.
            save(learner, _state(run, losses), run.trunk)
        # Dropout's masks are a function of the step, so that nothing need be known of those before.
        torch.manual_seed(_seed_of(run, number, learner))
        loss = step(learner, [*rows, *mixed], rate)
        losses.append({"step": number + 1, "tokens": course.ends[number], "lr": rate, "loss": loss})
        _check(losses, vocabulary, run)
        lengths = [len(row.input_ids) for row in (*rows, *mixed)]
        log.stepped(losses[-1], lengths, sum(map(learned, (*rows, *mixed))), course.ends[-1])
        if number + 1 < len(course.steps) and _agreed(
            learner.accelerator, time.monotonic() - saved > 60 * run.hardware.save_minutes
        ):
            save(learner, _state(run, losses), folder / SAVED)
            saved = time.monotonic()
    _check_end(losses, run)
    return losses


def _agreed(accelerator: Any, due: bool) -> bool:
    """Return what the first process says: all save together, and by clocks of their own some would wait for ever."""
    if accelerator.num_processes == 1:
        return due
    said = torch.tensor(float(due and accelerator.is_main_process), device=accelerator.device)
    return bool(accelerator.reduce(said, reduction="sum").item())


def _plan(course: Course, run: Run) -> Iterator[tuple[int, list[Encoded], float]]:
    """Yield every step's number, rows and learning rate."""
    warmup, falls_from = run.warmup_tokens, course.ends[course.branch - 1] if course.branch else 0
    for number, blocks in enumerate(course.steps):
        before, after = course.ends[number - 1] if number else 0, course.ends[number]
        # The rate at the middle of the step, so that neither the first nor the last is lost.
        middle = (before + after) / 2
        share = factor(
            run.recipe.schedule, middle, total=course.ends[-1], warmup=warmup, decay_from=falls_from
        )
        rows = [course.rows[row] for block in blocks for row in block]
        yield number, rows, run.recipe.learning_rate * share


def _furthest(run: Run, course: Course, folder: Path) -> tuple[Path, State] | None:
    """Return the furthest state to go on from, and its folder: the run's own, or the trunk's if it fits."""
    own, trunk = newest(folder / SAVED), newest(run.trunk) if run.trunk else None
    fits = trunk and trunk.step <= course.branch and trunk.amounts == run.amounts[: len(trunk.amounts)]
    if trunk and run.trunk and fits and (own is None or own.step < trunk.step):
        return run.trunk, trunk
    return (folder / SAVED, own) if own else None


def _state(run: Run, losses: Sequence[Row]) -> State:
    amounts = run.amounts[: run.amounts.index(run.rung.amount) + 1]
    return State(step=len(losses), losses=tuple(losses), amounts=amounts)


def _looked_at(run: Run, course: Course, loaded: Loaded, *, first: bool) -> list[Finding]:
    """Return what preflight finds; where the run is at its start, the base learns eight examples from it.

    Raises:
        PreflightError: Something fatal.
    """
    vocabulary = loaded.model.get_input_embeddings().num_embeddings
    output = loaded.model.get_output_embeddings()
    head = None if output is None else len(output.weight)
    found = preflight.look(loaded.tokenizer, course.probes, vocabulary, head=head)
    preflight.refuse(found, run.rung.name)
    rows = [course.rows[place] for place in range(min(len(course.rows), fitting.AMONG))]
    if run.recipe.packing:
        wrong = "" if documents.are_apart(loaded.model, rows) else documents.MIXED
        found.append(Finding(check=documents.CHECK, passed=not wrong, fatal=bool(wrong), message=wrong))
        preflight.refuse(found, run.rung.name)
    found.append(_warms_up(run, course))
    if not first:
        # It was looked at when the state was made from which this run goes on.
        return [*found, Finding(check=fitting.CHECK, passed=True, fatal=False, message="")]
    learner = learner_of(loaded, run.recipe, run.hardware, max(course.rows.lengths))
    found.append(
        fitting.fits(learner.model, rows, lambda chosen: step(learner, chosen, run.recipe.learning_rate))
    )
    learner.accelerator.free_memory()
    preflight.refuse(found, run.rung.name)
    return found


def _warms_up(run: Run, course: Course) -> Finding:
    """Return whether the warm-up that is asked for is one: whether a step is taken at a lower rate."""
    wrong = ""
    if run.warmup_tokens and 2 * run.warmup_tokens <= course.ends[0]:
        wrong = (
            f"the warm-up of {run.warmup_tokens:,} tokens ends before the middle of the first step, which has "
            f"{course.ends[0]:,}: no step has a lower rate. Raise train.recipe.warmup_tokens, or let a step learn "
            "from less."
        )
    return Finding(check="the warm-up takes a step", passed=not wrong, fatal=False, message=wrong)


def _held_out_loss(learner: Learner, course: Course) -> float | dict[str, str]:
    if course.held_out is None or not len(course.held_out):
        return {"undefined": "this amount learns the source's last examples, and none are left to measure on"}
    return mean_loss(learner, [course.held_out[place] for place in range(len(course.held_out))])


def _write_down(
    run: Run, course: Course, losses: Sequence[Row], held_out: float | dict[str, str], folder: Path
) -> None:
    """Write the losses, the ledger, the loss curve and the model card."""
    rates = [rate for _, _, rate in _plan(course, run)]
    middles = [(before + after) / 2 for before, after in pairwise((0, *course.ends))]
    counts = [learned(course.rows[place]) for place in range(len(course.rows))]
    lengths = course.rows.lengths
    sizes = [[lengths[row] for block in blocks for row in block] for blocks in course.steps]
    mixed = [(replay.rows_beside(len(each), run.rung.replay), max(each)) for each in sizes]
    ledger = {
        "examples": course.examples,
        "tokens_of_examples": course.tokens,
        "too_long": list(course.too_long),
        "tokens_left_out": course.tokens_left_out,
        "rows": len(course.rows),
        "row_tokens": course.longest,
        "passes": round(course.ends[-1] / sum(lengths), 3),
        "fill": course.fill,
        "optimizer_steps": len(course.steps),
        "warmup_tokens": run.warmup_tokens,
        "warmup_steps": sum(middle < run.warmup_tokens for middle in middles),
        "decay_steps": len(course.steps) - course.branch,
        "schedule": run.recipe.schedule,
        "highest_learning_rate": max(rates),
        "tokens": course.ends[-1],
        "loss_tokens": sum(counts[row] for step in course.steps for block in step for row in block),
        "replay_rows": sum(rows for rows, _ in mixed),
        "replay_tokens": sum(rows * tokens for rows, tokens in mixed),
        "held_out_loss": held_out,
        "held_out_too_long": course.held_out_too_long,
    }
    write_rows(folder / "losses.jsonl", losses)
    write_json(folder / "ledger.json", ledger)
    card.write(run, ledger, losses, folder)


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


def _check_end(losses: Sequence[Row], run: Run) -> None:
    """Raise if the run ends far worse than it began, which runs of few steps do before `_check` can tell."""
    first = losses[0]["loss"]
    last = [row["loss"] for row in losses[-max(1, min(len(losses) // 4, PATIENCE)) :]]
    end = sum(last) / len(last)
    if end > max(ENDS_WORSE * first, first + 1):
        raise ModelError(
            f"{run.rung.name}: the loss began at {first:.3g} and ends at {end:.3g} (the mean of the last {len(last)} "
            f"steps): the run has diverged. Lower train.recipe.learning_rate (now {run.recipe.learning_rate:.3g}) or "
            "lengthen train.recipe.warmup_tokens."
        )


def _longest_row(model: Any, recipe: RecipeSpec) -> int:
    """Return how many tokens a row may have: as the recipe says, and no more than the model has places for."""
    places = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return min(recipe.max_length, int(places)) if places else recipe.max_length


def _seed_of(run: Run, number: int, learner: Learner) -> int:
    process = int(learner.accelerator.process_index)
    # Of 63 bits, since torch takes no more: seeds from 2**19 on meet others only in what dropout draws.
    return ((run.rung.seed << 44) + (process << 32) + number) % 2**63


@contextmanager
def _own_randomness(seed: int) -> Iterator[None]:
    """Seed the global generator, which dropout and new adapters draw from, and put it back afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


@contextmanager
def _memory_explained(run: Run) -> Iterator[None]:
    """Say of memory that does not suffice what to change."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        hardware = run.hardware
        ways = [
            f"lower train.hardware.micro_tokens (now {hardware.micro_tokens:,})",
            *([] if hardware.gradient_checkpointing else ["set train.hardware.gradient_checkpointing: true"]),
            *(["set train.recipe.optimizer: adafactor"] if run.recipe.optimizer == "adamw" else []),
            *(["set train.recipe.method: lora"] if run.recipe.method == "full" else []),
        ]
        raise ModelError(
            f"{run.rung.name}: the memory does not suffice ({str(error).splitlines()[0]}). What is trained so far is "
            f"kept. One of these needs less: {'; '.join(ways)}. What stands under train.hardware changes no result, so "
            "that finished students stay."
        ) from error


@contextmanager
def _room_explained(run: Run) -> Iterator[None]:
    """Say of a full disk that it is full."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        # safetensors gives the number in its words alone.
        full = (errno.ENOSPC, errno.EDQUOT)
        if getattr(error, "errno", None) not in full and not any(
            f"os error {one}" in str(error) for one in full
        ):
            raise
        raise StoreError(
            f"{run.rung.name}: no room is left on the disk ({error}). Make room and run again: what is trained so far "
            "and was saved is kept."
        ) from error
