"""A state of a training is one state's alone, whoever else saves meanwhile."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from veneer.train import state
from veneer.train.state import State, save, tidy


def learner(value: float) -> Any:
    """A layer whose weights, and their averages, are all one number."""
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2)).sum().backward()
    optimizer.step()
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(value)
            optimizer.state[weight]["exp_avg"].fill_(value)
    alone = SimpleNamespace(is_main_process=True, wait_for_everyone=lambda: None, distributed_type="NO")
    return SimpleNamespace(model=model, optimizer=optimizer, accelerator=alone)


def of(step: int) -> State:
    return State(step=step, losses=(), amounts=())


@pytest.mark.parametrize("step", [50, 60])
def test_who_wakes_while_its_successor_saves_mixes_nothing_into_that(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[bool] = []

    def write(tensors: dict[str, torch.Tensor], file: Path) -> None:
        save_file(tensors, file)
        if not woken:
            woken.append(True)
            save(learner(step), of(step), tmp_path)

    monkeypatch.setattr(state, "save_file", write)
    save(learner(60.0), of(60), tmp_path)
    (place,) = tmp_path.iterdir()
    assert place.name == "step-000000060"
    assert load_file(place / "weights.safetensors")["weight"].unique().tolist() == [60.0]
    assert load_file(place / "optimizer.safetensors")["0.exp_avg"].unique().tolist() == [60.0]


def test_what_a_killed_save_left_is_removed_and_no_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(learner(1.0), of(1), tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(state, "save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        save(learner(2.0), of(2), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    tidy(tmp_path)
    assert [place.name for place in tmp_path.iterdir()] == ["step-000000001"]
