"""Finetunes a real small model with Veneer and with TRL's SFTTrainer: tokens a second, memory, and the loss reached.

    VENEER_DATA=... python benchmarks/train_vs_trl.py [--steps 6] [--tokens-per-step 2048] [--precision fp32]

Same model (SmolLM2-135M-Instruct, by `make server`), data (Alpaca), block, tokens a step, precision, optimizer (AdamW)
and constant rate; packing, and loss on the assistant's words alone. Each trains in a process of its own,
twice in turns, and the faster time counts, since the machine may have other work. The last line is JSON.
Needs `pip install -e ".[bench]"`.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

BLOCK, RATE, CLIP, TURNS, HELD_OUT = 512, 1e-4, 1.0, 2, 40
MARKED = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}{{ '<|im_start|>system\\nYou are "
    "a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\\n' }}{% endif %}{% if message['role'] == "
    "'assistant' %}{{ '<|im_start|>assistant\\n' }}{% generation %}{{ message['content'] + '<|im_end|>' }}"
    "{% endgeneration %}{{ '\\n' }}{% else %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""The model's own template with the marks that TRL needs to tell the assistant's words."""
MICRO = {"veneer": 512, "trl": 512}
"""Tokens that go through the model at once: one block. (Two took Veneer 1.3 times the memory and were 1 % faster.)"""


def main() -> None:
    """Run both and print the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--tokens-per-step", type=int, default=2048)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--rows", type=int, default=2000)
    asked = parser.parse_args()
    if "VENEER_DATA" not in os.environ:
        sys.exit("VENEER_DATA is not set; it must name a folder that holds alpaca/alpaca_partial.jsonl.gz.")
    import smollm2

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        smollm2.write_checkpoint(folder / "checkpoint")
        write_rows(folder, asked.rows)
        found: dict[str, list[dict[str, Any]]] = {"veneer": [], "trl": []}
        for _ in range(TURNS):
            for name, work in (("veneer", ours), ("trl", theirs)):
                # A process of its own, so that its peak memory is its own.
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    found[name].append(pool.apply(work, (folder, vars(asked))))
                shown = {key: value for key, value in found[name][-1].items() if key != "losses"}
                print(name, json.dumps(shown), flush=True)
    best = {name: max(turns, key=lambda turn: turn["tokens_per_s"]) for name, turns in found.items()}
    mine, other = best["veneer"], best["trl"]
    figures = {
        "speedup": mine["tokens_per_s"] / other["tokens_per_s"],
        "peak_memory_ratio": mine["peak_rss_gb"] / other["peak_rss_gb"],
        "final_loss_difference": mine["held_out_loss"] - other["held_out_loss"],
        "share_of_matmul_peak": mine["share_of_matmul_peak"],
    }
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


def ours(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Train with Veneer; return speed, memory and losses."""
    import torch

    from veneer.study_train import HardwareSpec, RecipeSpec
    from veneer.train.course import course_of
    from veneer.train.hardware import matmul_peak, shape_of
    from veneer.train.ladder import Run, Rung
    from veneer.train.learner import learner_of, load, step
    from veneer.train.scored import learned

    recipe = RecipeSpec(
        learning_rate=RATE, max_length=BLOCK, step_tokens=asked["tokens_per_step"], schedule="constant",
        precision=asked["precision"], clip=CLIP, holdout_tokens=0,
    )  # fmt: skip
    amount = (asked["steps"] + 2) * asked["tokens_per_step"]
    run = Run(
        rung=Rung(base="smollm2", source="alpaca", amount=amount, seed=0, replay=0.0), amounts=(amount,),
        base=folder / "checkpoint", prepared=folder, pretraining=None, recipe=recipe, warmup_tokens=0,
        hardware=HardwareSpec(micro_tokens=MICRO["veneer"]), trunk=None, log=folder / "log",
    )  # fmt: skip
    loaded = load(run.base, recipe)
    course = course_of(run, loaded.tokenizer, BLOCK)
    learner = learner_of(loaded, recipe, run.hardware, BLOCK)
    shape = shape_of(learner)
    losses, tokens, operations, began = [], 0, 0.0, 0.0
    for number, blocks in enumerate(course.steps[: asked["steps"]]):
        if number == 1:  # The first step also pays for what is made once.
            began = time.perf_counter()
        rows = [course.rows[place] for block in blocks for place in block]
        losses.append(step(learner, rows, RATE))
        if number:
            lengths = [len(row.input_ids) for row in rows]
            tokens += sum(lengths)
            operations += shape.operations(lengths, sum(map(learned, rows)))
    seconds = time.perf_counter() - began
    peak = matmul_peak("cpu", asked["precision"], torch.get_num_threads())
    return {
        "tokens_per_s": tokens / seconds,
        "peak_rss_gb": peak_rss(),
        "losses": losses,
        "share_of_matmul_peak": operations / seconds / peak,
        "held_out_loss": held_out_loss(learner.model, loaded.tokenizer, folder),
    }


