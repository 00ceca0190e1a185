"""Known truth: how often the analysis' intervals hold what was planted, and how often it supports what is false.

    python benchmarks/answer_truth.py [--studies 2000] [--workers 2] [--only small ...]

Simulates studies with small and large benchmarks, with clustered items, with unequal numbers of training seeds, and
with a gap near zero. An interval that the analysis refuses to give (Undefined) covers nothing and misses nothing: it is
counted beside. Ends with one line of JSON: `coverage` (estimator and setting to the share of intervals that hold the
truth), `undefined` (the same, to the share without an interval), `false_supported` (share of null studies in which any
claim came out as supported), `planted_students_told_apart`, `studies`.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

# One thread a process: the processes are as many as the cores.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from answer_nulls import false_claims, told_apart
from answer_worlds import LEVEL, QUESTIONS, SOURCE, TEACHER, Ladder, Styled, book, styles

from veneer.analyze.breakdown import differences
from veneer.analyze.gap import closed_of
from veneer.analyze.leverage import slope
from veneer.analyze.measure import Rung
from veneer.stats import Draws, Number, Undefined, interval, rng_of

LADDERS = {
    "small": Ladder(clusters=100),
    "large": Ladder(clusters=1000),
    "clustered": Ladder(clusters=60, per_cluster=8),
    "unequal seeds": Ladder(seeds=(3, 2, 1), between_seeds=0.04),
    "gap near zero": Ladder(clusters=400, bases=(0.64, 0.66), closed=((0.3, 0.0),) * 3),
}
STYLES = {
    "small": Styled(closed=1.0, prompts=50, features=12),
    "large": Styled(closed=1.0, prompts=240),
    "nothing closed": Styled(closed=0.0),
    "three seeds": Styled(closed=1.0, seeds=3, between_seeds=0.05),
    "gap near zero": Styled(closed=1.0, apart=0.6),
}
LADDER_ESTIMATORS = ("gap closed", "support difference", "leverage per doubling", "leverage per base step")
CHUNK = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What became of one estimator in one setting."""

    given: int
    undefined: int
    covered: int
    above: int
    """Intervals that lie wholly above the truth."""
    width: float
    """Of all intervals together."""

    def __add__(self, other: "Tally") -> "Tally":
        """Return both together."""
        return Tally(
            given=self.given + other.given,
            undefined=self.undefined + other.undefined,
            covered=self.covered + other.covered,
            above=self.above + other.above,
            width=self.width + other.width,
        )


def tally(number: Number, truth: float) -> Tally:
    """Return what became of one number."""
    if isinstance(number, Undefined):
        return Tally(given=0, undefined=1, covered=0, above=0, width=0.0)
    covered, above = number.low <= truth <= number.high, number.low > truth
    return Tally(given=1, undefined=0, covered=int(covered), above=int(above), width=number.high - number.low)


def ladder_studies(setting: str, seed: int, studies: int) -> dict[str, Tally]:
    """Return what became of the estimators that rest on graded items, in some studies of a setting."""
    world, rng = LADDERS[setting], rng_of(seed, "ladder", setting)
    found: dict[str, Tally] = {}
    where = [(QUESTIONS, "plain")]
    for _ in range(studies):
        made = book(world, rng=rng)
        means = made.means(where, "lenient", SOURCE)
        # A student with the largest amount: in the setting of unequal seeds, one with a single seed.
        rung = made.rungs[len(world.seeds) - 1]

        def score(
            one: Rung, means: Mapping[int, Mapping[str, Draws | Undefined]] = means
        ) -> Draws | Undefined:
            return means[one.amount][one.student]

        apart = differences(made, where, SOURCE, LEVEL)[rung.amount][rung.student]
        on, off = (world.true_closed(rung, which) for which in ("supported", "unsupported"))
        numbers = {
            "gap closed": (
                closed_of(means[rung.amount], rung.base, rung.student, TEACHER, LEVEL),
                world.true_closed(rung),
            ),
            "support difference": (apart, on - off),
            "leverage per doubling": (
                slope(made.rungs, score, world.base_names, "doubling"),
                world.true_slope("doubling"),
            ),
            "leverage per base step": (
                slope(made.rungs, score, world.base_names, "base step"),
                world.true_slope("base step"),
            ),
        }
        for name, (number, truth) in numbers.items():
            new = tally(interval(number, LEVEL), truth)
            found[name] = found[name] + new if name in found else new
    return found


def style_studies(setting: str, seed: int, studies: int) -> dict[str, Tally]:
    """Return what became of the style gap closed in some studies of a setting."""
    world, rng = STYLES[setting], rng_of(seed, "style", setting)
    parts = [tally(interval(styles(world, rng=rng)[1], LEVEL), world.closed) for _ in range(studies)]
    total = parts[0]
    for part in parts[1:]:
        total += part
    return {"style gap closed": total}


def main() -> None:
    """Simulate, tally, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=2000, help="a setting")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--only", nargs="+", help="settings; by default all, nulls and planted students too")
    asked = parser.parse_args()
    began = time.monotonic()
    jobs: list[tuple[str, Callable[[int, int], dict[str, Tally]]]] = [
        *((name, partial(ladder_studies, name)) for name in LADDERS),
        *((name, partial(style_studies, name)) for name in STYLES),
    ]
    found: dict[str, Tally] = {}
    sizes = [min(CHUNK, asked.studies - start) for start in range(0, asked.studies, CHUNK)]
    with ProcessPoolExecutor(asked.workers) as pool:
        for setting, work in jobs:
            if asked.only and setting not in asked.only:
                continue
            own: dict[str, Tally] = {}
            for part in pool.map(work, range(len(sizes)), sizes):
                for name, new in part.items():
                    own[name] = own[name] + new if name in own else new
            for name, total in own.items():
                found[f"{name}, {setting}"] = total
                print(_line(f"{name}, {setting}", total), flush=True)
        false = planted = None
        if not asked.only:
            false = float(
                np.mean([one for part in pool.map(false_claims, range(len(sizes)), sizes) for one in part])
            )
            print(f"null studies that support a claim: {false:.2%}", flush=True)
            planted = float(np.mean(list(pool.map(told_apart, range(100)))))
            print(f"planted students told apart: in {planted:.0%} of 100 studies")
    print(
        json.dumps(
            {
                "coverage": {name: round(one.covered / max(one.given, 1), 4) for name, one in found.items()},
                "undefined": {
                    name: round(one.undefined / (one.given + one.undefined), 4)
                    for name, one in found.items()
                    if one.undefined
                },
                "false_supported": false,
                "planted_students_told_apart": None if planted is None else planted >= 0.95,
                "studies": asked.studies,
                "seconds": round(time.monotonic() - began),
            }
        )
    )


def _line(name: str, one: Tally) -> str:
    given = max(one.given, 1)
    return (
        f"{name}: {one.covered / given:.1%} covered, {one.above / given:.1%} above, "
        f"mean width {one.width / given:.3f}, {one.undefined} of {one.given + one.undefined} Undefined"
    )


if __name__ == "__main__":
    main()
