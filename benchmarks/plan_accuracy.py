"""How far a plan is from the truth: the built-in study's students planned, trained, and held against the plan.

    python benchmarks/plan_accuracy.py [--size full] [--folder DIR] [--study STUDY]

The imitation data is made first; then the plan with its one-minute calibration, then the training, one student at a
time. `tokens_error` is the largest relative error of a student's tokens (replay's among them) and optimizer steps,
`memory_error` the largest of a base's peak memory, `time_error` that of the seconds of all students together. With
`--study` another study is planned and trained in place of the built-in one. The last line is JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from veneer import pipeline, planning
from veneer.planning import Training
from veneer.pocket import study as built_in
from veneer.store import Store
from veneer.study import load


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="full", choices=[size.value for size in built_in.Size])
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--study", type=Path, default=None)
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp())
    file = asked.study or built_in.write(folder, seed=0, size=built_in.Size(asked.size))
    study, store = load(file), pipeline.store_of(file)
    study = pipeline.with_items(study, store.root.parent)
    run(file, "prepare")
    prepared = planning.prepared_of(study, store)
    planned = planning.training(study, store.root, prepared, calibrate=True)
    run(file, "train")
    print(json.dumps(compared(planned, store)))


def run(file: Path, until: str) -> None:
    """Run a study up to a stage, one cell at a time."""
    command = [sys.executable, "-m", "veneer.cli", "run", str(file), "--workers", "1", "--until", until]
    subprocess.run(command, check=True, stdout=sys.stderr)


def compared(planned: Training, store: Store) -> dict[str, Any]:
    """Return the errors of a plan against what the students' ledgers and logs say."""
    ledgers = {
        file.parent.name.rpartition("-")[0]: json.loads(file.read_text())
        for file in (store.root / "train").glob("*/ledger.json")
    }
    tokens, memory = [0.0], [0.0]
    took = 0.0
    for plan in planned.bases:
        peaks = []
        for one in plan.rungs:
            ledger = ledgers[one.rung.name]
            log = store.root.parent / "logs" / "train" / one.rung.name / "hardware.json"
            hardware = json.loads(log.read_text())
            true = (ledger["tokens"] + ledger["replay_tokens"], ledger["optimizer_steps"])
            said = (one.tokens + one.replay, one.steps or 0)
            tokens += [abs(mine / right - 1) for mine, right in zip(said, true, strict=True)]
            took += hardware["seconds_in_all"]
            peaks.append(hardware["peak_memory_gb"])
        memory.append(abs(planned.held(plan) / max(peaks) - 1))
        print(json.dumps({"base": plan.base, "planned_gb": round(planned.held(plan), 3), "gb": max(peaks)}))
    planned_seconds = sum(planned.seconds)
    print(json.dumps({"planned_seconds": round(planned_seconds, 1), "seconds": round(took, 1)}))
    return {
        "tokens_error": round(max(tokens), 4),
        "memory_error": round(max(memory), 4),
        "time_error": round(abs(planned_seconds / took - 1), 4),
    }


if __name__ == "__main__":
    main()
