"""How many completions sound authoritative, as the study's judge of tone says (the last row of the paper's Table 2)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from veneer import disk
from veneer.analyze import panel
from veneer.analyze.measure import FEWEST, Measured, Sheet, measured
from veneer.analyze.reading import MOST_UNSCORED, Asked
from veneer.stats import Floats
from veneer.store import Artefact

NO_JUDGE = "no judge of tone: name one under judges"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tones:
    """What a judge of tone said of every contestant's completions."""

    judge: str
    names: tuple[str, ...]
    """Who stands in Table 2: everybody but the teacher's first sample, seeds apart."""
    prompts: tuple[str, ...]
    verdicts: Mapping[str, Mapping[str, bool]]
    """Whether a tone is authoritative, by contestant (seeds apart) and prompt; what has no verdict is not there."""
    silent: Mapping[str, Mapping[str, str]]
    """By contestant and prompt: why there is no verdict."""
    told: Mapping[str, Any]
    """`identity`, `served` and `canaries`, as of any judge."""

    @property
    def shared(self) -> list[str]:
        """The prompts on which everybody has a verdict."""
        known = [self.verdicts.get(name, {}) for name in self.names]
        return [prompt for prompt in self.prompts if all(prompt in own for own in known)]

    @property
    def is_shared(self) -> bool:
        """Whether these are nearly all, so that the others can be left out."""
        return len(self.prompts) - len(self.shared) <= MOST_UNSCORED * len(self.prompts)


def of_study(
    judge: str | None, compared: Mapping[str, Artefact], asked: Asked, names: Sequence[str]
) -> Tones | None:
    """Return what a study's judge of tone said; None where it has none.

    Args:
        judge: Its name.
        compared: What every judge left, by name.
        asked: What was said to the prompts for style.
        names: All contestants, seeds apart.
    """
    if judge is None:
        return None
    made, wanted = compared[judge], set(asked.prompts)
    others = [*(name for name in names if name != asked.teacher), asked.again]
    verdicts: dict[str, dict[str, bool]] = {}
    silent: dict[str, dict[str, str]] = {}
    for _, row in disk.read_rows(made.path / "tones.jsonl"):
        name, prompt = row["contestant"], row["prompt_id"]
        if prompt in wanted and row["authoritative"] is not None:
            verdicts.setdefault(name, {})[prompt] = row["authoritative"]
        elif prompt in wanted:
            silent.setdefault(name, {})[prompt] = row["reason"]
    told = disk.read_json(made.path / "judge.json")
    return Tones(
        judge=judge,
        names=tuple(name for name in others if name not in asked.missing),
        prompts=asked.prompts,
        verdicts=verdicts,
        silent=silent,
        told=told,
    )


def authoritative(tones: Tones | None, names: tuple[str, ...], weights: Floats) -> Measured:
    """Return the share of each contestant's completions that sound authoritative, of those with a verdict.

    Prompts on which somebody has none are left out for all, so that all are measured on the same; unless they are more
    than `MOST_UNSCORED` of the prompts: then each is measured on its own.

    Args:
        tones: What the judge said.
        names: The contestants.
        weights: How often each prompt is drawn in each resample.
    """
    if tones is None:
        nothing = np.zeros((weights.shape[1], len(names)))
        missing = dict.fromkeys(names, NO_JUDGE)
        return measured([Sheet(names=names, sums=nothing, counts=nothing, weights=weights, missing=missing)])
    assert names == tones.names, "the judge heard those who stand in Table 2"
    said = np.zeros((len(tones.prompts), len(names)))
    counts = np.zeros_like(said)
    heard = set(tones.shared if tones.is_shared else tones.prompts)
    for place, prompt in enumerate(tones.prompts):
        for column, name in enumerate(names):
            verdict = tones.verdicts.get(name, {}).get(prompt)
            if verdict is not None and prompt in heard:
                said[place, column], counts[place, column] = verdict, 1
    few = {name: _few(tones, name) for name in names if len(tones.verdicts.get(name, {})) < FEWEST}
    return measured([Sheet(names=names, sums=said, counts=counts, weights=weights, missing=few)])


def notes_of(tones: Tones) -> list[str]:
    """Return what a reader must know of the judge of tone, and how many completions have no verdict."""
    judge = panel.Judge(name=tones.judge, kind="tone", people=False, comparisons=(), told=tones.told)
    canaries, many = panel.canaries_of(tones.told["canaries"]), len(tones.prompts)
    measured_on = f"the {len(tones.shared):,} of {many:,} prompts on which everybody has a verdict"
    if not tones.is_shared:
        measured_on = "each contestant's own prompts with a verdict, since too many lack that of somebody"
    said = f"Authoritative tone is the word of the judge {tones.judge} ({tones.told['identity']}), on {measured_on}."
    if canaries["asked"]:
        said += f" Of {canaries['asked']:,} answers of known tone it was right on {canaries['right']:,}."
    lacking = [
        f"{name} {len(own):,} ({_reasons(own)})" for name in tones.names if (own := tones.silent.get(name))
    ]
    return [
        *panel.notes_of([judge], ()),
        said + (f" Without a verdict are {'; '.join(lacking)}." if lacking else ""),
    ]


def without_verdict(tones: Tones | None, names: Sequence[str]) -> int | None:
    """Return how many completions of these contestants have no verdict; None where there is no judge of tone."""
    return sum(len(tones.silent.get(name, {})) for name in names) if tones else None


def _few(tones: Tones, name: str) -> str:
    reasons = _reasons(tones.silent.get(name, {}))
    return (
        f"{len(tones.verdicts.get(name, {}))} of {len(tones.prompts)} completions have a verdict on their tone, and "
        f"{FEWEST} are needed" + (f" ({reasons})" if reasons else "")
    )


def _reasons(silent: Mapping[str, str]) -> str:
    """Return why there is no verdict, the most frequent reasons first; a judge's own words are left out."""
    found = Counter(reason.partition(":")[0] for reason in silent.values())
    return ", ".join(f"{many:,} x {reason}" for reason, many in found.most_common(3))
