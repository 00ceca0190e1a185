"""TRL's half of a comparison of training speed: finetunes as a user of its SFTTrainer would, on a CPU.

    pip install trl peft
    python benchmarks/trl_peer.py CHECKPOINT ROWS [--block 512] [--steps 4] [--tokens-per-step 2048] [--micro-batch 2]

Its strongest setting is taken, not its default: gradient checkpointing is off, since memory is not short.

Documents in a packed block do not see each other, on a CPU neither. Packing by best fit (`bfd`, the default) also turns
on padding-free batches, which bring position ids that begin anew with each document and no attention mask; transformers
reads the documents' bounds from them and makes SDPA a mask of blocks, though TRL warns that only FlashAttention keeps
documents apart. `documents_are_apart` tries it. A batch of several blocks is one long row there, so attention within it
costs as much as over the whole row: the mask hides the rest, but SDPA on a CPU computes it.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MICRO_BATCH = 1
"""Blocks that go through the model at once: the faster of 1 and 2."""
WARM_UP = 1
"""Steps that are not timed."""
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "{% endif %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""SmolLM2's chat template with marks around what the assistant says; TRL knows no such template of this family."""
PROBE = [
    {"role": "user", "content": "2 + 2?"},
    {"role": "assistant", "content": "4."},
    {"role": "user", "content": "3 + 3?"},
    {"role": "assistant", "content": "6."},
]


def main() -> None:
    """Run it once and print what came out, as one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--block", type=int, default=512)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--tokens-per-step", type=int, default=2048)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--micro-batch", type=int, default=MICRO_BATCH)
    asked = vars(parser.parse_args())
    print(json.dumps(run(asked.pop("checkpoint"), asked.pop("rows"), **asked)))


def run(
    checkpoint: Path,
    rows: Path,
    *,
    block: int,
    steps: int,
    tokens_per_step: int,
    learning_rate: float,
    micro_batch: int = MICRO_BATCH,
) -> dict[str, Any]:
    """Finetune with SFTTrainer and return what it took; call it in a process of its own, whose peak memory it reads.

    bf16 autocast over fp32 weights, fused AdamW, constant rate, no evaluation, nothing saved or reported.

    Args:
        checkpoint: A folder that `from_pretrained` loads, with SmolLM2's chat template or one that has marks.
        rows: JSONL of `{"messages": [...]}`; longer rows than a block are cut by TRL, so give none.
        block: Tokens of a packed block.
        steps: Optimizer steps, the first of which is not timed.
        tokens_per_step: Tokens of the blocks of a step, a multiple of `block`.
        learning_rate: Of AdamW.
        micro_batch: Blocks at once; the rest of a step is gradient accumulation.

    Returns:
        tokens_per_s: Tokens of documents a second, padding not counted, after the warm-up.
        peak_rss_gb: The most memory that the process held.
        losses: The mean loss per learned token of every step, nats.
        tokens: Tokens of documents in all steps, the warm-up included.
        documents_apart: Whether documents of one block were kept from seeing each other.
    """
    if tokens_per_step % (block * micro_batch):
        raise ValueError(
            f"tokens_per_step is {tokens_per_step}; a multiple of {micro_batch} blocks of {block} tokens is wanted."
        )
    if steps <= WARM_UP:
        raise ValueError(f"steps is {steps}; more than {WARM_UP} is wanted, since the first is not timed.")
    with tempfile.TemporaryDirectory() as place:
        watch = _watch()
        trainer = _trainer(
            checkpoint,
            rows,
            watch,
            Path(place),
            max_length=block,
            max_steps=steps,
            per_device_train_batch_size=micro_batch,
            gradient_accumulation_steps=tokens_per_step // (block * micro_batch),
            learning_rate=learning_rate,
        )
        trainer.train()
    logged = [row for row in trainer.state.log_history if "loss" in row]
    tokens = [int(row["num_tokens"]) for row in logged]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "tokens_per_s": (tokens[-1] - tokens[WARM_UP - 1]) / (watch.ends[-1] - watch.ends[WARM_UP - 1]),
        "peak_rss_gb": peak,
        "losses": [row["loss"] for row in logged],
        "tokens": tokens[-1],
        "documents_apart": documents_are_apart(trainer),
    }


def _watch() -> Any:
    """Return a callback that notes when each step ends."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.ends: list[float] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.ends.append(time.perf_counter())

    return Watch()


def _trainer(checkpoint: Path, rows: Path, watch: Any, place: Path, **settings: Any) -> Any:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    _mark_assistant(tokenizer)
    with rows.open(encoding="utf-8") as lines:
        examples = [{"messages": json.loads(line)["messages"]} for line in lines]
    config = SFTConfig(
        output_dir=str(place),
        packing=True,
        assistant_only_loss=True,
        bf16=True,
        use_cpu=True,
        gradient_checkpointing=False,
        optim="adamw_torch_fused",
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=0,
        **settings,
    )
    return SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32),
        args=config,
        train_dataset=Dataset.from_list(examples),
        processing_class=tokenizer,
        callbacks=[watch],
    )


def _mark_assistant(tokenizer: Any) -> None:
    """Give the tokenizer a template that marks the assistant's words, unless it has one."""
    if "{% generation %}" in tokenizer.chat_template:
        return
    before = tokenizer.apply_chat_template(PROBE, tokenize=False)
    tokenizer.chat_template = TEMPLATE
    if tokenizer.apply_chat_template(PROBE, tokenize=False) != before:
        raise ValueError(
            "the tokenizer's chat template is not SmolLM2's, and has no marks around what the assistant says. Give it "
            "a template with {% generation %} and {% endgeneration %} there."
        )


def documents_are_apart(trainer: Any) -> bool:
    """Return whether another first document in a packed block leaves the loss on the second as it is."""
    import torch

    data = trainer.train_dataset
    row = next((one for one in data if len(one["seq_lengths"]) > 1), None)
    assert row is not None, "no block holds two documents"
    model, first = trainer.model.eval(), row["seq_lengths"][0]
    seen = []
    with torch.no_grad():
        for shift in (0, 1):
            batch: Mapping[str, Any] = trainer.data_collator([row])
            ids = batch["input_ids"].clone()
            ids[:, 1:first] = (ids[:, 1:first] + shift) % model.config.vocab_size
            inputs = {key: value for key, value in batch.items() if key != "labels"}
            seen.append(model(**{**inputs, "input_ids": ids, "use_cache": False}).logits[:, first:])
    return bool(torch.allclose(seen[0], seen[1], atol=1e-4))


if __name__ == "__main__":
    main()
