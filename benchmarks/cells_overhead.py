"""What running a cell costs beside its work, here and on Ray, and what a second run of a finished study costs.

    python benchmarks/cells_overhead.py FOLDER [--cells 10000] [--workers 2] [--size tiny]

Cells that do nothing run in workers that have started. The study is the built-in one: it is written and run, unless it
lies in FOLDER finished, and then run again, three times, as a command of its own; the middle time counts.

Ends with one line of JSON: `local_ms_per_cell`, `ray_ms_per_cell` (null without Ray), `finished_run_seconds`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from veneer.cells import Cell, Crew, crew
from veneer.cells_ray import cluster


def main() -> None:
    """Time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", default="tiny")
    asked = parser.parse_args()
    with crew(asked.workers) as hands:
        local = milliseconds(hands, asked.cells)
    ray = None
    if find_spec("ray"):
        with tempfile.TemporaryDirectory() as shared, cluster(Path(shared), asked.workers) as hands:
            ray = milliseconds(hands, asked.cells)
    seconds = finished_run(asked.folder, asked.size)
    print(json.dumps({"local_ms_per_cell": local, "ray_ms_per_cell": ray, "finished_run_seconds": seconds}))


def milliseconds(hands: Crew, many: int) -> float:
    """Return the milliseconds that a cell takes which does nothing."""
    hands.run([Cell(name=str(number), work=nothing) for number in range(20)], lambda _: None)
    cells = [Cell(name=str(number), work=nothing) for number in range(many)]
    began = time.perf_counter()
    hands.run(cells, lambda _: None)
    return round(1000 * (time.perf_counter() - began) / many, 3)


def nothing() -> None:
    """Do nothing."""


def finished_run(folder: Path, size: str) -> float:
    """Return the seconds of `veneer run` on a study that is finished."""
    study = folder / "study.yaml"
    veneer = [sys.executable, "-m", "veneer.cli"]
    for command in (["pocket", folder, "--size", size], ["run", study]):
        subprocess.run([*map(str, [*veneer, *command])], check=True, stdout=sys.stderr)
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([*map(str, [*veneer, "run", study])], check=True, stdout=sys.stderr)
        taken.append(time.perf_counter() - began)
    return round(median(taken), 2)


if __name__ == "__main__":
    main()
