"""On a Ray cluster cells give what they give here; what is lost with a worker is run again."""

import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import copy_of
from tests.train.runs import PACKED, run_of
from veneer import cells_ray, pipeline
from veneer.api import _Silent
from veneer.cells import Cell, Crew
from veneer.cells_ray import cluster, placed_on
from veneer.disk import digest, read_rows
from veneer.errors import CellsError, DataError
from veneer.needs import Needs
from veneer.study import load
from veneer.study_train import HardwareSpec
from veneer.train import launch

NO_GPU, TWO_GPUS = Needs(cpus=64, memory=1000), Needs(cpus=8, gpus=2, memory=500)


@pytest.mark.parametrize(
    ("needs", "placed"),
    [
        (Needs(), Needs()),
        (Needs(cpus=100), Needs(cpus=64)),
        (Needs(gpus=1, memory=10**6), Needs(gpus=1)),
        (Needs(cpus=16, gpus=4), Needs(cpus=8, gpus=2)),
        (Needs(memory=800), Needs(memory=800)),
        (Needs(memory=2000), Needs(memory=1000)),
    ],
    ids=str,
)
def test_a_cluster_is_asked_for_what_one_of_its_machines_has(needs: Needs, placed: Needs) -> None:
    assert placed_on([TWO_GPUS, NO_GPU], needs) == placed


def test_a_machine_that_does_not_see_the_store_is_told_what_it_must_share(tmp_path: Path) -> None:
    said = cells_ray._strange(tmp_path / "elsewhere" / ".probe")
    assert said.startswith(f"does not see {tmp_path / 'elsewhere'}. A study's folder must lie on a file")


def test_a_machine_with_another_veneer_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "probe").write_text("another")
    assert "another version of Veneer" in cells_ray._strange(tmp_path / "probe")
    (tmp_path / "probe").write_text(cells_ray._code())
    assert cells_ray._strange(tmp_path / "probe") == ""


def test_a_loss_without_words_is_told_by_its_kind() -> None:
    assert cells_ray._last_line(ConnectionError("a\nb\n")) == "b"
    assert cells_ray._last_line(ConnectionError()) == "ConnectionError"


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(CellsError, match=r"pip install 'veneer\[ray\]'"), cluster(tmp_path):
        pass


def test_outside_of_ray_nothing_is_inside_of_it() -> None:
    assert not cells_ray.inside()


@pytest.mark.parametrize(
    ("address", "workers", "said"),
    [
        ("127.0.0.1:1", None, "no cluster answers at RAY_ADDRESS=127.0.0.1:1 .*refused.*ray start --head"),
        ("127.0.0.1:1", 2, "--workers 2: RAY_ADDRESS names a cluster that is there"),
    ],
)
def test_a_cluster_that_cannot_be_used_as_asked_is_an_error_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, workers: int | None, said: str
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(CellsError, match=said), cluster(tmp_path, workers):
        pass
    assert list(tmp_path.iterdir()) == []


# What follows needs Ray, and shares one cluster: to start it takes seconds.


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    pytest.importorskip("ray")
    with cluster(tmp_path_factory.mktemp("store"), workers=2) as crew:
        yield crew


def test_sigterm_still_does_what_it_did(hands: Crew) -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_machines_that_do_not_see_the_store_are_named_before_anything_runs(
    hands: Crew, tmp_path: Path
) -> None:
    import ray

    with pytest.raises(
        CellsError, match=rf"--on ray: {socket.gethostname()} \(.*\) does not see {tmp_path}/away"
    ):
        cells_ray._check(ray, ray.nodes(), tmp_path / "away" / ".probe")


def where(value: int) -> dict[str, object]:
    seen = ("OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM", "CUDA_VISIBLE_DEVICES", "NEW_KEY")
    return {"value": value, "inside": cells_ray.inside(), **{name: os.environ.get(name) for name in seen}}


def fail_with(message: str) -> None:
    raise DataError(message)


