"""The ladder: every rung of a study, one student to train each, and what it is trained from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from veneer.errors import StudyError
from veneer.models.model import ModelRef
from veneer.models.render import default_template_digest
from veneer.records import Contestant, Role
from veneer.store import Artefact, Order, digest
from veneer.study import RecipeSpec, TrainSpec

VERSION = 1


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
    base: Path
    """The checkpoint that it starts from."""
    prepared: Path
    """The source's examples, in ladder order."""
    pretraining: Path | None
    """Text like the base's pretraining text; None without replay."""
    recipe: RecipeSpec


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
) -> list[Order]:
    """Return one order per rung: `checkpoint/`, `losses.jsonl`, `ledger.json` and `preflight.json`.

    Args:
        rungs: Whom to train.
        prepared: Imitation data by source.
        bases: What training starts from, by name.
        pretraining: Files of pretraining text by base; needed where a rung has replay.
        spec: The recipe.

    Raises:
        StudyError: A base is no checkpoint, or has no pretraining text for its replay twins.
    """
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
    texts = {base: digest(path) for base, path in pretraining.items() if any(rung.replay for rung in rungs)}
    return [
        Order(
            stage="train",
            name=rung.name,
            version=VERSION,
            config={
                "amount": rung.amount,
                "seed": rung.seed,
                "replay": rung.replay,
                "recipe": spec.recipe.model_dump(mode="json"),
                "default_template": default_template_digest(),
            },
            inputs={
                "base": bases[rung.base].digest,
                "prepared": prepared[rung.source].key,
                **({"pretraining": texts[rung.base]} if rung.replay else {}),
            },
            make=partial(
                _make,
                Run(
                    rung=rung,
                    base=bases[rung.base].path,
                    prepared=prepared[rung.source].path,
                    pretraining=pretraining[rung.base] if rung.replay else None,
                    recipe=spec.recipe,
                ),
            ),
        )
        for rung in rungs
    ]


def _make(run: Run, folder: Path) -> None:
    from veneer.train import sft  # Imports torch: too slow for a run that has nothing to do.

    sft.train(run, folder)
