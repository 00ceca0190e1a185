"""Runs Python programs that language models wrote, each in a sandbox of its own, and says which ran to their end.

A sandbox is made by bubblewrap (`bwrap`): no network, no capabilities, namespaces of its own, a read-only view of
/usr and of this Python, a small /tmp that vanishes, an empty environment. One process is all a program gets: the
kernel refuses it new processes and threads, sockets, and memory that outlives or escapes its limit (see `_REFUSED`).
Processor time, memory, files and output are limited inside; wall time is kept from outside, and at the end everything
in the sandbox is killed. A program has passed if, after its last line, the driver hands over a token drawn for this
run. So whoever ends early, prints what a grader might print, or breaks the sandbox down has not passed.

What it cannot stop: program and tests share one interpreter, as they do in HumanEval's own harness. Code written to
that end can search the interpreter's frames for the token, or return objects that claim to equal anything. It forges
a pass and still cannot leave the sandbox. Nor is it a guard against errors in the Linux kernel itself.
"""

import functools
import itertools
import os
import platform
import re
import secrets
import selectors
import shutil
import signal
import struct
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from veneer.benchmarks.benchmark import Program
from veneer.benchmarks.waiting import exit_of, not_asleep
from veneer.errors import SandboxError

START_SECONDS = 60
"""How long a sandbox may take to start; the program's own time begins after it."""
MOMENT = 0.5
"""Seconds that a program is left, once its time is up, for word of its end to arrive."""
DETAIL = 1000
"""The most characters of a detail: an assertion on long lists would fill the table of grades."""
READY = b"ready\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a program may use. It is always one process of one thread."""

    cpu_seconds: int = 5
    wall_seconds: float = 10
    """From the program's start, but for what it ran or waited for a processor: a busy machine is not its fault."""
    memory_mb: int = 1024
    """Address space of the process."""
    files: int = 64
    """Open at once."""
    file_mb: int = 16
    """The largest file, and the whole of /tmp."""
    output_kb: int = 64
    """What it may print; a program that prints more is stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What became of one program."""

    passed: bool
    """It ran to its last line."""
    detail: str
    """Why it did not: its error with the line, or what stopped it; empty if it passed."""
    seconds: float
    """Wall time, the sandbox's start included."""


def assemble(program: Program, completion: str, *, chat: bool) -> str:
    """Return the whole program that a completion makes, tests included.

    A plain completion continues `before`. From a chat answer the first fenced block that defines the entry is taken,
    else the first block, else the text as it is. A block that defines the entry stands alone, after the part of
    `before` that precedes the entry (its imports and helpers); one that does not is a continuation.
    """
    if not chat:
        return f"{program.before}{completion}\n{program.after}"
    entry = re.compile(rf"^[ \t]*(?:async[ \t]+)?def[ \t]+{re.escape(program.entry)}\b", re.MULTILINE)
    blocks = re.findall(r"```[^\n`]*\n(.*?)(?:```|\Z)", completion, re.DOTALL) or [completion]
    code = next(filter(entry.search, blocks), blocks[0])
    if not entry.search(code):
        return f"{program.before}{code}\n{program.after}"
    opening = entry.search(program.before)
    head = program.before[: opening.start()] if opening else program.before
    return f"{head}\n{textwrap.dedent(code)}\n{program.after}"


def run(programs: Sequence[str], limits: Limits, *, workers: int | None = None) -> list[Ran]:
    """Run each program in a sandbox of its own and return what became of them, in their order.

    Args:
        programs: Whole programs, tests included; each must raise if it is wrong.
        limits: What each may use.
        workers: How many run at a time; None: one a processor.

    Raises:
        SandboxError: No sandbox can be made here, or one broke by no doing of its program.
    """
    if reason := why_not():
        raise SandboxError(reason)
    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        started = [pool.submit(_run_one, program, limits) for program in programs]
        try:
            return [one.result() for one in started]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@functools.cache
