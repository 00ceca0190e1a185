"""A judge that reads: any model is shown the question and both completions, and says which is better.

Every pair of contestants has an artefact of its own, so that a new student brings its own comparisons alone. It holds
- `reviews.jsonl`: a row a comparison, `{prompt_id, first, second, code, completion, problem}`: who was shown first and
  second, and the judge's whole reply; null where a completion is missing, which `problem` tells.
- `canaries.jsonl`: the same of the canaries, which are asked anew with every pair, `{canary_id, code, right,
  completion}`. Where their verdicts differ between pairs that were judged at different times, the judge has changed.
- `served.json`: the names under which a server answered, and how often.

The artefact of the judge's own name reads these into `comparisons.jsonl`, and sums up the judge in `judge.json`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from veneer import disk
from veneer.disk import Row
from veneer.evaluate import judge_asking, judge_words
from veneer.evaluate.judge import COMPARISONS, JUDGE, Pair, pairs
from veneer.evaluate.judge_asking import SERVED, Task
from veneer.models.model import ModelRef
from veneer.records import Comparison, Completion, Contestant, Prompt, Verdict, from_row, to_row
from veneer.store import Artefact, Order
from veneer.study import EvaluateSpec
from veneer.study_judges import ModelJudgeSpec

VERSION = 4
REVIEWS = "reviews.jsonl"

Orders = Literal["both", "one"]


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
    task = judge_asking.task_of(judge, text, spec.sampling, evaluate)
    met = pairs(contestants, answered, against_base=spec.against_base)
    return [
        Order(
            stage="judge",
            name=_name(judge_name, one.name, other.name),
            version=VERSION,
            config={
                **judge_asking.config(task, judge_words.fingerprint(text)),
                "pair": [[side.name, side.sample] for side in (one, other)],
                "orders": spec.orders,
            },
            inputs={"judge": judge.digest, "first": one.made.key, "second": other.made.key},
            make=partial(_make_reviews, pair=(one, other), every=met, task=task, orders=spec.orders),
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
    identity = judge_asking.identity(judge)
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


def _name(judge_name: str, one: str, other: str) -> str:
    return f"{judge_name}~{one}~{other}"  # No name may hold a tilde.


def _make_reviews(folder: Path, *, pair: Pair, every: Sequence[Pair], task: Task, orders: Orders) -> None:
    shown = _shown(pair, task, orders)
    canaries = judge_words.canaries()
    alarm = _alarm(pair, task, orders)
    put = [*(one.put for one in shown if one.put), *alarm]
    of = judge_asking.replies(put, partial(_everything, every, task, orders), task, folder)
    disk.write_rows(folder / REVIEWS, (_review_row(one, of) for one in shown))
    judge_asking.close(
        folder,
        (
            (
                canary.canary_id,
                judge_words.code_of(canary.question, canary.first, canary.second),
                canary.right,
                of[prompt.prompt_id],
            )
            for canary, prompt in zip(canaries, alarm, strict=True)
        ),
    )


def _review_row(one: Shown, replies: Mapping[str, Completion]) -> Row:
    return {
        "prompt_id": one.prompt_id,
        "first": one.first,
        "second": one.second,
        "code": one.code,
        "completion": to_row(replies[one.put.prompt_id]) if one.put else None,
        "problem": one.problem,
    }


def _everything(every: Sequence[Pair], task: Task, orders: Orders) -> Iterator[Prompt]:
    for pair in every:
        yield from (one.put for one in _shown(pair, task, orders) if one.put)
        yield from _alarm(pair, task, orders)


def _alarm(pair: Pair, task: Task, orders: Orders) -> list[Prompt]:
    """Return the canaries as they are put beside one pair."""
    asked = [*(f"{side.name} {side.sample} {side.made.key}" for side in pair), orders]
    draw = judge_asking.draw_of("\0".join(asked))
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


def _shown(pair: Pair, task: Task, orders: Orders) -> list[Shown]:
    """Return a pair's comparisons: every prompt in both orders, or in one that changes from prompt to prompt."""
    one, other = pair
    questions = judge_asking.questions(other.made.path, task)
    texts = {side.name: judge_asking.completions(side.made.path, side.sample) for side in pair}
    found = []
    for place, (prompt_id, question) in enumerate(questions.items()):
        both = [(one.name, other.name), (other.name, one.name)]
        for first, second in both if orders == "both" else both[place % 2 :][:1]:
            sides = [texts[name].get(prompt_id) for name in (first, second)]
            problems = [
                f"{which}: {why}"
                for which, side in zip(("first", "second"), sides, strict=True)
                if (why := judge_asking.why_missing(side))
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
        for where, row in disk.read_rows(path / REVIEWS):
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
        served.update(disk.read_json(path / SERVED))
        told[pair] = judge_asking.canary_verdicts(path, partial(_verdict, answers))
    disk.write_rows(folder / COMPARISONS, map(to_row, comparisons))
    disk.write_json(
        folder / JUDGE,
        {"identity": identity, "served": dict(sorted(served.items())), "canaries": told},
    )


def _verdict(answers: judge_words.Answers, reply: Completion, code: str) -> str:
    return str(judge_words.read(reply, answers, code)[0])
