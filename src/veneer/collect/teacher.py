"""Asks the teacher every query and records what it says, so that nothing is asked, or paid for, twice."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from veneer import lacking
from veneer.collect import queries, synthesis
from veneer.collect.queries import Query
from veneer.disk import Row, digest, read_rows, write_json, write_rows
from veneer.errors import DataError
from veneer.models import again
from veneer.models.model import Model, ModelRef, Sampling
from veneer.models.render import default_template_digest
from veneer.records import Completion, Message, Prompt, Stop, from_row, to_row
from veneer.store import Order
from veneer.study import EvaluateSpec
from veneer.study_benchmarks import BenchmarkSpec
from veneer.study_data import CollectSpec, EndpointSpec, MixtureSpec, SamplingSpec, SourceSpec

VERSION = 4
COMPLETIONS, QUERIES, CHUNKS, LEDGER = "completions.jsonl", "queries.jsonl", "chunks", "ledger.json"


def orders(
    sources: Mapping[str, SourceSpec], teacher: ModelRef, spec: CollectSpec, evaluate: EvaluateSpec
) -> list[Order]:
    """Return one order per source that is asked.

    Each makes `queries.jsonl`, `completions.jsonl` with the Completions of every query, samples together, and
    `ledger.json`: what was asked, answered and paid.

    Args:
        sources: The study's sources by name, recorded ones left out.
        teacher: Who is asked.
        spec: How completions are drawn.
        evaluate: Its batch size is part of a checkpoint's key, since sums in a batch depend on its shape; its
            benchmarks may lend their training questions.
    """
    return [
        Order(
            stage="collect",
            name=name,
            version=VERSION,
            config={
                "teacher": teacher.name,
                "kind": teacher.kind,
                "fields": [teacher.prompt_field, teacher.text_field] if teacher.kind == "replay" else [],
                "batch_size": None if teacher.kind == "endpoint" else evaluate.batch_size,
                "default_template": default_template_digest(),
                **_shape(source, spec),
            },
            inputs={
                "teacher": teacher.digest,
                **{role: digest(path) for role, path in _files(source, evaluate.benchmarks).items()},
            },
            make=partial(_make, source, evaluate.benchmarks, teacher, spec, evaluate.batch_size),
            needs=teacher.needs,
        )
        for name, source in sources.items()
    ]


def asked(
    sources: Mapping[str, SourceSpec], imitated: Iterable[str], mixtures: Mapping[str, MixtureSpec]
) -> dict[str, SourceSpec]:
    """Return the sources that the teacher is asked for: those that imitation data is made of, recorded ones left out.

    Args:
        sources: The study's, by name.
        imitated: The sources and mixtures that imitation data is prepared of.
        mixtures: The study's, by name.
    """
    used = {part for name in imitated for part in (mixtures[name].weights if name in mixtures else (name,))}
    return {name: source for name, source in sources.items() if name in used and not source.recorded}


def _shape(source: SourceSpec, spec: CollectSpec) -> dict[str, Any]:
    """Return what decides what is asked, and how, apart from files."""
    if source.synthesis:
        return {"synthesis": synthesis.identity(source.synthesis)}
    return {
        "queries": queries.identity(source),
        "sampling": spec.sampling.model_dump(mode="json"),
        "samples": spec.samples,
    }


def _files(source: SourceSpec, benchmarks: Mapping[str, BenchmarkSpec]) -> dict[str, Path]:
    if source.synthesis:
        return synthesis.files(source.synthesis)
    return queries.files(source, benchmarks)


def _make(
    source: SourceSpec,
    benchmarks: Mapping[str, BenchmarkSpec],
    teacher: ModelRef,
    spec: CollectSpec,
    batch_size: int,
    folder: Path,
) -> None:
    from veneer.models.open import open_model  # Imports torch: too slow for a run that has nothing to do.

    opening = partial(open_model, teacher, batch_size=batch_size)
    sampling = drawn(spec.sampling, spec.samples)
    if source.synthesis:
        synthesis.synthesise(source.synthesis, opening(), folder)
    elif teacher.endpoint and (folder / COMPLETIONS).exists():
        ask_again(teacher, sampling, folder)
    else:
        # An endpoint's answers are kept one by one in its journal; a checkpoint's are kept chunk by chunk.
        at_once = None if teacher.endpoint else batch_size
        ask(queries.of(source, benchmarks), opening, sampling, at_once, folder)
    write_json(folder / LEDGER, ledger(folder, teacher.endpoint))


def drawn(spec: SamplingSpec, samples: int = 1) -> Sampling:
    """Return a sampling section of the study file as a model takes it."""
    return Sampling(
        temperature=spec.temperature,
        max_tokens=spec.max_tokens,
        stop=spec.stop,
        samples=samples,
        seed=spec.seed,
    )


def ask(
    asked: Sequence[Query],
    open_teacher: Callable[[], Model],
    sampling: Sampling,
    batch_size: int | None,
    folder: Path,
) -> None:
    """Ask every query and write the folder's files; what an interrupted call recorded is not asked again.

    Args:
        asked: The queries.
        open_teacher: Opens the model; not called when every chunk is there.
        sampling: How completions are drawn.
        batch_size: Queries in a chunk; None puts all to a model that keeps its answers itself.
        folder: Where the files go.

    Raises:
        ModelError: Requests stayed without an answer; those that were answered are kept.
    """
    write_rows(folder / QUERIES, ({"id": query.query_id, "query": query.text} for query in asked))
    if not (folder / COMPLETIONS).exists():
        if batch_size is None:
            write_rows(folder / COMPLETIONS, _ask_all(asked, open_teacher(), sampling))
            _note_failed(folder)
        else:
            files = _ask_chunks(asked, open_teacher, sampling, batch_size, folder / CHUNKS)
            write_rows(folder / COMPLETIONS, (row for file in files for _, row in read_rows(file)))
    shutil.rmtree(folder / CHUNKS, ignore_errors=True)


def ask_again(teacher: ModelRef, sampling: Sampling, folder: Path) -> None:
    """Ask once more what has no answer in the folder's completions, and note in it what still has none.

    Raises:
        ModelError: The endpoint cannot be used.
        BudgetError: The cap would be passed.
    """
    known = [from_row(Completion, row, where) for where, row in read_rows(folder / COMPLETIONS)]
    rows = (row for _, row in read_rows(folder / QUERIES))
    prompts = [prompt_of(Query(query_id=row["id"], text=row["query"])) for row in rows]
    mine = again.mended(known, prompts, sampling, teacher)
    if mine != known:
        write_rows(folder / COMPLETIONS, map(to_row, mine))
    _note_failed(folder)


def _note_failed(folder: Path) -> None:
    rows = [row for _, row in read_rows(folder / COMPLETIONS)]
    failed = [row for row in rows if row["stop"] == Stop.FAILED]
    lacking.write(folder, len(rows), {f"{row['prompt_id']}/{row['sample']}": row["detail"] for row in failed})


def ledger(folder: Path, endpoint: EndpointSpec | None) -> dict[str, Any]:
    """Return what was asked, how the answers ended, and what they cost.

    Args:
        folder: With `completions.jsonl`.
        endpoint: Whose prices count; None where nothing is paid.
    """
    stops: Counter[str] = Counter()
    tokens_in = tokens_out = uncounted = 0
    # A synthesis is paid by the request, whatever came of its pairs.
    requests = folder / "synthesis.jsonl"
    for _, row in read_rows(requests if requests.exists() else folder / COMPLETIONS):
        stops[row["stop"]] += 1
        tokens_in += row["tokens_in"]
        tokens_out += row["tokens_out"]
        uncounted += row["stop"] != Stop.FAILED and not row["tokens_in"]
    cost: dict[str, Any] = {"value": 0.0}
    if endpoint:
        from veneer.models.prices import price_of

        price = price_of(endpoint)
        uncertain = (
            f"the server did not count the tokens of {uncounted} answers; spend_cap counts them at the most"
        )
        cost = (
            {"undefined": uncertain}
            if uncounted and price
            else (
                {
                    "value": round(tokens_in * price.input + tokens_out * price.output, 6),
                    "prices": price.source,
                }
                if price
                else {"undefined": f"no price is known for {endpoint.model}; name `price` in its endpoint"}
            )
        )
    return {
        "completions": sum(stops.values()),
        "stops": dict(sorted(stops.items())),
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "dollars": cost,
    }


def _ask_all(asked: Sequence[Query], teacher: Model, sampling: Sampling) -> Iterator[Row]:
    prompts = [prompt_of(query) for query in asked]
    wanted = ((prompt.prompt_id, sample) for prompt in prompts for sample in range(sampling.samples))
    for completion, place in zip(teacher.generate(prompts, sampling), wanted, strict=True):
        assert (completion.prompt_id, completion.sample) == place, "completions come in order"
        yield to_row(completion)


def _ask_chunks(
    asked: Sequence[Query],
    open_teacher: Callable[[], Model],
    sampling: Sampling,
    batch_size: int,
    folder: Path,
) -> list[Path]:
    """Return one file per chunk of queries; each appears whole or not at all."""
    teacher: Model | None = None
    files = []
    for number, start in enumerate(range(0, len(asked), batch_size)):
        file = folder / f"{number:06d}.jsonl"
        files.append(file)
        if file.exists():
            continue
        teacher = teacher or open_teacher()
        prompts = [prompt_of(query) for query in asked[start : start + batch_size]]
        completions = list(teacher.generate(prompts, sampling))
        write_rows(file, _signed(completions, prompts, sampling.samples, teacher.name))
    return files


def prompt_of(query: Query) -> Prompt:
    """Return a query as it is put to the teacher."""
    return Prompt(prompt_id=query.query_id, messages=(Message(role="user", content=query.text),))


def _signed(
    completions: Sequence[Completion], prompts: Sequence[Prompt], samples: int, name: str
) -> list[Row]:
    """Return the completions as rows, after checking that each answers the prompt in its place."""
    given = [completion.prompt_id for completion in completions]
    wanted = [prompt.prompt_id for prompt in prompts for _ in range(samples)]
    if given != wanted:
        odd = sorted(set(wanted) ^ set(given)) or "none, but their order differs"
        raise DataError(
            f"{name}: asked {len(wanted)} queries and got {len(given)} completions; ids on one side only: {odd}. "
            "A model answers every prompt once, in order."
        )
    return [to_row(completion) for completion in completions]
