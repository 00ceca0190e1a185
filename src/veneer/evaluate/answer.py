"""Every contestant is asked the same: all benchmarks in all their forms, and the prompts for style and preference.

An artefact of this stage holds
- `completions.jsonl`: one row a completion, `{benchmark, form, reference_loglikelihood, choices, completion}`.
  `benchmark` is `prompts` for the prompts for style; `completion` is a `records.Completion`; `reference_loglikelihood`
  is the log-probability (nats) of the item's first reference (in a chat: as the whole reply, its end token included),
  null where it cannot be read. `choices` is empty but in the form `choose`: there it holds `[log-probability, tokens,
  greedy]` of every choice, and the completion's text is the likeliest. Benchmarks come in the study's order, forms by
  name, items in the file's order; the prompts come last, samples of one prompt together.
- `agreement.json`: for every benchmark that was asked in the form `choose`, whether what texts share was read once, and
  on a sample of its items how far that is from reading every text whole: the largest difference of a log-likelihood,
  and the near-ties whose likeliest choice it changes.
- `prompts.jsonl`: the prompts for style as they are put, one `records.Prompt` a row; empty where there are none.
"""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from veneer import disk, lacking
from veneer.benchmarks import items
from veneer.benchmarks.benchmark import Benchmark, Form, Item
from veneer.disk import Row
from veneer.models.model import (
    Continuation,
    LogLikelihood,
    Model,
    ModelRef,
    Sampling,
    ScoringModel,
    StreamingModel,
    cut,
)
from veneer.models.open import open_model
from veneer.models.render import default_template_digest
from veneer.records import Completion, Contestant, Prompt, Role, Stop, from_row, to_row
from veneer.store import Order
from veneer.study import EvaluateSpec, PromptsSpec
from veneer.study_benchmarks import BenchmarkSpec

