"""Made-up studies whose truth is known, for the check of the analysis that `answer_truth.py` makes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from veneer.analyze import distance
from veneer.analyze.gap import Book, book_of
from veneer.analyze.leverage import Slope, slope
from veneer.analyze.measure import Measured, Rung, Values, pooled_by_source
from veneer.analyze.scores import Table
from veneer.analyze.style import closed_of
from veneer.benchmarks.benchmark import Benchmark, Item
from veneer.stats import Draws, Floats, Undefined, resample

LEVEL = 0.95
TEACHER, SOURCE, QUESTIONS = "teacher", "broad", "questions"
AMOUNT = 1000
"""Tokens of the smallest amount; each further one is twice as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """A made-up study of bases, amounts and seeds on one benchmark of which some items are supported."""

    clusters: int = 300
    per_cluster: int = 1
    bases: tuple[float, ...] = (0.3, 0.4)
    """Each base's share of right items."""
    teacher: float = 0.75
    supported: float = 0.4
    """The chance that an item is supported."""
    closed: tuple[tuple[float, float], ...] = ((0.3, 0.0), (0.45, -0.1), (0.6, -0.2))
    """The share of the gap that each amount closes, on supported and on unsupported items."""
    seeds: tuple[int, ...] = (2, 2, 2)
    """Training seeds of each amount."""
    between_seeds: float = 0.02
    """The standard deviation of a seed's share of right items."""
    resamples: int = 600

    @property
    def base_names(self) -> tuple[str, ...]:
        """The bases, weakest first."""
        return tuple(f"base-{place}" for place in range(len(self.bases)))

    @property
    def rungs(self) -> list[Rung]:
        """The students, by base and amount."""
        found = []
        for base in self.base_names:
            for place, seeds in enumerate(self.seeds):
                name = f"{base}-{place}"
                names = tuple(f"{name}-s{seed}" for seed in range(seeds))
                amount = AMOUNT * 2**place
                found.append(
                    Rung(student=name, base=base, source=SOURCE, amount=amount, replay=0.0, seeds=names)
                )
        return found

    def score(self, rung: Rung) -> float:
        """Return a student's true share of right items."""
        base = self.bases[self.base_names.index(rung.base)]
        return base + self.true_closed(rung) * (self.teacher - base)

    def true_closed(self, rung: Rung, which: Literal["all", "supported", "unsupported"] = "all") -> float:
        """Return the share of the gap that a student truly closes."""
        on, off = self.closed[self._place(rung)]
        return {
            "supported": on,
            "unsupported": off,
            "all": self.supported * on + (1 - self.supported) * off,
        }[which]

    def true_slope(self, which: Slope) -> float:
        """Return the slope that the fit has on the true scores."""

        def of(rung: Rung) -> Draws:
            return Draws(value=self.score(rung), draws=np.zeros(1), n=1)

        found = slope(self.rungs, of, self.base_names, which)
        assert isinstance(found, Draws)
        return found.value

    def _place(self, rung: Rung) -> int:
        return int(np.log2(rung.amount // AMOUNT))


def book(ladder: Ladder, *, rng: np.random.Generator) -> Book:
    """Return one made-up study's graded answers.

    Items share an ease within their cluster, half of an item's luck is shared by all contestants (so that they are
    paired), each item is supported or not by chance, and each training seed has its own share of right items.
    """
    clusters = np.repeat(np.arange(ladder.clusters), ladder.per_cluster)
    ease = rng.uniform(-0.15, 0.15, ladder.clusters)[clusters]
    luck = rng.random(len(clusters))
    held = rng.random(len(clusters)) < ladder.supported
    shares: dict[str, Floats] = {}
    for name, share in zip((*ladder.base_names, TEACHER), (*ladder.bases, ladder.teacher), strict=True):
        shares[name] = np.full(len(clusters), share)
    for rung in ladder.rungs:
        base = ladder.bases[ladder.base_names.index(rung.base)]
        on, off = ladder.true_closed(rung, "supported"), ladder.true_closed(rung, "unsupported")
        own_shares = base + np.where(held, on, off) * (ladder.teacher - base)
        for seed in rung.seeds:
            shares[seed] = own_shares + (rng.normal(0, ladder.between_seeds) if ladder.between_seeds else 0.0)
    size = (len(clusters), len(shares))
    own = np.where(rng.random(size) < 0.5, luck[:, None], rng.random(size))
    right = (own < np.stack(list(shares.values()), axis=1) + ease[:, None]).astype(float)
    table = table_of(QUESTIONS, "knowledge", tuple(shares), right, clusters, ladder.resamples, rng=rng)
    return book_of(
        [table],
        {(SOURCE, rung.amount, QUESTIONS): held for rung in ladder.rungs},
        ladder.rungs,
        ladder.base_names,
        TEACHER,
        int(rng.integers(2**31)),
    )


def benchmark_of(name: str, measures: Any, items: Sequence[Item]) -> Benchmark:
    """Return a benchmark of these items, asked in the plain form."""
    return Benchmark(
        name=name,
        items=tuple(items),
        measures=measures,
        grading="match",
        forms=("plain",),
        stop={},
        max_tokens={},
        temperature=0.0,
        chance=None,
        source="",
    )


def table_of(
    name: str,
    measures: Any,
    names: tuple[str, ...],
    right: Floats,
    clusters: Any,
    resamples: int,
    *,
    rng: np.random.Generator,
) -> Table:
    """Return a table of right and wrong answers, items by contestants, graded alike strictly and leniently."""
    items = [
        Item(item_id=str(place), question="", cluster=str(cluster)) for place, cluster in enumerate(clusters)
    ]
    return Table(
        benchmark=benchmark_of(name, measures, items),
        form="plain",
        names=names,
        right={"strict": right, "lenient": right},
        clusters=tuple(clusters.tolist()),
        weights=resample(int(clusters.max()) + 1, resamples, rng=rng),
        missing={},
        outcomes={},
        likelihoods=np.zeros_like(right),
        grades={},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Styled:
    """A made-up study of style: features of completions, some of which tell the teacher's from the base's."""

    closed: float
    """0: students are drawn as the base is; 1: as the teacher is. Between, it is how far their features have moved."""
    prompts: int = 120
    features: int = 20
    telling: int = 3
    """Features by which base and teacher differ."""
    apart: float = 1.5
    """By how many standard deviations."""
    seeds: int = 1
    between_seeds: float = 0.0
    """The standard deviation of how far a seed's features have moved."""
    resamples: int = 400


def styles(world: Styled, *, rng: np.random.Generator) -> tuple[Values, Draws | Undefined]:
    """Return every contestant's distance from the teacher, and the share of the style gap that the student closed."""
    prompts, features = world.prompts, world.features
    topic = rng.normal(0, 0.5, (prompts, features))

    def features_of(moved: float) -> Floats:
        found = topic + rng.normal(size=(prompts, features))
        found[:, : world.telling] += moved * world.apart
        return np.asarray(found)

    weights = resample(prompts, world.resamples, rng=rng)
    parts = distance.folds(prompts, rng=rng)
    seeds = tuple(f"student-s{place}" for place in range(world.seeds))
    moved: dict[str, float] = {"base": 0.0, "again": 1.0}
    moved |= {seed: world.closed + float(rng.normal(0, world.between_seeds)) for seed in seeds}
    teacher = features_of(1.0)
    told = [distance.tell_apart(teacher, features_of(far), parts, weights) for far in moved.values()]
    values, draws = distance.distances(told, weights)
    table = Measured(
        names=tuple(moved),
        values=values,
        draws=draws,
        counts=np.ones(len(moved)),
        n=(prompts,) * len(moved),
        missing={},
    )
    rung = Rung(student="student", base="base", source=SOURCE, amount=AMOUNT, replay=0.0, seeds=seeds)
    found = pooled_by_source(table, [rung], rng=rng)
    return found, closed_of(found, found["again"], [rung], LEVEL)["student"]
