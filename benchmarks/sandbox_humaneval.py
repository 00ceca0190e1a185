"""Runs HumanEval's own solutions, broken copies of them and hostile programs in the sandbox.

    VENEER_DATA=... python benchmarks/sandbox_humaneval.py [--times 10]

Reads `$VENEER_DATA/humaneval/HumanEval.jsonl.gz`. Every problem's published solution must pass. Two kinds of broken
copies must fail: one whose body is `return None`, and one where a single thing is changed (a comparison or a
calculation turned round, or a constant shifted). Some changes of the second kind leave the function as right as it
was, so the first change that differs on the examples of the tests counts, and the copies tried before it are shown
on stderr. All solutions are then run `--times` times over and timed. The attacks are those of the tests
(`tests/benchmarks/attacks.py`), run from an own folder against a planted secret and a listening server. The last line
is JSON: `canonical_passed`, `mutants_failed` of `mutants`, `programs`, `seconds`, `attacks_contained`, `attacks`.
"""

import argparse
import ast
import contextlib
import gzip
import json
import os
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from veneer.benchmarks.benchmark import Program
from veneer.benchmarks.sandbox import Limits, assemble, run

ROOT = Path(__file__).parents[1]
TURNED = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Mod: ast.Mult, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
MOST = 8
"""The most changes tried on one solution."""


def main() -> None:
    """Run all, count, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=10)
    times = parser.parse_args().times
    rows = problems(Path(os.environ["VENEER_DATA"]) / "humaneval" / "HumanEval.jsonl.gz")
    programs = [whole(row, row["prompt"] + row["canonical_solution"]) for row in rows]
    begun = time.monotonic()
    ran = run(programs * times, Limits())
    seconds = time.monotonic() - begun
    for row, one in zip(rows * times, ran, strict=True):
        if not one.passed:
            print(f"{row['task_id']}: the solution fails: {one.detail}", file=sys.stderr)
    empty = run([whole(row, emptied(row)) for row in rows], Limits())
    changed = [first_difference(row) for row in rows]
    contained, tried = attacked()
    print(
        json.dumps(
            {
                "canonical_passed": min(
                    sum(one.passed for one in ran[start : start + len(rows)])
                    for start in range(0, len(ran), len(rows))
                ),
                "mutants_failed": sum(not one.passed for one in empty) + sum(changed),
                "mutants": 2 * len(rows),
                "programs": len(ran),
                "seconds": round(seconds, 1),
                "attacks_contained": contained,
                "attacks": tried,
            }
        )
    )


def problems(path: Path) -> list[dict[str, Any]]:
    """Return HumanEval's rows."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def whole(row: dict[str, Any], code: str) -> str:
    """Return a program: the code of a solution, prompt included, and the problem's tests."""
    tests = f"{row['test']}\ncheck({row['entry_point']})\n"
    return assemble(Program(before="", after=tests, entry=row["entry_point"]), code, chat=False)


def solved(row: dict[str, Any]) -> tuple[ast.Module, ast.FunctionDef]:
    """Return a solution's syntax tree and the function that answers in it."""
    tree = ast.parse(row["prompt"] + row["canonical_solution"])
    entry = next(
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == row["entry_point"]
    )
    return tree, entry


def emptied(row: dict[str, Any]) -> str:
    """Return a solution whose entry returns None at once."""
    tree, entry = solved(row)
    entry.body = [ast.Return(ast.Constant(None))]
    return ast.unparse(ast.fix_missing_locations(tree))


def mutants(row: dict[str, Any]) -> Iterator[str]:
    """Give a solution with one thing changed, each in turn."""
    count = len(list(ast.walk(solved(row)[1])))
    for place in range(count):
        tree, entry = solved(row)
        if change(list(ast.walk(entry))[place]):
            yield ast.unparse(ast.fix_missing_locations(tree))


def change(node: ast.AST) -> bool:
    """Change one node in place and return whether there was something to change."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in TURNED:
        node.ops[0] = TURNED[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp) and type(node.op) in TURNED:
        node.op = TURNED[type(node.op)]()
    elif isinstance(node, ast.Constant) and type(node.value) in (int, bool):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1
    elif isinstance(node, ast.Return) and node.value is not None:
        node.value = ast.Tuple([node.value, ast.Constant(0)], ast.Load())
    else:
        return False
    return True


def first_difference(row: dict[str, Any]) -> bool:
    """Return whether the sandbox fails one of the first changes of a solution."""
    for number, code in enumerate(mutants(row)):
        (ran,) = run([whole(row, code)], Limits(cpu_seconds=2, wall_seconds=4))
        if not ran.passed:
            return True
        print(f"{row['task_id']}: change {number} passes its tests", file=sys.stderr)
        if number + 1 == MOST:
            break
    return False


def attacked() -> tuple[int, int]:
    """Run the attacks and return how many were contained, and how many there are."""
    sys.path.insert(0, str(ROOT))
    from tests.benchmarks.attacks import attacks

    marker, os.environ["VENEER_TEST_SECRET"] = f"marker-{secrets.token_hex(8)}", "hidden"
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        home = Path.home() / f".{marker}"
        place = Path(folder)
        for secret in (home, place / "secret"):
            secret.write_text("hidden")
        try:
            hostile = attacks(place=place, home=home, port=server.getsockname()[1], marker=marker)
            ran = run(list(hostile.values()), Limits(cpu_seconds=1, wall_seconds=2, memory_mb=256))
        finally:
            home.unlink()
        server.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            server.accept()
            raise SystemExit("a program reached the server: the sandbox does not hold")
        if sorted(path.name for path in place.iterdir()) != ["secret"] or lingers(marker):
            raise SystemExit("a program left something behind: the sandbox does not hold")
    for name, one in zip(hostile, ran, strict=True):
        print(f"{name}: {'PASSED' if one.passed else one.detail}", file=sys.stderr)
    return sum(not one.passed for one in ran), len(hostile)


def lingers(marker: str) -> bool:
    """Return whether a process with `marker` in its command line lives."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if marker.encode() in path.read_bytes():
                return True
    return False


if __name__ == "__main__":
    main()
