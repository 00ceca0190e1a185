"""Known truth: how often the intervals of this analysis hold what was planted in made-up data."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from veneer.analyze import distance
from veneer.analyze.gap import gap_closed
from veneer.analyze.measure import Measured, Rung, Values, pooled_by_source
from veneer.analyze.style import closed_of
from veneer.stats import Estimate, Floats, Number, Undefined, interval, resample

LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What came of many made-up studies."""

    runs: int
    undefined: int
    covered: float
    """Share of the intervals that hold the truth; 0.95 was promised."""
    above: float
    """Share of the intervals that lie wholly above it; half of the rest is fair."""
    width: float
    """Mean width of the intervals."""
    mean: float
    """Mean of the estimates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GapWorld:
    """Made-up benchmarks on which a student closes a known share of the gap."""

    closed: float
    clusters: int = 200
    per_cluster: int = 1
    base: float = 0.35
    teacher: float = 0.8
    seeds: int = 1
    between_seeds: float = 0.0
    """Standard deviation of a seed's share of right items."""
    resamples: int = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class StyleWorld:
    """Made-up completions whose style lies a known part of the way from the base's to the teacher's."""

    closed: float
    """0: students are drawn as the base is; 1: as the teacher is. Between, it is how far their features have moved."""
    prompts: int = 120
    features: int = 20
    telling: int = 3
    """Features by which base and teacher differ."""
    apart: float = 1.5
    """By how many standard deviations."""
    resamples: int = 400


def gap(world: GapWorld, runs: int, *, rng: np.random.Generator) -> Coverage:
    """Return how `gap_closed` fares.

    Items share a difficulty within their cluster, half of an item's luck is shared by all contestants (so that they
    are paired), and each training seed has its own share of right items.
    """

    def one() -> Number:
        clusters = np.repeat(np.arange(world.clusters), world.per_cluster)
        ease = rng.uniform(-0.15, 0.15, world.clusters)[clusters]
        luck = rng.random(len(clusters))

        def answers(share: float) -> Floats:
            own = np.where(rng.random(len(clusters)) < 0.5, luck, rng.random(len(clusters)))
            return (own < share + ease).astype(float)

        share = world.base + world.closed * (world.teacher - world.base)
        shifts = (
            rng.normal(0, world.between_seeds, world.seeds) if world.between_seeds else np.zeros(world.seeds)
        )
        return gap_closed(
            answers(world.base),
            np.stack([answers(share + shift) for shift in shifts]),
            answers(world.teacher),
            clusters=clusters.tolist(),
            rng=rng,
            resamples=world.resamples,
            level=LEVEL,
        )

    return _coverage(one, world.closed, runs)


def style_distance(world: StyleWorld, runs: int, *, rng: np.random.Generator) -> Coverage:
    """Return how a student's distance from the teacher fares; the truth is the mean over all runs.

    That is the expected distance under classifiers trained on so many prompts, not under the best classifier.
    """
    found = [interval(_style_world(world, rng)["student"], LEVEL) for _ in range(runs)]
    values = [number.value for number in found if isinstance(number, Estimate)]
    left = iter(found)
    return _coverage(lambda: next(left), float(np.mean(values)), runs)


def style_gap(world: StyleWorld, runs: int, *, rng: np.random.Generator) -> Coverage:
    """Return how the share of the style gap closed fares, where its truth is known: `closed` is 0 or 1."""
    assert world.closed in (0, 1), "between 0 and 1 the share has no known truth"
    rung = _RUNG

    def one() -> Number:
        distances = _style_world(world, rng)
        return interval(closed_of(distances, distances["again"], [rung], LEVEL)["student"], LEVEL)

    return _coverage(one, world.closed, runs)


_RUNG = Rung(student="student", base="base", source="", amount=0, replay=0.0, seeds=("student",))


def _style_world(world: StyleWorld, rng: np.random.Generator) -> Values:
    prompts, features = world.prompts, world.features
    topic = rng.normal(0, 0.5, (prompts, features))

    def features_of(moved: float) -> Floats:
        found = topic + rng.normal(size=(prompts, features))
        found[:, : world.telling] += moved * world.apart
        return np.asarray(found)

    weights = resample(prompts, world.resamples, rng=rng)
    parts = distance.folds(prompts, rng=rng)
    teacher = features_of(1.0)
    names = ("base", "student", "again")
    told = [
        distance.tell_apart(teacher, features_of(moved), parts, weights) for moved in (0.0, world.closed, 1.0)
    ]
    values, draws = distance.distances(told, weights)
    table = Measured(names=names, values=values, draws=draws, counts=np.ones(3), n=(prompts,) * 3, missing={})
    return pooled_by_source(table, [_RUNG], rng=rng)


def _coverage(one: Callable[[], Number], truth: float, runs: int) -> Coverage:
    found = [one() for _ in range(runs)]
    known = [number for number in found if not isinstance(number, Undefined)]
    return Coverage(
        runs=runs,
        undefined=runs - len(known),
        covered=float(np.mean([number.low <= truth <= number.high for number in known])),
        above=float(np.mean([number.low > truth for number in known])),
        width=float(np.mean([number.high - number.low for number in known])),
        mean=float(np.mean([number.value for number in known])),
    )
