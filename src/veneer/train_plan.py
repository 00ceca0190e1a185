"""The ladder before it is trained: tokens, steps, memory, operations, hours and disk, base by base."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoTokenizer

from veneer.errors import ModelError
from veneer.machines import Machine
from veneer.study import Study
from veneer.study_train import RecipeSpec, TrainSpec
from veneer.train import footprint, ladder
from veneer.train.course import Course, course_of
from veneer.train.footprint import BYTES, Base, Memory, Spread
from veneer.train.ladder import Rung
from veneer.train.learner import dress
from veneer.train.replay import rows_beside
from veneer.train.scored import learned

EXACT = 5_000_000
"""Up to this largest amount the rows of a prepared source are made to count steps; beyond it takes minutes."""
SHAPES = 300
"""Steps whose rows' lengths are kept."""
AGAIN = 4 / 3
"""How much longer a step takes that makes its activations anew (two passes forward and one back)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RungPlan:
    """One student before it is trained."""

    rung: Rung
    tokens: int
    """That it is trained on, without replay; every pass counts."""
    replay: int
    """Tokens of pretraining text beside them."""
    steps: int | None
    """Optimizer steps; None where how long examples are shows only once they are there."""
    shared: int
    """Of its tokens, those gone through already for a smaller amount of its trunk."""
    held_out: int
    """Tokens on which the loss is measured at the end."""
    operations: float
    """Floating-point operations that are left, trunks counted once."""
    piece: int
    """Tokens of the largest piece that goes through at once."""
    learned: float
    """Share of a step's tokens that is learned, where it is most."""
    row: int
    """Tokens of the longest row."""
    exact: bool
    """Whether tokens and steps were counted; else they go by the amount."""
    shapes: tuple[tuple[tuple[int, int], ...], ...] = ()
    """Of some of its steps, evenly from first to last, each row's tokens and how many of them are learned, replay's
    rows too; empty where rows are packed, or not counted."""

    @property
    def passed(self) -> float:
        """Tokens' worth of training that it takes: a measured token counts a third."""
        return self.tokens + self.replay - self.shared + self.held_out / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BasePlan:
    """All students of one base."""

    base: str
    shape: Base
    rungs: tuple[RungPlan, ...]
    memory: Memory
    """Of one device."""
    over: Spread
    disk: int
    """Bytes of the finished students."""
    state: int
    """Bytes of one saved state of a training."""

    @property
    def operations(self) -> float:
        """Of all its students."""
        return sum(rung.operations for rung in self.rungs)

    @property
    def passed(self) -> float:
        """Tokens' worth of training of all its students."""
        return sum(rung.passed for rung in self.rungs)


def plans(study: Study, prepared: Mapping[str, Path]) -> list[BasePlan]:
    """Return what training takes, base by base.

    Args:
        study: One that trains.
        prepared: The imitation data of each source that is there already.

    Raises:
        ModelError: A base's config cannot be read, or its tokenizer where data is there.
    """
    assert study.train is not None
    every = ladder.rungs(list(study.bases), list(study.imitated), study.train)
    known: dict[str, Course] = {}
    found = []
    for name, spec in study.bases.items():
        assert spec.checkpoint is not None
        base = footprint.read(spec.checkpoint, study.train.recipe)
        own = [rung for rung in every if rung.base == name]
        made = _with_trunks(own, study.train, base, spec.checkpoint, prepared, known)
        found.append(_plan(name, study.train, base, made))
    return found


def utilisation(recipe: RecipeSpec, machine: Machine) -> float:
    """Return the share of a machine's peak that training reached on one H200, by how it is trained.

    See docs/performance.md, `gpu_train.py`: of what the data sheet says, or of what matrix products were measured at.
    """
    if recipe.method != "full":
        return 0.51 if machine.measured else 0.40
    if recipe.weights == "bf16":
        return 0.64 if machine.measured else 0.50
    return 0.46 if machine.measured else 0.36


