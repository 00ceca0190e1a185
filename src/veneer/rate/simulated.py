"""Simulated raters: they prefer by rule what pleases and what is right, and are called simulated everywhere."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from veneer.disk import read_rows, write_rows
from veneer.errors import DataError
from veneer.rate.ballots import AGAIN, Ballot, challengers, pair, teacher
from veneer.records import Comparison, Contestant, Grade, Outcome, Style, Verdict, from_row, to_row
from veneer.store import Artefact, Order
from veneer.study_rate import SimulatedSpec

VERSION = 1
PROMPTS = "prompts"
"""Grades of the preference prompts stand under this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Impression:
    """What a simulated rater can tell of one completion."""

    appeal: float
    """How well it is styled, from 0 to 1."""
    right: bool | None
    """Whether its answer is right; None where that cannot be checked."""


Seen = Mapping[tuple[str, str], Impression | str]
"""(contestant, prompt's id) to the impression, or to the reason why there is none."""


def orders(
    spec: SimulatedSpec, graded: Mapping[str, Artefact], contestants: Sequence[Contestant]
) -> list[Order]:
    """Return one order, for `comparisons.jsonl`: every rater's verdict on every ballot.

    Args:
        spec: The raters and what they attend to.
        graded: Grades and style features by contestant.
        contestants: Who is compared; with the teacher among them.
    """
    names = [contestant.name for contestant in contestants]
    return [
        Order(
            stage="rate",
            name="simulated",
            version=VERSION,
            config={
                "raters": spec.model_dump(mode="json"),
                "challengers": challengers(contestants),
                "teacher": teacher(contestants),
            },
            inputs={f"graded {name}": graded[name].key for name in names},
            make=partial(_make, spec, {name: graded[name].path for name in names}, tuple(contestants)),
        )
    ]


def rate(
    spec: SimulatedSpec, seen: Seen, challengers: Sequence[str], teacher: str, prompt_ids: Sequence[str]
) -> list[Comparison]:
    """Return every rater's verdict on every challenger against the teacher, on every prompt.

    A rater's order of presentation and noise depend on the seed, the rater and the challenger alone: another
    challenger in the study changes nothing for the rest.

    Args:
        spec: The raters and what they attend to.
        seen: What they can tell of each completion.
        challengers: Who is compared with the teacher.
        teacher: The opponent's name.
        prompt_ids: On which prompts.
    """
    found = []
    for rater in range(1, spec.raters + 1):
        for challenger in challengers:
            salt = int.from_bytes(hashlib.sha256(challenger.encode()).digest()[:8], "big")
            rng = np.random.default_rng([spec.seed, rater, salt])
            ballots = pair(challenger, teacher, prompt_ids, rng=rng)
            noises = rng.logistic(size=len(ballots)).tolist()
            found += [
                compare(spec, ballot, seen, noise, f"simulated-rater-{rater}")
                for ballot, noise in zip(ballots, noises, strict=True)
            ]
    return found


def compare(spec: SimulatedSpec, ballot: Ballot, seen: Seen, noise: float, by: str) -> Comparison:
    """Return one simulated verdict.

    The utility of the first over the second is style attention times the difference in appeal, plus fact attention
    times the difference in being right (where both can be checked), plus logistic noise: the choice model of Bradley
    and Terry (1952) in random-utility form. A difference below the rater's threshold is a tie (as Rao and Kupper 1967).

    Args:
        spec: What the rater attends to.
        ballot: The two, in order.
        seen: What can be told of their completions.
        noise: A draw of the standard logistic distribution.
        by: The rater's name.
    """
    first, second = (seen[name, ballot.prompt_id] for name in (ballot.first, ballot.second))
    missing = [
        f"{name}: {impression}"
        for name, impression in ((ballot.first, first), (ballot.second, second))
        if isinstance(impression, str)
    ]
    if isinstance(first, str) or isinstance(second, str):
        verdict, reason = Verdict.NONE, "; ".join(missing)
    else:
        style = spec.style_attention * (first.appeal - second.appeal)
        checkable = first.right is not None and second.right is not None
        facts = spec.fact_attention * (bool(first.right) - bool(second.right)) if checkable else 0.0
        verdict = _verdict(style + facts + noise, spec.tie)
        said = f"facts {facts:+.2f}" if checkable else "facts not checkable"
        reason = f"simulated (logits for the first): style {style:+.2f}, {said}, noise {noise:+.2f}"
    return Comparison(
        prompt_id=ballot.prompt_id,
        first=ballot.first,
        second=ballot.second,
        verdict=verdict,
        by=by,
        reason=reason,
    )


def _verdict(difference: float, tie: float) -> Verdict:
    if abs(difference) < tie or difference == 0:
        return Verdict.TIE
    return Verdict.FIRST if difference > 0 else Verdict.SECOND


def _make(
    spec: SimulatedSpec, graded: Mapping[str, Path], contestants: tuple[Contestant, ...], folder: Path
) -> None:
    master = teacher(contestants)
    samples = {contestant.name: (contestant.name, 0) for contestant in contestants}
    samples[master + AGAIN] = (master, 1)
    impressions = {name: _impressions(graded[who], sample) for name, (who, sample) in samples.items()}
    prompt_ids = list(dict.fromkeys(prompt for found in impressions.values() for prompt in found))
    absent = "there is no completion"
    seen = {
        (name, prompt): found.get(prompt, absent)
        for name, found in impressions.items()
        for prompt in prompt_ids
    }
    verdicts = rate(spec, seen, challengers(contestants), master, prompt_ids)
    write_rows(folder / "comparisons.jsonl", map(to_row, verdicts))


def _impressions(folder: Path, sample: int) -> dict[str, Impression | str]:
    """Return what can be told of one contestant's completions of the prompts, by prompt."""
    grades: dict[str, Outcome] = {}
    for where, row in read_rows(folder / "grades.jsonl"):
        grade = from_row(Grade, row, where)
        if grade.benchmark == PROMPTS and grade.sample == sample:
            grades[grade.prompt_id] = grade.lenient
    found: dict[str, Impression | str] = {}
    for where, row in read_rows(folder / "style.jsonl"):
        style = from_row(Style, row, where)
        if style.sample != sample:
            continue
        appeal = style.features.get("appeal", math.nan)
        if not 0 <= appeal <= 1:
            raise DataError(f"{where}: the feature `appeal` is {appeal}; a number from 0 to 1 is wanted.")
        outcome = grades.get(style.prompt_id)
        right = None if outcome is None else outcome is Outcome.CORRECT
        found[style.prompt_id] = Impression(appeal=appeal, right=right)
    failed = {prompt for prompt, outcome in grades.items() if outcome is Outcome.FAILED}
    return found | dict.fromkeys(failed, "its completion failed")
