"""A judge that reads: any model is shown the question and both completions, and says which is better.

Every pair of contestants has an artefact of its own, so that a new student brings its own comparisons alone. It holds
- `reviews.jsonl`: a row a comparison, `{prompt_id, first, second, code, completion, problem}`: who was shown first and
  second, and the judge's whole reply; null where a completion is missing, which `problem` tells.
- `canaries.jsonl`: the same of the canaries, which are asked anew with every pair, `{canary_id, code, right,
  completion}`. Where their verdicts differ between pairs that were judged at different times, the judge has changed.
- `served.json`: the names under which a server answered, and how often.

The artefact of the judge's own name reads these into `comparisons.jsonl`, and sums up the judge in `judge.json`.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from veneer import lacking, store
from veneer.benchmarks import items
from veneer.evaluate import judge_words
from veneer.evaluate.answer import COMPLETIONS, PROMPTS
from veneer.evaluate.judge import COMPARISONS, JUDGE, Pair, pairs
from veneer.models.model import ModelRef, Sampling, StreamingModel, cut
from veneer.models.open import open_model
from veneer.models.render import default_template_digest
from veneer.records import Comparison, Completion, Contestant, Prompt, Stop, Verdict, from_row, to_row
from veneer.store import Artefact, Order, Row
from veneer.study import EvaluateSpec
from veneer.study_judges import ModelJudgeSpec

VERSION = 4
REVIEWS, CANARIES, SERVED = "reviews.jsonl", "canaries.jsonl", "served.json"
PARTS, REPLIES = "parts", "replies.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """All that a pair is judged by."""

    judge: ModelRef
    instructions: str
    spec: ModelJudgeSpec
    evaluate: EvaluateSpec
    special: tuple[str, ...]
    """Special tokens of a checkpoint's tokenizer, which no completion may hold."""

    @property
    def sampling(self) -> Sampling:
        """How the judge's replies are drawn."""
        own = self.spec.sampling
        return Sampling(temperature=own.temperature, max_tokens=own.max_tokens, stop=own.stop, seed=own.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One comparison in one order."""

    prompt_id: str
    first: str
    second: str
    code: str
    put: Prompt | None
    """None where a completion is missing."""
    problem: str


def review_orders(
    judge_name: str,
    spec: ModelJudgeSpec,
    judge: ModelRef,
    contestants: Sequence[Contestant],
    answered: Mapping[str, Artefact],
    evaluate: EvaluateSpec,
) -> list[Order]:
    """Return the orders of a judge's replies, one a pair of contestants.

    Args:
        judge_name: Its key under `judges`.
        spec: That section.
        judge: The model.
        contestants: All of the study's, one of them the teacher.
        answered: Their answers, by name.
        evaluate: Batch size and precision of a checkpoint.

    Raises:
        StudyError: The judge's own prompt cannot be used.
    """
    text = judge_words.instructions(spec.answers, spec.prompt, f"judges.{judge_name}")
    task = Task(judge=judge, instructions=text, spec=spec, evaluate=evaluate, special=_special(judge))
    met = pairs(contestants, answered, against_base=spec.against_base)
    local = {"batch_size": evaluate.batch_size, "precision": evaluate.precision}
    return [
        Order(
            stage="judge",
            name=_name(judge_name, one.name, other.name),
            version=VERSION,
            config={
                "kind": judge.kind,
                "fields": [judge.prompt_field, judge.text_field] if judge.kind == "replay" else [],
                "pair": [[side.name, side.sample] for side in (one, other)],
                "orders": spec.orders,
                "words": judge_words.fingerprint(text),
                "sampling": spec.sampling.model_dump(mode="json"),
                "default_template": default_template_digest(),
                **(local if judge.kind == "checkpoint" else {}),
            },
            inputs={"judge": judge.digest, "first": one.made.key, "second": other.made.key},
            make=partial(_make_reviews, pair=(one, other), every=met, task=task),
            needs=judge.needs,
        )
        for one, other in met
    ]


def verdict_orders(
    judge_name: str, spec: ModelJudgeSpec, judge: ModelRef, reviewed: Mapping[str, Artefact]
) -> list[Order]:
    """Return the one order of a judge's verdicts.

    Args:
        judge_name: Its key under `judges`.
        spec: That section.
        judge: The model.
        reviewed: The artefacts of `review_orders`, by their names.
    """
    identity = judge.endpoint.model if judge.endpoint else f"{judge.kind} {judge.digest[:12]}"
    return [
        Order(
            stage="judge",
            name=judge_name,
            version=VERSION,
            config={"kind": spec.kind, "judge": judge_name, "identity": identity, "answers": spec.answers},
            inputs={name: made.key for name, made in reviewed.items()},
            make=partial(
                _make_verdicts,
                judge=judge_name,
                identity=identity,
                answers=spec.answers,
                reviewed={name.partition("~")[2]: made.path for name, made in reviewed.items()},
            ),
        )
    ]


def _special(judge: ModelRef) -> tuple[str, ...]:
    file = judge.path / "tokenizer.json"
    if judge.kind != "checkpoint" or not file.exists():
        return ()
    tokens = [one["content"] for one in store.read_json(file).get("added_tokens", ()) if one.get("special")]
    return tuple(sorted(token for token in tokens if len(token) > 1))


def _name(judge_name: str, one: str, other: str) -> str:
    return f"{judge_name}~{one}~{other}"  # No name may hold a tilde.


def _make_reviews(folder: Path, *, pair: Pair, every: Sequence[Pair], task: Task) -> None:
    shown = _shown(pair, task)
    canaries = judge_words.canaries()
    alarm = _alarm(pair, task)
    replies, served = _replies([*(one.put for one in shown if one.put), *alarm], every, task, folder / PARTS)
    of = {reply.prompt_id: reply for reply in replies}
    store.write_rows(folder / REVIEWS, (_review_row(one, of) for one in shown))
    store.write_rows(
        folder / CANARIES,
        (
            {
                "canary_id": canary.canary_id,
                "code": judge_words.code_of(canary.question, canary.first, canary.second),
                "right": canary.right,
                "completion": to_row(of[prompt.prompt_id]),
            }
            for canary, prompt in zip(canaries, alarm, strict=True)
        ),
    )
    store.write_json(folder / SERVED, dict(sorted(served.items())))
    failed = {name: reply.detail for name, reply in of.items() if reply.stop is Stop.FAILED}
    # A checkpoint or a recording would fail again.
    lacking.write(folder, len(replies), failed if task.judge.endpoint else {})
    shutil.rmtree(folder / PARTS, ignore_errors=True)


def _replies(
    put: Sequence[Prompt], every: Sequence[Pair], task: Task, parts: Path
) -> tuple[list[Completion], Counter[str]]:
    """Return the judge's replies, in order, and the names under which a server gave them."""
    judge, evaluate, sampling = task.judge, task.evaluate, task.sampling
    model = open_model(judge, batch_size=evaluate.batch_size, precision=evaluate.precision)
    if judge.endpoint:
        from veneer.models.remote import RemoteModel

        assert isinstance(model, RemoteModel)
        if judge.endpoint.batch:
            # A batch may take a day: one holds the comparisons of all pairs.
            model.ask(_everything(every, task), sampling)
        return list(model.generate(put, sampling)), model.served(put, sampling)
    if not isinstance(model, StreamingModel):
        return [cut(one, sampling.stop) for one in model.generate(put, sampling)], Counter()
    # A checkpoint's replies are kept one by one, as they end.
    kept = [from_row(Completion, row, str(parts / REPLIES)) for row in store.mended_rows(parts / REPLIES)]
    of = {one.prompt_id: one for one in kept}
    fresh = model.stream(put, sampling, [(name, 0) for name in of])
    of |= {one.prompt_id: one for one in store.appending(parts / REPLIES, fresh, to_row)}
    return [of[prompt.prompt_id] for prompt in put], Counter()


def _review_row(one: Shown, replies: Mapping[str, Completion]) -> Row:
    return {
        "prompt_id": one.prompt_id,
        "first": one.first,
        "second": one.second,
        "code": one.code,
        "completion": to_row(replies[one.put.prompt_id]) if one.put else None,
        "problem": one.problem,
    }


def _everything(every: Sequence[Pair], task: Task) -> Iterator[Prompt]:
    for pair in every:
        yield from (one.put for one in _shown(pair, task) if one.put)
        yield from _alarm(pair, task)


def _alarm(pair: Pair, task: Task) -> list[Prompt]:
    """Return the canaries as they are put beside one pair: drawn apart, or an endpoint would be asked them once."""
    asked = "\0".join([*(f"{side.name} {side.sample} {side.made.key}" for side in pair), task.spec.orders])
    draw = int(hashlib.sha256(asked.encode()).hexdigest()[:6], 16)
    return [
        judge_words.put(
            task.instructions,
            f"canary/{canary.canary_id}",
            canary.question,
            (canary.first, canary.second),
            draw,
        )
        for canary in judge_words.canaries()
    ]


def _shown(pair: Pair, task: Task) -> list[Shown]:
    """Return a pair's comparisons: every prompt in both orders, or in one that changes from prompt to prompt."""
    one, other = pair
    questions = {
        prompt.prompt_id: judge_words.harmless(judge_words.question_of(prompt.messages), task.special)
        for prompt in (from_row(Prompt, row, at) for at, row in store.read_rows(other.made.path / PROMPTS))
    }
    texts = {side.name: _texts(side.made.path, side.sample) for side in pair}
    found = []
    for place, (prompt_id, question) in enumerate(questions.items()):
        orders = [(one.name, other.name), (other.name, one.name)]
        for first, second in orders if task.spec.orders == "both" else orders[place % 2 :][:1]:
            sides = [texts[name].get(prompt_id) for name in (first, second)]
            problems = [
                f"{which}: {_why_missing(side)}"
                for which, side in zip(("first", "second"), sides, strict=True)
                if side is None or side.stop is Stop.FAILED
            ]
            words = [
                judge_words.harmless(side.text.strip() or judge_words.NOTHING, task.special) if side else ""
                for side in sides
            ]
            found.append(
                Shown(
                    prompt_id=prompt_id,
                    first=first,
                    second=second,
                    code=judge_words.code_of(question, words[0], words[1]),
                    put=None
                    if problems
                    else judge_words.put(
                        task.instructions, f"{prompt_id}/{first}/{second}", question, (words[0], words[1])
                    ),
                    problem="; ".join(problems),
                )
            )
    return found


def _texts(folder: Path, sample: int) -> dict[str, Completion]:
    found = {}
    for where, row in store.read_rows(folder / COMPLETIONS):
        if row["benchmark"] == items.PROMPTS and row["completion"]["sample"] == sample:
            completion = from_row(Completion, row["completion"], where)
            found[completion.prompt_id] = completion
    return found


def _why_missing(completion: Completion | None) -> str:
    return completion.detail or "could not be asked" if completion else "not answered"


def _make_verdicts(
    folder: Path,
    *,
    judge: str,
    identity: str,
    answers: judge_words.Answers,
    reviewed: Mapping[str, Path],
) -> None:
    comparisons, served, told = [], Counter[str](), {}
    for pair, path in reviewed.items():
        for where, row in store.read_rows(path / REVIEWS):
            verdict, reason = Verdict.NONE, row["problem"]
            if row["completion"]:
                reply = from_row(Completion, row["completion"], where)
                verdict, reason = judge_words.read(reply, answers, row["code"])
            comparisons.append(
                Comparison(
                    prompt_id=row["prompt_id"],
                    first=row["first"],
                    second=row["second"],
                    verdict=verdict,
                    by=judge,
                    reason=reason,
                )
            )
        served.update(store.read_json(path / SERVED))
        told[pair] = _canary_verdicts(path, answers)
    store.write_rows(folder / COMPARISONS, map(to_row, comparisons))
    store.write_json(
        folder / JUDGE,
        {"identity": identity, "served": dict(sorted(served.items())), "canaries": told},
    )


def _canary_verdicts(folder: Path, answers: judge_words.Answers) -> dict[str, Any]:
    """Return what the judge said of the canaries beside one pair: verdicts, how many are right, and a fingerprint.

    A canary that could not be asked has no verdict, not even none: it tells nothing of whether the judge has changed.
    """
    verdicts: dict[str, str] = {}
    right = asked = 0
    texts = []
    for where, row in store.read_rows(folder / CANARIES):
        reply = from_row(Completion, row["completion"], where)
        if reply.stop is Stop.FAILED:
            continue
        verdict, _ = judge_words.read(reply, answers, row["code"])
        verdicts[row["canary_id"]] = str(verdict)
        right += verdict == row["right"]
        asked += 1
        texts.append(reply.text)
    digest = hashlib.sha256("\0".join(texts).encode("utf-8", "replace")).hexdigest()
    return {"verdicts": verdicts, "right": right, "asked": asked, "fingerprint": digest[:16]}