VERSION = 6
COMPLETIONS, PROMPTS, AGREEMENT = "completions.jsonl", "prompts.jsonl", "agreement.json"
CHECKED = 8
"""Items of a benchmark whose choices are read the plain way too."""
NO_NUMBER = "a choice adds no token to the prompt, or its likelihood is no finite number (NaN): nothing can be weighed"
WEIGHED = 4
"""Batches of items that are weighed at once, and lost together in a kill: more share more of what they begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One benchmark in one form, as it is put to one contestant."""

    benchmark: Benchmark
    form: Form
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where one sheet is worked on: what is asked, and what is kept until all is answered."""

    model: Callable[[], Model]
    """Opens the model."""
    parts: Path
    """A folder; what lies in it is not asked again."""
    size: int
    """Items that are weighed at once: fixed, so that an interruption changes no likelihood."""

    def scoring(self) -> ScoringModel:
        """Return the model, whose probabilities can be read."""
        model = self.model()
        assert isinstance(model, ScoringModel), "only such contestants are weighed"
        return model

    def batches(
        self, kind: str, asked: Sequence[tuple[Item, Prompt]]
    ) -> Iterator[tuple[Path, Sequence[tuple[Item, Prompt]]]]:
        """Yield the file of each batch, and what is asked in it."""
        for start in range(0, len(asked), self.size):
            yield self.parts / f"{kind}-{start:06d}.jsonl", asked[start : start + self.size]


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
            needs=ref.needs,
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
    return {role: disk.digest(path) for role, path in paths.items()}


def _config(spec: EvaluateSpec) -> dict[str, Any]:
    def asked(section: BenchmarkSpec | PromptsSpec, without: set[str]) -> dict[str, Any]:
        return section.model_dump(mode="json", exclude={"items", *without})

    # Which form headlines use changes nothing of what is asked: a study that gains an endpoint asks nobody again.
    grading = {"measures", "grading", "lexicon", "toxicity", "pass_at", "answer_after", "second_grades"}
    without = {*grading, "shots", "train", "forms"}
    return {
        "benchmarks": [
            [name, sorted(items.forms_of(one)), asked(one, without)] for name, one in spec.benchmarks.items()
        ],
        "prompts": asked(spec.prompts, {"hub"}) if spec.prompts else None,
        "batch_size": spec.batch_size,
        "precision": spec.precision,
        **({} if spec.engine == "transformers" else {"engine": spec.engine}),
        "weighed": WEIGHED,
        "default_template": default_template_digest(),
    }


def _make(folder: Path, *, ref: ModelRef, spec: EvaluateSpec, samples: int) -> None:
    parts = folder / "parts"
    # What has no answer is asked again; an endpoint's journal has all the others.
    if lacking.names(folder) or not (folder / COMPLETIONS).exists():
        whole = sheets(spec, samples, scored=ref.kind == "checkpoint")
        asked = next((sheet.benchmark.prompts("chat") for sheet in whole if _is_prompts(sheet)), [])
        disk.write_rows(folder / PROMPTS, map(to_row, asked))

        @cache
        def model() -> Model:
            # Opened only if something is left to ask: loading a large checkpoint takes minutes.
            return open_model(ref, batch_size=spec.batch_size, precision=spec.precision, engine=spec.engine)

        rows: list[Row] = []
        agreed: dict[str, Any] = {}
        for number, sheet in enumerate(whole):
            desk = Desk(model=model, parts=parts / f"{number:03d}", size=WEIGHED * spec.batch_size)
            if sheet.form == "choose":
                checked = parts / f"{number:03d}" / AGREEMENT
                if not checked.exists():
                    disk.write_json(checked, _agreement(model(), sheet))
                agreed[sheet.benchmark.name] = disk.read_json(checked)
                rows += _chosen(sheet, desk)
            else:
                rows += _written(sheet, desk, scored=ref.kind == "checkpoint")
        disk.write_json(folder / AGREEMENT, agreed)
        disk.write_rows(folder / COMPLETIONS, rows)
        # A checkpoint or a recording would fail again.
        lacking.write(folder, len(rows), _failed(rows) if ref.endpoint else {})
    shutil.rmtree(parts, ignore_errors=True)


def _failed(rows: Sequence[Row]) -> dict[str, str]:
    """Return why there is no answer, by benchmark, form, prompt and sample."""
    return {
        f"{row['benchmark']}/{row['form']}/{one['prompt_id']}/{one['sample']}": one["detail"]
        for row in rows
        if (one := row["completion"])["stop"] == Stop.FAILED
    }


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
        for form in sorted(benchmark.forms)
        if scored or form != "choose"
    ]
    if spec.prompts:
        found.append(Sheet(benchmark=items.load_prompts(spec.prompts), form="chat", samples=samples))
    return found


def drawn(sheet: Sheet) -> Sampling:
    """Return how the completions of a sheet are drawn."""
    benchmark = sheet.benchmark
    return Sampling(
        temperature=benchmark.temperature,
        max_tokens=benchmark.max_tokens[sheet.form],
        stop=benchmark.stop.get(sheet.form, ()),
        samples=sheet.samples,
        seed=benchmark.seed,
        cut=any(item.task for item in benchmark.items),
    )


def _written(sheet: Sheet, desk: Desk, *, scored: bool) -> list[Row]:
    """Ask a sheet whose answers are written, and return its rows, items in their order."""
    benchmark, form = sheet.benchmark, sheet.form
    prompts = benchmark.prompts(form)
    completions = _completions(sheet, prompts, desk)
    failed = {prompt_id for (prompt_id, _), one in completions.items() if one.stop is Stop.FAILED}
    weighed = [
        (item, prompt)
        for item, prompt in zip(benchmark.items, prompts, strict=True)
        if scored and item.references and item.item_id not in failed
    ]
    known: dict[str, float | None] = {}
    for part, some in desk.batches("references", weighed):
        if not part.exists():
            found = desk.scoring().loglikelihoods([_reference(item, prompt) for item, prompt in some])
            read = zip(some, found, strict=True)
            disk.write_rows(part, ({"value": _known(one, item)} for (item, _), one in read))
        values = [row["value"] for _, row in disk.read_rows(part)]
        known.update((item.item_id, value) for (item, _), value in zip(some, values, strict=True))
    return [
        {
            "benchmark": benchmark.name,
            "form": form,
            "reference_loglikelihood": known.get(item.item_id),
            "choices": [],
            "completion": to_row(completions[item.item_id, sample]),
        }
        for item in benchmark.items
        for sample in range(sheet.samples)
    ]


def _known(found: LogLikelihood, item: Item) -> float | None:
    """Return a likelihood; None for no number, and for a text that was cut, other than a task's: it asks otherwise."""
    return found.value if _read(found) and (item.task or not found.cut) else None


