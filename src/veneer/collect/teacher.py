"""Asks the teacher every query once and records what it says, chunk by chunk, so that nothing is asked twice."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from veneer.collect import queries
from veneer.collect.queries import Query
from veneer.errors import DataError
from veneer.models.model import Model, ModelRef, Sampling
from veneer.models.render import default_template_digest
from veneer.records import Completion, Message, Prompt, to_row
from veneer.store import Order, Row, digest, read_rows, write_rows
from veneer.study import SamplingSpec, SourceSpec

VERSION = 1
COMPLETIONS, QUERIES, CHUNKS = "completions.jsonl", "queries.jsonl", "chunks"


def orders(
    sources: Mapping[str, SourceSpec], teacher: ModelRef, sampling: SamplingSpec, batch_size: int
) -> list[Order]:
    """Return one order per source: `queries.jsonl`, and `completions.jsonl` with one Completion per query.

    Args:
        sources: The study's sources by name.
        teacher: Who is asked.
        sampling: How completions are drawn.
        batch_size: Queries asked together; it is part of the key, since sums in a batch depend on its shape.
    """
    drawn = Sampling(
        temperature=sampling.temperature,
        max_tokens=sampling.max_tokens,
        stop=sampling.stop,
        seed=sampling.seed,
    )
    return [
        Order(
            stage="collect",
            name=name,
            version=VERSION,
            config={
                "teacher": teacher.name,
                "kind": teacher.kind,
                "fields": [teacher.prompt_field, teacher.text_field],
                "sampling": sampling.model_dump(mode="json"),
                "batch_size": batch_size,
                "default_template": default_template_digest(),
            },
            inputs={"queries": digest(source.queries), "teacher": teacher.digest},
            make=partial(_make, source.queries, teacher, drawn, batch_size),
        )
        for name, source in sources.items()
    ]


def _make(path: Path, teacher: ModelRef, sampling: Sampling, batch_size: int, folder: Path) -> None:
    from veneer.models.open import open_model  # Imports torch: too slow for a run that has nothing to do.

    ask(queries.load(path), partial(open_model, teacher, batch_size=batch_size), sampling, batch_size, folder)


def ask(
    asked: Sequence[Query],
    open_teacher: Callable[[], Model],
    sampling: Sampling,
    batch_size: int,
    folder: Path,
) -> None:
    """Ask every query and write the folder's two files; chunks that an interrupted call left are not asked again.

    A completion that failed is kept as a row that says so; nothing is asked until it looks right.

    Args:
        asked: The queries.
        open_teacher: Opens the model; not called when every chunk is there.
        sampling: How completions are drawn.
        batch_size: Queries in a chunk.
        folder: Where the files go.
    """
    write_rows(folder / QUERIES, ({"id": query.query_id, "query": query.text} for query in asked))
    if not (folder / COMPLETIONS).exists():
        files = _ask_chunks(asked, open_teacher, sampling, batch_size, folder / CHUNKS)
        write_rows(folder / COMPLETIONS, (row for file in files for _, row in read_rows(file)))
    shutil.rmtree(folder / CHUNKS, ignore_errors=True)


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
        prompts = [_prompt(query) for query in asked[start : start + batch_size]]
        write_rows(file, _signed(list(teacher.generate(prompts, sampling)), prompts, teacher.name))
    return files


def _prompt(query: Query) -> Prompt:
    return Prompt(prompt_id=query.query_id, messages=(Message(role="user", content=query.text),))


def _signed(completions: Sequence[Completion], prompts: Sequence[Prompt], name: str) -> list[Row]:
    """Return the completions as rows, after checking that each answers the prompt in its place."""
    given = [completion.prompt_id for completion in completions]
    wanted = [prompt.prompt_id for prompt in prompts]
    if given != wanted:
        odd = sorted(set(wanted) ^ set(given)) or "none, but their order differs"
        raise DataError(
            f"{name}: asked {len(wanted)} queries and got {len(given)} completions; ids on one side only: {odd}. "
            "A model answers every prompt once, in order."
        )
    return [to_row(completion) for completion in completions]
