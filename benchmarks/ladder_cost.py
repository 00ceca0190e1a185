"""What a ladder costs that shares a trunk, against training every amount alone and against the largest alone.

    python benchmarks/ladder_cost.py [--amount 64k] [--checkpoint FOLDER]

Amounts are A/16, A/8, A/4, A/2 and A. Without a checkpoint the base is a small Llama of random weights (3.7M), on
generated conversations. Every student of the trunk is compared bit by bit with the one that was trained alone. The last
line is JSON.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from veneer.disk import digest, read_json, write_rows
from veneer.study_data import parse_tokens
from veneer.study_train import HardwareSpec, RecipeSpec
from veneer.train import launch
from veneer.train.ladder import Run, Rung

WORDS = 2000
SPECIAL = ["<pad>", "<eos>", "<unk>", "<user>", "<asst>"]
CHAT = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<user> {{ m['content'] }} {% else %}<asst> {{ m['content'] }} "
    "<eos> {% endif %}{% endfor %}{% if add_generation_prompt %}<asst>{% endif %}"
)


def main() -> None:
    """Train the ladder three ways and print the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--amount", default="64k")
    parser.add_argument("--checkpoint", type=Path)
    asked = parser.parse_args()
    largest = int(str(parse_tokens(asked.amount)))
    amounts = tuple(largest // share for share in (16, 8, 4, 2, 1))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        base = asked.checkpoint or write_base(folder / "base")
        write_examples(folder / "prepared", largest)
        run = run_of(folder, base, amounts)
        train(replace(run, rung=replace(run.rung, amount=amounts[0])), folder / "warm")  # Imports and caches.
        alone = {amount: timed(run, amount, folder / "alone", trunk=None) for amount in amounts}
        branch = {amount: timed(run, amount, folder / "branch", trunk=folder / "trunk") for amount in amounts}
        same = all(
            digest(folder / f"alone-{amount}" / "checkpoint")
            == digest(folder / f"branch-{amount}" / "checkpoint")
            for amount in amounts
        )
    for amount in amounts:
        print(f"{amount:>9,} tokens: alone {alone[amount]}, on the trunk {branch[amount]} (tokens, seconds)")
    tokens, seconds = (sum(each[place] for each in branch.values()) for place in (0, 1))
    figures = {
        "tokens_vs_largest": tokens / alone[largest][0],
        "wall_vs_largest": seconds / alone[largest][1],
        "wall_vs_separate": seconds / sum(each[1] for each in alone.values()),
        "bit_identical": same,
    }
    print(json.dumps({name: value if value is same else round(value, 4) for name, value in figures.items()}))


def timed(run: Run, amount: int, place: Path, *, trunk: Path | None) -> tuple[int, float]:
    """Train one amount; return the tokens that were gone through, and the seconds."""
    began = time.perf_counter()
    made = place.with_name(f"{place.name}-{amount}")
    done = replace(run, rung=replace(run.rung, amount=amount), trunk=trunk, log=made / "log")
    train(done, made)
    seconds = time.perf_counter() - began
    return read_json(made / "log" / "hardware.json")["tokens"], round(seconds, 2)


def train(run: Run, folder: Path) -> None:
    """Train one rung as a study does."""
    folder.mkdir(parents=True)
    launch.train(run, folder)


def run_of(folder: Path, base: Path, amounts: tuple[int, ...]) -> Run:
    """Return the run of the largest amount."""
    recipe = RecipeSpec(
        learning_rate=1e-3, max_length=256, step_tokens=1024, precision="bf16", holdout_tokens=0
    )
    return Run(
        rung=Rung(base="base", source="broad", amount=amounts[-1], seed=0, replay=0.0),
        amounts=amounts,
        base=base,
        prepared=folder / "prepared",
        pretraining=None,
        recipe=recipe,
        warmup_tokens=amounts[0] // 10,
        hardware=HardwareSpec(),
        trunk=None,
        log=folder / "log",
    )


def write_base(folder: Path) -> Path:
    """Write a checkpoint of random weights with a tokenizer of whole words."""
    torch.manual_seed(0)
    words = [*SPECIAL, *(f"w{number}" for number in range(WORDS))]
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=256, intermediate_size=768, num_hidden_layers=4, num_attention_heads=4,
        max_position_embeddings=512, pad_token_id=0, eos_token_id=1, bos_token_id=None, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    backend = Tokenizer(
        models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>")
    )
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>",
        additional_special_tokens=["<user>", "<asst>"],
    )  # fmt: skip
    made.chat_template = CHAT
    made.save_pretrained(folder)
    return folder


def write_examples(folder: Path, tokens: int) -> None:
    """Write conversations of such words, a little more than are wanted."""
    rng = np.random.default_rng(0)
    rows, total = [], 0
    while total < 1.02 * tokens + 500:
        query, answer = (
            " ".join(f"w{word}" for word in rng.zipf(1.3, size) % WORDS)
            for size in (int(rng.integers(4, 30)), int(np.clip(rng.lognormal(4, 0.7), 5, 200)))
        )
        size = len(query.split()) + len(answer.split()) + 3
        total += size
        messages = [{"role": "user", "content": query}, {"role": "assistant", "content": answer}]
        rows.append({"example_id": str(len(rows)), "source": "broad", "messages": messages, "tokens": size})
    write_rows(folder / "examples.jsonl", rows)


if __name__ == "__main__":
    main()
