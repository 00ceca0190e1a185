"""What models wrote is run where it can hurt nothing, and passes only if it truly reached its end."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.attacks import EXHAUSTING, FAKING, WRONG, attacks
from veneer.benchmarks import sandbox
from veneer.benchmarks.benchmark import Program
from veneer.benchmarks.sandbox import Limits, assemble, run
from veneer.errors import SandboxError

needs_sandbox = pytest.mark.skipif(bool(sandbox.why_not()), reason=sandbox.why_not() or "it can")
TIGHT = Limits(cpu_seconds=1, wall_seconds=2, memory_mb=256)
NAMES = sorted(attacks(place=Path("/x"), home=Path("/y"), port=1, marker="z"))
TWICE = Program(
    before='import math\n\ndef half(x):\n    return x / 2\n\ndef twice(x):\n    """Double."""\n',
    after="def check(candidate):\n    assert candidate(4) == 8\n    assert half(4) == 2\n\ncheck(twice)\n",
    entry="twice",
)


@pytest.fixture
def forgotten() -> Iterator[None]:
    """The answer of `why_not` is asked anew, before and after."""
    sandbox.why_not.cache_clear()
    yield
    sandbox.why_not.cache_clear()


@pytest.fixture
def hostile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[dict[str, str], socket.socket, str]]:
    """The attacks, with all that they try to reach: secrets, a listening server; and their marker."""
    marker, home = f"marker-{secrets.token_hex(8)}", Path.home() / f".veneer-test-{secrets.token_hex(8)}"
    monkeypatch.setenv("VENEER_TEST_SECRET", "hidden")
    for secret in (tmp_path / "secret", home):
        secret.write_text("hidden")
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(0.2)
            port = server.getsockname()[1]
            yield attacks(place=tmp_path, home=home, port=port, marker=marker), server, marker
    finally:
        home.unlink()


def living(marker: str) -> list[str]:
    """Return the processes of this machine that have `marker` in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if marker.encode() in words:
            found.append(path.parent.name)
    return found


def comes_true(what: object, within: float = 3) -> bool:
    """Return whether `what()` becomes true in time."""
    assert callable(what)
    until = time.monotonic() + within
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.02)
    return False


@needs_sandbox
@pytest.mark.parametrize("name", NAMES)
def test_an_attack_is_contained_and_does_not_pass(
    name: str, hostile: tuple[dict[str, str], socket.socket, str], tmp_path: Path
) -> None:
    programs, server, marker = hostile
    with subprocess.Popen(["sleep", "60"]) as bystander:
        try:
            before = len(living(""))
            (ran,) = run([programs[name]], TIGHT)
            assert not ran.passed
            assert ran.detail
            assert ran.seconds < 10
            assert len(ran.detail) < 2000
            assert comes_true(lambda: not living(marker))
            assert comes_true(lambda: len(living("")) < before + 50)
            assert bystander.poll() is None
        finally:
            bystander.kill()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret"]
    with pytest.raises(TimeoutError):
        server.accept()


def test_the_attacks_would_hurt_outside(hostile: tuple[dict[str, str], socket.socket, str]) -> None:
    harmless = ["secret file", "secret file at home", "secret in the environment", "network", "write outside"]
    for name in harmless:
        subprocess.run([sys.executable, "-c", hostile[0][name]], check=True)


@needs_sandbox
def test_what_a_program_waits_for_a_processor_is_not_held_against_it() -> None:
    slow = "import time\nwhile time.process_time() < 0.6:\n    pass\n"
    many = 8 * len(os.sched_getaffinity(0))
    ran = run([slow] * many, TIGHT, workers=many)
    assert {one.detail for one in ran} == {""}
    assert max(one.seconds for one in ran) > TIGHT.wall_seconds, "they were in each other's way"


@needs_sandbox
def test_a_program_that_ends_while_its_time_is_counted_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def count_slowly(_: int) -> float:
        time.sleep(1)
        return 0.0

    monkeypatch.setattr(sandbox, "not_asleep", count_slowly)
    (ran,) = run([f"import time\ntime.sleep({TIGHT.wall_seconds + 0.3})\n"], TIGHT)
    assert (ran.passed, ran.detail) == (True, "")


@needs_sandbox
@pytest.mark.parametrize(
    ("program", "detail"),
    [
        (EXHAUSTING["endless loop"], "time ran out: its processor time"),
        (EXHAUSTING["endless sleep"], "time ran out: 2 s"),
        (EXHAUSTING["memory bomb"], "memory ran out: MemoryError (line 1: kept = "),
        (EXHAUSTING["gigabyte of errors"], "it printed more than 64 KB"),
        (FAKING["pass printed before leaving"], "it ended before its tests did"),
        (FAKING["own death"], "it was ended by SIGKILL"),
        ("x = 1" + WRONG, "AssertionError: the test of a wrong answer (line 2: assert False, "),
        ("def f(x):\n    return x\n\nassert f(1) == 2\n", "AssertionError (line 4: assert f(1) == 2)"),
        ("def f(:\n", "SyntaxError: invalid syntax (program.py, line 1)"),
        ("raise ValueError('one\\ntwo')", "ValueError: one two (line 1: "),
        ("x = '\0'", "SyntaxError: source code string cannot contain null bytes"),
        ("import os\nos._exit(3)", "it ended with status 3"),
        ("print('\ud800')", "UnicodeEncodeError"),
    ],
)
def test_a_program_that_fails_is_told_why(program: str, detail: str) -> None:
    (ran,) = run([program], TIGHT)
    assert not ran.passed
    assert ran.detail.startswith(detail)


