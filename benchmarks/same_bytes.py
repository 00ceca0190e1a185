"""Writes and runs the built-in study twice with one seed and compares every file of both, byte for byte.

    python benchmarks/same_bytes.py FOLDER [--seed 0] [--size small]

Ends with one line of JSON: `files`, `different` (their names, at most ten), `identical`.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from veneer.disk import digest


def main() -> None:
    """Run twice, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", default="small")
    asked = parser.parse_args()
    runs = [asked.folder / name for name in ("first", "second")]
    for place, workers in zip(runs, ("2", "1"), strict=True):
        veneer = [sys.executable, "-m", "veneer.cli"]
        pocket = ["pocket", place, "--seed", str(asked.seed), "--size", asked.size, "--workers", workers]
        for command in (pocket, ["run", place / "study.yaml", "--workers", workers]):
            subprocess.run([*veneer, *command], check=True, stdout=sys.stderr)
    first, second = (files(place) for place in runs)
    different = sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
    print(json.dumps({"files": len(first), "different": different[:10], "identical": not different}))


def files(folder: Path) -> dict[str, str]:
    """Return the digest of every file, locks aside."""
    return {
        str(path.relative_to(folder)): digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    }


if __name__ == "__main__":
    main()
