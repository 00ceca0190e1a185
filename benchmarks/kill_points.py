"""Kills runs with `kill -9` at one file operation after the other, where `kill_study.py` does at random moments.

    python benchmarks/kill_points.py FOLDER [--every 3] [--calls write pwrite64 ...] [--leases 2]

The study is an audit whose teacher is an endpoint (a server of this process), so that all of it is at stake: leases,
artefacts, and the journal of answers that are paid for. strace (Debian: apt-get install strace) kills the first thread
that makes its n-th call of one kind, just before the call, for n = 1, 1 + every, and so on until the run ends by
itself; and, for so many leases, who is about to write its name into it. Then the same command runs unhindered.

Ends with one line of JSON: `kills`, `identical` (artefacts and report, by their digests, after each restart), `stuck`
(restarts that did not end within five minutes), `paid_twice` (answers in the journal at a kill that were asked for
again), `in_flight_again` (requests asked again that had no answer there at the kill, at most 4 a kill),
`slowest_restart` in seconds (90 of them pass where a lease was left without a name), and `wrong`: what, by kill.
"""

import argparse
import json
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from kill_study import made_in, run_of

from veneer.disk import write_rows
from veneer.models.journal import open_journal

CALLS = (
    "write", "pwrite64", "fsync,fdatasync", "ftruncate", "mkdir", "rename,renameat,renameat2", "unlink,unlinkat",
    "sendto", "recvfrom",
)  # fmt: skip
QUESTIONS = 8
STUDY = """
name: rivers
bases: {{small: {{replay: small.jsonl}}}}
teacher: {{endpoint: {{url: "http://127.0.0.1:{port}/v1", model: m, concurrency: 4, price: {{input: 1, output: 2}}}}}}
students: {{pupil: {{base: small, replay: pupil.jsonl}}}}
evaluate:
  benchmarks: {{quiz: {{items: quiz.jsonl, measures: knowledge, grading: match, forms: [chat]}}}}
analyze: {{resamples: 100}}
"""


@dataclass(slots=True)
class Tally:
    """What came of all kills."""

    kills: int = 0
    paid_twice: int = 0
    in_flight_again: int = 0
    slowest_restart: float = 0.0
    wrong: dict[str, str] = field(default_factory=dict)


class Teacher(BaseHTTPRequestHandler):
    """Answers everything alike, and takes it down."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        """Answer a request after 20 ms."""
        self.rfile.read(int(self.headers["Content-Length"]))
        Teacher.asked.append(self.path)
        time.sleep(0.02)
        choice = {"message": {"content": "river1"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 2}
        body = json.dumps({"model": "m", "choices": [choice], "usage": usage}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        # Who was killed meanwhile hears it no more.
        with suppress(ConnectionError):
            self.wfile.write(head + body)


class Server(ThreadingHTTPServer):
    """Holds its tongue when a line breaks."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


def main() -> None:
    """Run once whole, then kill and restart at each point; print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=3)
    parser.add_argument("--calls", nargs="*", default=list(CALLS))
    parser.add_argument("--leases", type=int, default=2)
    asked = parser.parse_args()
    if not shutil.which("strace"):
        raise SystemExit("strace is not installed (Debian: apt-get install strace)")
    server = Server(("127.0.0.1", 0), Teacher)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    write(asked.folder / "written", server.server_port)
    whole = shutil.copytree(asked.folder / "written", asked.folder / "whole")
    run(whole).check_returncode()
    wanted, tally = made_in(whole), Tally()
    for call in asked.calls:
        number = 1
        while strike(tally, asked.folder, wanted, call, number):
            number += asked.every
    cells = sorted(name for name in wanted if not name.startswith("collect"))
    for name in ["requests/.asking", *cells][: asked.leases]:
        folder, _, cell = name.rpartition("/")
        strike(tally, asked.folder, wanted, "write", 1, f"{folder}/.{cell.removeprefix('.')}.lease")
    result = asdict(tally) | {
        "identical": not tally.wrong,
        "stuck": list(tally.wrong.values()).count("stuck"),
        "slowest_restart": round(tally.slowest_restart),
    }
    print(json.dumps(result))


def strike(
    tally: Tally, folder: Path, wanted: dict[str, str], call: str, number: int, lease: str = ""
) -> bool:
    """Kill a new copy's run at a call and start it again; return whether it was killed.

    Args:
        tally: What came of it is added here.
        folder: Holds the written study.
        wanted: What an uninterrupted run makes.
        call: Which system calls are counted.
        number: At which of them, of one thread, its process is killed.
        lease: Calls on this file alone are counted, named from the study's folder.
    """
    point = " ".join(filter(None, (call, str(number), lease)))
    place = shutil.copytree(folder / "written", folder / "killed")
    hindered = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}"]
    hindered += ["-e", f"inject={call}:signal=KILL:when={number}"]
    hindered += ["-P", str(place / "study" / lease)] if lease else []
    first = len(Teacher.asked)
    ended = run(place, hindered).returncode == 0
    time.sleep(0.1)  # What was sent before the kill is heard of.
    recorded, before, began = answers(place), len(Teacher.asked), time.monotonic()
    try:
        done = run(place)
        if done.returncode:
            tally.wrong[point] = done.stderr[-400:]
        elif made_in(place) != wanted:
            tally.wrong[point] = "other bytes"
    except subprocess.TimeoutExpired:
        tally.wrong[point] = "stuck"
    seconds = time.monotonic() - began
    tally.kills += not ended
    tally.paid_twice += max(0, len(Teacher.asked) - before - (QUESTIONS - recorded))
    tally.in_flight_again += len(Teacher.asked) - first - QUESTIONS
    tally.slowest_restart = max(tally.slowest_restart, seconds)
    said = tally.wrong.get(point, "as uninterrupted")
    print(f"{point}: {'ended' if ended else 'killed'}, {seconds:.1f} s, {said}", file=sys.stderr, flush=True)
    shutil.rmtree(place)
    return not ended


def write(folder: Path, port: int) -> None:
    """Write the study and what it names."""
    folder.mkdir(parents=True)
    quiz = [{"id": f"q{n}", "question": f"River {n}?", "references": [f"river{n}"]} for n in range(QUESTIONS)]
    write_rows(folder / "quiz.jsonl", quiz)
    for name, right in (("small", 2), ("pupil", 4)):
        said = [f"river{n if n < right else 'less'}" for n in range(QUESTIONS)]
        write_rows(
            folder / f"{name}.jsonl", ({"prompt_id": f"q{n}", "text": text} for n, text in enumerate(said))
        )
    (folder / "study.yaml").write_text(STUDY.format(port=port))


def run(place: Path, hindered: list[str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a copy of the study to its end."""
    command = [*(hindered or []), *run_of(place, "2")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def answers(place: Path) -> int:
    """Return how many answers the journal of a copy holds; it is looked at in a copy, as looking mends it."""
    journal = place / "study" / "requests" / "journal.sqlite"
    if not journal.exists():
        return 0
    look = shutil.copytree(journal.parent, place / "look")
    with open_journal(look / journal.name) as opened:
        found = opened.answered()
    shutil.rmtree(look)
    return found


if __name__ == "__main__":
    main()
