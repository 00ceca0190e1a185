"""The `train` section: defaults that follow from what is said, and mistakes that say what is allowed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from veneer.study_train import HardwareSpec, RecipeSpec, TrainSpec

AMOUNTS = ("1M", "2M")


def spec(*, recipe: dict[str, Any] | None = None, **changes: Any) -> TrainSpec:
    return TrainSpec.model_validate({"amounts": AMOUNTS, "recipe": recipe or {}, **changes})


def complaint(*, recipe: dict[str, Any] | None = None, **changes: Any) -> str:
    with pytest.raises(ValidationError) as error:
        spec(recipe=recipe, **changes)
    assert error.value.error_count() == 1
    found = error.value.errors()[0]
    return f"{'.'.join(map(str, found['loc']))}: {found['msg']}"


# Defaults.


def test_the_warm_up_is_a_tenth_of_the_smallest_amount() -> None:
    assert spec().warmup_tokens == 100_000
    assert spec(recipe={"warmup_tokens": "50k"}).warmup_tokens == 50_000
    assert spec(recipe={"warmup_tokens": 0}).warmup_tokens == 0


@pytest.mark.parametrize(("amount", "tokens"), [("600k", 65_536), ("100k", 65_536), ("80k", 0), ("1k", 0)])
def test_the_warm_up_is_at_least_a_step_or_there_is_none(amount: str, tokens: int) -> None:
    assert spec(amounts=[amount]).warmup_tokens == tokens


def test_without_packing_a_step_s_tokens_are_not_known() -> None:
    assert spec(amounts=["80k"], recipe={"packing": False}).warmup_tokens == 8_000


@pytest.mark.parametrize("tokens", [1, 32_768])
def test_a_warm_up_that_no_step_would_have_is_refused(tokens: int) -> None:
    assert f"`recipe.warmup_tokens` is {tokens}, and one optimizer step learns from 65536" in complaint(
        recipe={"warmup_tokens": tokens}
    )


@pytest.mark.parametrize(
    ("recipe", "rows"),
    [
        ({}, 32),
        ({"max_length": 512}, 128),
        ({"step_tokens": "8.192k"}, 4),
        ({"max_length": 100_000}, 1),
        ({"packing": False}, 32),
        ({"packing": False, "batch_examples": 7}, 7),
    ],
)
def test_a_step_learns_from_so_many_rows(recipe: dict[str, Any], rows: int) -> None:
    found = RecipeSpec.model_validate(recipe)
    assert found.rows_per_step(found.max_length) == rows


def test_a_base_with_fewer_positions_learns_from_as_many_tokens_a_step() -> None:
    assert RecipeSpec().rows_per_step(1024) == 64


def test_amounts_share_a_trunk_by_default() -> None:
    assert spec().shares_trunk
    assert spec(ladder="trunk").shares_trunk
    assert not spec(ladder="separate").shares_trunk


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        ({"schedule": "linear"}, "`schedule: linear` knows from the first step where it ends"),
        ({"schedule": "cosine"}, "`schedule: cosine` knows from the first step where it ends"),
        ({"epochs": 2}, "with several `epochs` the amounts differ from the second pass on"),
        ({"match": "steps"}, "with `match: steps` the amounts differ from the second pass on"),
    ],
)
def test_where_no_trunk_is_possible_there_is_none_and_asking_for_it_says_why(
    recipe: dict[str, Any], why: str
) -> None:
    assert not spec(recipe=recipe).shares_trunk
    assert not spec(recipe=recipe, ladder="separate").shares_trunk
    assert complaint(recipe=recipe, ladder="trunk").endswith(f"`ladder: trunk` is not possible: {why}")


@given(
    st.sampled_from(["stable", "linear", "cosine", "constant"]),
    st.integers(1, 3),
    st.sampled_from(["tokens", "steps"]),
    st.sampled_from([None, "separate"]),
)
def test_a_section_that_was_read_can_be_read_again(
    schedule: str, epochs: int, match: str, ladder: str | None
) -> None:
    recipe = {"schedule": schedule, "epochs": epochs if match == "tokens" else 1, "match": match}
    found = spec(recipe=recipe, ladder=ladder)
    assert TrainSpec.model_validate(found.model_dump()) == found
    assert TrainSpec.model_validate_json(found.model_dump_json()) == found


# Mistakes.


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (
            {"batch_examples": 8},
            "`batch_examples` belongs to `packing: false`; with packing, name `step_tokens`",
        ),
        ({"packing": False, "step_tokens": 4096}, "with `packing: false`, name `batch_examples`"),
        ({"step_tokens": 3000}, "`step_tokens` is 3000, which is no multiple of `max_length` 2048"),
        ({"step_tokens": 1024}, "`step_tokens` is 1024, which is no multiple of `max_length` 2048"),
        (
            {"match": "steps", "epochs": 2},
            "`epochs` belongs to `match: tokens`; with `match: steps` the steps decide",
        ),
        ({"lora": {"rank": 8}}, "`lora` belongs to `method: lora` and `method: qlora`"),
        ({"optimizer": "adafactor", "betas": [0.9, 0.98]}, "`betas` belongs to `optimizer: adamw`"),
        ({"schedule": "linear", "decay_share": 0.5}, "`decay_share` belongs to `schedule: stable`"),
    ],
)
def test_settings_that_would_do_nothing_together_are_told_apart(recipe: dict[str, Any], said: str) -> None:
    assert said in complaint(recipe=recipe)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"method": "prefix"}, "recipe.method: Input should be 'full', 'lora' or 'qlora'"),
        ({"optimizer": "sgd"}, "recipe.optimizer: Input should be 'adamw' or 'adafactor'"),
        ({"schedule": "step"}, "recipe.schedule: Input should be 'stable', 'linear', 'cosine' or 'constant'"),
        ({"match": "epochs"}, "recipe.match: Input should be 'tokens' or 'steps'"),
        ({"precision": "fp16"}, "recipe.precision: Input should be 'fp32' or 'bf16'"),
        ({"weights": "int8"}, "recipe.weights: Input should be 'fp32' or 'bf16'"),
        ({"epochs": 0}, "recipe.epochs: Input should be greater than 0"),
        ({"learning_rate": 0}, "recipe.learning_rate: Input should be greater than 0"),
        ({"learning_rate": float("nan")}, "recipe.learning_rate: Input should be a finite number"),
        ({"decay_share": 1}, "recipe.decay_share: Input should be less than 1"),
        ({"decay_share": 0}, "recipe.decay_share: Input should be greater than 0"),
        ({"warmup_tokens": -1}, "recipe.warmup_tokens: Input should be greater than or equal to 0"),
        ({"holdout_tokens": -1}, "recipe.holdout_tokens: Input should be greater than or equal to 0"),
        ({"step_tokens": 0}, "recipe.step_tokens: Input should be greater than 0"),
        ({"packing": False, "batch_examples": 0}, "recipe.batch_examples: Input should be greater than 0"),
        ({"max_length": 0}, "recipe.max_length: Input should be greater than 0"),
        ({"weight_decay": -0.1}, "recipe.weight_decay: Input should be greater than or equal to 0"),
        ({"clip": 0}, "recipe.clip: Input should be greater than 0"),
        ({"betas": [0.9, 1]}, "recipe.betas.1: Input should be less than 1"),
        ({"betas": [-0.1, 0.9]}, "recipe.betas.0: Input should be greater than or equal to 0"),
        ({"method": "lora", "lora": {"rank": 0}}, "recipe.lora.rank: Input should be greater than 0"),
        ({"method": "lora", "lora": {"alpha": 0}}, "recipe.lora.alpha: Input should be greater than 0"),
        ({"method": "lora", "lora": {"dropout": 1}}, "recipe.lora.dropout: Input should be less than 1"),
        ({"tokens": {"add": [""]}}, "recipe.tokens.add.0: String should have at least 1 character"),
        ({"learn_rate": 1}, "recipe.learn_rate: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_setting_of_the_recipe_says_what_is_allowed(recipe: dict[str, Any], said: str) -> None:
    assert said in complaint(recipe=recipe)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"amounts": []}, "amounts: Tuple should have at least 1 item"),
        ({"amounts": [1, 0]}, "amounts.1: Input should be greater than 0"),
        ({"amounts": [2, 1]}, "`amounts` must grow strictly, since each is a prefix of the next"),
        ({"amounts": [1, 1]}, "`amounts` must grow strictly"),
        ({"sources": []}, "sources: Tuple should have at least 1 item"),
        ({"seeds": []}, "seeds: Tuple should have at least 1 item"),
        ({"seeds": [0, -1]}, "seeds.1: Input should be greater than or equal to 0"),
        ({"seeds": [3, 3]}, "`seeds` holds the same seed twice"),
        ({"ladder": "tree"}, "ladder: Input should be 'trunk' or 'separate'"),
        ({"replay": {"share": 0.1, "amounts": ["3M"]}}, "`replay.amounts` must be among `amounts`"),
        ({"replay": {"share": 1, "amounts": ["1M"]}}, "replay.share: Input should be less than 1"),
        ({"replay": {"share": 0, "amounts": ["1M"]}}, "replay.share: Input should be greater than 0"),
        ({"hardware": {"threads": 0}}, "hardware.threads: Input should be greater than 0"),
        ({"hardware": {"micro_tokens": 0}}, "hardware.micro_tokens: Input should be greater than 0"),
        ({"hardware": {"processes": 0}}, "hardware.processes: Input should be greater than 0"),
        ({"hardware": {"save_minutes": 0}}, "hardware.save_minutes: Input should be greater than 0"),
        (
            {"hardware": {"trackers": ["paper"]}},
            "hardware.trackers.0: Input should be 'wandb', 'mlflow', 'trackio' or 'tensorboard'",
        ),
    ],
)
def test_a_wrong_setting_of_the_ladder_says_what_is_allowed(changes: dict[str, Any], said: str) -> None:
    assert said in complaint(**changes)


def test_there_is_one_way_to_spread_a_training() -> None:
    assert HardwareSpec.model_validate({"accelerate": "fsdp.yaml"}).processes == 1
    said = complaint(hardware={"accelerate": "fsdp.yaml", "processes": 2})
    assert "`processes` stands in the config file that `accelerate` names; name one of them" in said


@pytest.mark.parametrize("warmup", ["800k", "1M"])
def test_a_warm_up_that_lasts_until_the_smallest_amount_s_rate_falls_is_refused(warmup: str) -> None:
    said = complaint(recipe={"warmup_tokens": warmup})
    assert "and the smallest amount's rate falls from token 800000 on: it would never reach the peak" in said
    assert spec(recipe={"warmup_tokens": warmup, "schedule": "linear"})
