import errno
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, GraniteConfig, GraniteForCausalLM

from tests.models.tiny import WORDS, checkpoint, tokenizer
from tests.train.runs import digests
from veneer.disk import digest, read_json, read_rows, write_rows
from veneer.errors import DataError, ModelError, PreflightError, StoreError
from veneer.models.encode import IGNORED, encode
from veneer.models.model import ModelRef
from veneer.records import Message
from veneer.store import Artefact, Store
from veneer.study_train import HardwareSpec, RecipeSpec, TrainSpec
from veneer.train import checkpoint as checkpoint_writing
from veneer.train import fitting, sft
from veneer.train.ladder import Run, Rung, orders
from veneer.train.preflight import Finding
from veneer.train.state import newest

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = RecipeSpec(
    epochs=2,
    learning_rate=1e-2,
    packing=False,
    batch_examples=4,
    max_length=64,
    warmup_tokens=40,
    schedule="linear",
)
EXAMPLES = [
    (f"w{number} ?", " ".join(f"w{number + step}" for step in range(1 + number % 5))) for number in range(10)
]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Ten examples and a tiny base."""
    return Run(
        rung=Rung(base="tiny", source="broad", amount=50, seed=0, replay=0.0),
        amounts=(50,),
        base=checkpoint(tmp_path / "base"),
        prepared=prepared(tmp_path / "prepared", EXAMPLES),
        pretraining=None,
        recipe=RECIPE,
        warmup_tokens=40,
        hardware=HardwareSpec(),
        trunk=None,
        log=tmp_path / "log",
    )


def prepared(folder: Path, examples: list[tuple[str, str]]) -> Path:
    rows = [
        {
            "example_id": str(place),
            "source": "broad",
            "messages": [{"role": "user", "content": query}, {"role": "assistant", "content": answer}],
            "tokens": 5,
        }
        for place, (query, answer) in enumerate(examples)
    ]
    write_rows(folder / "examples.jsonl", rows)
    return folder


def with_replay(run: Run, folder: Path, share: float = 0.3) -> Run:
    write_rows(folder / "text.jsonl", [{"text": f"w{number} one two three ."} for number in range(20)])
    return replace(run, rung=replace(run.rung, replay=share), pretraining=folder / "text.jsonl")


def changed(run: Run, **recipe: Any) -> Run:
    return replace(run, recipe=run.recipe.model_copy(update=recipe))


def trained(run: Run, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    sft.train(run, folder)
    return folder


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_student_learns_eight_examples_by_heart(run: Run, tmp_path: Path, precision: str) -> None:
    examples = EXAMPLES[:8]
    prepared(run.prepared, examples)
    made = (
        trained(changed(run, epochs=40, precision=precision, schedule="constant"), tmp_path / "made")
        / "checkpoint"
    )
    model, words = AutoModelForCausalLM.from_pretrained(made), AutoTokenizer.from_pretrained(made)
    for query, answer in examples:
        ids = words(f"<user> {query} <asst>", return_tensors="pt", add_special_tokens=False).input_ids
        said = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=10, do_sample=False)
        assert words.decode(said[0, ids.shape[1] :]) == f"{answer} <eos>"


def test_two_calls_write_the_same_bytes_also_after_an_interruption(run: Run, tmp_path: Path) -> None:
    twin = with_replay(run, tmp_path)
    whole = trained(twin, tmp_path / "whole")
    half = tmp_path / "half" / "checkpoint"
    half.mkdir(parents=True)
    (half / "model-00001-of-00009.safetensors").write_bytes(b"torn")
    torch.manual_seed(7)  # Whatever state the process is in makes no difference,
    state = torch.get_rng_state()
    trained(twin, half.parent)
    assert torch.equal(torch.get_rng_state(), state)  # and it is left as it was.
    assert digest(half.parent) == digest(whole)


def test_another_seed_gives_another_student(run: Run, tmp_path: Path) -> None:
    other = replace(run, rung=replace(run.rung, seed=1))
    one, two = (trained(each, tmp_path / str(place)) for place, each in enumerate((run, other)))
    assert digest(one / "checkpoint") != digest(two / "checkpoint")


def test_dropout_is_drawn_from_the_seed(run: Run, tmp_path: Path) -> None:
    noisy = replace(run, base=checkpoint(tmp_path / "gpt2", kind="gpt2"))
    assert digest(trained(noisy, tmp_path / "one")) == digest(trained(noisy, tmp_path / "two"))


def test_nothing_in_the_artefact_knows_where_it_was_made(run: Run, tmp_path: Path) -> None:
    made = trained(run, tmp_path / "made")
    texts = [file for file in made.rglob("*") if file.suffix in {".json", ".jsonl", ".jinja"}]
    assert len(texts) >= 6
    assert not any(str(tmp_path) in file.read_text() for file in texts)


def test_the_ledger_adds_up(run: Run, tmp_path: Path) -> None:
    made = trained(with_replay(run, tmp_path), tmp_path / "made")
    ledger, losses = read_json(made / "ledger.json"), [row for _, row in read_rows(made / "losses.jsonl")]
    tokens = [4 + 1 + len(answer.split()) for _, answer in EXAMPLES]
    learned = [1 + len(answer.split()) for _, answer in EXAMPLES]
    assert (ledger["examples"], ledger["rows"], ledger["too_long"]) == (10, 10, [])
    assert ledger["optimizer_steps"] == len(losses) == 2 * 3
    assert ledger["tokens"] == losses[-1]["tokens"] == 2 * sum(tokens)
    assert ledger["loss_tokens"] == 2 * sum(learned)
    ends = [0, *(step["tokens"] for step in losses)]
    middles = [(before + after) / 2 for before, after in pairwise(ends)]
    assert ledger["warmup_steps"] == sum(middle < RECIPE.warmup_tokens for middle in middles)
    assert ledger["replay_rows"] == 2 * (2 + 2 + 1)  # 0.3 / 0.7 of 4, 4 and 2 rows


def test_a_twin_goes_through_its_examples_in_the_same_order_at_the_same_rates(
    run: Run, tmp_path: Path
) -> None:
    plain, twin = trained(run, tmp_path / "plain"), trained(with_replay(run, tmp_path), tmp_path / "twin")
    rates = [
        [(row["tokens"], row["lr"]) for _, row in read_rows(made / "losses.jsonl")] for made in (plain, twin)
    ]
    assert rates[0] == rates[1]


def test_the_loss_is_that_of_plain_transformers(run: Run, tmp_path: Path) -> None:
    first = next(row for _, row in read_rows(trained(run, tmp_path / "made") / "losses.jsonl"))
    assert first["loss"] == pytest.approx(
        _reference_loss(run, AutoModelForCausalLM.from_pretrained(run.base))
    )


def test_a_model_that_scales_its_logits_is_trained_on_what_it_says(run: Run, tmp_path: Path) -> None:
    config = GraniteConfig(
        vocab_size=len(WORDS), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=4, logits_scaling=8.0, initializer_range=0.3, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        GraniteForCausalLM(config).save_pretrained(tmp_path / "granite")
    tokenizer().save_pretrained(tmp_path / "granite")
    scaled = replace(run, base=tmp_path / "granite")
    first = next(row for _, row in read_rows(trained(scaled, tmp_path / "made") / "losses.jsonl"))
    assert first["loss"] == pytest.approx(
        _reference_loss(run, AutoModelForCausalLM.from_pretrained(scaled.base))
    )


def test_a_batch_in_pieces_is_the_same_batch(run: Run, tmp_path: Path) -> None:
    whole = [row["loss"] for _, row in read_rows(trained(run, tmp_path / "whole") / "losses.jsonl")]
    small = replace(run, hardware=HardwareSpec(micro_tokens=16))
    pieces = [row["loss"] for _, row in read_rows(trained(small, tmp_path / "pieces") / "losses.jsonl")]
    assert pieces == pytest.approx(whole, rel=1e-4)


def test_what_is_too_long_is_left_out_and_named(run: Run, tmp_path: Path) -> None:
    prepared(run.prepared, [*EXAMPLES, ("w1 ?", "w2 " * 70)])
    larger = replace(changed(run, left_out_share=0.1), rung=replace(run.rung, amount=55), amounts=(55,))
    ledger = read_json(trained(larger, tmp_path / "made") / "ledger.json")
    assert ledger["too_long"] == [
        {"example_id": "10", "tokens": 5, "reason": "one exchange has 75 tokens, and a row holds 64"}
    ]
    assert (ledger["examples"], ledger["rows"], ledger["row_tokens"]) == (11, 10, 64)
    assert (ledger["tokens_of_examples"], ledger["tokens_left_out"]) == (55, 5)


@pytest.mark.parametrize(("tokens", "passed"), [(0, True), (40, True), (2, False)])
def test_a_warm_up_that_is_none_is_told(run: Run, tmp_path: Path, tokens: int, passed: bool) -> None:
    made = trained(replace(run, warmup_tokens=tokens), tmp_path / "made")
    found = {each["check"]: each for each in read_json(made / "preflight.json")["before"]}
    assert found["the warm-up takes a step"]["passed"] == passed
    assert (read_json(made / "ledger.json")["warmup_steps"] > 0) == (passed and tokens > 0)


def test_a_twin_without_a_row_of_replay_is_an_error(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.replay\.share is 0\.1, .* more than 4 rows.* no row at all"):
        trained(with_replay(run, tmp_path, share=0.1), tmp_path / "made")


def test_a_run_in_which_everything_is_too_long_is_an_error(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="every example is longer than a training row"):
        trained(changed(run, max_length=4), tmp_path / "made")


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (
            {"learning_rate": 1e38, "warmup_tokens": 0},
            "the loss is (nan|inf).*Lower train.recipe.learning_rate",
        ),
        ({"learning_rate": 3.0, "epochs": 20}, "for 20 steps it has been above .*the run has diverged"),
    ],
)
def test_a_run_that_diverges_says_so(
    run: Run, tmp_path: Path, recipe: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Such rates are seen before training; here the run is to diverge on its way.
    passed = Finding(check=fitting.CHECK, passed=True, fatal=False, message="")
    monkeypatch.setattr(fitting, "fits", lambda *_: passed)
    with pytest.raises(ModelError, match=f"tiny-broad-50-s0: at step .*{said}"):
        trained(changed(run, **recipe), tmp_path / "made")


@pytest.mark.parametrize("rate", [1e38, 3.0])
def test_a_rate_at_which_nothing_is_learned_is_refused_before_training(
    run: Run, tmp_path: Path, rate: float
) -> None:
    with pytest.raises(
        PreflightError, match="eight examples can be fitted.*Lower train.recipe.learning_rate"
    ):
        trained(changed(run, learning_rate=rate), tmp_path / "made")


@pytest.mark.parametrize("said", [True, False])
def test_processes_save_together_when_the_first_says_so(said: bool) -> None:
    def process(first: bool) -> Any:
        def reduce(own: torch.Tensor, reduction: str) -> torch.Tensor:
            return own if first else own + said

        return SimpleNamespace(num_processes=2, is_main_process=first, device="cpu", reduce=reduce)

    assert sft._agreed(process(True), said) == said
    assert sft._agreed(process(False), not said) == said


def test_a_base_that_could_never_stop_is_refused(run: Run, tmp_path: Path) -> None:
    broken = tokenizer()
    broken.pad_token = broken.eos_token
    broken.save_pretrained(run.base)
    with pytest.raises(
        PreflightError, match="tiny-broad-50-s0: .*\n.*stop token and padding are both '<eos>'"
    ):
        trained(run, tmp_path / "made")


@pytest.mark.parametrize(
    "full",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
    ids=["text", "weights"],
)
def test_a_full_disk_is_said_and_what_was_saved_is_gone_on_from(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: Exception
) -> None:
    often = replace(run, hardware=HardwareSpec(save_minutes=1e-9))
    whole = trained(often, tmp_path / "whole")

    def fail(*_: object) -> None:
        raise full

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_writing, "write", fail)
        with pytest.raises(StoreError, match="tiny-broad-50-s0: no room is left on the disk .*Make room"):
            trained(often, tmp_path / "made")
    assert newest(tmp_path / "made" / sft.SAVED)
    assert digests(trained(often, tmp_path / "made")) == digests(whole)


def test_a_folder_that_is_no_checkpoint_is_an_error(run: Run, tmp_path: Path) -> None:
    (run.base / "config.json").unlink()
    with pytest.raises(ModelError, match="cannot be loaded"):
        trained(run, tmp_path / "made")


@pytest.mark.parametrize(
    ("row", "said"), [({"words": "a"}, "text.jsonl:1: `text` is None"), ({"text": ""}, "holds no text")]
)
def test_pretraining_text_that_is_none_is_an_error(
    run: Run, tmp_path: Path, row: dict[str, str], said: str
) -> None:
    twin = with_replay(run, tmp_path)
    (tmp_path / "text.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=said):
        trained(twin, tmp_path / "made")


def test_a_rung_becomes_an_artefact(run: Run, tmp_path: Path) -> None:
    bases = {"tiny": ModelRef(name="tiny", kind="checkpoint", path=run.base, digest=digest(run.base))}
    source = {"broad": Artefact(stage="prepare", name="broad", key="k", path=run.prepared)}
    (order,) = orders([run.rung], source, bases, {}, TrainSpec(amounts=(50,), recipe=RECIPE), tmp_path)
    made = Store(root=tmp_path / "store").build(order)
    found = {file.name for file in made.path.iterdir()}
    assert found == {
        "artefact.json",
        "checkpoint",
        "ledger.json",
        "losses.jsonl",
        "losses.svg",
        "preflight.json",
    }
    assert all(finding["passed"] for finding in read_json(made.path / "preflight.json")["after"])


def _reference_loss(run: Run, model: Any) -> float:
    """Return transformers' own loss on the first batch, a row at a time and with an attention mask of its own."""
    order = torch.randperm(len(EXAMPLES), generator=torch.Generator().manual_seed(run.rung.seed)).tolist()
    total = count = 0.0
    for place in order[:4]:
        query, answer = EXAMPLES[place]
        messages = (Message(role="user", content=query), Message(role="assistant", content=answer))
        row = encode(tokenizer(), messages, 64)
        learned = sum(label != IGNORED for label in row.labels)
        with torch.no_grad():
            loss = model(input_ids=torch.tensor([row.input_ids]), labels=torch.tensor([row.labels])).loss
        total, count = total + float(loss) * learned, count + learned
    return total / count


def test_memory_that_does_not_suffice_is_an_error_that_says_what_needs_less(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: object) -> float:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(sft, "step", greedy)
    with pytest.raises(
        ModelError,
        match="memory does not suffice.*micro_tokens.*gradient_checkpointing: true.*adafactor.*lora",
    ):
        trained(run, tmp_path / "made")


@pytest.mark.parametrize("losses", [(2.0, 9.0), (5.6, 81.0, 40.0, 32.0), (2.0, *(3.1 for _ in range(40)))])
def test_a_run_that_ends_far_worse_than_it_began_has_diverged(run: Run, losses: tuple[float, ...]) -> None:
    rows = [{"step": step, "loss": loss} for step, loss in enumerate(losses, 1)]
    with pytest.raises(ModelError, match="has diverged"):
        sft._check_end(rows, run)


@pytest.mark.parametrize("losses", [(2.0,), (2.0, 2.4), (0.2, 0.9), (9.0, *(4.0 for _ in range(40)))])
def test_a_noisy_run_has_not_diverged(run: Run, losses: tuple[float, ...]) -> None:
    sft._check_end([{"step": step, "loss": loss} for step, loss in enumerate(losses, 1)], run)
