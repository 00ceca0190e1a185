"""Runs the built-in study here, on a Ray cluster of two nodes, and on one that loses a node; compares all bytes.

    python benchmarks/ray_identity.py FOLDER [--size tiny] [--cores 1]

The cluster is two `ray start` on this machine, with so many cores each. In the third run its second node is killed
(kill -9, its workers too) while it trains a student, when some are there. Every start and end of a cell is
noted with its node, so that it can be told which cells ran again.

Ends with one line of JSON: `identical` (whether all three studies have the same artefacts and the same report),
`cells`, `cells_running_at_kill` (on the node that was killed), `cells_rerun_after_kill`, `only_those` (whether no other
cell ran twice), and `seconds` of each run.
"""

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from veneer import pipeline
from veneer.api import _Silent
from veneer.cells import Cell, Crew
from veneer.cells_ray import cluster
from veneer.disk import digest
from veneer.study import load

PORT = 6391
HEAD, OTHER = "head", "other"
TRAINED = 4
"""Students that are there when the node is killed."""


def main() -> None:
    """Run thrice, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--cores", type=int, default=1)
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    written = folder / "written"
    veneer = [sys.executable, "-m", "veneer.cli"]
    subprocess.run([*veneer, "pocket", written, "--size", asked.size], check=True, stdout=sys.stderr)
    places = {name: folder / name for name in ("local", "ray", "killed")}
    for place in places.values():
        shutil.copytree(written, place)
    seconds = {}
    began = time.monotonic()
    subprocess.run([*veneer, "run", places["local"] / "study.yaml"], check=True, stdout=sys.stderr)
    seconds["local"] = round(time.monotonic() - began, 1)
    # Whoever uses the clusters' ports needs this; a process keeps the first that it knows.
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    lost: set[str] = set()
    for name in ("ray", "killed"):
        began = time.monotonic()
        with two_nodes(asked.cores) as other:
            lost = run_noted(places[name], other if name == "killed" else None)
        seconds[name] = round(time.monotonic() - began, 1)
    found = {name: artefacts(place) for name, place in places.items()}
    starts = Counter(note["cell"] for note in notes(places["killed"] / "notes") if note["event"] == "start")
    again = {cell for cell, times in starts.items() if times > 1}
    print(
        json.dumps(
            {
                "identical": found["local"] == found["ray"] == found["killed"],
                "cells": len(found["local"]) - 1,
                "cells_running_at_kill": len(lost),
                "cells_rerun_after_kill": len(again),
                "only_those": again <= lost,
                "seconds": seconds,
            }
        )
    )


@contextmanager
def two_nodes(cores: int) -> Iterator[psutil.Process]:
    """Start a cluster of two nodes and name it in RAY_ADDRESS; yield the process of the second node."""
    address = f"127.0.0.1:{PORT}"
    ray = [Path(sys.executable).with_name("ray"), "start", "--block", f"--num-cpus={cores}"]
    ray += ["--object-store-memory=100000000", "--disable-usage-stats"]
    head = [f"--port={PORT}", "--head", "--include-dashboard=false", f'--resources={{"{HEAD}": 1}}']
    started = []
    try:
        for more in (head, [f"--address={address}", f'--resources={{"{OTHER}": 1}}']):
            started.append(psutil.Popen([*map(str, [*ray, *more])], stdout=sys.stderr))
            wait_for_nodes(address, len(started))
        os.environ["RAY_ADDRESS"] = address
        yield started[1]
    finally:
        os.environ.pop("RAY_ADDRESS", None)
        for process in reversed(started):
            kill(process)


def wait_for_nodes(address: str, many: int) -> None:
    """Wait until a cluster has so many nodes, asking in processes of their own."""
    program = "import sys, ray; ray.init(sys.argv[1], logging_level='ERROR'); print(len(ray.nodes()))"
    for _ in range(5):
        asked = subprocess.run(
            [sys.executable, "-c", program, address], capture_output=True, text=True, check=False
        )
        if asked.stdout.strip() == str(many):
            return
        time.sleep(1)
    raise SystemExit(f"the cluster has no {many} nodes after 5 tries: {asked.stderr}")


def kill(process: psutil.Process) -> None:
    """Kill a node: all its processes, by kill -9."""
    if not process.is_running():
        return
    for one in [*process.children(recursive=True), process]:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()


@dataclass(frozen=True)
class Noted:
    """A crew whose cells note when they start and end, and on which node."""

    crew: Crew
    folder: Path

    def run(
        self, cells: Sequence[Cell], done: Callable[[str], None], tick: Callable[[], None] = lambda: None
    ) -> list[Any]:
        """Run cells as the crew does."""
        noting = [replace(cell, work=partial(noted, self.folder, cell.name, cell.work)) for cell in cells]
        return self.crew.run(noting, done, tick)


def noted(folder: Path, name: str, work: Callable[[], Any]) -> Any:
    """Run a cell; leave a file at its start, and one at its end."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    order = getattr(work, "args", ("", ""))[0]
    said = {"cell": f"{getattr(order, 'stage', '')}/{name}", "node": node}
    note(folder, {**said, "event": "start"})
    result = work()
    note(folder, {**said, "event": "end"})
    return result


def note(folder: Path, row: dict[str, str]) -> None:
    """Leave a row in a file of its own."""
    name = uuid.uuid4().hex
    (folder / f".{name}").write_text(json.dumps(row))
    (folder / f".{name}").rename(folder / name)


def notes(folder: Path) -> list[dict[str, str]]:
    """Return all rows."""
    return [json.loads(file.read_text()) for file in folder.iterdir() if not file.name.startswith(".")]


def run_noted(place: Path, victim: psutil.Process | None) -> set[str]:
    """Run a study on the cluster, and kill a node in the middle; return the cells that were running on it."""
    (place / "notes").mkdir()
    study, store = load(place / "study.yaml"), pipeline.store_of(place / "study.yaml")
    lost: set[str] = set()
    with cluster(store.root) as hands:
        killer = threading.Thread(target=strike, args=(place / "notes", victim, lost)) if victim else None
        if killer:
            killer.start()
        pipeline.run(study, store, Noted(hands, place / "notes"), _Silent())
        if killer:
            killer.join()
    return lost


def strike(folder: Path, victim: psutil.Process, lost: set[str]) -> None:
    """Kill a node while it trains a student, when some are there."""
    import ray

    other = next(node["NodeID"] for node in ray.nodes() if OTHER in node["Resources"])
    while True:
        rows = notes(folder)
        running = running_on(other, rows)
        trained = sum(row["event"] == "end" and row["cell"].startswith("train/") for row in rows)
        if trained >= TRAINED and any(cell.startswith("train/") for cell in running):
            break
        time.sleep(0.02)
    kill(victim)
    lost |= running_on(other, notes(folder))


def running_on(node: str, rows: Sequence[dict[str, str]]) -> set[str]:
    """Return the cells that have started on a node and not ended."""
    many = Counter((row["cell"], 1 if row["event"] == "start" else -1) for row in rows if row["node"] == node)
    return {cell for cell, _ in many if many[cell, 1] > many[cell, -1]}


def artefacts(place: Path) -> dict[str, str]:
    """Return the digest of every artefact of a study, and of its report."""
    root = place / "study"
    made = {str(path.relative_to(root)): digest(path) for path in root.glob("artefacts/*/*") if path.is_dir()}
    return made | {"report": digest(root / "report")}


if __name__ == "__main__":
    main()
