"""Small runs for tests of training: a base of a few thousand weights, and examples of whole words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.models.tiny import checkpoint
from veneer.disk import digest, write_rows
from veneer.study_train import HardwareSpec, RecipeSpec
from veneer.train import launch
from veneer.train.ladder import Run, Rung

AMOUNTS = (100, 200, 400)
PACKED = RecipeSpec(
    learning_rate=1e-2, max_length=32, step_tokens=32, warmup_tokens=20, holdout_tokens=30, decay_share=0.4
)


def examples(many: int) -> list[tuple[str, str]]:
    return [
        (
            f"w{number % 40} w{number // 40} ?",
            " ".join(f"w{(number + step) % 40}" for step in range(1 + number % 7)),
        )
        for number in range(many)
    ]


def prepared(folder: Path, pairs: Sequence[tuple[str, str]]) -> Path:
    rows = [
        {
            "example_id": str(place),
            "source": "broad",
            "messages": [{"role": "user", "content": query}, {"role": "assistant", "content": answer}],
            "tokens": 3 + len(query.split()) + len(answer.split()),
        }
        for place, (query, answer) in enumerate(pairs)
    ]
    write_rows(folder / "examples.jsonl", rows)
    return folder


def run_of(
    folder: Path, amount: int, *, trunk: bool = False, seed: int = 0, kind: str = "llama", **changes: Any
) -> Run:
    """Return a run of a ladder of three amounts; `changes` are of its recipe."""
    base, source = folder / f"base-{kind}", folder / "prepared"
    if not base.exists():
        checkpoint(base, kind=kind)
    if not source.exists():
        prepared(source, examples(70))
    return Run(
        rung=Rung(base="tiny", source="broad", amount=amount, seed=seed, replay=0.0),
        amounts=AMOUNTS,
        base=base,
        prepared=source,
        pretraining=None,
        recipe=PACKED.model_copy(update=changes),
        warmup_tokens=20,
        hardware=HardwareSpec(),
        trunk=folder / "trunk" if trunk else None,
        log=folder / "log",
    )


def trained(run: Run, folder: Path) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    launch.train(run, folder)
    return folder


def digests(folder: Path) -> dict[str, str]:
    """Return the digest of every file that is a result."""
    return {
        str(file.relative_to(folder)): digest(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    }
