import pickle
from pathlib import Path
from typing import Any, Literal

import pytest

from veneer.errors import StudyError
from veneer.models.model import ModelRef
from veneer.needs import Needs
from veneer.records import Role
from veneer.store import Artefact
from veneer.study_train import HardwareSpec, RecipeSpec, ReplaySpec, TrainSpec
from veneer.train import ladder
from veneer.train.ladder import Rung, log_of, orders, processes_of, progress, rungs

SPEC = TrainSpec(amounts=(40_000, 80_000), seeds=(0, 1), replay=ReplaySpec(share=0.15, amounts=(80_000,)))
RUNG = Rung(base="small", source="broad", amount=80_000, seed=1, replay=0.15)


def test_a_rung_is_named_by_what_it_is() -> None:
    assert (RUNG.name, RUNG.student) == ("small-broad-80k-replay15-s1", "small-broad-80k-replay15")


def test_a_rung_is_a_contestant() -> None:
    contestant = RUNG.contestant
    assert (contestant.name, contestant.student, contestant.role) == (RUNG.name, RUNG.student, Role.STUDENT)
    assert (contestant.base, contestant.source, contestant.amount) == ("small", "broad", 80_000)
    assert (contestant.seed, contestant.replay) == (1, 0.15)


def test_the_grid_is_whole_and_twins_stand_at_their_amounts_alone() -> None:
    found = rungs(["small", "large"], ["broad", "local"], SPEC)
    assert len({rung.name for rung in found}) == len(found) == 2 * 2 * (2 + 1) * 2
    assert {rung.amount for rung in found if rung.replay} == {80_000}


def test_a_key_holds_what_changes_the_result_and_nothing_else(tmp_path: Path) -> None:
    plain = _key(tmp_path)
    assert _key(tmp_path / "elsewhere") == plain
    assert _key(tmp_path, recipe=RecipeSpec(learning_rate=1e-3)) != plain
    for change in ({"seed": 2}, {"amount": 40_000}, {"replay": 0.3}):
        assert _key(tmp_path, **change) != plain


def test_a_trunk_belongs_to_the_version_that_grows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung = Rung(base="small", source="broad", amount=80_000, seed=1, replay=0.0)
    (now,) = orders([rung], *_files(tmp_path), SPEC, tmp_path)
    monkeypatch.setattr(ladder, "VERSION", ladder.VERSION + 1)
    (later,) = orders([rung], *_files(tmp_path), SPEC, tmp_path)
    assert now.line
    assert now.line != later.line


def test_an_order_travels_to_another_process(tmp_path: Path) -> None:
    (order,) = orders([RUNG], *_files(tmp_path), SPEC, tmp_path)
    assert pickle.loads(pickle.dumps(order)).key == order.key  # noqa: S301


def test_a_rung_needs_a_gpu_for_each_process_and_room_for_what_learns(tmp_path: Path) -> None:
    weights = 1000
    (tmp_path / "config.json").write_text('{"dtype": "float32"}')
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 4 * weights)

    def needs(method: Literal["full", "lora"] = "full", **hardware: object) -> Needs:
        spec = SPEC.model_copy(
            update={
                "hardware": HardwareSpec.model_validate(hardware),
                "recipe": RecipeSpec(method=method),
            }
        )
        return orders([RUNG], *_files(tmp_path), spec, tmp_path)[0].needs

    assert needs(threads=2) == Needs(cpus=2, gpus=1, memory=16 * weights)
    assert needs("lora") == Needs(gpus=1, memory=4 * weights)
    assert needs(threads=2, processes=4) == Needs(cpus=8, gpus=4, memory=4 * 16 * weights, processes=4)
    assert needs(accelerate=tmp_path / "fsdp.yaml").within(Needs(cpus=64, gpus=8)).gpus == 8


