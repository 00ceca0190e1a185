"""What a cell needs is met as far as a machine can; what weights take is told by their files."""

import json
import os
from pathlib import Path

import pytest

from veneer.needs import Needs, gpus, here, weights_of

MACHINE = Needs(cpus=8, gpus=2, memory=1000)


@pytest.mark.parametrize(
    ("needs", "met"),
    [
        (Needs(), Needs()),
        (Needs(cpus=16), Needs(cpus=8)),
        (Needs(gpus=8), Needs(gpus=2)),
        (Needs(gpus=1, memory=500), Needs(gpus=1)),
        (Needs(memory=2000), Needs(memory=1000)),
        (Needs(home=True), Needs(cpus=0, home=True)),
    ],
    ids=str,
)
def test_a_machine_meets_what_it_can(needs: Needs, met: Needs) -> None:
    assert needs.within(MACHINE) == met


def test_without_a_gpu_memory_holds_the_weights() -> None:
    assert Needs(gpus=1, memory=500).within(Needs(cpus=8, memory=1000)) == Needs(memory=500)


def test_the_gpus_that_this_process_may_see_are_those_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-7")
    assert gpus() == ["3", "GPU-7"]
    assert here(4).gpus == 2


@pytest.mark.parametrize(
    ("said", "seen"),
    [("", []), ("-1", []), ("NoDevFiles", []), ("0,-1,1", ["0"]), ("MIG-4/1/0", ["MIG-4/1/0"])],
)
def test_gpus_are_hidden_as_cuda_hides_them(
    said: str, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", said)
    assert gpus() == seen


def test_a_process_that_is_bound_to_one_core_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert here().cpus == 1
    assert here(4).cpus == 4


def test_this_machine_has_memory() -> None:
    assert 10**8 < here().memory < 10**14


@pytest.mark.parametrize(
    ("config", "weights"),
    [({"dtype": "bfloat16"}, 500), ({"torch_dtype": "float16"}, 500), ({"dtype": "float32"}, 250), ({}, 250)],
    ids=str,
)
def test_weights_are_counted_by_the_size_of_their_files(
    tmp_path: Path, config: dict[str, str], weights: int
) -> None:
    assert weights_of(tmp_path / "nowhere") == 0
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert weights_of(tmp_path) == 0
    for number in (1, 2):
        (tmp_path / f"model-{number}.safetensors").write_bytes(b"\0" * 500)
    assert weights_of(tmp_path) == weights


def test_a_config_that_cannot_be_read_is_for_others_to_complain_of(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "model.safetensors").write_bytes(b"\0")
    assert weights_of(tmp_path) == 0