def _read(found: LogLikelihood) -> bool:
    """Return whether there was something to read: nothing at all would be certain."""
    return found.tokens > 0 and math.isfinite(found.value)


def _completions(sheet: Sheet, prompts: Sequence[Prompt], desk: Desk) -> dict[tuple[str, int], Completion]:
    """Return a sheet's completions by item and sample; a checkpoint's are kept one by one, as they end."""
    sampling = drawn(sheet)
    path = desk.parts / COMPLETIONS
    kept = [from_row(Completion, row, str(path)) for row in disk.mended_rows(path)]
    known = {(one.prompt_id, one.sample): one for one in kept if one.stop is not Stop.FAILED}
    if len(known) < len(prompts) * sheet.samples:
        model = desk.model()
        # An endpoint's answers are in its journal as they come, and recordings lie on disk, with no end but their own.
        fresh = (
            model.stream(prompts, sampling, known.keys())
            if isinstance(model, StreamingModel)
            else model.generate(prompts, sampling)
        )
        for one in disk.appending(path, (cut(one, sampling.stop) for one in fresh), to_row):
            known[one.prompt_id, one.sample] = one
    return known


def _choices(item: Item, prompt: Prompt) -> list[Continuation]:
    """Return the continuations that an item offers; white space that ends a task's text is theirs, as in lm-eval."""
    exact = bool(item.continuations)
    if exact and (spaces := prompt.text[len(prompt.text.rstrip()) :]):
        prompt = replace(prompt, text=prompt.text.removesuffix(spaces))
        item = replace(item, continuations=tuple(spaces + one for one in item.continuations))
    return [
        Continuation(prompt=prompt, continuation=choice, exact=exact)
        for choice in item.continuations or item.choices
    ]


def _chosen(sheet: Sheet, desk: Desk) -> list[Row]:
    """Ask a sheet whose choices are weighed, and return its rows, items in their order."""
    asked = list(zip(sheet.benchmark.items, sheet.benchmark.prompts("choose"), strict=True))
    rows: list[Row] = []
    for part, some in desk.batches("choices", asked):
        if not part.exists():
            disk.write_rows(part, _weighed(desk.scoring(), sheet.benchmark.name, some))
        rows += [row for _, row in disk.read_rows(part)]
    return rows


def _weighed(model: ScoringModel, benchmark: str, asked: Sequence[tuple[Item, Prompt]]) -> list[Row]:
    """Return the rows of items whose choices are weighed; where two are equally likely, the first stands."""
    requests = [_choices(item, prompt) for item, prompt in asked]
    found = iter(model.loglikelihoods([request for own in requests for request in own]))
    rows = []
    for (item, prompt), own in zip(asked, requests, strict=True):
        weighed = [next(found) for _ in own]
        fails = not all(map(_read, weighed))
        best = _best([one.value for one in weighed])
        texts = item.choices or item.continuations
        # A task's references have no white space around them, and its choices may.
        wanted = [reference.strip() for reference in item.references[:1]]
        right = [place for place, text in enumerate(texts) if text.strip() in wanted]
        cut = max(one.cut for one in weighed)
        said = f"the first {cut} tokens of the prompt were cut, to fit the context window" if cut else ""
        completion = Completion(
            prompt_id=item.item_id,
            sample=0,
            model=model.name,
            rendered=prompt.text,
            text="" if fails else texts[best],
            stop=Stop.FAILED if fails else Stop.END,
            detail=NO_NUMBER if fails else said,
            tokens_in=0,
            tokens_out=max(one.tokens for one in weighed),
        )
        rows.append(
            {
                "benchmark": benchmark,
                "form": "choose",
                "reference_loglikelihood": weighed[right[0]].value if right and not fails else None,
                "choices": [] if fails else [[one.value, one.tokens, one.greedy] for one in weighed],
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


def _reference(item: Item, prompt: Prompt) -> Continuation:
    """Return a request for an item's first reference; where both are too long, the prompt loses its first tokens."""
    text = item.references[0]
    if prompt.text and not prompt.text[-1].isspace() and not text[:1].isspace():
        text = " " + text
    return Continuation(prompt=prompt, continuation=text, exact=True)
