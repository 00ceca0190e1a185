"""Scoring and generation on a GPU at the paper's sizes, by lm-eval's Hugging Face backend and by Veneer.

    VENEER_DATA=FOLDER python benchmarks/scoring_vs_lm_eval.py CHECKPOINT --write asked.json
    python benchmarks/gpu_eval.py TOKENIZER asked.json [--models llama-1.5b llama-7b] [--batches 16 64]
    python benchmarks/gpu_eval.py TOKENIZER asked.json --models tiny      # a check of the script, on any machine

TOKENIZER is a folder with a tokenizer, such as CHECKPOINT. Both sides get the same requests and the same network, whose
weights are random: speed does not depend on them, likelihoods come out nearly alike, and no completion ends early. For
lm-eval the fastest of the batch sizes counts. Where vLLM is installed its `prompt_logprobs` path is timed on the
likelihoods too. The last line is JSON.
"""

import argparse
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from scoring_vs_lm_eval import asking_lm_eval, asking_veneer, compared
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from veneer.models.local import LocalModel

WHOLE_MMLU = 14_042
SIZES = {"tiny": (64, 2, 4, 128), "llama-1.5b": (2048, 24, 16, 5632), "llama-7b": (4096, 32, 32, 11008)}
"""Width, layers, heads and inner width."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("asked", type=Path, help="requests, as scoring_vs_lm_eval.py --write left them")
    parser.add_argument("--models", nargs="+", choices=SIZES, default=["llama-1.5b", "llama-7b"])
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--cudnn", action="store_true", help="leave lm-eval torch's own choice of attention")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64], help="lm-eval's batch sizes")
    asked = parser.parse_args()
    # At its best: cuDNN's attention plans anew for every length, and both sides are slower with it.
    torch.backends.cuda.enable_cudnn_sdp(asked.cudnn)
    work = json.loads(asked.asked.read_text(encoding="utf-8"))
    found = []
    for name in asked.models:
        found.append({"model": name, "precision": asked.precision, **measure(name, work, asked)})
        print(json.dumps(found[-1]), flush=True)
    print(json.dumps(found))


def measure(name: str, work: Mapping[str, Any], asked: argparse.Namespace) -> dict[str, Any]:
    """Let every side answer all tasks with the same network; return the figures."""
    from lm_eval.models.huggingface import HFLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(asked.tokenizer)
    network = network_of(name, len(tokenizer), device, asked.precision)
    ours = LocalModel(name=name, tokenizer=tokenizer, network=network, batch_size=64)
    sides = {"veneer": timed(asking_veneer(ours), work)}
    for size in asked.batches:
        theirs = HFLM(pretrained=network, tokenizer=tokenizer, batch_size=size)
        sides[f"lm-eval-{size}"] = timed(asking_lm_eval(theirs), work)
    figures = compared(sides)
    mmlu = [task for task in work if task.startswith("mmlu_")]
    questions = sum(len(work[task]["contexts"]) for task in mmlu)
    seconds = sum(sides["veneer"]["tasks"][task]["seconds"] for task in mmlu)
    figures["whole_mmlu_minutes"] = round(seconds / questions * WHOLE_MMLU / 60, 2)
    figures["seconds"] = {
        side: {task: round(one["seconds"], 2) for task, one in all_of["tasks"].items()}
        for side, all_of in sides.items()
    }
    if importlib.util.find_spec("vllm"):
        figures["vllm_mmlu_seconds"] = vllm_seconds(network, tokenizer, [work[task] for task in mmlu])
    return figures


def network_of(name: str, words: int, device: str, precision: str) -> Any:
    """Return LLaMA's architecture at a size, with random weights."""
    width, layers, heads, inner = SIZES[name]
    config = LlamaConfig(
        vocab_size=words, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=inner, max_position_embeddings=4096,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(device):
        network = AutoModelForCausalLM.from_config(
            config, dtype=torch.bfloat16 if precision == "bf16" else torch.float32
        )
    return network.eval().requires_grad_(False)


def timed(ask: Callable[[Mapping[str, Any]], Any], work: Mapping[str, Any]) -> dict[str, Any]:
    """Return every task's seconds and answers, and the peak of the device's memory."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    tasks = {}
    for task, one in work.items():
        began = time.perf_counter()
        answers = ask(one)
        tasks[task] = {"seconds": time.perf_counter() - began, "answers": answers}
    peak = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 1.0
    return {"tasks": tasks, "peak_gb": peak}


def vllm_seconds(network: Any, tokenizer: Any, work: list[Mapping[str, Any]]) -> float:
    """Return the seconds that vLLM takes to weigh the same choices by the log-probabilities of their prompts."""
    from vllm import LLM, SamplingParams

    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        engine = LLM(model=folder, enable_prefix_caching=True, gpu_memory_utilization=0.4)
        texts = [
            context + choice
            for one in work
            for context, own in zip(one["contexts"], one["continuations"], strict=True)
            for choice in own
        ]
        settings = SamplingParams(max_tokens=1, prompt_logprobs=0, temperature=0.0)
        began = time.perf_counter()
        engine.generate(texts, settings)
        return round(time.perf_counter() - began, 2)


if __name__ == "__main__":
    main()
