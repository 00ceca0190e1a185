"""Programs that try to hurt whoever runs them or to be graded right: each ends only if it got what it wanted."""

from pathlib import Path

WRONG = "\nassert False, 'the test of a wrong answer'\n"
"""What stands after a program that fakes its grade."""


def attacks(*, place: Path, home: Path, port: int, marker: str) -> dict[str, str]:
    """Return hostile programs by name.

    Args:
        place: An existing folder that holds the file `secret`, and in which they try to make `planted`.
        home: A secret file under the home folder.
        port: Where a server listens on the loopback.
        marker: An argument by which a process that outlives its program can be told.
    """
    return EXHAUSTING | FAKING | _reaching(place, home, port) | _lingering(marker)


EXHAUSTING = {
    "fork bomb": """
import os, time
for _ in range(200):
    if os.fork() == 0:
        time.sleep(30)
""",
    "fork bomb that never gives up": """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
""",
    "thread bomb": """
import threading, time
for _ in range(200):
    threading.Thread(target=time.sleep, args=(30,)).start()
""",
    "processes by the kernel's own calls": """
import ctypes, time
kernel = ctypes.CDLL(None, use_errno=True)
begun = [kernel.fork(), kernel.vfork()]
begun += [kernel.syscall(number, 17, 0, 0, 0, 0) for number in (56, 57, 58, 220)]
assert max(begun) > 0, begun
""",
    "memory bomb": "kept = [bytearray(1 << 20) for _ in range(4096)]\n",
    "memory in one piece": "kept = b'x' * (1 << 36)\n",
    "shared memory that no process counts": """
import ctypes
kernel = ctypes.CDLL(None, use_errno=True)
assert kernel.shmget(0, 1 << 20, 0o1600) != -1
""",
    "files in memory": """
import os
os.memfd_create("kept")
""",
    "endless loop": "while True:\n    pass\n",
    "endless sleep": "import time\ntime.sleep(1000)\n",
    "loop that catches the signal of its end": """
import signal
signal.signal(signal.SIGXCPU, signal.SIG_IGN)
while True:
    pass
""",
    "sleep that catches every signal": """
import signal, time
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
while True:
    time.sleep(1)
""",
    "process that stops itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\n",
    "gigabyte printed": "for _ in range(1 << 20):\n    print('x' * 1024)\n",
    "gigabyte of errors": "import os\nfor _ in range(1 << 20):\n    os.write(2, b'x' * 1024)\n",
    "gigabyte into every descriptor": """
import os
for _ in range(1 << 20):
    for number in range(64):
        try:
            os.write(number, b'x' * 1024)
        except OSError:
            pass
""",
    "huge file": """
with open("/tmp/file", "wb") as file:
    for _ in range(64):
        file.write(bytes(1 << 20))
""",
    "many files that are huge together": """
for number in range(64):
    with open(f"/tmp/{number}", "wb") as file:
        file.write(bytes(1 << 20))
""",
    "many open files": "kept = [open('/dev/null') for _ in range(5000)]\n",
    "deep recursion": "def deeper():\n    deeper()\ndeeper()\n",
    "deeper recursion": """
import sys
sys.setrecursionlimit(1 << 30)
def deeper():
    deeper()
deeper()
""",
    "nesting that overflows the stack": """
import sys
sys.setrecursionlimit(1 << 30)
nest = []
for _ in range(1 << 20):
    nest = [nest]
repr(nest)
""",
    "limit raised again": """
import resource
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
""",
}
"""They use things up."""