def why_not() -> str:
    """Return why no sandbox can be made here; nothing if it can. It makes one to see, once a process."""
    if sys.platform != "linux" or platform.machine() not in _REFUSED:
        known = " and ".join(_REFUSED)
        return (
            f"sandbox: this is {sys.platform} on {platform.machine()}; programs that models wrote are run on "
            f"Linux on {known} alone. Grade them on such a machine, or leave this benchmark out."
        )
    if not shutil.which("bwrap"):
        return (
            "sandbox: `bwrap` is not on the PATH; programs that models wrote are run inside it alone. "
            "Install Debian's package `bubblewrap` (0.8 or newer), or leave this benchmark out."
        )
    if Path(os.path.expanduser("~")).is_relative_to(sys.base_prefix):
        return (
            f"sandbox: this Python is installed in {sys.base_prefix}, and the home folder lies in it; programs that "
            "models wrote see the whole of that place. Use a Python installed in a folder of its own."
        )
    try:
        tried = _run_one(_PROBE, Limits())
    except SandboxError as error:
        return str(error)
    return "" if tried.passed else f"sandbox: it does not hold, so nothing is run in it: {tried.detail}"


_PROBE = """
import os
try:
    os.fork()
except PermissionError:
    pass
else:
    raise RuntimeError("a second process was allowed; one is")
"""

_DRIVER = """
def drive(result, *limits):
    import os, resource, sys
    write, end = os.write, os._exit
    for kind, value in zip(limits[::2], limits[1::2]):
        kind = getattr(resource, kind)
        hard = resource.getrlimit(kind)[1]
        value = int(value) if hard == resource.RLIM_INFINITY else min(int(value), hard)
        resource.setrlimit(kind, (value, value + 1 if kind == resource.RLIMIT_CPU else value))
    token, _, source = sys.stdin.buffer.read().partition(b"\\n")
    source = source.decode()
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    names = globals()
    names.clear()
    names["__name__"] = "program"
    sys.modules["program"] = sys.modules["__main__"]
    write(int(result), b"ready\\n")
    try:
        exec(compile(source, "program.py", "exec", dont_inherit=True), names)
    except SystemExit:
        end(0)
    except BaseException as error:
        line, trace = 0, error.__traceback__
        while trace:
            if trace.tb_frame.f_code.co_filename == "program.py":
                line = trace.tb_lineno
            trace = trace.tb_next
        said = f"{type(error).__name__}: {error}".rstrip(": ").replace("\\n", " ")
        if line:
            text = source.splitlines()[line - 1].strip()
            said += f" (line {line}: {text})"
        write(2, f"\\n{said}".encode(errors="backslashreplace"))
        end(1)
    write(int(result), token)
    end(0)
import sys
drive(*sys.argv[1:])
"""
"""What runs a program: under another name than `__main__`, as HumanEval does, so that such parts of it do not run."""

_REFUSED: dict[str, tuple[int, tuple[int, ...]]] = {
    "x86_64": (0xC000003E, (56, 57, 58, 435, 41, 29, 64, 68, 240, 319, 447, 425,
                            101, 310, 311, 272, 308, 248, 249, 250, 321, 323, 298)),
    "aarch64": (0xC00000B7, (220, 435, 198, 194, 190, 186, 180, 279, 447, 425,
                             117, 270, 271, 97, 268, 217, 218, 219, 280, 282, 241)),
}  # fmt: skip
"""The kernel's mark of each machine, and the numbers of the calls refused there.

In this order: clone, (fork, vfork,) clone3; socket (vsock passes by network namespaces); shmget, semget, msgget,
mq_open, memfd_create, memfd_secret, io_uring_setup (memory that no limit of a process counts); ptrace,
process_vm_readv, process_vm_writev, unshare, setns, add_key, request_key, keyctl, bpf, userfaultfd, perf_event_open.
"""


