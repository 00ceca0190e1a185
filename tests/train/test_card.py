"""The model card says what a student is and how it came to be, and the curve is drawn the same each time."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.train.runs import run_of
from veneer.study_train import TokensSpec
from veneer.train import card
from veneer.train.ladder import Run

LOSSES = [
    {"step": 1, "tokens": 60, "lr": 0.004, "loss": 5.43216},
    {"step": 2, "tokens": 120, "lr": 0.01, "loss": 4.0},
    {"step": 3, "tokens": 180, "lr": 0.002, "loss": 3.10005},
]
LEDGER = {
    "examples": 1234,
    "tokens_of_examples": 207,
    "too_long": [],
    "tokens_left_out": 0,
    "row_tokens": 32,
    "replay_rows": 0,
    "replay_tokens": 0,
    "highest_learning_rate": 0.01,
    "optimizer_steps": 2345,
    "warmup_steps": 23,
    "tokens": 123_456,
    "loss_tokens": 65_432,
    "held_out_loss": 2.71828,
}


def told(run: Run, **ledger: Any) -> dict[str, str]:
    """Return the card's table."""
    lines = card.card(run, {**LEDGER, **ledger}, LOSSES).splitlines()
    found = {}
    for line in lines[lines.index("| --- | --- |") + 1 :]:
        if line.startswith("|"):
            name, value = line.strip("| ").split(" | ")
            found[name] = value
    return found


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return run_of(tmp_path, 200)


def test_the_card_says_what_the_student_is(run: Run) -> None:
    assert told(run) == {
        "base": "tiny",
        "imitation data": "broad, 200 tokens asked for: 1,234 whole examples with 207",
        "left out, since one exchange is longer than a row": "0 examples with 0 tokens; a row has 32",
        "seed": "0",
        "replay of pretraining text": "0 rows with 0 tokens",
        "what learned": "all weights",
        "optimizer": "adamw, peak rate 0.01, stable schedule",
        "optimizer steps": "2,345, of them warm-up 23",
        "tokens gone through": "123,456, of them learned 65,432",
        "loss, first and last step": "5.4322, 3.1000 nats per learned token",
        "loss on held-out imitation data": "2.7183",
    }


def test_a_loss_that_was_not_measured_is_not_a_number(run: Run) -> None:
    found = told(run, held_out_loss={"undefined": "none is left"})
    assert found["loss on held-out imitation data"] == "not measured: none is left"


@pytest.mark.parametrize(("method", "said"), [("lora", "LoRA, merged"), ("qlora", "QLoRA, merged")])
def test_adapters_are_named(tmp_path: Path, method: str, said: str) -> None:
    assert told(run_of(tmp_path, 200, method=method))["what learned"] == said


def test_the_card_has_a_head_that_hubs_read(run: Run) -> None:
    head = yaml.safe_load(card.card(run, LEDGER, LOSSES).split("---\n")[1])
    assert head["library_name"] == "transformers"


def test_the_card_holds_the_whole_recipe_and_no_path(tmp_path: Path) -> None:
    run = run_of(tmp_path, 200, tokens=TokensSpec(chat_template=tmp_path / "chat.jinja"))
    text = card.card(run, LEDGER, LOSSES)
    recipe = json.loads(text.split("Recipe: `")[1].split("`")[0])
    assert recipe == run.recipe.model_dump(mode="json", exclude={"tokens": {"chat_template"}})
    assert str(tmp_path) not in text


def test_the_same_losses_draw_the_same_bytes(run: Run, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "checkpoint").mkdir(parents=True)
        card.write(run, LEDGER, LOSSES, tmp_path / name)
    drawn = (tmp_path / "one" / "losses.svg").read_bytes()
    assert drawn == (tmp_path / "two" / "losses.svg").read_bytes()
    assert b"tiny-broad-200-s0" in drawn
    assert (tmp_path / "one" / "checkpoint" / "README.md").read_text() == card.card(run, LEDGER, LOSSES)


def test_one_step_is_drawn_too(tmp_path: Path) -> None:
    card.draw("short", LOSSES[:1], tmp_path / "losses.svg")
    assert (tmp_path / "losses.svg").read_text().rstrip().endswith("</svg>")
