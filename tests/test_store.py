"""Artefacts are written once, whole or not at all, and named by what they were made from."""

import errno
import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from veneer import lacking, lease
from veneer.disk import digest
from veneer.errors import DataError, StoreError
from veneer.lease import Busy
from veneer.needs import Needs
from veneer.store import ASKING, Artefact, Order, Store, publish


def write_text_file(text: str, folder: Path) -> None:
    (folder / "result.txt").write_text(text)


def note_call_and_write(log: Path, folder: Path) -> None:
    with log.open("a") as stream:
        stream.write("called\n")
    time.sleep(0.3)
    (folder / "result.txt").write_text("made")


def fill_half_then_hang(begun: Path, folder: Path) -> None:
    (folder / "half.txt").write_text("half")
    begun.touch()
    time.sleep(60)


def finish_the_half(folder: Path) -> None:
    assert (folder / "half.txt").read_text() == "half"
    (folder / "result.txt").write_text("whole")


MAKE = partial(write_text_file, "made")


def order(make: Any = MAKE, **changes: Any) -> Order:
    known: dict[str, Any] = {
        "stage": "grade",
        "name": "cell",
        "version": 1,
        "config": {"a": 1},
        "inputs": {"x": "k"},
    }
    return Order(make=make, **(known | changes))


def test_an_artefact_is_made_once(tmp_path: Path) -> None:
    store, log = Store(root=tmp_path / "store"), tmp_path / "log"
    first = store.build(order(partial(note_call_and_write, log)))
    again = store.build(order(partial(note_call_and_write, log)))
    assert first == again
    assert log.read_text() == "called\n"


@pytest.mark.parametrize(
    "changes", [{"version": 2}, {"config": {"a": 2}}, {"inputs": {"x": "other"}}, {"stage": "judge"}]
)
def test_whatever_could_change_the_result_changes_the_key(changes: dict[str, Any]) -> None:
    assert order().key != order(**changes).key


def test_the_same_order_gives_the_same_bytes_in_two_stores(tmp_path: Path) -> None:
    one, two = (Store(root=tmp_path / name).build(order()) for name in "ab")
    assert digest(one.path) == digest(two.path)


