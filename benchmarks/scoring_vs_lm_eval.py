"""The same requests to the same model by lm-eval's Hugging Face backend and by Veneer: equal answers, and the time.

    pip install "veneer[bench]"
    VENEER_DATA=FOLDER python benchmarks/scoring_vs_lm_eval.py CHECKPOINT [--questions 10] [--precision bf16]

CHECKPOINT is a folder such as `benchmarks/smollm2.py` writes. The requests are lm-eval's own (`benchmarks/harness.py`
builds them through its tasks): MMLU 5-shot on ten subjects, ARC-Challenge 25-shot, TruthfulQA mc2, Natural Questions
3-shot and GSM8K 5-shot, greedy. Each side runs in a process of its own, so that its peak memory is its own. For lm-eval
the faster of the batch sizes given counts. Ends with one line of JSON.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from veneer import disk

SUBJECTS = (
    "abstract_algebra anatomy astronomy business_ethics college_biology econometrics global_facts "
    "high_school_geography jurisprudence world_religions"
).split()
NEAR = 1e-3
"""Nats; a choice that is nearer than this to the best is a near-tie."""


def main() -> None:
    """Run both sides, compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--questions", type=int, default=10, help="of each MMLU subject")
    parser.add_argument("--subjects", type=int, default=len(SUBJECTS), help="how many MMLU subjects")
    parser.add_argument("--others", type=int, default=24, help="of each other task; 0 leaves them out")
    parser.add_argument("--only", nargs="+", help="leave out all tasks but these")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="lm-eval's batch sizes")
    parser.add_argument("--write", type=Path, help="only write the requests to this file, for gpu_eval.py")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--asked", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        work = json.loads(asked.asked.read_text(encoding="utf-8"))
        print(json.dumps(_side(asked.side, asked.checkpoint, work, asked.precision)))
        return
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "asked.json"
        path.write_text(json.dumps(_requests(Path(place), asked)), encoding="utf-8")
        if asked.write:
            asked.write.write_bytes(path.read_bytes())
            return
        sides = {
            side: _run(side, asked.checkpoint, path, asked.precision)
            for side in ("veneer", *(f"lm-eval-{size}" for size in asked.batches))
        }
    print(json.dumps(compared(sides)))


