"""Trunk and branches: sharing steps, and being interrupted, changes not one bit of any student."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.train.runs import AMOUNTS, digests, run_of, trained
from veneer.disk import read_json, read_rows, write_json
from veneer.errors import ModelError
from veneer.study_train import HardwareSpec
from veneer.train import launch

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {}),
        ("gpt2", {"optimizer": "adafactor"}),
        ("llama", {"optimizer": "adafactor", "weights": "bf16"}),
    ],
)
def test_every_branch_is_bit_identical_to_training_its_amount_alone(
    tmp_path: Path, kind: str, changes: dict[str, Any]
) -> None:
    for amount in AMOUNTS:
        alone = trained(run_of(tmp_path, amount, kind=kind, **changes), tmp_path / f"alone-{amount}")
        branch = trained(
            run_of(tmp_path, amount, kind=kind, trunk=True, **changes), tmp_path / f"branch-{amount}"
        )
        assert digests(branch) == digests(alone)


def test_a_ladder_goes_on_from_the_trunk_and_not_from_the_start(tmp_path: Path) -> None:
    for amount in AMOUNTS:
        trained(run_of(tmp_path, amount, trunk=True), tmp_path / str(amount))
    began = [row["step"] for _, row in read_rows(tmp_path / "log" / "log.jsonl") if row["event"] == "began"]
    ledgers = [read_json(tmp_path / str(amount) / "ledger.json") for amount in AMOUNTS]
    branches = [ledger["optimizer_steps"] - ledger["decay_steps"] for ledger in ledgers]
    assert began == [0, branches[0], branches[1]]
    assert branches[0] > 0


def test_the_largest_amount_leaves_no_trunk_behind(tmp_path: Path) -> None:
    trained(run_of(tmp_path, AMOUNTS[0], trunk=True), tmp_path / "small")
    assert (tmp_path / "trunk").exists()
    trained(run_of(tmp_path, AMOUNTS[-1], trunk=True), tmp_path / "large")
    assert not (tmp_path / "trunk").exists()


def test_a_trunk_of_other_amounts_is_not_gone_on_from(tmp_path: Path) -> None:
    other = replace(run_of(tmp_path, 150, trunk=True), amounts=(150, 400))
    trained(other, tmp_path / "other")
    alone = trained(run_of(tmp_path, 400), tmp_path / "alone")
    assert digests(trained(run_of(tmp_path, 400, trunk=True), tmp_path / "branch")) == digests(alone)


def test_a_trunk_that_is_further_than_a_smaller_amount_is_not_used(tmp_path: Path) -> None:
    trained(run_of(tmp_path, 200, trunk=True), tmp_path / "larger")
    alone = trained(run_of(tmp_path, 100), tmp_path / "alone")
    assert digests(trained(run_of(tmp_path, 100, trunk=True), tmp_path / "branch")) == digests(alone)


def test_a_training_saved_with_its_weights_spread_is_not_gone_on_from_with_them_whole(tmp_path: Path) -> None:
    small, large = (run_of(tmp_path, amount, trunk=True) for amount in AMOUNTS[:2])
    trained(small, tmp_path / "small")
    (state,) = (tmp_path / "trunk").glob("step-*")
    (state / "shards").mkdir()
    with pytest.raises(
        ModelError, match=r"step-.*: saved with .* spread over .*, or delete .*/trunk to begin anew"
    ):
        trained(large, tmp_path / "large")
    shutil.rmtree(tmp_path / "trunk")
    trained(large, tmp_path / "large")


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_training_killed_twenty_times_ends_with_the_same_bits(tmp_path: Path, method: str) -> None:
    # GPT-2 has dropout, so that a lost random state would show.
    run = run_of(tmp_path, 400, kind="gpt2", method=method, epochs=4)
    whole = trained(run, tmp_path / "whole")
    folder = tmp_path / "killed"
    folder.mkdir()
    write_json(folder / launch.ORDER, launch.row_of(replace(run, hardware=HardwareSpec(save_minutes=1e-9))))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLER, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = [int(step) for step in done.stdout.split()]
    assert len(seen) == 20
    assert len(set(seen)) > 10, "it was to be killed at different steps"
    assert digests(folder) == digests(whole)


KILLER = """
import json, os, signal, sys, time
from pathlib import Path
from typing import Any
import peft, torch
from veneer.train import launch, sft

folder = Path(sys.argv[1])
run = launch.run_of(json.loads((folder / launch.ORDER).read_text()))
torch.set_num_threads(1)

def step():
    return max((int(state.name[5:]) for state in (folder / sft.SAVED).glob("step-*")), default=0)

def child():
    if pid := os.fork():
        return pid
    sys.stderr = open(os.devnull, "w")
    sft.train(run, folder)
    os._exit(0)

for _ in range(20):
    before, pid = step(), child()
    while step() < before + 2 and os.waitpid(pid, os.WNOHANG) == (0, 0):
        time.sleep(0.0005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    print(step())
os.waitpid(child(), 0)
"""
