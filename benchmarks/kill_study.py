"""Kills runs of the built-in study with `kill -9` at random moments, and starts them again each time.

    python benchmarks/kill_study.py FOLDER [--size small] [--seed 0] [--kills 30] [--workers 2]

The study is written once. One copy is run without interruption: what it made is what the others are held against. The
next is killed, all its processes at once, again and again until it is finished in spite of that; so are further copies
until there were as many kills as asked for. A moment is so many more cells finished, drawn so that the kills spread
over the study however fast the machine is, and up to two seconds later.

Whether a finished cell ran twice is told by the disk: an artefact that was made again has another inode or another
time. Ends with one line of JSON: `kills`, `identical` (every artefact and the report of every copy, byte for byte),
`cells`, `cells_run_twice`, `copies`, `killed_in` (stages with half-made cells at a kill, and at how many kills),
`seconds` (of the uninterrupted run, and of all others together).
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from veneer.disk import digest

Stamp = tuple[int, int]
VENEER = [sys.executable, "-m", "veneer.cli"]


def main() -> None:
    """Run once whole and once through kills, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", default="small")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--workers", default="2")
    asked = parser.parse_args()
    written, whole = asked.folder / "written", asked.folder / "whole"
    size = ["--seed", str(asked.seed), "--size", asked.size, "--workers", asked.workers]
    subprocess.run([*VENEER, "pocket", written, *size], check=True, stdout=sys.stderr)
    shutil.copytree(written, whole)

    began = time.monotonic()
    subprocess.run(run_of(whole, asked.workers), check=True, stdout=sys.stderr)
    alone = time.monotonic() - began
    wanted = made_in(whole)

    draw, began = random.Random(asked.seed), time.monotonic()  # noqa: S311 (nothing secret)
    where: Counter[str] = Counter()
    kills = copies = 0
    twice: set[str] = set()
    different: set[str] = set()
    while kills < asked.kills:
        copies += 1
        place = asked.folder / f"killed-{copies}"
        shutil.copytree(written, place)
        command, ended = run_of(place, asked.workers), False
        seen: dict[str, Stamp] = {}
        while kills < asked.kills and not ended:
            more = draw.randrange(2 * (len(wanted) - 1) // asked.kills + 1)
            ended = killed(command, place, len(seen) + more, 2 * draw.random())
            twice |= made_again(place, seen)
            if not ended:
                kills += 1
                where.update({path.parent.name for path in place.glob("study/artefacts/*/*.partial")})
                print(f"kill {kills}: {len(seen)} cells are done", file=sys.stderr, flush=True)
        subprocess.run(command, check=True, stdout=sys.stderr)
        twice |= made_again(place, seen)
        found = made_in(place)
        different |= {name for name in {*found, *wanted} if found.get(name) != wanted.get(name)}
    result = {
        "kills": kills,
        "identical": not different,
        "cells": len(wanted) - 1,
        "cells_run_twice": len(twice),
        "copies": copies,
        "killed_in": dict(where),
        "seconds": [round(alone), round(time.monotonic() - began)],
        "different": sorted(different)[:10],
    }
    print(json.dumps(result))


def run_of(place: Path, workers: str) -> list[str | Path]:
    """Return the command that runs a copy of the study."""
    return [*VENEER, "run", place / "study.yaml", "--workers", workers]


def killed(command: list[str | Path], place: Path, cells: int, seconds: float) -> bool:
    """Run a command; kill it and its workers so long after so many cells are done; return if it had ended."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and len(records(place)) < cells:
        time.sleep(0.01)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False
    if process.returncode:
        raise SystemExit(f"a run failed with status {process.returncode}")
    return True


def records(place: Path) -> list[Path]:
    """Return the records of all finished artefacts."""
    found = place.glob("study/artefacts/*/*/artefact.json")
    return [one for one in found if not one.parent.name.startswith(".") and one.parent.suffix != ".partial"]


def made_again(place: Path, seen: dict[str, Stamp]) -> set[str]:
    """Return which finished artefacts are others than before, and take down all that are finished now."""
    found = set()
    for record in records(place):
        name, state = str(record.parent.relative_to(place)), record.stat()
        stamp = (state.st_ino, state.st_mtime_ns)
        if seen.setdefault(name, stamp) != stamp:
            found.add(name)
    return found


def made_in(place: Path) -> dict[str, str]:
    """Return the digest of every artefact and of the report."""
    root = place / "study"
    cells = {
        str(path.relative_to(root)): digest(path)
        for path in root.glob("artefacts/*/*")
        if path.is_dir() and not path.name.startswith(".")
    }
    return cells | {"report": digest(root / "report")}


if __name__ == "__main__":
    main()
