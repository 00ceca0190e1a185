"""Measures how long the analysis of one large benchmark takes: every gap closed of 30 contestants, resampled.

    python benchmarks/analysis_speed.py [--resamples 10000] [--items 14042]

One base, one teacher and 28 students (7 amounts of one source, 4 training seeds each) on as many items as MMLU has,
each resampled by itself; strictly and leniently graded; on all, supported and unsupported items, which other amounts
share in part. Ends with one line of JSON: `seconds`, `cpu_seconds` (all cores together) and `peak_gb` (of this process,
imports included).
"""

import argparse
import json
import resource
import time

import numpy as np
from answer_worlds import LEVEL, SOURCE, TEACHER, table_of

from veneer.analyze import gap
from veneer.analyze.measure import Rung

AMOUNTS, SEEDS = 7, 4


def main() -> None:
    """Make up answers, analyze them, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--items", type=int, default=14_042)
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    rungs = [
        Rung(
            student=f"student-{place}",
            base="base",
            source=SOURCE,
            amount=1000 * 2**place,
            replay=0.0,
            seeds=tuple(f"student-{place}-s{seed}" for seed in range(SEEDS)),
        )
        for place in range(AMOUNTS)
    ]
    names = ("base", *(seed for rung in rungs for seed in rung.seeds), TEACHER)
    right = (rng.random((asked.items, len(names))) < np.linspace(0.4, 0.7, len(names))).astype(float)
    nearness = rng.random(asked.items)
    support = {
        (SOURCE, rung.amount, "questions"): nearness < 0.1 * (1 + place) for place, rung in enumerate(rungs)
    }
    began, worked = time.monotonic(), time.process_time()
    table = table_of("questions", "knowledge", names, right, np.arange(asked.items), asked.resamples, rng=rng)
    book = gap.book_of([table], support, rungs, ["base"], TEACHER, 0)
    rows = gap.rows_of(book, LEVEL)
    seconds, cpu = time.monotonic() - began, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    told = [row for row in rows if "value" in row["gap_closed"]]
    print(f"{len(names)} contestants, {len(rows)} rows, {len(told)} gaps closed with an interval")
    print(json.dumps({"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "peak_gb": round(peak, 2)}))


if __name__ == "__main__":
    main()
