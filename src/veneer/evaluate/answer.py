"""Every contestant is asked the same: all benchmarks in all their forms, and the prompts for style and preference.

An artefact of this stage holds
- `completions.jsonl`: one row a completion, `{benchmark, form, reference_loglikelihood, completion}`. `benchmark` is
  `prompts` for the prompts for style; `completion` is a `records.Completion`; `reference_loglikelihood` is the
  log-probability (nats) of the item's first reference (in a chat: as the whole reply, its end token included), null
  where it cannot be read. Benchmarks come in the study's order, forms in the benchmark's, items in the file's; the
  prompts come last, samples of one prompt together.
- `prompts.jsonl`: the prompts for style as they are put, one `records.Prompt` a row; empty where there are none.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from veneer import store
from veneer.benchmarks import items
from veneer.benchmarks.benchmark import Benchmark, Form, Item
from veneer.models.model import Continuation, Model, ModelRef, Sampling, ScoringModel
from veneer.models.open import open_model
from veneer.models.render import default_template_digest
from veneer.records import Completion, Contestant, Prompt, Role, Stop, to_row
from veneer.store import Order
from veneer.study import BenchmarkSpec, EvaluateSpec, PromptsSpec

VERSION = 2
COMPLETIONS, PROMPTS = "completions.jsonl", "prompts.jsonl"
CHUNK_BATCHES = 8
"""Answers are put on disk after so many batches; chunks are fixed, so an interruption changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One benchmark in one form, as it is put to one contestant."""

    benchmark: Benchmark
    form: Form
    samples: int


def orders(contestants: Sequence[tuple[Contestant, ModelRef]], spec: EvaluateSpec) -> list[Order]:
    """Return the order of every contestant's completions.

    The teacher answers the prompts for style twice: its second answers are the ceiling of style. What grading alone
    needs is no part of the key, so that a change of grading asks nobody again.
    """
    files = _files(spec)
    config = _config(spec)
    return [
        Order(
            stage="answer",
            name=contestant.name,
            version=VERSION,
            config={
                **config,
                "contestant": contestant.name,
                "samples": samples_of(contestant.role),
                "kind": ref.kind,
                "fields": [ref.prompt_field, ref.text_field] if ref.kind == "replay" else [],
            },
            inputs={"model": ref.digest, **files},
            make=partial(_make, ref=ref, spec=spec, samples=samples_of(contestant.role)),
        )
        for contestant, ref in contestants
    ]


def samples_of(role: Role) -> int:
    """Return how often a contestant of this role answers each prompt for style."""
    return 2 if role is Role.TEACHER else 1


def _files(spec: EvaluateSpec) -> dict[str, str]:
    """Return the digest of every file that is asked from."""
    paths = {f"{name}: items": benchmark.items for name, benchmark in spec.benchmarks.items()}
    paths |= {f"{name}: shots": one.shots for name, one in spec.benchmarks.items() if one.shots}
    if spec.prompts:
        paths["prompts"] = spec.prompts.items
    return {role: store.digest(path) for role, path in paths.items()}


def _config(spec: EvaluateSpec) -> dict[str, Any]:
    def asked(section: BenchmarkSpec | PromptsSpec, without: set[str]) -> dict[str, Any]:
        return section.model_dump(mode="json", exclude={"items", *without})

    grading = {"measures", "grading", "lexicon", "shots"}
    return {
        "benchmarks": [[name, asked(one, grading)] for name, one in spec.benchmarks.items()],
        "prompts": asked(spec.prompts, set()) if spec.prompts else None,
        "batch_size": spec.batch_size,
        "chunk": CHUNK_BATCHES,
        "default_template": default_template_digest(),
    }


def _make(folder: Path, *, ref: ModelRef, spec: EvaluateSpec, samples: int) -> None:
    chunks = folder / "chunks"
    if not (folder / COMPLETIONS).exists():
        whole = sheets(spec, samples)
        asked = next((sheet.benchmark.prompts("chat") for sheet in whole if _is_prompts(sheet)), [])
        store.write_rows(folder / PROMPTS, map(to_row, asked))
        # Opened only if something is left to ask: loading a large checkpoint takes minutes.
        model: Model | None = None
        parts = []
        for place, (sheet, start) in enumerate(_chunks(whole, CHUNK_BATCHES * spec.batch_size)):
            parts.append(chunks / f"{place:06d}.jsonl")
            if not parts[-1].exists():
                model = model or open_model(ref, batch_size=spec.batch_size)
                store.write_rows(parts[-1], _answers(model, sheet, start, CHUNK_BATCHES * spec.batch_size))
        together = "".join(part.read_text(encoding="utf-8") for part in parts)
        store.write_text(folder / COMPLETIONS, together)
    shutil.rmtree(chunks, ignore_errors=True)


def _is_prompts(sheet: Sheet) -> bool:
    return sheet.benchmark.name == items.PROMPTS


def sheets(spec: EvaluateSpec, samples: int) -> list[Sheet]:
    """Return everything that one contestant is asked: every benchmark in all its forms, the prompts for style last."""
    found = [
        Sheet(benchmark=benchmark, form=form, samples=1)
        for benchmark in (items.load(name, section) for name, section in spec.benchmarks.items())
        for form in benchmark.forms
    ]
    if spec.prompts:
        found.append(Sheet(benchmark=items.load_prompts(spec.prompts), form="chat", samples=samples))
    return found


def _chunks(whole: Sequence[Sheet], size: int) -> Iterator[tuple[Sheet, int]]:
    for sheet in whole:
        for start in range(0, len(sheet.benchmark.items), size):
            yield sheet, start


def _answers(model: Model, sheet: Sheet, start: int, size: int) -> list[dict[str, Any]]:
    """Ask one chunk of a sheet and return its rows."""
    benchmark, form = sheet.benchmark, sheet.form
    prompts = benchmark.prompts(form)[start : start + size]
    asked = benchmark.items[start : start + size]
    sampling = Sampling(
        temperature=benchmark.temperature,
        max_tokens=benchmark.max_tokens[form],
        stop=benchmark.stop.get(form, ()),
        samples=sheet.samples,
        seed=benchmark.seed,
    )
    completions = list(model.generate(prompts, sampling))
    known = _reference_loglikelihoods(model, asked, prompts, completions)
    return [
        {
            "benchmark": benchmark.name,
            "form": form,
            "reference_loglikelihood": known.get(completion.prompt_id),
            "completion": to_row(completion),
        }
        for completion in completions
    ]


def _reference_loglikelihoods(
    model: Model, asked: Sequence[Item], prompts: Sequence[Prompt], completions: Sequence[Completion]
) -> dict[str, float]:
    """Return the log-likelihood of each item's first reference, where the model can be scored on it."""
    if not isinstance(model, ScoringModel):
        return {}
    failed = {completion.prompt_id for completion in completions if completion.stop is Stop.FAILED}
    requests = [
        Continuation(prompt=prompt, continuation=item.references[0])
        for item, prompt in zip(asked, prompts, strict=True)
        if item.references and item.item_id not in failed
    ]
    scores = model.loglikelihoods(requests)
    return {request.prompt.prompt_id: score.value for request, score in zip(requests, scores, strict=True)}
