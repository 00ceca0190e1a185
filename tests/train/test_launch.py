"""A training that several processes share is the training of one, and its failures come back."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DistributedType
from transformers import AutoModelForCausalLM

from tests.train.runs import PACKED, run_of, trained
from veneer.disk import read_json, read_rows
from veneer.errors import ModelError
from veneer.study_train import HardwareSpec
from veneer.train import launch
from veneer.train.ladder import Run

pytestmark = pytest.mark.usefixtures("one_thread")

FSDP = """
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
num_processes: 2
num_machines: 1
machine_rank: 0
mixed_precision: 'no'
fsdp_config:
  fsdp_version: 2
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_reshard_after_forward: true
  fsdp_state_dict_type: FULL_STATE_DICT
"""

DEEPSPEED = """
compute_environment: LOCAL_MACHINE
distributed_type: DEEPSPEED
num_processes: 2
num_machines: 1
machine_rank: 0
mixed_precision: 'no'
deepspeed_config:
  zero_stage: 2
"""


@pytest.fixture(autouse=True)
def imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")


def shared(run: Run, **hardware: object) -> Run:
    return replace(run, hardware=HardwareSpec.model_validate({"micro_tokens": 40, **hardware}))


def losses(folder: Path) -> list[float]:
    return [row["loss"] for _, row in read_rows(folder / "losses.jsonl")]


def test_two_processes_give_the_loss_curve_of_one(tmp_path: Path) -> None:
    run = run_of(tmp_path, 200, step_tokens=4 * PACKED.max_length)
    one = trained(shared(run), tmp_path / "one")
    two = trained(shared(run, processes=2), tmp_path / "two")
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    names = {file.name for file in two.iterdir() if not file.name.startswith(".")}
    assert names == {file.name for file in one.iterdir() if not file.name.startswith(".")}
    AutoModelForCausalLM.from_pretrained(two / "checkpoint")


@pytest.mark.skipif(
    torch.cuda.device_count() < 2, reason="accelerate spreads weights over GPUs alone; two are wanted"
)
def test_weights_spread_over_two_processes_give_the_loss_curve_of_one(tmp_path: Path) -> None:
    (tmp_path / "fsdp.yaml").write_text(FSDP)
    run = run_of(tmp_path, 200, step_tokens=4 * PACKED.max_length)
    one = trained(shared(run), tmp_path / "one")
    two = trained(shared(run, accelerate=tmp_path / "fsdp.yaml"), tmp_path / "two")
    hardware = read_json(tmp_path / "log" / "hardware.json")
    assert (hardware["processes"], hardware["shared"]) == (2, "FSDP")
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    AutoModelForCausalLM.from_pretrained(two / "checkpoint")


def test_deepspeed_s_config_is_handed_to_accelerate_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "zero.yaml").write_text(DEEPSPEED)
    found = load_config_from_file(str(tmp_path / "zero.yaml"))
    assert (found.distributed_type, found.deepspeed_config) == (DistributedType.DEEPSPEED, {"zero_stage": 2})
    command = launch._command(HardwareSpec(accelerate=tmp_path / "zero.yaml"))
    assert command[2:] == ["accelerate.commands.launch", "--config_file", str(tmp_path / "zero.yaml")]


def test_processes_that_a_cluster_joins_are_told_what_accelerate_s_launcher_tells_its_own(
    tmp_path: Path,
) -> None:
    (tmp_path / "fsdp.yaml").write_text(FSDP)
    told = launch._told(tmp_path / "fsdp.yaml")
    assert (told["ACCELERATE_USE_FSDP"], told["FSDP_VERSION"]) == ("true", "2")
    assert told["FSDP_STATE_DICT_TYPE"] == "FULL_STATE_DICT"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            DEEPSPEED,
            "asks for DeepSpeed, and the package `deepspeed` is not installed: pip install deepspeed",
        ),
        ("a: b: c", "cannot be read: .*`accelerate config` writes such a file"),
        ("num_processes: 2", "names no `distributed_type`"),
        (None, "cannot be read: .*No such file"),
    ],
    ids=["no deepspeed", "no yaml", "another file", "no file"],
)
def test_a_config_by_which_nothing_could_start_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, said: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ModelError, match=f"train.hardware.accelerate: .*config.yaml {said}"):
        trained(shared(run_of(tmp_path, 200), accelerate=tmp_path / "config.yaml"), tmp_path / "made")


def test_what_goes_wrong_in_another_process_is_said_here(tmp_path: Path) -> None:
    run = run_of(tmp_path, 200)
    (run.base / "config.json").unlink()
    with pytest.raises(ModelError, match="cannot be loaded.*`save_pretrained` is wanted"):
        trained(shared(run, processes=2), tmp_path / "made")


def test_a_run_travels_to_another_process_as_it_is(tmp_path: Path) -> None:
    run = run_of(tmp_path, 200, trunk=True)
    assert launch.run_of(launch.row_of(run)) == run
    assert os.fspath(tmp_path) in launch.row_of(run)["base"]
