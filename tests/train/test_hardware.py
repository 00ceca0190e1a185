"""What a training takes is counted as one would by hand, and logged so that a program can read it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import MambaConfig, MambaForCausalLM

from tests.models.tiny import WORDS, checkpoint, tokenizer
from tests.train.runs import PACKED
from veneer.disk import read_json
from veneer.study_train import HardwareSpec, LoraSpec, RecipeSpec, TokensSpec
from veneer.train import hardware as hardware_module
from veneer.train.hardware import Log, Shape, matmul_peak, peak_memory, shape_of
from veneer.train.learner import Learner, learner_of, load

pytestmark = pytest.mark.usefixtures("one_thread")

LORA = PACKED.model_copy(update={"method": "lora", "lora": LoraSpec(rank=1)})
NEW = LORA.model_copy(update={"tokens": TokensSpec(add=("<one>",))})
WIDTH, INNER, LAYERS, VOCABULARY = 32, 64, 2, len(WORDS)
# Four products of attention and three of the feed-forward part; and the norms.
LLAMA = LAYERS * (4 * WIDTH * WIDTH + 3 * WIDTH * INNER + 2 * WIDTH) + WIDTH


def made(folder: Path, recipe: RecipeSpec = PACKED, kind: str = "llama") -> Learner:
    base = checkpoint(folder / "base", kind=kind)
    with torch.random.fork_rng():
        return learner_of(load(base, recipe), recipe, HardwareSpec(), 32)


def test_a_shape_is_counted_as_by_hand(tmp_path: Path) -> None:
    assert shape_of(made(tmp_path)) == Shape(
        body=LLAMA, head=WIDTH * VOCABULARY, layers=LAYERS, width=WIDTH, passes=6.0
    )


def test_tied_embeddings_are_taken_off_once(tmp_path: Path) -> None:
    learner = made(tmp_path, kind="gpt2")
    shape = shape_of(learner)
    whole = sum(weight.numel() for weight in learner.model.parameters())
    assert shape.head == WIDTH * VOCABULARY
    # Positions are looked up too.
    assert shape.body == whole - shape.head - WIDTH * 128


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_new_tokens_that_learn_beside_adapters_are_no_part_of_the_body(tmp_path: Path, kind: str) -> None:
    plain = shape_of(made(tmp_path / "plain", LORA, kind))
    grown = shape_of(made(tmp_path / "grown", NEW, kind))
    assert grown.body == plain.body
    assert grown.head == plain.head + WIDTH


def test_the_width_is_that_of_the_heads_and_not_of_the_residual(tmp_path: Path) -> None:
    learner = made(tmp_path)
    learner.model.config.head_dim = 16
    assert shape_of(learner).width == 4 * 16


def test_a_model_without_attention_has_a_shape_too(tmp_path: Path) -> None:
    recipe = PACKED.model_copy(update={"packing": False, "step_tokens": None})
    with torch.random.fork_rng():
        network = MambaForCausalLM(
            MambaConfig(vocab_size=VOCABULARY, hidden_size=16, state_size=4, num_hidden_layers=1)
        )
    network.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    shape = shape_of(learner_of(load(tmp_path, recipe), recipe, HardwareSpec(), 32))
    assert shape.body > 0
    assert shape.operations([4, 4], 8) == shape.operations([8], 8)


def test_operations_are_counted_as_by_hand() -> None:
    shape = Shape(body=100, head=10, layers=2, width=4, passes=6.0)
    # Six a weight and token; the half of queries times keys and of weights times values that is seen, three times.
    assert shape.operations([3, 5], 2) == 6 * (100 * 8 + 10 * 2) + 3 * 2 * (2 * 2 * 4 * (9 + 25)) / 2
    assert shape.operations([8], 0) > shape.operations([4, 4], 0)


@pytest.mark.parametrize("recipe", [PACKED, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_operations_are_those_that_torch_counts(tmp_path: Path, recipe: RecipeSpec, kind: str) -> None:
    learner = made(tmp_path, recipe, kind)
    ids = torch.arange(16)[None]
    with FlopCounterMode(display=False) as counted:
        learner.scored(ids, torch.arange(15), torch.arange(1, 16), [8, 8]).backward()
    found = shape_of(learner).operations([8, 8], 15)
    assert found == pytest.approx(counted.get_total_flops(), rel=0.1)


def test_three_times_the_way_forth_is_a_training_pass(tmp_path: Path) -> None:
    learner = made(tmp_path)
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        learner.scored(torch.arange(16)[None], torch.arange(15), torch.arange(1, 16), [8, 8])
    assert shape_of(learner).operations([8, 8], 15) == pytest.approx(3 * counted.get_total_flops(), rel=0.1)


def test_the_peak_is_measured_once_a_process() -> None:
    first = matmul_peak("cpu", "fp32", torch.get_num_threads())
    assert first > 1e8
    assert matmul_peak("cpu", "fp32", torch.get_num_threads()) == first


def test_memory_is_in_gigabytes() -> None:
    assert 0.05 < peak_memory(torch.device("cpu")) < 100


# The log.


def logged(folder: Path, steps: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Log a few steps; return the lines and `hardware.json`."""
    learner = made(folder)
    log = Log(folder=folder / "log", learner=learner, shape=shape_of(learner))
    log.open("tiny", 3, 80)
    for number in range(steps):
        row = {"step": 4 + number, "tokens": 100 + 20 * number, "lr": 0.01, "loss": 3.5}
        log.stepped(row, [12, 8], 9, 1000)
    log.close()
    lines = (folder / "log" / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], read_json(folder / "log" / "hardware.json")


