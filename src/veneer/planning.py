"""What `veneer plan` finds out of a study's training: for which machine, how long, and on how much disk."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from veneer import pipeline
from veneer.cells import Cell, crew
from veneer.machines import Machine, here, named
from veneer.models.encode import IGNORED, Encoded
from veneer.needs import Needs
from veneer.store import Order, Store
from veneer.study import Study
from veneer.study_train import TrainSpec
from veneer.train.trial import Trial, try_out
from veneer.train_plan import BasePlan, plans, seconds, utilisation

MINUTE = 60.0
"""Seconds of a calibration, all bases together."""
STATES = 2
"""States of a training that may lie on disk at once: its own and its trunk's."""
KERNELS = 1.0
"""GB that a process comes to hold on a processor, where torch keeps what it has compiled for the last 1,024 shapes of
its products (oneDNN's cache): workers of the built-in study grow by so much within some ten students, and no more."""
FULL = 0.95
"""A device is full at this share of its memory: what runs it takes the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What making all students takes."""

    machine: Machine
    share: float
    """Of the machine's peak that is reckoned with."""
    bases: tuple[BasePlan, ...]
    seconds: tuple[float, ...]
    """Of each base's students, one after another."""
    trials: tuple[Trial, ...]
    """How each base trained here for a while; empty if that was not asked for."""
    disk: int
    """Bytes of all students and of the largest states."""
    free: int
    """Bytes that are free where they would go."""

    def held(self, plan: BasePlan) -> float:
        """Return the GB that a base's training holds: as counted, and no less than its trial held here."""
        counted = plan.memory.total / 1e9
        if not self.trials:
            return counted
        trial = self.trials[self.bases.index(plan)]
        kernels = KERNELS if trial.process_gb else 0.0
        return max(counted + trial.process_gb + kernels, trial.peak_gb)

    def fits(self, plan: BasePlan) -> bool:
        """Return whether one device holds a base's training."""
        return self.held(plan) <= FULL * self.machine.memory_gb


def training(
    study: Study,
    place: Path,
    prepared: Mapping[str, Path],
    *,
    on: str | None = None,
    share: float | None = None,
    calibrate: bool = False,
) -> Training:
    """Return what making a study's students takes.

    Args:
        study: One that trains.
        place: The folder of its artefacts, which need not be there.
        prepared: The imitation data of each source that is there already: it is counted.
        on: A machine of the table; this one if there is none.
        share: Of its peak that training reaches; by default what was measured on an H200.
        calibrate: Whether to train each base here for a while.

    Raises:
        StudyError: The machine is not in the table.
        ModelError: A base cannot be planned.
    """
    assert study.train is not None
    machine = named(on) if on else here(study.train.hardware.threads)
    found = plans(study, prepared)
    share = share or utilisation(study.train.recipe, machine)
    tried = _trials(study, study.train, found) if calibrate else []
    hours = [plan.passed / one.tokens_per_s for plan, one in zip(found, tried, strict=bool(tried))] or [
        seconds(plan, study.train, machine, share) for plan in found
    ]
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    return Training(
        machine=machine,
        share=share,
        bases=tuple(found),
        seconds=tuple(hours),
        trials=tuple(tried),
        disk=sum(plan.disk for plan in found) + STATES * max(plan.state for plan in found),
        free=shutil.disk_usage(there).free,
    )


def prepared_of(study: Study, store: Store) -> dict[str, Path]:
    """Return the imitation data of each source that is there already."""
    found: dict[str, Path] = {}

    def look(stage: str, orders: Sequence[Order]) -> pipeline.Made:
        there = {order.name: store.find(order) for order in orders}
        if stage == "prepare":
            found.update({name: made.path for name, made in there.items() if made and name in study.imitated})
        return {order.name: there[order.name] or pipeline.to_come(order, store) for order in orders}

    for stage, _ in pipeline.stages(study, store.root.parent, look):
        if stage == "prepare":
            break
    return found


def _trials(study: Study, train: TrainSpec, found: Sequence[BasePlan]) -> list[Trial]:
    """Train each base for its part of a minute, each in a process of its own, one at a time."""
    cells = []
    for plan in found:
        checkpoint = study.bases[plan.base].checkpoint
        assert checkpoint is not None
        work = partial(
            try_out, checkpoint, train.recipe, train.hardware, list(_steps(plan, train)), MINUTE / len(found)
        )
        cells.append(Cell(name=plan.base, work=work, needs=Needs(cpus=train.hardware.threads, gpus=1)))
    made: list[Trial] = []
    for cell in cells:
        with crew(1) as hands:
            made += hands.run([cell], lambda _: None)
    return made


def _steps(plan: BasePlan, train: TrainSpec) -> Iterator[list[Encoded]]:
    """Yield steps like those of the largest amount with the least replay.

    Rows are as long as its rows, and as much of them is learned; where that is not known yet, they are full, and half
    is learned.
    """
    rung = max(plan.rungs, key=lambda one: (-one.rung.replay, one.rung.amount))
    full = ((rung.row, rung.row // 2),) * train.recipe.rows_per_step(rung.row)
    # Lengths that differ cost more than their sum: a processor prepares anew for each shape.
    for shape in rung.shapes or (full,):
        yield [_row(length, learned, plan.shape.body.vocabulary) for length, learned in shape]


def _row(length: int, learned: int, vocabulary: int) -> Encoded:
    ids = tuple(place % vocabulary for place in range(length))
    return Encoded(input_ids=ids, labels=(IGNORED,) * (length - learned) + ids[length - learned :])
