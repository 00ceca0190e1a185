"""The plan of a study's training is what training it takes."""

import json
from pathlib import Path

import pytest

from tests.conftest import copy_of, veneer
from veneer import pipeline, planning
from veneer.errors import StudyError
from veneer.machines import named
from veneer.study import load
from veneer.train.scored import learned


def test_tokens_and_steps_are_those_of_the_training(finished_study: Path) -> None:
    study, store = load(finished_study / "study.yaml"), pipeline.store_of(finished_study / "study.yaml")
    found = planning.training(study, store.root, planning.prepared_of(study, store), on="h100")
    rungs = {one.rung.name: one for plan in found.bases for one in plan.rungs}
    ledgers = {
        file.parent.name.rpartition("-")[0]: json.loads(file.read_text())
        for file in (store.root / "train").glob("*/ledger.json")
    }
    assert len(rungs) == len(ledgers) == 18
    for name, one in rungs.items():
        ledger = ledgers[name]
        assert one.exact
        assert (one.tokens, one.steps, one.replay) == (
            ledger["tokens"], ledger["optimizer_steps"], ledger["replay_tokens"],
        )  # fmt: skip


def test_before_there_is_data_a_plan_goes_by_the_amounts(written_study: Path) -> None:
    study, store = load(written_study / "study.yaml"), pipeline.store_of(written_study / "study.yaml")
    assert study.train is not None
    found = planning.training(study, store.root, planning.prepared_of(study, store), on="h100", share=0.5)
    plain = [one for plan in found.bases for one in plan.rungs if not one.replay]
    assert all(one.tokens == one.rung.amount * study.train.recipe.epochs for one in plain)
    assert not any(one.exact for one in plain)
    assert {one.steps for one in plain} == {
        None
    }  # Without packing, how many examples make an amount is not known.
    assert found.seconds[0] == pytest.approx(found.bases[0].operations / (989e12 * 0.5))


def test_a_trunk_is_gone_through_once(finished_study: Path) -> None:
    study, store = load(finished_study / "study.yaml"), pipeline.store_of(finished_study / "study.yaml")
    assert study.train is not None
    recipe = study.train.recipe.model_copy(
        update={"schedule": "stable", "epochs": 1, "packing": True, "batch_examples": None, "max_length": 100,
                "step_tokens": 100, "warmup_tokens": 0, "decay_share": 0.2}
    )  # fmt: skip
    train = study.train.model_copy(update={"recipe": recipe, "replay": None})
    shared = planning.training(
        study.model_copy(update={"train": train}), store.root, planning.prepared_of(study, store), on="h100"
    )
    apart = train.model_copy(update={"ladder": "separate"})
    alone = planning.training(
        study.model_copy(update={"train": apart}), store.root, planning.prepared_of(study, store), on="h100"
    )
    saved = [one.shared for one in shared.bases[0].rungs]
    assert saved[0] == 0
    assert saved[1] > 0
    assert shared.bases[0].passed == alone.bases[0].passed - sum(saved)
    assert shared.bases[0].operations < alone.bases[0].operations


def test_a_machine_that_is_not_in_the_table_is_an_error_that_names_those_that_are() -> None:
    assert named("H100").memory_gb == 80
    with pytest.raises(StudyError, match="h200"):
        named("abacus")


def test_a_base_that_fits_no_device_is_said_not_to(written_study: Path, tmp_path: Path) -> None:
    folder = copy_of(written_study, tmp_path)
    config = folder / "bases" / "large" / "config.json"
    wide = {**json.loads(config.read_text()), "num_hidden_layers": 60, "hidden_size": 8192, "intermediate_size": 32768,
            "num_attention_heads": 64, "num_key_value_heads": 64, "head_dim": 128}  # fmt: skip
    config.write_text(json.dumps(wide))
    said = veneer("plan", folder / "study.yaml", "--on-hardware", "h100").stdout
    assert "1 x h100, 80 GB" in said
    assert "NO" in next(line for line in said.splitlines() if line.startswith("large") and "e+" in line)
    assert not (folder / "study").exists()


def test_a_calibration_trains_on_rows_as_long_as_those_of_the_study(finished_study: Path) -> None:
    study, store = load(finished_study / "study.yaml"), pipeline.store_of(finished_study / "study.yaml")
    assert study.train is not None
    found = planning.training(study, store.root, planning.prepared_of(study, store), on="h100")
    for plan in found.bases:
        largest = max((one for one in plan.rungs if not one.rung.replay), key=lambda one: one.rung.amount)
        steps = list(planning._steps(plan, study.train))
        assert len(steps) == largest.steps
        assert sum(len(row.input_ids) for rows in steps for row in rows) == largest.tokens
        assert 0 < sum(learned(row) for rows in steps for row in rows) < largest.tokens


def test_before_there_is_data_a_calibration_trains_on_full_rows(written_study: Path) -> None:
    study, store = load(written_study / "study.yaml"), pipeline.store_of(written_study / "study.yaml")
    assert study.train is not None
    found = planning.training(study, store.root, {}, on="h100")
    [rows] = planning._steps(found.bases[0], study.train)
    assert {len(row.input_ids) for row in rows} == {found.bases[0].rungs[-1].row}
    assert len(rows) == study.train.recipe.batch_examples


def test_a_calibration_is_what_the_hours_go_by(finished_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "MINUTE", 0.5)
    study, store = load(finished_study / "study.yaml"), pipeline.store_of(finished_study / "study.yaml")
    found = planning.training(study, store.root, planning.prepared_of(study, store), calibrate=True)
    for plan, trial, seconds in zip(found.bases, found.trials, found.seconds, strict=True):
        assert trial.tokens_per_s > 0
        assert seconds == plan.passed / trial.tokens_per_s
        assert found.held(plan) >= trial.peak_gb >= trial.process_gb > 0
        assert found.fits(plan)
