"""How a judge that reads is asked: what it is shown of whom, its replies, and what they say of the canaries."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veneer import disk, lacking
from veneer.benchmarks import items
from veneer.disk import Row
from veneer.evaluate import judge_words
from veneer.evaluate.answer import COMPLETIONS, PROMPTS
from veneer.models.model import ModelRef, Sampling, StreamingModel, cut
from veneer.models.open import open_model
from veneer.models.render import default_template_digest
from veneer.records import Completion, Prompt, Stop, from_row, to_row
from veneer.study import EvaluateSpec
from veneer.study_data import SamplingSpec

CANARIES, SERVED = "canaries.jsonl", "served.json"
PARTS, REPLIES = "parts", "replies.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """All that a judge judges by."""

    judge: ModelRef
    instructions: str
    sampling: SamplingSpec
    """How its replies are drawn."""
    evaluate: EvaluateSpec
    """Batch size and precision of a checkpoint."""
    special: tuple[str, ...]
    """Special tokens of a checkpoint's tokenizer, which no completion may hold."""


def task_of(judge: ModelRef, instructions: str, sampling: SamplingSpec, evaluate: EvaluateSpec) -> Task:
    """Return a judge's task."""
    return Task(
        judge=judge,
        instructions=instructions,
        sampling=sampling,
        evaluate=evaluate,
        special=_special(judge),
    )


def config(task: Task, words: str) -> dict[str, Any]:
    """Return what stands in a key for how a judge is asked; `words` is the fingerprint of all that it is shown."""
    judge, evaluate = task.judge, task.evaluate
    local = {"batch_size": evaluate.batch_size, "precision": evaluate.precision}
    return {
        "kind": judge.kind,
        "fields": [judge.prompt_field, judge.text_field] if judge.kind == "replay" else [],
        "words": words,
        "sampling": task.sampling.model_dump(mode="json"),
        "default_template": default_template_digest(),
        **(local if judge.kind == "checkpoint" else {}),
    }


def identity(judge: ModelRef) -> str:
    """Return what the report calls a judge."""
    return judge.endpoint.model if judge.endpoint else f"{judge.kind} {judge.digest[:12]}"


def questions(answers: Path, task: Task) -> dict[str, str]:
    """Return the prompts for style as a judge reads them, by id, in the order in which they were asked."""
    prompts = (from_row(Prompt, row, where) for where, row in disk.read_rows(answers / PROMPTS))
    return {
        prompt.prompt_id: judge_words.harmless(judge_words.question_of(prompt.messages), task.special)
        for prompt in prompts
    }


def completions(answers: Path, sample: int) -> dict[str, Completion]:
    """Return a contestant's completions of the prompts for style, by prompt."""
    found = {}
    for where, row in disk.read_rows(answers / COMPLETIONS):
        if row["benchmark"] == items.PROMPTS and row["completion"]["sample"] == sample:
            completion = from_row(Completion, row["completion"], where)
            found[completion.prompt_id] = completion
    return found


def why_missing(completion: Completion | None) -> str:
    """Return why a completion could not be had; empty if it could."""
    if completion is None:
        return "not answered"
    return (completion.detail or "could not be asked") if completion.stop is Stop.FAILED else ""


def draw_of(asked: str) -> int:
    """Return the draw of the canaries beside what is `asked`: without one, an endpoint would be asked them once."""
    return int(hashlib.sha256(asked.encode()).hexdigest()[:6], 16)