def _filter() -> bytes:
    """Return the seccomp program, in the kernel's classic BPF: the refused calls fail with EPERM, others pass."""
    mark, numbers = _REFUSED[platform.machine()]
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    kill, refuse, allow = 0x80000000, 0x00050001, 0x7FFF0000
    last = len(numbers)
    code = [
        (load, 0, 0, 4),
        (equal, 1, 0, mark),
        (give, 0, 0, kill),
        (load, 0, 0, 0),
        # x86-64 has a second set of numbers for the same calls from here on; nothing uses it.
        (at_least, last + 1, 0, 0x40000000),
        *((equal, last - place, 0, number) for place, number in enumerate(numbers)),
        (give, 0, 0, allow),
        (give, 0, 0, refuse),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in code)


def _command(limits: Limits, rules: int, result: int) -> list[str]:
    """Return the command that makes a sandbox with the driver in it.

    Args:
        limits: What the program may use.
        rules: The file descriptor that holds the seccomp program.
        result: The one that the driver writes to.
    """
    prefix, version = sys.base_prefix, f"{sys.version_info.major}.{sys.version_info.minor}"
    mounts = ["--ro-bind", "/usr", "/usr"]
    for place in map(Path, ("/bin", "/lib", "/lib32", "/lib64", "/libx32")):
        if place.is_symlink():
            mounts += ["--symlink", str(place.readlink()), str(place)]
        elif place.is_dir():
            mounts += ["--ro-bind", str(place), str(place)]
    if not Path(prefix).is_relative_to("/usr"):
        mounts += ["--ro-bind", prefix, prefix]
    kept = {
        "RLIMIT_CPU": limits.cpu_seconds,
        "RLIMIT_AS": limits.memory_mb << 20,
        "RLIMIT_FSIZE": limits.file_mb << 20,
        "RLIMIT_NOFILE": limits.files,
        "RLIMIT_STACK": 8 << 20,
        "RLIMIT_CORE": 0,
    }
    # No -I: it would ignore the hash seed, and a program that leans on the order of a set would pass by luck.
    words = {"HOME": "/tmp", "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin", "PYTHONHASHSEED": "0"}  # noqa: S108
    return [
        *(
            "bwrap",
            "--unshare-all",
            "--unshare-user",
            "--disable-userns",
            "--die-with-parent",
            "--new-session",
        ),
        *("--uid", "65534", "--gid", "65534", "--hostname", "sandbox", "--cap-drop", "ALL", "--clearenv"),
        *itertools.chain.from_iterable(("--setenv", name, value) for name, value in words.items()),
        *mounts,
        *("--dev", "/dev", "--size", str(limits.file_mb << 20), "--tmpfs", "/tmp", "--chdir", "/tmp"),  # noqa: S108
        # The root and /dev are memory too, without a size: they are closed once all stands.
        *("--remount-ro", "/dev", "--remount-ro", "/", "--seccomp", str(rules), "--"),
        *(f"{prefix}/bin/python{version}", "-S", "-s", "-P", "-B", "-c", _DRIVER, str(result)),
        *itertools.chain.from_iterable((kind, str(value)) for kind, value in kept.items()),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What a run looked like from outside."""

    stopped: str
    """Why it was stopped; empty if it ended by itself."""
    output: bytes
    result: bytes
    """What came through the pipe that the driver writes to."""


def _run_one(program: str, limits: Limits) -> Ran:
    """Run one program in a sandbox."""
    token, begun = secrets.token_hex(16).encode(), time.monotonic()
    source = token + b"\n" + program.encode(errors="backslashreplace")
    with (
        _held(source) as given,
        _held(_filter()) as rules,
        _pipe() as (output, put),
        _pipe() as (result, mark),
    ):
        try:
            process = subprocess.Popen(
                _command(limits, rules.fileno(), mark.fileno()),
                stdin=given,
                stdout=put,
                stderr=put,
                cwd="/",
                # bwrap itself has no need of the secrets in the environment either.
                env={"PATH": os.environ.get("PATH", os.defpath)},
                pass_fds=(rules.fileno(), mark.fileno()),
            )
        except OSError as error:
            raise SandboxError(
                f"sandbox: bwrap cannot be started: {error}. Free memory or processes and run again."
            ) from error
        put.close()
        mark.close()
        try:
            seen = _watch(process.pid, output, result, limits)
        finally:
            # Its death takes the sandbox's first process along, and that one's takes all that is left inside.
            process.kill()
            code = process.wait()
    if not seen.result.startswith(READY) or (code < 0 and not seen.stopped):
        said = seen.output.decode(errors="replace").strip()
        raise SandboxError(
            f"sandbox: bwrap failed: {seen.stopped or f'it ended with status {code}'}, and said {said!r}. "
            "It needs bubblewrap 0.8 or newer, and a kernel that lets this user make user namespaces "
            "(containers often forbid it): see to both, or leave this benchmark out."
        )
    passed = not seen.stopped and secrets.compare_digest(seen.result, READY + token)
    return Ran(passed=passed, detail="" if passed else _detail(seen, code), seconds=time.monotonic() - begun)


def _watch(pid: int, output: FileIO, result: FileIO, limits: Limits) -> _Seen:
    """Read what a sandbox says until it has ended or must be stopped."""
    said = {output: b"", result: b""}
    caps = {output: limits.output_kb << 10, result: 1 << 10}
    started, stopped, until, late = 0.0, "", time.monotonic() + START_SECONDS, False
    with exit_of(pid) as ended, selectors.DefaultSelector() as selector:
        for stream in (output, result, ended):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ)
        alive = True
        while alive and not stopped:
            events = [key.fileobj for key, _ in selector.select(max(0, until - time.monotonic()))]
            alive = ended not in events
            # A program that has ended may have left words in both pipes.
            for stream in said if not alive else [stream for stream in said if stream in events]:
                while (part := stream.read(1 << 16)) and len(said[stream]) <= caps[stream]:
                    said[stream] += part
                if part == b"" and alive:
                    selector.unregister(stream)
                if len(said[stream]) > caps[stream]:
                    stopped = f"it printed more than {limits.output_kb} KB"
            if not started and said[result].startswith(READY):
                started = time.monotonic()
                until = started + limits.wall_seconds
            elif alive and time.monotonic() >= until:
                if started and (later := started + limits.wall_seconds + not_asleep(pid)) > time.monotonic():
                    until, late = later, False
                    continue
                if started and not late:
                    # What ends while it is counted is counted no more, and that it ended is not heard of yet.
                    until, late = time.monotonic() + MOMENT, True
                    continue
                stopped = (
                    f"time ran out: {limits.wall_seconds:g} s" if started else "it did not start in time"
                )
    return _Seen(stopped=stopped, output=said[output], result=said[result])


def _detail(seen: _Seen, code: int) -> str:
    """Return why a program did not pass: what stopped it, the signal that ended it, or the last line it left."""
    lines = seen.output.decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")[:DETAIL]
    if seen.stopped:
        return seen.stopped
    if code == 128 + signal.SIGXCPU:
        return "time ran out: its processor time"
    if code > 128 and code - 128 in set(signal.Signals):
        return f"it was ended by {signal.Signals(code - 128).name}"
    if code == 0:
        return "it ended before its tests did"
    if last.startswith("MemoryError"):
        return f"memory ran out: {last}"
    return last or f"it ended with status {code}"


@contextmanager
def _held(content: bytes) -> Iterator[BinaryIO]:
    """Give a file in memory that holds `content`, to be read from its start."""
    with os.fdopen(os.memfd_create("veneer"), "w+b") as file:
        file.write(content)
        file.seek(0)
        yield file


@contextmanager
def _pipe() -> Iterator[tuple[FileIO, FileIO]]:
    """Give both ends of a pipe, the one to read first."""
    read, write = os.pipe()
    with os.fdopen(read, "rb", buffering=0) as out, os.fdopen(write, "wb", buffering=0) as into:
        yield out, into
