"""Runs the built-in study on several worlds and tallies which of the eight claims come out in how many of them.

    python benchmarks/pocket_seeds.py FOLDER --seeds 11 12 13 14 15

Prints a Markdown table (one row a part of a claim, one column a seed) and ends with one line of JSON:
`claims` (claim number to {supported, contradicted, undecided}), `seconds` and `peak_gb` a seed.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

SIGNS = {"supported": "yes", "contradicted": "NO", "undecided": "?"}


def main() -> None:
    """Run, tally, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--size", default="full")
    asked = parser.parse_args()
    seconds, reports = {}, {}
    for seed in asked.seeds:
        began = time.monotonic()
        reports[seed] = run_study(asked.folder / f"world-{seed}", seed, asked.size)
        seconds[seed] = round(time.monotonic() - began)
        print(f"world {seed}: {seconds[seed]} s", file=sys.stderr, flush=True)
    print("\n".join(table(reports)))
    tally: dict[str, Counter[str]] = {}
    for report in reports.values():
        for claim in report["claims"]:
            tally.setdefault(str(claim["number"]), Counter())[claim["verdict"]] += 1
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(json.dumps({"claims": tally, "seconds": seconds, "peak_gb_of_one_process": round(peak, 2)}))


def run_study(folder: Path, seed: int, size: str) -> dict[str, Any]:
    """Write and run one world's study, and return its report."""
    veneer = [sys.executable, "-m", "veneer.cli"]
    for command in (["pocket", folder, "--seed", str(seed), "--size", size], ["run", folder / "study.yaml"]):
        subprocess.run([*veneer, *command], check=True, stdout=sys.stderr)
    report: dict[str, Any] = json.loads((folder / "study" / "report" / "report.json").read_text())
    return report


def table(reports: dict[int, dict[str, Any]]) -> list[str]:
    """Return the Markdown table of every claim and part, by seed."""
    seeds = list(reports)
    lines = [
        f"| claim | {' | '.join(f'world {seed}' for seed in seeds)} | supported in |",
        f"| --- | {' | '.join('---' for _ in seeds)} | --- |",
    ]
    for index, claim in enumerate(reports[seeds[0]]["claims"]):
        verdicts = [reports[seed]["claims"][index]["verdict"] for seed in seeds]
        held = f"**{verdicts.count('supported')}/{len(seeds)}**"
        cells = " | ".join(f"**{verdict}**" for verdict in verdicts)
        lines.append(f"| **{claim['number']}. {claim['claim']}** | {cells} | {held} |")
        for place, part in enumerate(claim["parts"]):
            parts = [reports[seed]["claims"][index]["parts"][place] for seed in seeds]
            cells = " | ".join(f"{number(found['number'])} {SIGNS[found['verdict']]}" for found in parts)
            held = f"{sum(found['verdict'] == 'supported' for found in parts)}/{len(seeds)}"
            lines.append(f"| {part['what']} ({part['direction']} {part['threshold']}) | {cells} | {held} |")
    return lines


def number(found: dict[str, Any]) -> str:
    """Return a Number as text."""
    if "undefined" in found:
        return "undefined"
    return f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


if __name__ == "__main__":
    main()