@needs_sandbox
@pytest.mark.parametrize(
    "program",
    [
        "",
        "x = 1\nassert x == 1\n",
        "print('a little' * 100)\n",
        "open('/tmp/notes', 'w').write('x')\nassert open('notes').read() == 'x'\n",
        "import asyncio\nasyncio.run(asyncio.sleep(0))\n",
        "import collections, datetime, decimal, hashlib, heapq, json, math, random, re, string, typing\n",
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: 'int' = 1\nassert A() == A(1)\n",
        "# -*- coding: latin-1 -*-\nassert len('é') == 1\n",
        "if __name__ == '__main__':\n    raise ValueError\n",
        "assert hash('velmora') == hash('velmora')\n",
    ],
)
def test_a_right_program_passes(program: str) -> None:
    (ran,) = run([program], Limits())
    assert (ran.passed, ran.detail) == (True, "")


@needs_sandbox
def test_many_at_once_come_back_in_their_order() -> None:
    programs = [f"assert {number} % 3, {number}" for number in range(40)]
    ran = run(programs, Limits(), workers=4)
    assert [one.passed for one in ran] == [number % 3 > 0 for number in range(40)]
    assert ran[39].detail.startswith("AssertionError: 39")


@needs_sandbox
def test_the_order_of_a_set_is_the_same_in_every_run() -> None:
    program = "raise ValueError(list({'a', 'b', 'c', 'd', 'e', 'f', 'g'}))"
    assert len({one.detail for one in run([program] * 6, Limits())}) == 1


@needs_sandbox
def test_only_what_python_needs_is_seen() -> None:
    program = "import os\nraise ValueError(sorted(os.listdir('/')), os.listdir('/tmp'), sorted(os.environ))"
    (ran,) = run([program], Limits())
    seen = set(Path(sys.base_prefix).parts[1:2]) | {
        "bin",
        "dev",
        "lib",
        "lib32",
        "lib64",
        "libx32",
        "tmp",
        "usr",
    }
    root, _, rest = ran.detail.removeprefix("ValueError: (").partition("]")
    assert {word.strip(" '") for word in root.strip("[").split(",")} <= seen
    assert rest.startswith(", [], ['HOME', 'LANG', 'PATH', 'PWD', 'PYTHONHASHSEED'])")


@needs_sandbox
def test_nothing_outlives_a_run_that_is_killed() -> None:
    marker = f"marker-{secrets.token_hex(8)}"
    program = f"import os\nos.execv('/usr/bin/tail', ['tail', '-f', '/dev/null', {marker!r}])"
    runner = f"from veneer.benchmarks.sandbox import Limits, run\nrun([{program!r}], Limits(wall_seconds=60))"
    with subprocess.Popen([sys.executable, "-c", runner]) as running:
        # The runner has the marker in its own command line.
        assert comes_true(lambda: len(living(marker)) > 1, within=20)
        os.kill(running.pid, signal.SIGKILL)
    assert comes_true(lambda: not living(marker))


@pytest.mark.usefixtures("forgotten")
def test_a_machine_without_bubblewrap_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert "Install Debian's package `bubblewrap`" in sandbox.why_not()
    with pytest.raises(SandboxError, match="`bwrap` is not on the PATH"):
        run(["x = 1"], Limits())


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'bwrap: No permissions to create new namespace' >&2; exit 1", "No permissions to create new"),
        ("echo 'bwrap: Unknown option --disable-userns' >&2; exit 1", "It needs bubblewrap 0.8 or newer"),
        ("kill -9 $$", "it ended with status -9"),
    ],
)
def test_a_sandbox_that_breaks_is_an_error_and_no_wrong_program(
    script: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bwrap").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert reason in sandbox.why_not()
    monkeypatch.setattr(sandbox, "why_not", lambda: "")
    with pytest.raises(SandboxError, match="bwrap failed"):
        run(["x = 1"], Limits())


@pytest.mark.usefixtures("forgotten")
def test_a_machine_that_is_not_known_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert "linux on riscv64" in sandbox.why_not()


@pytest.mark.parametrize(
    ("completion", "chat"),
    [
        ("    return 2 * x\n", False),
        ("    return 2 * x", True),
        ("Sure:\n```python\ndef twice(x):\n    return 2 * x\n```\nDone.", True),
        ("```\ndef twice(x):\n    return 2 * x", True),
        ("First `pip`:\n```sh\npip install x\n```\n```python\ndef twice(x):\n    return 2 * x\n```", True),
        ("1. So:\n   ```python\n   def twice(x):\n       return 2 * x\n   ```", True),
        ("def twice(x):\n    return int(math.fsum([x, x]))", True),
        ("```python\n    return 2 * x\n```", True),
    ],
)
def test_a_right_answer_is_assembled_in_any_form(completion: str, chat: bool) -> None:
    exec(assemble(TWICE, completion, chat=chat), {})  # noqa: S102


def test_a_whole_function_stands_after_the_imports_and_helpers_alone() -> None:
    program = assemble(TWICE, "```python\ndef twice(x):\n    return 3 * x\n```", chat=True)
    assert program.count("def twice") == 1
    assert program.startswith("import math")
    with pytest.raises(AssertionError):
        exec(program, {})  # noqa: S102