def test_a_failed_make_leaves_no_artefact_and_hands_its_folder_over(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise DataError("row 3 is malformed")

    store = Store(root=tmp_path)
    with pytest.raises(DataError):
        store.build(order(fail))
    assert store.find(order()) is None
    assert store.is_begun(order())
    assert (store.build(order(finish_the_half)).path / "result.txt").read_text() == "whole"


def fill_the_disk(folder: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(folder / "a"))


def test_a_full_disk_is_said_and_costs_nothing_that_had_finished(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no room is left"):
        Store(root=tmp_path).build(order(fill_the_disk))
    assert Store(root=tmp_path).build(order()).path.exists()


def test_a_killed_make_is_finished_by_the_next_call(tmp_path: Path) -> None:
    store, begun = Store(root=tmp_path / "store"), tmp_path / "begun"
    process = multiprocessing.get_context("spawn").Process(
        target=store.build, args=(order(partial(fill_half_then_hang, begun)),)
    )
    process.start()
    while not begun.exists():
        time.sleep(0.02)
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert (store.build(order(finish_the_half)).path / "result.txt").read_text() == "whole"


def test_two_processes_never_make_one_artefact_twice(tmp_path: Path) -> None:
    store, log = Store(root=tmp_path / "store"), tmp_path / "log"
    work = order(partial(note_call_and_write, log))
    context = multiprocessing.get_context("spawn")
    together = [context.Process(target=store.build, args=(work,)) for _ in range(2)]
    for process in together:
        process.start()
    for process in together:
        process.join()
    assert log.read_text() == "called\n"


def test_what_another_run_makes_is_left_to_it_and_so_is_what_shares_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "PATIENCE", 0.0)
    store, tried = Store(root=tmp_path), []

    def look(folder: Path) -> None:
        own = order(name="first", line="trunk")
        tried.extend([store.holder(own) is not None, store.attempt(own), store.attempt(order(line="trunk"))])
        (folder / "seen").touch()

    made = store.attempt(order(look, name="first", line="trunk"))
    assert tried == [True, Busy.BUSY, Busy.BUSY]
    assert store.attempt(order(name="first", line="trunk")) == made
    assert store.holder(order(name="first", line="trunk")) is None
    assert isinstance(store.attempt(order(line="trunk")), Artefact)


def test_what_a_run_was_killed_at_while_it_took_the_leases_is_made_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE", 0.3)
    monkeypatch.setattr(lease, "NAMED", 0.1)
    store, asked = Store(root=tmp_path / "artefacts"), order(needs=Needs(home=True))
    taken = tmp_path / ASKING
    taken.parent.mkdir()
    taken.touch()
    os.utime(taken, (0, 0))
    assert isinstance(store.build(asked), Artefact)
    assert not taken.exists()


def test_of_the_runs_that_share_a_folder_one_asks_endpoints_at_a_time(tmp_path: Path) -> None:
    store = Store(root=tmp_path / "artefacts")
    tried = []

    def look(folder: Path) -> None:
        tried.append(store.attempt(order(name="other", needs=Needs(home=True))))
        tried.append(store.attempt(order(name="trains")))
        (folder / "seen").touch()

    store.attempt(order(look, name="asks", needs=Needs(home=True)))
    assert tried[0] is Busy.BUSY
    assert isinstance(tried[1], Artefact)
    assert isinstance(store.attempt(order(name="other", needs=Needs(home=True))), Artefact)


@pytest.mark.parametrize("shared", [{"needs": Needs(home=True)}, {"line": "trunk"}], ids=["asking", "line"])
def test_who_has_what_cells_share_waits_for_no_cell_of_one_that_had_it_before_and_is_gone(
    shared: dict[str, Any], tmp_path: Path
) -> None:
    store, asks = Store(root=tmp_path / "artefacts"), order(name="asks", **shared)
    left = store.root / asks.stage / f".asks-{asks.key[:12]}.lease"
    with lease.held(left, patience=0):
        assert isinstance(store.attempt(asks), Artefact)
    assert not left.exists()


def test_who_keeps_a_cell_from_being_made_is_who_asks_or_else_who_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, asks = Store(root=tmp_path / "artefacts"), order(name="asks", needs=Needs(home=True))
    held = {".asking.lease": "node7", f".asks-{asks.key[:12]}.lease": "node8"}

    def other(path: Path) -> lease.Holder | None:
        host = held.get(path.name)
        return lease.Holder(host=host, process=1, age=0.0) if host else None

    monkeypatch.setattr(lease, "other", other)
    found = [store.awaited(each) for each in (asks, order(name="asks"), order(name="free"))]
    assert [one and one.host for one in found] == ["node7", "node8", None]


def lose_the_lease(path: Path, folder: Path) -> None:
    """Make something while another run takes the lease over, as after a night in which this machine slept."""
    (folder / "half.txt").write_text("half")
    path.write_text(path.read_text().replace("pid=", "pid=1").replace("token=", "token=0"))


def test_what_another_run_has_taken_over_is_not_finished_by_this_one(tmp_path: Path) -> None:
    store = Store(root=tmp_path / "store")
    [path] = store._leases(order(MAKE))
    with pytest.raises(StoreError, match="this run's lease was lost"):
        store.build(order(partial(lose_the_lease, path)))
    assert store.find(order(MAKE)) is None
    assert store.is_begun(order(MAKE))


def ask_all(answered: set[str], folder: Path) -> None:
    known = set((folder / "known").read_text().split()) if (folder / "known").exists() else set[str]()
    known |= answered
    (folder / "known").write_text(" ".join(sorted(known)))
    lacking.write(folder, 3, dict.fromkeys({"a", "b", "c"} - known, "busy"))


def test_what_another_run_has_renewed_is_not_asked_again(tmp_path: Path) -> None:
    store = Store(root=tmp_path)
    first = store.build(order(partial(ask_all, {"a"})))
    second = store.renew(order(partial(ask_all, {"b"})), first)
    assert store.renew(order(partial(ask_all, {"c"})), first) == second


def test_a_report_is_published_once_and_replaced_when_it_is_another(tmp_path: Path) -> None:
    for text in ("one", "one", "two"):
        made = Store(root=tmp_path / "store").build(order(partial(write_text_file, text), config={"a": text}))
        publish(made.path, tmp_path / "report")
        assert (tmp_path / "report" / "result.txt").read_text() == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "store"]


