"""Every contestant is asked the same: all benchmarks in all their forms, and the prompts for style and preference.

An artefact of this stage holds
- `completions.jsonl`: one row a completion, `{benchmark, form, reference_loglikelihood, choices, completion}`.
  `benchmark` is `prompts` for the prompts for style; `completion` is a `records.Completion`; `reference_loglikelihood`
  is the log-probability (nats) of the item's first reference (in a chat: as the whole reply, its end token included),
  null where it cannot be read. `choices` is empty but in the form `choose`: there it holds `[log-probability, tokens,
  greedy]` of every choice, and the completion's text is the likeliest. Benchmarks come in the study's order, forms in
  the benchmark's, items in the file's; the prompts come last, samples of one prompt together.
- `agreement.json`: for every benchmark that was asked in the form `choose`, whether what texts share was read once, and
  on a sample of its items how far that is from reading every text whole: the largest difference of a log-likelihood,
  and the near-ties whose likeliest choice it changes.
- `prompts.jsonl`: the prompts for style as they are put, one `records.Prompt` a row; empty where there are none.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
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
from veneer.study import EvaluateSpec, PromptsSpec
from veneer.study_benchmarks import BenchmarkSpec

VERSION = 3
COMPLETIONS, PROMPTS, AGREEMENT = "completions.jsonl", "prompts.jsonl", "agreement.json"
CHECKED = 8
"""Items of a benchmark whose choices are read the plain way too."""
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
    paths = {f"{name}: items": one.items for name, one in spec.benchmarks.items() if one.items}
    paths |= {
        f"{name}: shots": one.shots for name, one in spec.benchmarks.items() if isinstance(one.shots, Path)
    }
    if spec.prompts:
        paths["prompts"] = spec.prompts.items
    return {role: store.digest(path) for role, path in paths.items()}


def _config(spec: EvaluateSpec) -> dict[str, Any]:
    def asked(section: BenchmarkSpec | PromptsSpec, without: set[str]) -> dict[str, Any]:
        return section.model_dump(mode="json", exclude={"items", *without})

    grading = {"measures", "grading", "lexicon", "toxicity", "shots"}
    return {
        "benchmarks": [[name, asked(one, grading)] for name, one in spec.benchmarks.items()],
        "prompts": asked(spec.prompts, set()) if spec.prompts else None,
        "batch_size": spec.batch_size,
        "precision": spec.precision,
        "chunk": CHUNK_BATCHES,
        "default_template": default_template_digest(),
    }


def _make(folder: Path, *, ref: ModelRef, spec: EvaluateSpec, samples: int) -> None:
    chunks = folder / "chunks"
    if not (folder / COMPLETIONS).exists():
        whole = sheets(spec, samples, scored=ref.kind == "checkpoint")
        asked = next((sheet.benchmark.prompts("chat") for sheet in whole if _is_prompts(sheet)), [])
        store.write_rows(folder / PROMPTS, map(to_row, asked))
        # Opened only if something is left to ask: loading a large checkpoint takes minutes.
        model: Model | None = None
        parts = []
        agreed: dict[str, Any] = {}
        for place, (sheet, start) in enumerate(_chunks(whole, CHUNK_BATCHES * spec.batch_size)):
            parts.append(chunks / f"{place:06d}.jsonl")
            checked = chunks / f"{place:06d}.agreement.json"
            if not parts[-1].exists():
                model = model or open_model(ref, batch_size=spec.batch_size, precision=spec.precision)
                if start == 0 and sheet.form == "choose":
                    store.write_json(checked, _agreement(model, sheet))
                store.write_rows(parts[-1], _answers(model, sheet, start, CHUNK_BATCHES * spec.batch_size))
            if checked.exists():
                agreed[sheet.benchmark.name] = store.read_json(checked)
        store.write_json(folder / AGREEMENT, agreed)
        together = "".join(part.read_text(encoding="utf-8") for part in parts)
        store.write_text(folder / COMPLETIONS, together)
    shutil.rmtree(chunks, ignore_errors=True)


def _is_prompts(sheet: Sheet) -> bool:
    return sheet.benchmark.name == items.PROMPTS


def sheets(spec: EvaluateSpec, samples: int, *, scored: bool) -> list[Sheet]:
    """Return everything that one contestant is asked: every benchmark in all its forms, the prompts for style last.

    Args:
        spec: What is asked of all.
        samples: Completions of each prompt for style.
        scored: Whether the contestant's probabilities can be read: without, nothing is asked in the form `choose`.
    """
    found = [
        Sheet(benchmark=benchmark, form=form, samples=1 if form == "choose" else benchmark.samples)
        for benchmark in (items.load(name, section) for name, section in spec.benchmarks.items())
        for form in benchmark.forms
        if scored or form != "choose"
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
    if form == "choose":
        assert isinstance(model, ScoringModel), "only such contestants have sheets of this form"
        return _chosen(model, benchmark.name, asked, prompts)
    sampling = Sampling(
        temperature=benchmark.temperature,
        max_tokens=benchmark.max_tokens[form],
        stop=benchmark.stop.get(form, ()),
        samples=sheet.samples,
        seed=benchmark.seed,
        cut=any(item.task for item in asked),
    )
    completions = list(model.generate(prompts, sampling))
    known = _reference_loglikelihoods(model, asked, prompts, completions)
    return [
        {
            "benchmark": benchmark.name,
            "form": form,
            "reference_loglikelihood": known.get(completion.prompt_id),
            "choices": [],
            "completion": to_row(completion),
        }
        for completion in completions
    ]


def _choices(item: Item, prompt: Prompt) -> list[Continuation]:
    """Return the continuations that an item offers."""
    exact = bool(item.continuations)
    return [
        Continuation(prompt=prompt, continuation=choice, exact=exact)
        for choice in item.continuations or item.choices
    ]


def _chosen(
    model: ScoringModel, benchmark: str, asked: Sequence[Item], prompts: Sequence[Prompt]
) -> list[dict[str, Any]]:
    """Return the rows of items whose choices are weighed; where two are equally likely, the first stands."""
    requests = [_choices(item, prompt) for item, prompt in zip(asked, prompts, strict=True)]
    found = iter(model.loglikelihoods([request for own in requests for request in own]))
    rows = []
    for item, prompt, own in zip(asked, prompts, requests, strict=True):
        weighed = [next(found) for _ in own]
        best = _best([one.value for one in weighed])
        texts = item.choices or item.continuations
        right = [place for place, text in enumerate(texts) if text in item.references[:1]]
        cut = max(one.cut for one in weighed)
        completion = Completion(
            prompt_id=item.item_id,
            sample=0,
            model=model.name,
            rendered=prompt.text,
            text=texts[best],
            stop=Stop.END,
            detail=f"the first {cut} tokens of the prompt were cut, to fit the context window" if cut else "",
            tokens_in=0,
            tokens_out=max(one.tokens for one in weighed),
        )
        rows.append(
            {
                "benchmark": benchmark,
                "form": "choose",
                "reference_loglikelihood": weighed[right[0]].value if right else None,
                "choices": [[one.value, one.tokens, one.greedy] for one in weighed],
                "completion": to_row(completion),
            }
        )
    return rows


def _agreement(model: Model, sheet: Sheet) -> dict[str, Any]:
    """Return how far the fast way of reading likelihoods is from the plain one, on items spread over the benchmark."""
    assert isinstance(model, ScoringModel), "only such contestants have sheets of this form"
    every = max(len(sheet.benchmark.items) // CHECKED, 1)
    asked = sheet.benchmark.items[::every][:CHECKED]
    prompts = sheet.benchmark.prompts("choose")[::every][:CHECKED]
    own = [_choices(item, prompt) for item, prompt in zip(asked, prompts, strict=True)]
    requests = [request for some in own for request in some]
    fast = model.loglikelihoods(requests)
    agreed = model.agreement(requests, fast)
    flipped, start = 0, 0
    for some in own if agreed.fast else ():
        span = slice(start, start + len(some))
        flipped += _best([one.value for one in fast[span]]) != _best(agreed.plain[span])
        start = span.stop
    said = {name: value for name, value in asdict(agreed).items() if name != "plain"}
    return {**said, "items": len(asked) if agreed.fast else 0, "flipped": flipped}


def _best(values: Sequence[float]) -> int:
    """Return the place of the largest value; of equal ones, the first."""
    return max(range(len(values)), key=lambda place: (values[place], -place))


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