@pytest.mark.parametrize(
    ("text", "processes"),
    [
        ("distributed_type: FSDP\nnum_processes: 16", 16),
        ("distributed_type: MULTI_GPU\nnum_processes: 2", 2),
        ("distributed_type: DEEPSPEED\nnum_processes: 8", 1),
        ("a: b: c", 1),
        ("", 1),
    ],
)
def test_a_cluster_spreads_what_needs_no_launcher_of_its_own(
    tmp_path: Path, text: str, processes: int
) -> None:
    (tmp_path / "config.yaml").write_text(text)
    assert processes_of(HardwareSpec(accelerate=tmp_path / "config.yaml")) == processes
    assert processes_of(HardwareSpec(processes=3)) == 3


def test_a_twin_without_pretraining_text_is_an_error(tmp_path: Path) -> None:
    prepared, bases, _ = _files(tmp_path)
    with pytest.raises(StudyError, match="bases.small.pretraining: missing"):
        orders([RUNG], prepared, bases, {}, SPEC, tmp_path)


def test_recordings_cannot_be_trained(tmp_path: Path) -> None:
    prepared, _, texts = _files(tmp_path)
    bases = {"small": ModelRef(name="small", kind="replay", path=tmp_path, digest="d")}
    with pytest.raises(StudyError, match="bases.small: `train` needs its weights"):
        orders([RUNG], prepared, bases, texts, SPEC, tmp_path)


def _key(folder: Path, recipe: RecipeSpec | None = None, **change: Any) -> str:
    rung = Rung(**{"base": "small", "source": "broad", "amount": 80_000, "seed": 1, "replay": 0.15, **change})
    (order,) = orders(
        [rung], *_files(folder), SPEC.model_copy(update={"recipe": recipe or RecipeSpec()}), folder
    )
    return order.key


def _files(folder: Path) -> tuple[dict[str, Artefact], dict[str, ModelRef], dict[str, Path]]:
    folder.mkdir(exist_ok=True)
    (folder / "text.jsonl").write_text('{"text": "a"}\n')
    prepared = {"broad": Artefact(stage="prepare", name="broad", key="k", path=folder)}
    bases = {"small": ModelRef(name="small", kind="checkpoint", path=folder, digest="d")}
    return prepared, bases, {"small": folder / "text.jsonl"}


def test_progress_is_the_last_whole_line_of_each_log(tmp_path: Path) -> None:
    for name, text in (
        ("going", '{"event": "began"}\n{"event": "step", "tokens": 5}\n'),
        ("ended", '{"event": "step", "tokens": 9}\n{"event": "ended"}\n'),
        ("torn", '{"event": "step", "tokens": 9}\n{"event": "st'),
    ):
        log_of(tmp_path, name).mkdir(parents=True)
        (log_of(tmp_path, name) / "log.jsonl").write_text(text)
    found = progress(tmp_path, ["going", "ended", "torn", "never"])
    assert found == {"going": {"event": "step", "tokens": 5}}


def test_what_changes_no_result_is_in_no_key_and_amounts_of_a_trunk_are_one_line(tmp_path: Path) -> None:
    files = _files(tmp_path)
    spec = TrainSpec(amounts=(40_000, 80_000))
    grid = rungs(["small"], ["broad"], spec)
    plain = orders(grid, *files, spec, tmp_path)
    frugal = spec.model_copy(update={"hardware": HardwareSpec(micro_tokens=16), "ladder": "separate"})
    assert [order.key for order in orders(grid, *files, frugal, tmp_path)] == [order.key for order in plain]
    assert len({order.line for order in plain}) == 1
    assert plain[0].line
    assert {order.line for order in orders(grid, *files, frugal, tmp_path)} == {""}


def test_a_larger_amount_changes_no_smaller_student(tmp_path: Path) -> None:
    files = _files(tmp_path)
    few, more = TrainSpec(amounts=(40_000, 80_000)), TrainSpec(amounts=(40_000, 80_000, 160_000))
    before = [order.key for order in orders(rungs(["small"], ["broad"], few), *files, few, tmp_path)]
    after = [order.key for order in orders(rungs(["small"], ["broad"], more), *files, more, tmp_path)]
    assert after[:2] == before
