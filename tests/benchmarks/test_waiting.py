"""What a process ran or waited to run is told from what it slept."""

import os
import signal
import subprocess
import sys
import time

import pytest

from veneer.benchmarks import waiting
from veneer.benchmarks.waiting import exit_of, not_asleep

BUSY = "import time\nwhile time.process_time() < 0.3:\n    pass\ntime.sleep(60)"


@pytest.mark.skipif(not (waiting.PROC / "self" / "schedstat").exists(), reason="this kernel does not count")
def test_a_child_of_a_child_counts_and_sleep_does_not() -> None:
    inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])"
    with subprocess.Popen([sys.executable, "-c", inner], start_new_session=True) as process:
        until = time.monotonic() + 30
        while not_asleep(process.pid) < 0.3 and time.monotonic() < until:
            time.sleep(0.05)
        seconds = not_asleep(process.pid)
        os.killpg(process.pid, signal.SIGKILL)
    assert 0.3 <= seconds < 30


def test_what_has_ended_or_never_was_slept_all_the_time() -> None:
    assert not_asleep(2**31 - 1) == 0.0


def test_the_end_of_a_child_can_be_waited_for() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process, exit_of(process.pid) as ended:
        assert ended.readable()
        process.wait()