def test_the_log_has_a_line_now_and_then(tmp_path: Path) -> None:
    lines, _ = logged(tmp_path, 5)
    assert [line["event"] for line in lines] == ["began", "step", "ended"]
    assert lines[0]["step"] == 3
    assert lines[1].keys() == {
        "time", "event", "step", "tokens", "lr", "loss", "tokens_per_s", "share_of_matmul_peak", "seconds_left",
    }  # fmt: skip
    assert (lines[1]["step"], lines[1]["tokens"]) == (4, 100)
    assert lines[1]["tokens_per_s"] > 0
    assert lines[1]["seconds_left"] >= 0


def test_replay_takes_time_and_is_no_progress(tmp_path: Path) -> None:
    learner = made(tmp_path)
    log = Log(folder=tmp_path / "log", learner=learner, shape=shape_of(learner))
    log.open("tiny", 3, 80)
    log.began -= 100
    log.stepped({"step": 4, "tokens": 100, "lr": 0.01, "loss": 3.5}, [12, 8, 20], 29, 1000)
    line = json.loads((tmp_path / "log" / "log.jsonl").read_text().splitlines()[-1])
    assert line["tokens_per_s"] == pytest.approx(0.4, rel=0.05)
    assert line["seconds_left"] == pytest.approx(100 * 900 / 20, rel=0.05)


def test_a_run_that_goes_on_adds_to_its_log(tmp_path: Path) -> None:
    logged(tmp_path, 1)
    lines, _ = logged(tmp_path, 1)
    assert [line["event"] for line in lines] == 2 * ["began", "step", "ended"]


def test_what_the_hardware_did_is_written_at_the_end(tmp_path: Path) -> None:
    _, hardware = logged(tmp_path, 5)
    assert hardware.keys() == {
        "device", "processes", "threads", "torch", "seconds_in_all", "seconds", "tokens", "tokens_per_s",
        "operations", "matmul_peak",
        "share_of_matmul_peak", "peak_memory_gb", "settings", "shared",
    }  # fmt: skip
    assert (hardware["device"], hardware["processes"], hardware["threads"]) == ("processor", 1, 1)
    assert hardware["tokens"] == 5 * 20
    assert hardware["operations"] == 5 * shape_of(made(tmp_path)).operations([12, 8], 9)
    assert hardware["settings"] == HardwareSpec().model_dump(mode="json", exclude={"accelerate"})


def test_a_run_that_had_nothing_left_to_do_is_logged_too(tmp_path: Path) -> None:
    lines, hardware = logged(tmp_path, 0)
    assert [line["event"] for line in lines] == ["began", "ended"]
    assert (hardware["tokens"], hardware["tokens_per_s"]) == (0, 0)


def test_the_time_of_interrupted_sessions_counts_too(tmp_path: Path) -> None:
    lines = [
        '{"time": 10.0, "event": "began"}',
        '{"time": 14.0, "event": "step"}',
        '{"time": 15.5, "ev{"time": 100.0, "event": "began"}',
        '{"time": 100.0, "event": "began"}',
        '{"time": 103.0, "event": "ended"}',
    ]
    assert seconds_in_all(tmp_path, lines, "") == 7.0


def seconds_in_all(folder: Path, lines: list[str], of: str) -> float:
    (folder / "log.jsonl").write_text("\n".join(lines) + "\n")
    return hardware_module._seconds_in_all(folder / "log.jsonl", of)


def began(time: float, of: str) -> str:
    return json.dumps({"time": time, "event": "began", "of": of})


def test_the_time_of_another_recipe_s_training_does_not_count(tmp_path: Path) -> None:
    lines = [
        began(10.0, "old"),
        '{"time": 14.0, "event": "step"}',
        began(20.0, "new"),
        '{"time": 21.0, "event": "step"}',
        began(30.0, "old"),
        '{"time": 39.0, "event": "step"}',
        began(40.0, "new"),
        '{"time": 42.0, "event": "ended"}',
    ]
    assert seconds_in_all(tmp_path, lines, "new") == 3.0
    assert seconds_in_all(tmp_path, lines, "old") == 13.0


def test_a_training_that_is_done_again_begins_at_nothing(tmp_path: Path) -> None:
    lines = [
        began(10.0, "it"),
        '{"time": 14.0, "event": "ended"}',
        began(20.0, "it"),
        '{"time": 21.0, "event": "ended"}',
    ]
    assert seconds_in_all(tmp_path, lines, "it") == 1.0