def test_what_is_published_already_needs_no_right_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Store(root=tmp_path / "store").build(order())
    publish(made.path, tmp_path / "report")
    monkeypatch.setattr(lease, "held", None)
    publish(made.path, tmp_path / "report")


def test_half_of_what_another_has_made_since_is_not_begun(tmp_path: Path) -> None:
    store = Store(root=tmp_path)
    made = store.build(order())
    made.path.with_name(f"{made.path.name}.partial").mkdir()
    assert not store.is_begun(order())


def test_a_damaged_artefact_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    store = Store(root=tmp_path)
    made = store.build(order())
    (made.path / "result.txt").write_text("tampered with")
    with pytest.raises(StoreError, match="has 13 bytes; 4 bytes were written. Delete"):
        store.find(order())


def test_an_artefact_that_lost_a_file_is_an_error(tmp_path: Path) -> None:
    store = Store(root=tmp_path)
    (store.build(order()).path / "result.txt").unlink()
    with pytest.raises(StoreError, match="is missing"):
        store.find(order())


def test_an_artefact_without_its_record_is_an_error(tmp_path: Path) -> None:
    store = Store(root=tmp_path)
    (store.build(order()).path / "artefact.json").write_text("{")
    with pytest.raises(StoreError, match=r"artefact.json cannot be read"):
        store.find(order())


def test_an_artefact_that_lacks_answers_says_so_and_has_a_key_of_its_own(tmp_path: Path) -> None:
    whole = Store(root=tmp_path / "one").build(order(partial(ask_all, {"a", "b", "c"})))
    partly = Store(root=tmp_path / "two").build(order(partial(ask_all, {"a"})))
    assert (whole.lacks, whole.key) == ("", order().key)
    assert partly.lacks == "2 of 3 requests have no answer (2 x busy)"
    assert partly.key != whole.key


def test_renewing_asks_what_is_lacking_and_keeps_what_is_there(tmp_path: Path) -> None:
    store = Store(root=tmp_path)
    first = store.build(order(partial(ask_all, {"a"})))
    second = store.renew(order(partial(ask_all, {"b"})), first)
    assert isinstance(second, Artefact)
    assert (second.path, (second.path / "known").read_text()) == (first.path, "a b")
    assert second.lacks == "1 of 3 requests have no answer (1 x busy)"
    assert len({first.key, second.key}) == 2
    assert store.find(order()) == second
    assert [file.name for file in tmp_path.glob("grade/*") if file.is_dir()] == [first.path.name]


def test_renewing_in_vain_changes_nothing(tmp_path: Path) -> None:
    store = Store(root=tmp_path)
    first = store.build(order(partial(ask_all, {"a"})))
    before = (first.path / "known").stat().st_mtime_ns
    assert store.renew(order(partial(ask_all, set())), first) == first
    assert (first.path / "known").stat().st_mtime_ns == before


def test_renewing_that_fails_keeps_the_artefact_and_says_why(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        raise DataError("no key")

    store = Store(root=tmp_path)
    first = store.build(order(partial(ask_all, {"a"})))
    again = store.renew(order(fail), first)
    assert isinstance(again, Artefact)
    assert (again.key, again.lacks) == (first.key, f"{first.lacks}; asking again failed: no key")
    assert store.find(order()) == first