def theirs(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Train with TRL's SFTTrainer; return speed, memory and losses.

    Gradient checkpointing, which it does by default, is off, as in the other run. Its packed documents do not see
    each other either: it gives positions that begin anew, of which transformers makes a mask of the whole block.
    """
    import torch
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    stamps: list[float] = []

    class Stamp(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            stamps.append(time.perf_counter())

    model = AutoModelForCausalLM.from_pretrained(folder / "checkpoint", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder / "checkpoint")
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    plain = tokenizer.apply_chat_template(talk, tokenize=False)
    tokenizer.chat_template = MARKED
    assert tokenizer.apply_chat_template(talk, tokenize=False) == plain
    data = load_dataset(
        "json", data_files=str(folder / "rows.jsonl"), split="train", cache_dir=str(folder / "cache")
    )
    config = SFTConfig(
        output_dir=str(folder / "trl"), max_steps=asked["steps"], per_device_train_batch_size=MICRO["trl"] // BLOCK,
        gradient_accumulation_steps=asked["tokens_per_step"] // MICRO["trl"], learning_rate=RATE,
        lr_scheduler_type="constant", max_length=BLOCK, packing=True, assistant_only_loss=True, max_grad_norm=CLIP,
        bf16=asked["precision"] == "bf16", use_cpu=True, gradient_checkpointing=False, logging_steps=1,
        save_strategy="no", report_to="none", seed=0, disable_tqdm=True,
    )  # fmt: skip
    trainer = SFTTrainer(
        model=model, args=config, train_dataset=data, processing_class=tokenizer, callbacks=[Stamp()]
    )
    trainer.train()
    logged = [row for row in trainer.state.log_history if "loss" in row]
    seen = [row["num_tokens"] for row in logged]
    return {
        "tokens_per_s": (seen[-1] - seen[0]) / (stamps[-1] - stamps[0]),
        "peak_rss_gb": peak_rss(),
        "losses": [row["loss"] for row in logged],
        "held_out_loss": held_out_loss(trainer.model, tokenizer, folder),
    }


def held_out_loss(model: Any, tokenizer: Any, folder: Path) -> float:
    """Return the mean loss per learned token of conversations that neither was trained on, measured in one way."""
    import torch

    from veneer.models.encode import IGNORED, encode
    from veneer.records import Message

    model.set_attn_implementation("sdpa")
    model.eval()
    total = count = 0.0
    with (folder / "held-out.jsonl").open(encoding="utf-8") as lines, torch.no_grad():
        for line in lines:
            messages = [Message(**message) for message in json.loads(line)["messages"]]
            row = encode(tokenizer, messages, 4 * BLOCK)
            learned = sum(label != IGNORED for label in row.labels[1:])
            loss = model(input_ids=torch.tensor([row.input_ids]), labels=torch.tensor([row.labels])).loss
            total, count = total + float(loss) * learned, count + learned
    return total / count


def peak_rss() -> float:
    """Return the most memory that this process has held, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def write_rows(folder: Path, many: int) -> None:
    """Write conversations of the real data set: for TRL, for Veneer, and some that nobody trains on."""
    from transformers import AutoTokenizer

    from veneer.disk import write_rows as write
    from veneer.models.encode import length
    from veneer.prepare.readers import Malformed, recorded
    from veneer.study_data import RecordedSpec

    tokenizer = AutoTokenizer.from_pretrained(folder / "checkpoint")
    source = Path(os.environ["VENEER_DATA"]) / "alpaca" / "alpaca_partial.jsonl.gz"
    read = recorded(RecordedSpec.model_validate({"path": source, "format": "alpaca"}))
    whole = (row for row in read if not isinstance(row, Malformed))
    fitting = (row for row in whole if length(tokenizer, row.messages) <= BLOCK)
    rows = [
        {
            "example_id": str(number),
            "source": "alpaca",
            "messages": [{"role": one.role, "content": one.content} for one in row.messages],
            "tokens": length(tokenizer, row.messages),
        }
        for number, row in enumerate(islice(fitting, many + HELD_OUT))
    ]
    write(folder / "held-out.jsonl", rows[many:])
    write(folder / "examples.jsonl", rows[:many])
    write(folder / "rows.jsonl", ({"messages": row["messages"]} for row in rows[:many]))


if __name__ == "__main__":
    main()
