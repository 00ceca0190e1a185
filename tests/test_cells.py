"""Cells run in worker processes; failures are gathered, and nobody is left running."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from veneer import lease
from veneer.cells import Cell, Crew, crew
from veneer.errors import CellsError, DataError
from veneer.lease import Busy
from veneer.needs import Needs


def double(value: int) -> int:
    return 2 * value


def fail_with(message: str) -> None:
    raise DataError(message)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep_long(pids: Path) -> None:
    (pids / str(os.getpid())).touch()
    time.sleep(60)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_results_come_back_in_order() -> None:
    ended: list[str] = []
    with crew(2) as hands:
        results = hands.run([Cell(name=str(i), work=partial(double, i)) for i in range(5)], ended.append)
    assert results == [0, 2, 4, 6, 8]
    assert sorted(ended) == ["0", "1", "2", "3", "4"]


def test_a_failed_cell_does_not_stop_the_others_and_is_named() -> None:
    ended: list[str] = []
    cells = [Cell(name="bad", work=partial(fail_with, "row 3")), Cell(name="good", work=partial(double, 1))]
    with crew(1) as hands, pytest.raises(CellsError, match="1 of 2 cells failed.*\n.*bad: row 3"):
        hands.run(cells, ended.append)
    assert "good" in ended


def devices() -> str:
    time.sleep(0.5)  # So that every worker gets one of the cells.
    return os.environ["CUDA_VISIBLE_DEVICES"]


@pytest.mark.parametrize(
    ("there", "each", "seen"),
    [("0,1", 1, ["0", "1"]), ("0,1,2,3", 2, ["0,1", "2,3"]), ("0", 2, ["0"]), ("0,1,2", 2, ["0,1"])],
)
def test_each_worker_sees_gpus_of_its_own(
    there: str, each: int, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", there)
    needs = Needs(gpus=each)
    with crew(4) as hands:
        cells = [Cell(name=str(number), work=devices, needs=needs) for number in range(len(seen))]
        found = hands.run(cells, lambda _: None)
    assert sorted(found) == seen


def test_a_cell_that_needs_no_gpu_sees_none_and_one_that_needs_all_waits_for_those_that_hold_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    cells = [Cell(name=str(gpus), work=devices, needs=Needs(gpus=gpus)) for gpus in (1, 2, 0, 1)]
    with crew(4) as hands:
        found = hands.run(cells, lambda _: None)
    assert found[1:3] == ["0,1", ""]
    assert {found[0], found[3]} <= {"0", "1"}


def span() -> tuple[float, float]:
    began = time.monotonic()
    time.sleep(0.3)
    return began, time.monotonic()


def at_once(spans: list[tuple[float, float]]) -> int:
    """Return how many of these ran beside each other at most."""
    return max(sum(one <= began < other for one, other in spans) for began, _ in spans)


@pytest.mark.parametrize(
    ("needs", "most"),
    [
        (Needs(), 4),
        (Needs(cpus=2), 2),
        (Needs(cpus=99), 1),
        (Needs(memory=400), 2),
        (Needs(memory=10**6), 1),
        (Needs(gpus=1), 1),
        (Needs(gpus=1, memory=10**6), 1),
        (Needs(home=True), 1),
    ],
    ids=str,
)
def test_as_many_cells_run_at_a_time_as_fit(needs: Needs, most: int) -> None:
    hands = Crew(Needs(cpus=4, gpus=1, memory=1000), ("0",))
    cells = [Cell(name=str(number), work=partial(double, 0)) for number in range(4)]
    try:
        hands.run(cells, lambda _: None)  # The workers are there: what follows takes no time to start.
        found = hands.run(
            [Cell(name=str(number), work=span, needs=needs) for number in range(4)], lambda _: None
        )
    finally:
        hands._end()
    assert at_once(found) <= most
    assert most == 1 or at_once(found) > 1


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_cells_that_ask_endpoints_keep_no_others_waiting(tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    cells = [
        Cell(name=str(number), work=partial(wait_for, answer), needs=Needs(home=True)) for number in range(3)
    ]
    with crew(1) as hands:
        hands.run([*cells, Cell(name="works", work=answer.touch)], lambda _: None)


def test_a_dead_worker_costs_only_its_cell() -> None:
    cells = [Cell(name="greedy", work=die), *(Cell(name=str(i), work=partial(double, i)) for i in range(3))]
    ended: list[str] = []
    with crew(1) as hands:
        with pytest.raises(CellsError, match="1 of 4 cells failed.*\n.*greedy: its worker process died"):
            hands.run(cells, ended.append)
        assert hands.run(cells[1:], lambda _: None) == [0, 2, 4]
    assert set(ended) == {"greedy", "0", "1", "2"}


def test_a_worker_that_is_still_loading_does_not_hear_ctrl_c() -> None:
    with crew(1) as hands:
        ended = hands._start(Cell(name="two", work=partial(double, 1)))
        for process in multiprocessing.active_children():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGINT)
        assert ended is not None
        assert ended.result() == 2


def test_a_dead_worker_is_an_error_that_says_what_to_do() -> None:
    with crew(1) as hands, pytest.raises(CellsError, match="--workers 1"):
        hands.run([Cell(name="greedy", work=die)], lambda _: None)


def test_no_worker_starts_when_there_is_nothing_to_do() -> None:
    with crew(2) as hands:
        assert hands.run([], lambda _: None) == []
        assert (hands._idle, hands._busy) == ([], {})


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from functools import partial\nfrom pathlib import Path\n"
        "import test_cells\nfrom veneer.cells import Cell, crew\n"
        "if __name__ == '__main__':\n"
        "    with crew(2) as hands:\n"
        "        work = partial(test_cells.sleep_long, Path(sys.argv[1]))\n"
        "        hands.run([Cell(name=str(i), work=work) for i in range(2)], print)\n"
    )
    script = tmp_path / "program.py"
    script.write_text(program)
    pids = tmp_path / "pids"
    pids.mkdir()
    parent = subprocess.Popen([sys.executable, script, pids, Path(__file__).parent])
    while len(list(pids.iterdir())) < 2:
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5
    while any(is_alive(int(pid.name)) for pid in pids.iterdir()):
        assert time.monotonic() < deadline, "a worker outlived its parent by five seconds"
        time.sleep(0.05)


def note(folder: Path, name: str) -> None:
    time.sleep(0.05 if name == "first" else 0)
    with (folder / "order").open("a") as lines:
        lines.write(f"{name}\n")
    if name == "second":
        raise DataError("second failed")


def test_cells_of_one_line_run_one_after_another_even_past_a_failure(tmp_path: Path) -> None:
    cells = [
        Cell(name=name, work=partial(note, tmp_path, name), line="a") for name in ("first", "second", "third")
    ]
    with crew(2) as hands, pytest.raises(CellsError, match="1 of 3 cells failed.*\n.*second failed"):
        hands.run(cells, lambda _: None)
    assert (tmp_path / "order").read_text().split() == ["first", "second", "third"]


def look_in(folder: Path, name: str) -> str | Busy:
    """Come back busy once, then with the names that came before."""
    seen = sorted(path.name for path in folder.iterdir())
    (folder / f"{len(seen)}-{name}").touch()
    return Busy.BUSY if name == "busy" and not seen else ", ".join(seen)


def test_what_another_run_is_at_is_looked_at_again_behind_the_others(tmp_path: Path) -> None:
    ended: list[str] = []
    cells = [Cell(name=name, work=partial(look_in, tmp_path, name)) for name in ("busy", "free")]
    with crew(1) as hands:
        results = hands.run(cells, ended.append)
    assert results == ["0-busy, 1-free", "0-busy"]
    assert ended == ["free", "busy"]


def hold_and_be_ended(path: Path) -> None:
    with lease.held(path, patience=0):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)


def test_a_cell_that_asks_gives_its_leases_back_when_it_is_told_to_end(tmp_path: Path) -> None:
    path = tmp_path / "asking.lease"
    asks = Cell(name="asks", work=partial(hold_and_be_ended, path), needs=Needs(home=True))
    with crew(1) as hands, pytest.raises(CellsError, match="worker process died"):
        hands.run([asks], lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_what_another_run_was_at_is_told_while_it_is_waited_for(tmp_path: Path) -> None:
    told: list[str] = []

    def tick(busy: Sequence[str]) -> None:
        told.extend(busy)
        if busy:
            (tmp_path / "made").touch()

    busy = Cell(name="busy", work=partial(look_for, tmp_path / "made", 0.1))
    with crew(2) as hands:
        assert hands.run([busy, Cell(name="free", work=partial(double, 1))], lambda _: None, tick) == [
            "there",
            2,
        ]
    assert set(told) == {"busy"}


def test_what_another_run_was_at_is_not_told_while_a_cell_is_run_here(tmp_path: Path) -> None:
    told: list[str] = []
    work = partial(look_for, tmp_path / "made", 0.1)
    with crew(2) as hands:
        cells = [Cell(name="busy", work=work), Cell(name="here", work=partial(make_late, tmp_path / "made"))]
        hands.run(cells, lambda _: None, told.extend)
    assert told == []


def make_late(file: Path) -> None:
    time.sleep(1.5)
    file.touch()


def look_for(file: Path, seconds: float) -> str | Busy:
    """Come back busy until the file is there, or after many tries without it."""
    time.sleep(seconds)
    tries = file.with_name(f"{seconds}")
    tries.write_text("x" + (tries.read_text() if tries.exists() else ""))
    return "there" if file.exists() else Busy.BUSY if tries.stat().st_size < 20 else "never came"


def test_what_another_run_is_at_takes_no_room_from_a_cell_that_waits_for_all_of_it(tmp_path: Path) -> None:
    file = tmp_path / "made"
    busy = [Cell(name=f"{each}", work=partial(look_for, file, each)) for each in (0.1, 0.15)]
    large = Cell(name="large", work=file.touch, needs=Needs(cpus=2))
    with crew(2) as hands:
        assert hands.run([*busy, large], lambda _: None) == ["there", "there", None]