def seconds(plan: BasePlan, train: TrainSpec, machine: Machine, share: float) -> float:
    """Return how long a base's students take one after another.

    Args:
        plan: The base's.
        train: How they are trained.
        machine: Each of the devices.
        share: Of the machine's peak that is reached.
    """
    precision = "bf16" if "bf16" in (train.recipe.precision, train.recipe.weights) else "fp32"
    again = AGAIN if train.hardware.gradient_checkpointing else 1.0
    return again * plan.operations / (machine.peak(precision) * share * plan.over.devices)


def longest_row(base: Base, recipe: RecipeSpec) -> int:
    """Return how many tokens a row may have: the recipe's, or the base's positions if they are fewer."""
    return min(recipe.max_length, base.body.positions or recipe.max_length)


def _plan(name: str, train: TrainSpec, base: Base, rungs: Sequence[RungPlan]) -> BasePlan:
    recipe = train.recipe
    needs = [
        footprint.memory(
            base,
            recipe,
            train.hardware,
            tokens=rung.piece,
            learned=round(rung.learned * rung.piece),
            row=rung.row,
        )
        for rung in rungs
    ]
    learning = BYTES[recipe.weights] if recipe.method == "full" else footprint.ADAPTERS
    own = base.parameters * BYTES[recipe.weights]
    adapter = base.trained * learning if recipe.method != "full" else 0
    most, over = max(needs, key=lambda need: need.total), footprint.spread(train.hardware)
    states = most.optimizer * (over.devices if over.sharded else 1)
    return BasePlan(
        base=name,
        shape=base,
        rungs=tuple(rungs),
        memory=most,
        over=over,
        disk=len(rungs) * (own + adapter),
        state=base.trained * learning + states,
    )


def _with_trunks(
    rungs: Sequence[Rung],
    train: TrainSpec,
    base: Base,
    checkpoint: Path,
    prepared: Mapping[str, Path],
    known: dict[str, Course],
) -> list[RungPlan]:
    """Return the plan of every rung; what a trunk has gone through for a smaller amount is not gone through again."""
    found: list[RungPlan] = []
    trunks: dict[tuple[str, int, float], int] = {}
    for rung in rungs:
        trunk = (rung.source, rung.seed, rung.replay)
        steps = trunks.get(trunk, 0)
        if rung.source in prepared and train.amounts[-1] <= EXACT:
            course = _course(rung, train, base, checkpoint, prepared[rung.source], known)
            found.append(_counted(rung, train, base, course, steps))
            branch = course.branch
        else:
            found.append(_guessed(rung, train, base, steps))
            branch = round((1 - train.recipe.decay_share) * (found[-1].steps or 0))
        if train.shares_trunk:
            trunks[trunk] = branch
    return found


def _course(
    rung: Rung, train: TrainSpec, base: Base, checkpoint: Path, prepared: Path, known: dict[str, Course]
) -> Course:
    """Return a rung's rows and steps; bases with one tokenizer share them."""
    longest = longest_row(base, train.recipe)
    key = f"{_tokenizer_of(checkpoint)} {longest} {rung.source} {rung.amount} {rung.seed}"
    if key not in known:
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                checkpoint, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"{checkpoint}: its tokenizer cannot be loaded: {str(error).splitlines()[0]} A folder as written by "
                "`save_pretrained` is wanted."
            ) from error
        dress(tokenizer, train.recipe.tokens)
        run = ladder.Run(
            rung=rung,
            amounts=train.amounts,
            base=checkpoint,
            prepared=prepared,
            pretraining=None,
            recipe=train.recipe,
            warmup_tokens=train.warmup_tokens,
            hardware=train.hardware,
            trunk=None,
            log=Path(),
        )
        known[key] = course_of(run, tokenizer, longest)
    return known[key]


