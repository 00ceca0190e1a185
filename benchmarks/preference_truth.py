"""Runs the estimators of preference on simulated studies whose truth was planted, and counts how often they cover it.

    python benchmarks/preference_truth.py --studies 200

Judges and people of a simulated study prefer by quality, length, lists and place. Students are longer and have more
lists than the teacher, but not better in the same measure: the raw win rate is far from the one at equal style. Half
of the studies have ties as Davidson (1970) has them, half as Rao and Kupper (1967): the estimators are told neither.
People rate a part of the prompts, the judge all of them.

Ends with one line of JSON: `coverage_controlled`, `coverage_raw` (both of the planted win rate at equal style),
`coverage_raw_of_raw` (of the planted raw one), `coverage_ppi` (of people's win rate over all prompts),
`coverage_people`,
`ppi_width_ratio` (mean width against people alone), `studies`, `seconds`.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from veneer.analyze.preference import WIN_RATE, preferences_of
from veneer.analyze.reading import Reply
from veneer.analyze.together import joined_of
from veneer.analyze.votes import votes_of
from veneer.records import Comparison, Verdict
from veneer.stats import Estimate, Floats, Number, share_of
from veneer.study import AnalyzeSpec

TEACHER = "teacher"
STUDENTS = ("plain", "long", "lists")
Rng = np.random.Generator
FEATURES = ("log_words", "log_headers", "log_list_items", "log_bold", "log_code_blocks", "appeal")
VERDICTS = (Verdict.FIRST, Verdict.TIE, Verdict.SECOND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taste:
    """What a judge or the people reward."""

    length: float = 1.2
    """Logits per unit of log words."""
    lists: float = 0.5
    place: float = 0.5
    """Logits of being shown first against second."""


JUDGE, PEOPLE = Taste(), Taste(length=0.8, lists=0.3, place=0.2)
RATED, VOTES, RATERS, LENIENCY = 0.25, 3, 30, 0.3
"""People rate this share of the prompts, each by so many of so many raters, who lean to students or away from them by
so many logits (a standard deviation)."""


def main() -> None:
    """Simulate, estimate, count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--prompts", type=int, default=400)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    began = time.monotonic()
    counted: dict[str, list[float]] = {}
    for study in range(asked.studies):
        rng = np.random.default_rng([asked.seed, study])
        for key, value in one_study(asked.prompts, asked.resamples, study % 2 == 0, rng):
            counted.setdefault(key, []).append(value)
    found = {key: round(float(np.mean(values)), 4) for key, values in counted.items()}
    print(json.dumps({**found, "studies": asked.studies, "seconds": round(time.monotonic() - began)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The completions of one study: their style, and what they are worth besides."""

    style: dict[str, Floats]
    """By contestant: prompts by features."""
    quality: dict[str, Floats]


def world_of(prompts: int, rng: np.random.Generator) -> World:
    """Return completions whose length and lists vary from prompt to prompt and lean with the contestant."""
    means = {TEACHER: (5.0, 0.5), "plain": (4.6, 0.2), "long": (5.6, 0.5), "lists": (5.4, 1.4)}
    strength = {TEACHER: 0.0, "plain": -0.3, "long": -0.8, "lists": -1.2}
    wanted = rng.normal(0, 0.5, size=prompts)
    style, quality = {}, {}
    for name, (length, lists) in means.items():
        found = np.zeros((prompts, len(FEATURES)))
        found[:, 0] = length + wanted + rng.normal(0, 0.5, size=prompts)
        found[:, 2] = np.maximum(lists + rng.normal(0, 0.8, size=prompts), 0)
        found[:, 5] = np.clip(0.3 + 0.15 * (found[:, 2] > 0.7) + rng.normal(0, 0.15, size=prompts), 0, 1)
        for place, share in ((1, 0.2), (3, 0.4), (4, 0.1)):
            found[:, place] = np.log1p(rng.poisson(2, size=prompts) * (rng.random(prompts) < share))
        style[name] = found
        quality[name] = strength[name] + rng.normal(0, 0.6, size=prompts)
    return World(style=style, quality=quality)


def chances(utility: Floats, *, davidson: bool) -> Floats:
    """Return the chances of first, tie, second (the last axis), given the first's utility over the second's."""
    if davidson:
        parts = np.stack([np.exp(utility / 2), np.full_like(utility, 0.6), np.exp(-utility / 2)], axis=-1)
        shares: Floats = parts / parts.sum(axis=-1, keepdims=True)
        return shares
    first, second = 1 / (1 + np.exp(0.6 - utility)), 1 / (1 + np.exp(0.6 + utility))
    return np.stack([first, 1 - first - second, second], axis=-1)


def utility(world: World, taste: Taste, student: str, *, styled: bool) -> Floats:
    """Return how much better each of a student's completions seems than the teacher's, by prompt."""
    apart = world.style[student] - world.style[TEACHER]
    style = taste.length * apart[:, 0] + taste.lists * apart[:, 2]
    return world.quality[student] - world.quality[TEACHER] + (style if styled else 0.0)


def verdicts(
    world: World,
    taste: Taste,
    by: str,
    prompts: NDArray[np.intp],
    leaning: float,
    *,
    davidson: bool,
    rng: Rng,
) -> list[Comparison]:
    """Return one judge's or rater's verdicts on every student, shown first or second at random."""
    found = []
    for student in STUDENTS:
        leads = rng.random(len(prompts)) < 0.5
        ahead = (
            utility(world, taste, student, styled=True)[prompts]
            + leaning
            + np.where(leads, 0.5, -0.5) * taste.place
        )
        drawn = chances(np.where(leads, ahead, -ahead), davidson=davidson).cumsum(axis=1)
        results = (rng.random((len(prompts), 1)) > drawn).sum(axis=1).clip(max=2)
        found += [
            Comparison(
                prompt_id=f"p{prompt}",
                first=student if lead else TEACHER,
                second=TEACHER if lead else student,
                verdict=VERDICTS[result],
                by=by,
                reason="",
            )
            for prompt, lead, result in zip(prompts.tolist(), leads.tolist(), results.tolist(), strict=True)
        ]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What was planted for one student: win rates over all prompts that there could be."""

    raw: float
    """The judge's."""
    equal: float
    """The judge's at equal style."""
    people: float


@cache
def truths(*, davidson: bool) -> dict[str, Truth]:
    """Return the planted win rates, by students: means over many more prompts than any study has."""
    world = world_of(400_000, np.random.default_rng(1))
    lean = np.random.default_rng(2).normal(0, LENIENCY, size=400_000)

    def rate(taste: Taste, student: str, *, styled: bool, lean: Floats | float = 0.0) -> float:
        ahead = utility(world, taste, student, styled=styled) + lean
        shares = [chances(ahead + sign * taste.place / 2, davidson=davidson) for sign in (1, -1)]
        return float(np.mean([one[:, 0] + one[:, 1] / 2 for one in shares]))

    return {
        student: Truth(
            raw=rate(JUDGE, student, styled=True),
            equal=rate(JUDGE, student, styled=False),
            people=rate(PEOPLE, student, styled=True, lean=lean),
        )
        for student in STUDENTS
    }


def one_study(prompts: int, resamples: int, davidson: bool, rng: Rng) -> Iterator[tuple[str, float]]:
    """Yield what one simulated study adds to each mean."""
    world = world_of(prompts, rng)
    every = np.arange(prompts)
    judged = [
        one
        for _ in range(2)
        for one in verdicts(world, JUDGE, "judge", every, 0.0, davidson=davidson, rng=rng)
    ]
    rated = rng.permutation(prompts)[: round(RATED * prompts)]
    said: list[Comparison] = []
    raters = np.array([rng.permutation(RATERS)[:VOTES] for _ in rated])
    for rater in range(RATERS):
        mine = rated[(raters == rater).any(axis=1)]
        lean = float(rng.normal(0, LENIENCY))
        said += verdicts(world, PEOPLE, f"rater-{rater}", mine, lean, davidson=davidson, rng=rng)
    spec = AnalyzeSpec(resamples=resamples, seed=int(rng.integers(2**31)))
    judge, people = votes_of(judged, [TEACHER]), votes_of(said, [TEACHER])
    (found,) = preferences_of("judge", "model", judge, replies(world), [TEACHER], (), spec)
    joined = joined_of(("people", people), ("judge", judge), TEACHER, (), spec)
    for student, truth in truths(davidson=davidson).items():
        numbers = {
            key: share_of(found.rates[key][student], spec.level) for key in (WIN_RATE, "style_controlled")
        }
        together = share_of(joined[student].together, spec.level)
        alone = share_of(joined[student].alone, spec.level)
        yield "coverage_controlled", covers(numbers["style_controlled"], truth.equal)
        yield "coverage_raw", covers(numbers[WIN_RATE], truth.equal)
        yield "coverage_raw_of_raw", covers(numbers[WIN_RATE], truth.raw)
        yield "coverage_ppi", covers(together, truth.people)
        yield "coverage_people", covers(alone, truth.people)
        yield "ppi_width_ratio", width(together) / width(alone)
        yield (
            f"coverage_controlled_{'davidson' if davidson else 'rao_kupper'}",
            covers(numbers["style_controlled"], truth.equal),
        )


def replies(world: World) -> dict[str, dict[str, Reply]]:
    """Return the completions as the analysis knows them: their style."""
    return {
        name: {
            f"p{prompt}": Reply(
                text="", features=dict(zip(FEATURES, row, strict=True)), outcome=None, answer=""
            )
            for prompt, row in enumerate(rows.tolist())
        }
        for name, rows in world.style.items()
    }


def covers(number: Number, truth: float) -> float:
    """Return 1 where the interval holds the truth, 0 where it does not."""
    assert isinstance(number, Estimate), number
    return float(number.low <= truth <= number.high)


def width(number: Number) -> float:
    """Return how wide the interval is."""
    assert isinstance(number, Estimate), number
    return number.high - number.low


if __name__ == "__main__":
    main()