def _requests(place: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Return lm-eval's requests by task."""
    from veneer.benchmarks import harness, items
    from veneer.study_benchmarks import BenchmarkSpec

    data, others = Path(os.environ["VENEER_DATA"]), asked.others
    nq = place / "bundle" / "google-research-datasets__nq_open" / "default"
    nq.mkdir(parents=True)
    # The training questions, from which lm-eval draws the shots, are not in the folder: EfficientQA's stand in.
    for split, name in (("train", "NQ-open.efficientqa.dev.1.1.jsonl"), ("validation", "NQ-open.dev.jsonl")):
        found = next(data.glob(f"nq_open/{name}*"))
        disk.write_rows(nq / f"{split}.jsonl", (row for _, row in disk.read_rows(found)))
    subjects = {f"mmlu_{subject}": (asked.questions, 5, data) for subject in SUBJECTS[: asked.subjects]}
    more = {
        "arc_challenge": (others, 25, data),
        "truthfulqa_mc2": (others, None, data),
        "nq_open": (2 * others, 3, place / "bundle"),
        "gsm8k": (max(others // 4, 2), 5, data),
    }
    found = {}
    for task, (limit, shots, bundle) in {**subjects, **(more if others else {})}.items():
        if asked.only and task not in asked.only:
            continue
        spec = harness.resolve(
            task, BenchmarkSpec(task=task, limit=limit, shots=shots), bundle, place / "items"
        )
        benchmark = items.load(task, spec)
        found[task] = {
            "contexts": [item.context for item in benchmark.items],
            "continuations": [list(item.continuations) for item in benchmark.items],
            "stop": list(benchmark.stop["plain"]),
            "max_tokens": min(benchmark.max_tokens.get("plain", 0), 64),
        }
    return found


def _run(side: str, checkpoint: Path, asked: Path, precision: str) -> dict[str, Any]:
    print(f"{side} ...", file=sys.stderr, flush=True)
    command = [
        sys.executable,
        __file__,
        str(checkpoint),
        "--side",
        side,
        "--asked",
        str(asked),
        "--precision",
        precision,
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _side(side: str, checkpoint: Path, work: Mapping[str, Any], precision: str) -> dict[str, Any]:
    ask = _veneer(checkpoint, precision) if side == "veneer" else _lm_eval(checkpoint, precision, side)
    tasks = {}
    for task, one in work.items():
        began = time.monotonic()
        answers = ask(one)
        tasks[task] = {"seconds": time.monotonic() - began, "answers": answers}
        print(f"  {task}: {tasks[task]['seconds']:.1f} s", file=sys.stderr, flush=True)
    return {"tasks": tasks, "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def _veneer(checkpoint: Path, precision: str) -> Any:
    from veneer.models import local
    from veneer.models.model import ModelRef

    ref = ModelRef(name="model", kind="checkpoint", path=checkpoint, digest="-")
    return asking_veneer(local.load(ref, batch_size=32, precision="bf16" if precision == "bf16" else "fp32"))


def asking_veneer(model: Any) -> Any:
    """Return the function that answers a task's requests through a `LocalModel`."""
    from veneer.models.model import Continuation, Sampling
    from veneer.records import Prompt

    model.loglikelihoods([Continuation(prompt=Prompt(prompt_id="warm", text="a"), continuation="b")])

    def ask(one: Mapping[str, Any]) -> list[Any]:
        prompts = [Prompt(prompt_id=str(place), text=text) for place, text in enumerate(one["contexts"])]
        if not one["continuations"][0]:
            sampling = Sampling(
                temperature=0.0, max_tokens=one["max_tokens"], stop=tuple(one["stop"]), cut=True
            )
            return [completion.text for completion in model.generate(prompts, sampling)]
        requests = [
            Continuation(prompt=prompt, continuation=choice, exact=True)
            for prompt, own in zip(prompts, one["continuations"], strict=True)
            for choice in own
        ]
        found = iter(model.loglikelihoods(requests))
        return [[next(found).value for _ in own] for own in one["continuations"]]

    return ask


def _lm_eval(checkpoint: Path, precision: str, side: str) -> Any:
    from lm_eval.models.huggingface import HFLM

    dtype = "float32" if precision == "fp32" else "bfloat16"
    model = HFLM(
        pretrained=str(checkpoint), dtype=dtype, batch_size=int(side.rsplit("-", 1)[1]), device="cpu"
    )
    return asking_lm_eval(model)


def asking_lm_eval(model: Any) -> Any:
    """Return the function that answers a task's requests through lm-eval's `HFLM`."""
    from lm_eval.api.instance import Instance

    def ask(one: Mapping[str, Any]) -> list[Any]:
        if not one["continuations"][0]:
            settings = {"until": one["stop"], "max_gen_toks": one["max_tokens"], "do_sample": False}
            asked = [
                Instance("generate_until", {}, (text, settings), place)
                for place, text in enumerate(one["contexts"])
            ]
            return list(model.generate_until(asked, disable_tqdm=True))
        asked = [
            Instance("loglikelihood", {}, (text, choice), place)
            for place, (text, own) in enumerate(zip(one["contexts"], one["continuations"], strict=True))
            for choice in own
        ]
        found = iter(model.loglikelihood(asked, disable_tqdm=True))
        return [[next(found)[0] for _ in own] for own in one["continuations"]]

    return ask


def compared(sides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return how `veneer` did beside the other sides: seconds, memory, and what each answered."""
    ours = sides["veneer"]
    theirs = [side for name, side in sides.items() if name != "veneer"]
    kinds = {
        "mmlu_speedup": [task for task in ours["tasks"] if task.startswith("mmlu_")],
        "choice_speedup": ["arc_challenge"],
        "truthfulqa_speedup": ["truthfulqa_mc2"],
        "generation_speedup": ["nq_open"],
        "gsm8k_speedup": ["gsm8k"],
    }
    found: dict[str, Any] = {}
    for name, tasks in kinds.items():
        if not set(tasks) & set(ours["tasks"]):
            continue
        best = min(sum(side["tasks"][task]["seconds"] for task in tasks) for side in theirs)
        found[name] = round(best / sum(ours["tasks"][task]["seconds"] for task in tasks), 2)
    found["peak_memory_ratio"] = round(ours["peak_gb"] / min(side["peak_gb"] for side in theirs), 2)
    differences, mismatches, ties, texts, same = [0.0], 0, 0, 0, 0
    for task, one in ours["tasks"].items():
        for mine, yours in zip(one["answers"], theirs[0]["tasks"][task]["answers"], strict=True):
            if isinstance(mine, str):
                texts, same = texts + 1, same + (mine == yours)
                continue
            differences += [abs(a - b) for a, b in zip(mine, yours, strict=True)]
            if mine.index(max(mine)) != yours.index(max(yours)):
                near = _lead(yours) < NEAR
                ties, mismatches = ties + near, mismatches + (not near)
    return {
        **found,
        "max_loglikelihood_difference": max(differences),
        "prediction_mismatches": mismatches,
        "near_ties": ties,
        "texts": texts,
        "texts_equal": same,
    }


def _lead(values: Sequence[float]) -> float:
    best, second = sorted(values, reverse=True)[:2]
    return best - second


if __name__ == "__main__":
    main()