FAKING = {
    name: code + WRONG
    for name, code in {
        "pass printed before leaving": "import os\nprint('passed', flush=True)\nos._exit(0)\n",
        "sys.exit": "import sys\nsys.exit(0)\n",
        "SystemExit": "raise SystemExit\n",
        "end of input": "raise EOFError\n",
        "tests as dead code": "if True:\n    raise KeyboardInterrupt\n",
        "print and exit redefined": """
import builtins, os, sys
builtins.print = builtins.exit = sys.exit = lambda *_: os._exit(0)
""",
        "leaving redefined": "import os\nos._exit = lambda status: None\nos.write = lambda *_: 1\n",
        "errors that are none": """
import builtins
class AssertionError(SystemExit):
    pass
builtins.AssertionError = AssertionError
""",
        "work at exit": "import atexit, os\natexit.register(os._exit, 0)\n",
        "hook of errors": "import os, sys\nsys.excepthook = lambda *_: os._exit(0)\n",
        "checker of its own": "def check(candidate):\n    return True\n",
        "ready said again, with a guess": """
import os
for number in range(3, 64):
    try:
        os.write(number, b"ready\\n" + b"0" * 32)
    except OSError:
        pass
os._exit(0)
""",
        "whole process replaced": "import os\nos.execv('/usr/bin/true', ['true'])\n",
        "own death": "import os\nos.kill(os.getpid(), 9)\n",
        "death of the parent": "import os\nos.kill(os.getppid(), 9)\n",
        "death of all": "import os\nos.kill(-1, 9)\n",
        "segmentation fault": "import ctypes\nctypes.string_at(0)\n",
    }.items()
}
"""They leave, or fool the grader, before the tests have found them wrong."""


def _reaching(place: Path, home: Path, port: int) -> dict[str, str]:
    """Return programs that reach for what lies outside."""
    return {
        "secret file": f"open({str(place / 'secret')!r}).read()\n",
        "secret file at home": f"open({str(home)!r}).read()\n",
        "secret by way of the parent": f"open('/proc/1/root{place / 'secret'}').read()\n",
        "list of users": "open('/etc/passwd').read()\n",
        "secret in the environment": "import os\nos.environ['VENEER_TEST_SECRET']\n",
        "environment of another process": """
import glob
assert any(b"VENEER_TEST_SECRET" in open(name, "rb").read() for name in glob.glob("/proc/*/environ"))
""",
        "network": f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=2)\n",
        "network by the kernel's own calls": """
import ctypes
kernel = ctypes.CDLL(None, use_errno=True)
assert max(kernel.socket(family, 1, 0) for family in (1, 2, 10, 16, 40)) >= 0
""",
        "write outside": f"open({str(place / 'planted')!r}, 'w').write('x')\n",
        "write to the root": "open('/planted', 'w').write('x')\n",
        "write to the devices": "open('/dev/shm/planted', 'w').write('x')\n",
        "write to the interpreter": "import os\nopen(os.__file__, 'a').write('x')\n",
        "write to the programs": "open('/usr/bin/planted', 'w').write('x')\n",
        "rule over a namespace of its own": """
import ctypes
kernel = ctypes.CDLL(None, use_errno=True)
assert kernel.unshare(0x10000000) == 0
""",
        "mount": """
import ctypes
kernel = ctypes.CDLL(None, use_errno=True)
assert kernel.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, 0) == 0
""",
        "another user": "import os\nos.setuid(0)\n",
        "trace of the parent": """
import ctypes
kernel = ctypes.CDLL(None, use_errno=True)
assert kernel.ptrace(16, 1, 0, 0) == 0
""",
    }


def _lingering(marker: str) -> dict[str, str]:
    """Return programs that try to outlive their run."""
    wait = f"os.execv('/usr/bin/tail', ['tail', '-f', '/dev/null', {marker!r}])"
    return {
        "daemon": f"""
import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        {wait}
    os._exit(0)
""",
        "daemon by another program": f"""
import subprocess
subprocess.Popen(["tail", "-f", "/dev/null", {marker!r}], start_new_session=True)
""",
        "another program in its place": f"""
import os
for number in (0, 1, 2):
    os.dup2(os.open("/dev/null", os.O_RDWR), number)
os.closerange(3, 64)
{wait}
""",
    }