def divide(value: int) -> float:
    return 1 / value


def die_once(mark: Path) -> str:
    if mark.exists():
        return "made"
    mark.touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def test_cells_run_in_workers_of_the_cluster_with_one_thread_and_no_gpu(hands: Crew) -> None:
    found = hands.run(
        [Cell(name=str(i), work=partial(where, i), needs=Needs(cpus=2)) for i in range(4)], print
    )
    assert [one["value"] for one in found] == [0, 1, 2, 3]
    assert all(one["inside"] for one in found)
    told = {
        (one["OMP_NUM_THREADS"], one["TOKENIZERS_PARALLELISM"], one["CUDA_VISIBLE_DEVICES"]) for one in found
    }
    assert told == {("1", "false", "")}


def test_cells_that_ask_endpoints_stay_where_the_keys_are(
    hands: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEW_KEY", "secret")
    cells = [Cell(name=str(home), work=partial(where, 0), needs=Needs(home=home)) for home in (True, False)]
    asking, other = hands.run(cells, lambda _: None)
    assert (asking["inside"], asking["NEW_KEY"]) == (False, "secret")
    assert (other["inside"], other["NEW_KEY"]) == (True, None)


def test_failures_come_back_as_they_are_and_stop_no_other_cell(hands: Crew) -> None:
    ended: list[str] = []
    cells = [Cell(name="bad", work=partial(fail_with, "row 3")), Cell(name="good", work=partial(divide, 1))]
    with pytest.raises(CellsError) as caught:
        hands.run(cells, ended.append)
    assert str(caught.value).endswith("a new run asks only these:\n  bad: row 3")
    assert set(ended) == {"bad", "good"}


def test_a_bug_is_raised_as_what_it_is(hands: Crew) -> None:
    with pytest.raises(ZeroDivisionError):
        hands.run([Cell(name="bug", work=partial(divide, 0))], lambda _: None)


def test_a_cell_whose_worker_is_lost_is_run_again(hands: Crew, tmp_path: Path) -> None:
    cells = [
        Cell(name="lost", work=partial(die_once, tmp_path / "mark")),
        Cell(name="kept", work=partial(divide, 1)),
    ]
    assert hands.run(cells, lambda _: None) == ["made", 1.0]


def test_a_study_has_the_same_bytes_as_here(hands: Crew, finished_study: Path, tmp_path: Path) -> None:
    folder = copy_of(finished_study, tmp_path)
    here = folder / "study" / "artefacts"
    made = {path: digest(path) for stage in ("prepare", "train") for path in here.glob(f"{stage}/*/")}
    for folder_of_stage in {path.parent for path in made}:
        shutil.rmtree(folder_of_stage)
    study = load(folder / "study.yaml")
    pipeline.run(study, pipeline.store_of(folder / "study.yaml"), hands, _Silent(), until="train")
    assert len(made) > 20
    assert {path: digest(path) for path in made} == made


def test_two_processes_of_a_cluster_give_the_loss_curve_of_one(hands: Crew, tmp_path: Path) -> None:
    run = run_of(tmp_path, 200, step_tokens=4 * PACKED.max_length)
    (tmp_path / "accelerate.yaml").write_text("distributed_type: MULTI_GPU\nnum_processes: 2\n")
    curves = {}
    for processes in (1, 2):
        config = tmp_path / "accelerate.yaml" if processes == 2 else None
        shared = replace(run, hardware=HardwareSpec(micro_tokens=40, accelerate=config))
        work = partial(launch.train, shared, tmp_path / f"by-{processes}")
        if processes == 1:
            work()
        else:
            hands.run([Cell(name="rung", work=work, needs=Needs(processes=2))], lambda _: None)
        curves[processes] = [
            row["loss"] for _, row in read_rows(tmp_path / f"by-{processes}" / "losses.jsonl")
        ]
    assert curves[2] == pytest.approx(curves[1], rel=1e-4)
    assert (tmp_path / "by-2" / ".ray").is_dir()