def _tokenizer_of(checkpoint: Path) -> str:
    """Return the fingerprint of a checkpoint's tokenizer and template."""
    found = hashlib.sha256()
    for file in sorted(checkpoint.iterdir()):
        if file.is_file() and file.name.startswith(("tokenizer", "special_tokens", "chat_template", "vocab")):
            found.update(file.name.encode() + b"\0" + file.read_bytes())
    return found.hexdigest()


def _counted(rung: Rung, train: TrainSpec, base: Base, course: Course, before: int) -> RungPlan:
    """Return the plan of a rung whose rows are there.

    Args:
        rung: Which.
        train: How it is trained.
        base: Of what.
        course: Its rows and steps.
        before: Steps that a smaller amount of its trunk has taken.
    """
    lengths = course.rows.lengths
    sizes = [[lengths[row] for block in step for row in block] for step in course.steps]
    beside = [[max(each)] * rows_beside(len(each), rung.replay) for each in sizes]
    mixed = [sum(each) for each in beside]
    counts = [learned(course.rows[place]) for place in range(len(lengths))]
    asked = sum(counts[row] for step in course.steps[before:] for block in step for row in block)
    left = [length for each in sizes[before:] for length in each]
    aside = course.held_out.lengths if course.held_out else []
    # Packed rows are all of one length.
    some = 0 if train.recipe.packing else min(SHAPES, len(sizes))
    operations = base.shape.operations([*left, *mixed[before:]], asked + sum(mixed[before:]))
    # Going forth is a third of it, or half beside frozen weights.
    operations += base.shape.operations(aside, sum(aside)) * 2 / base.shape.passes
    return RungPlan(
        rung=rung,
        tokens=course.ends[-1],
        replay=sum(mixed),
        steps=len(course.steps),
        shared=course.ends[before - 1] + sum(mixed[:before]) if before else 0,
        held_out=sum(aside),
        operations=operations,
        piece=_piece(
            max(sum(each) + more for each, more in zip(sizes, mixed, strict=True)), max(lengths), train
        ),
        learned=max(
            (sum(counts[row] for block in step for row in block) + more) / (sum(each) + more)
            for step, each, more in zip(course.steps, sizes, mixed, strict=True)
        ),
        row=max(lengths),
        exact=True,
        shapes=tuple(
            (
                *((lengths[row], counts[row]) for block in course.steps[place] for row in block),
                *((length, length) for length in beside[place]),
            )
            for place in (number * len(sizes) // some for number in range(some))
        ),
    )


def _guessed(rung: Rung, train: TrainSpec, base: Base, before: int) -> RungPlan:
    """Return the plan of a rung whose data is not there yet, by its amount: full blocks, every token learned."""
    recipe, longest = train.recipe, longest_row(base, train.recipe)
    each = recipe.rows_per_step(longest) * longest
    tokens, steps = rung.amount * recipe.epochs, None
    if recipe.match == "steps":
        tokens = train.amounts[-1]
    if recipe.packing:
        steps = math.ceil(rung.amount / each) * recipe.epochs
        steps = math.ceil(train.amounts[-1] / each) if recipe.match == "steps" else steps
    shared = min(tokens, before * each)
    replay = round(rung.replay / (1 - rung.replay) * tokens)
    passed = (tokens - shared) + round((tokens - shared) * replay / tokens)
    aside = recipe.holdout_tokens or 0
    operations = (
        base.shape.operations([longest], longest) / longest * (passed + aside * 2 / base.shape.passes)
    )
    return RungPlan(
        rung=rung,
        tokens=tokens,
        replay=replay,
        steps=steps,
        shared=shared + replay - round((tokens - shared) * replay / tokens),
        held_out=aside,
        operations=operations,
        piece=_piece(each, longest, train),
        learned=1.0,
        row=longest,
        exact=False,
    )


def _piece(step: int, row: int, train: TrainSpec) -> int:
    """Return the tokens of the largest piece: no more than a step has on one device, and at least a row."""
    devices = footprint.spread(train.hardware).devices
    return max(row, min(train.hardware.micro_tokens, math.ceil(step / devices)))
