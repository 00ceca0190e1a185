"""When a process has ended, and how long it was not asleep: on a busy machine much of that is waiting to run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

PROC = Path("/proc")


@contextmanager
def exit_of(pid: int) -> Iterator[FileIO]:
    """Give a file that becomes readable once a child has ended."""
    with os.fdopen(os.pidfd_open(pid), "rb", buffering=0) as file:
        yield file


def not_asleep(pid: int) -> float:
    """Return the seconds that a process and its descendants, of one thread each, ran or waited for a processor.

    The kernel counts them (proc(5), `/proc/PID/schedstat`); where it does not, they are 0.
    """
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    family, seconds = [pid], 0.0
    for one in family:
        family += children.get(one, [])
        seconds += sum(int(count) for count in _read(one, "schedstat").split()[:2]) / 1e9
    return seconds


def _parents() -> Iterator[tuple[int, int]]:
    for entry in PROC.iterdir():
        # A process's name may hold anything, brackets included; what follows the last one does not.
        if entry.name.isdigit() and (stat := _read(int(entry.name), "stat").rpartition(")")[2].split()):
            yield int(entry.name), int(stat[1])


def _read(pid: int, name: str) -> str:
    try:
        return (PROC / str(pid) / name).read_text(errors="replace")
    except OSError:
        return ""  # It has ended, or the kernel does not count.
