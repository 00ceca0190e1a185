"""The ladder: every rung of a study, one student to train each, and what it is trained from."""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from veneer.disk import Row, canonical, digest
from veneer.errors import StudyError
from veneer.models.model import ModelRef
from veneer.models.render import default_template_digest
from veneer.needs import Needs, weights_of
from veneer.records import Contestant, Role
from veneer.store import Artefact, Order
from veneer.study_train import HardwareSpec, RecipeSpec, TrainSpec

VERSION = 6
SPREAD = ("FSDP", "MULTI_GPU")
"""What accelerate calls trainings whose processes need no launcher but one that joins them."""
LEARNING, FROZEN = 16, 4
"""Bytes that a weight takes in fp32 while it learns, with gradient and AdamW's two averages, and while it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One student to train."""

    base: str
    source: str
    amount: int
    """Tokens of imitation data."""
    seed: int
    replay: float
    """Share of pretraining text among each batch's rows; 0 as in the paper."""

    @property
    def student(self) -> str:
        """The name without the seed: what is trained, as opposed to one training of it."""
        replay = f"-replay{100 * self.replay:g}" if self.replay else ""
        return f"{self.base}-{self.source}-{amount_name(self.amount)}{replay}"

    @property
    def name(self) -> str:
        """The student and its seed."""
        return f"{self.student}-s{self.seed}"

    @property
    def contestant(self) -> Contestant:
        """The student as one of those who are evaluated."""
        return Contestant(
            name=self.name,
            role=Role.STUDENT,
            student=self.student,
            base=self.base,
            source=self.source,
            amount=self.amount,
            seed=self.seed,
            replay=self.replay,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything that one training needs: where things lie, and the settings."""

    rung: Rung
    amounts: tuple[int, ...]
    """All of the ladder's, growing; the rung's own among them."""
    base: Path
    """The checkpoint that it starts from."""
    prepared: Path
    """The source's examples, in ladder order."""
    pretraining: Path | None
    """Text like the base's pretraining text; None without replay."""
    recipe: RecipeSpec
    warmup_tokens: int
    hardware: HardwareSpec
    trunk: Path | None
    """Where the steps that larger amounts share are kept; None where each is trained alone."""
    log: Path
    """The folder for what is no result: times, speeds, hardware."""

    @property
    def nested(self) -> bool:
        """Whether the first steps of a larger amount are those of this one."""
        recipe = self.recipe
        return recipe.schedule == "stable" and recipe.epochs == 1 and recipe.match == "tokens"


def amount_name(tokens: int) -> str:
    """Return a number of tokens as the study file writes it, exactly.

    >>> [amount_name(tokens) for tokens in (80_000, 150_000_000, 1234)]
    ['80k', '150M', '1234']
    """
    for suffix, unit in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if tokens % unit == 0:
            return f"{tokens // unit}{suffix}"
    return str(tokens)


def rungs(bases: Sequence[str], sources: Sequence[str], spec: TrainSpec) -> list[Rung]:
    """Return the whole grid; where an amount is among the replay amounts, the replay twin follows its plain rung."""
    found = []
    for base in bases:
        for source in sources:
            for amount in spec.amounts:
                twin = (spec.replay.share,) if spec.replay and amount in spec.replay.amounts else ()
                found += [
                    Rung(base=base, source=source, amount=amount, seed=seed, replay=replay)
                    for replay in (0.0, *twin)
                    for seed in spec.seeds
                ]
    return found


def orders(
    rungs: Sequence[Rung],
    prepared: Mapping[str, Artefact],
    bases: Mapping[str, ModelRef],
    pretraining: Mapping[str, Path],
    spec: TrainSpec,
    place: Path,
) -> list[Order]:
    """Return one order per rung: `checkpoint/`, `losses.jsonl`, `losses.svg`, `ledger.json` and `preflight.json`.

    The rungs of a base, source and seed that share a trunk are one line: made one after another, smallest first.

    Args:
        rungs: Whom to train.
        prepared: Imitation data by source.
        bases: What training starts from, by name.
        pretraining: Files of pretraining text by base; needed where a rung has replay.
        spec: The recipe.
        place: The study's folder, for trunks and logs.

    Raises:
        StudyError: A base is no checkpoint, or has no pretraining text for its replay twins.
    """
    _check(rungs, bases, pretraining)
    texts = {base: digest(path) for base, path in pretraining.items() if any(rung.replay for rung in rungs)}
    settings = _settings(spec)
    found = []
    for rung in rungs:
        shared = {**settings, "seed": rung.seed, "replay": rung.replay}
        inputs = {
            "base": bases[rung.base].digest,
            "prepared": prepared[rung.source].key,
            **({"pretraining": texts[rung.base]} if rung.replay else {}),
        }
        made_by = {"version": VERSION, **shared, **inputs}
        trunk = hashlib.sha256(canonical(made_by).encode()).hexdigest()[:16]
        run = Run(
            rung=rung,
            amounts=spec.amounts,
            base=bases[rung.base].path,
            prepared=prepared[rung.source].path,
            pretraining=pretraining[rung.base] if rung.replay else None,
            recipe=spec.recipe,
            warmup_tokens=spec.warmup_tokens,
            hardware=spec.hardware,
            trunk=place / "trunks" / trunk if spec.shares_trunk else None,
            log=log_of(place, rung.name),
        )
        found.append(
            Order(
                stage="train",
                name=rung.name,
                version=VERSION,
                config={**shared, "amount": rung.amount, **_ladder(run)},
                inputs=inputs,
                make=partial(_make, run),
                line=trunk if spec.shares_trunk else "",
                needs=_needs(run),
            )
        )
    return found


def processes_of(hardware: HardwareSpec) -> int:
    """Return how many processes of one training a cluster may spread over its machines.

    Under `accelerate` as its config says; 1 where its own launcher has to start them, as for DeepSpeed.
    """
    if not hardware.accelerate:
        return hardware.processes
    try:
        row = yaml.safe_load(hardware.accelerate.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return 1  # Training says what is wrong with it.
    spread = isinstance(row, dict) and row.get("distributed_type") in SPREAD
    return int(row.get("num_processes", 1)) if spread else 1


def _needs(run: Run) -> Needs:
    """Return what a training takes: a GPU for each of its processes, or all that one machine has under `accelerate`."""
    hardware = run.hardware
    held = LEARNING if run.recipe.method == "full" else FROZEN
    return Needs(
        cpus=hardware.threads * hardware.processes,
        gpus=sys.maxsize if hardware.accelerate else hardware.processes,
        memory=held * weights_of(run.base) * hardware.processes,
        processes=processes_of(hardware),
    )


def _check(rungs: Sequence[Rung], bases: Mapping[str, ModelRef], pretraining: Mapping[str, Path]) -> None:
    for rung in rungs:
        if bases[rung.base].kind != "checkpoint":
            raise StudyError(
                f"bases.{rung.base}: `train` needs its weights, and it exists as recordings only; name a `checkpoint`."
            )
        if rung.replay and rung.base not in pretraining:
            raise StudyError(
                f"bases.{rung.base}.pretraining: missing; train.replay mixes this text in. Name a JSONL file with "
                "`text`, or leave train.replay out."
            )


def progress(place: Path, names: Sequence[str]) -> dict[str, Row]:
    """Return the last line of the log of every rung that is in training, by name.

    Args:
        place: The study's folder.
        names: The rungs that are being made.
    """
    found = {}
    for name in names:
        file = log_of(place, name) / "log.jsonl"
        if not file.exists():
            continue
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - 1000))
            lines = stream.read().decode(errors="replace").splitlines()
        row = json.loads(lines[-1]) if lines and lines[-1].startswith("{") and lines[-1].endswith("}") else {}
        if row.get("event") == "step":
            found[name] = row
    return found


def log_of(place: Path, name: str) -> Path:
    """Return the folder of a rung's log: times, speeds and hardware are no results, and stand beside them."""
    return place / "logs" / "train" / name


def _settings(spec: TrainSpec) -> dict[str, Any]:
    """Return what shapes every student, ready for a key: no paths, and the warm-up as it is."""
    recipe = spec.recipe.model_dump(mode="json", exclude={"tokens": {"chat_template"}})
    template = spec.recipe.tokens.chat_template
    return {
        "recipe": {**recipe, "warmup_tokens": spec.warmup_tokens},
        "chat_template": digest(template) if template else default_template_digest(),
    }


def _ladder(run: Run) -> dict[str, Any]:
    """Return what of the other amounts shapes this student."""
    if run.nested:
        return {"smaller": [amount for amount in run.amounts if amount < run.rung.amount]}
    return {"largest": run.amounts[-1]} if run.recipe.match == "steps" else {}


def _make(run: Run, folder: Path) -> None:
    from veneer.train import launch  # Imports torch: too slow for a run that has nothing to do.

    launch.train(run, folder)