def replies(
    put: Sequence[Prompt], every: Callable[[], Iterable[Prompt]], task: Task, folder: Path
) -> dict[str, Completion]:
    """Return the judge's replies, by prompt; note in the artefact what a server called itself, and what has no reply.

    Args:
        put: What is put to the judge for this artefact.
        every: What is put to it for all artefacts. A batch may take a day: one holds all of it.
        task: The judge's.
        folder: The artefact in the making. A checkpoint's replies are kept there one by one, as they end.
    """
    sampling = Sampling(
        temperature=task.sampling.temperature,
        max_tokens=task.sampling.max_tokens,
        stop=task.sampling.stop,
        seed=task.sampling.seed,
    )
    found, served = _replies(put, every, task, sampling, folder / PARTS)
    disk.write_json(folder / SERVED, dict(sorted(served.items())))
    failed = {reply.prompt_id: reply.detail for reply in found if reply.stop is Stop.FAILED}
    # A checkpoint or a recording would fail again.
    lacking.write(folder, len(found), failed if task.judge.endpoint else {})
    return {reply.prompt_id: reply for reply in found}


def close(folder: Path, canaries: Iterable[tuple[str, str, str, Completion]]) -> None:
    """Write the canaries beside an artefact's replies, and remove what was kept in case of an interruption.

    Args:
        folder: The artefact's.
        canaries: Of each its id, the code of what was shown, the right verdict, and the reply.
    """
    rows: Iterator[Row] = (
        {"canary_id": canary_id, "code": code, "right": right, "completion": to_row(reply)}
        for canary_id, code, right, reply in canaries
    )
    disk.write_rows(folder / CANARIES, rows)
    shutil.rmtree(folder / PARTS, ignore_errors=True)


def canary_verdicts(folder: Path, read: Callable[[Completion, str], str]) -> dict[str, Any]:
    """Return what the judge said of the canaries beside one artefact: verdicts, how many are right, and a fingerprint.

    A canary that could not be asked has no verdict, not even none: it tells nothing of whether the judge has changed.

    Args:
        folder: The artefact.
        read: Reads the verdict from a reply and the code of what was shown.
    """
    verdicts: dict[str, str] = {}
    right = asked = 0
    texts = []
    for where, row in disk.read_rows(folder / CANARIES):
        reply = from_row(Completion, row["completion"], where)
        if reply.stop is Stop.FAILED:
            continue
        verdict = read(reply, row["code"])
        verdicts[row["canary_id"]] = verdict
        right += verdict == row["right"]
        asked += 1
        texts.append(reply.text)
    digest = hashlib.sha256("\0".join(texts).encode("utf-8", "replace")).hexdigest()
    return {"verdicts": verdicts, "right": right, "asked": asked, "fingerprint": digest[:16]}


def _special(judge: ModelRef) -> tuple[str, ...]:
    file = judge.path / "tokenizer.json"
    if judge.kind != "checkpoint" or not file.exists():
        return ()
    tokens = [one["content"] for one in disk.read_json(file).get("added_tokens", ()) if one.get("special")]
    return tuple(sorted(token for token in tokens if len(token) > 1))


def _replies(
    put: Sequence[Prompt],
    every: Callable[[], Iterable[Prompt]],
    task: Task,
    sampling: Sampling,
    parts: Path,
) -> tuple[list[Completion], Counter[str]]:
    """Return the judge's replies, in order, and the names under which a server gave them."""
    if not put:
        return [], Counter()
    judge, evaluate = task.judge, task.evaluate
    model = open_model(judge, batch_size=evaluate.batch_size, precision=evaluate.precision)
    if judge.endpoint:
        from veneer.models.remote import RemoteModel

        assert isinstance(model, RemoteModel)
        if judge.endpoint.batch:
            model.ask(every(), sampling)
        return list(model.generate(put, sampling)), model.served(put, sampling)
    if not isinstance(model, StreamingModel):
        return [cut(one, sampling.stop) for one in model.generate(put, sampling)], Counter()
    kept = [from_row(Completion, row, str(parts / REPLIES)) for row in disk.mended_rows(parts / REPLIES)]
    of = {one.prompt_id: one for one in kept}
    fresh = model.stream(put, sampling, [(name, 0) for name in of])
    of |= {one.prompt_id: one for one in disk.appending(parts / REPLIES, fresh, to_row)}
    return [of[prompt.prompt_id] for prompt in put], Counter()
