"""A judge of tone: a model or a classifier says of each completion by itself whether its tone is authoritative.

Every base, every student and the teacher's second sample has an artefact of its own, so that a new student brings its
own completions alone. It holds
- `heard.jsonl`: a row a prompt for style. Of a model `{prompt_id, code, completion, problem}`: its whole reply, null
  where the completion is blank or missing, which `problem` tells. Of a classifier `{prompt_id, score, problem}`.
- of a model, `canaries.jsonl` and `served.json` as of a judge of pairs; of a classifier, `checked.json`: how it scored
  the canaries.

The artefact of the judge's own name reads these into `tones.jsonl`, `{contestant, prompt_id, authoritative, reason}`
with null for no verdict, and sums up the judge in `judge.json`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from veneer import disk
from veneer.disk import Row
from veneer.evaluate import classify, judge_asking, judge_words
from veneer.evaluate.judge import JUDGE, Side, sides
from veneer.evaluate.judge_asking import SERVED, Task
from veneer.models.model import ModelRef
from veneer.records import Completion, Contestant, Prompt, from_row, to_row
from veneer.store import Artefact, Order
from veneer.study import EvaluateSpec
from veneer.study_judges import ToneClassifierSpec, ToneJudgeSpec

VERSION = 1
HEARD, CHECKED, TONES = "heard.jsonl", "checked.json", "tones.jsonl"
BLANK = "the completion is blank"
WORDS = {True: "yes", False: "no", None: "none"}
"""A verdict as canaries have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One completion."""

    prompt_id: str
    code: str
    put: Prompt | None
    """None where there is nothing to judge."""
    problem: str


def hearing_orders(
    judge_name: str,
    spec: ToneJudgeSpec,
    judge: ModelRef | None,
    contestants: Sequence[Contestant],
    answered: Mapping[str, Artefact],
    evaluate: EvaluateSpec,
) -> list[Order]:
    """Return the orders of a model's replies or a classifier's scores, one a contestant.

    Args:
        judge_name: Its key under `judges`.
        spec: That section.
        judge: The model; None of a classifier.
        contestants: All of the study's, one of them the teacher.
        answered: Their answers, by name.
        evaluate: Batch size and precision of a checkpoint that reads.

    Raises:
        StudyError: The judge's own prompt cannot be used.
    """
    heard = sides(contestants, answered)
    if spec.classifier:
        return [_scoring(judge_name, spec.classifier, side) for side in heard]
    assert judge is not None, "a judge of tone is a classifier or a model"
    text = judge_words.instructions("tone", spec.prompt, f"judges.{judge_name}")
    task = judge_asking.task_of(judge, text, spec.sampling, evaluate)
    config = judge_asking.config(task, judge_words.fingerprint(text, "tone_canaries.jsonl"))
    return [
        Order(
            stage="judge",
            name=f"{judge_name}~{side.name}",  # No name may hold a tilde.
            version=VERSION,
            config={**config, "side": [side.name, side.sample]},
            inputs={"judge": judge.digest, "answers": side.made.key},
            make=partial(_make_replies, side=side, every=heard, task=task),
            needs=judge.needs,
        )
        for side in heard
    ]


def verdict_orders(
    judge_name: str, spec: ToneJudgeSpec, judge: ModelRef | None, heard: Mapping[str, Artefact]
) -> list[Order]:
    """Return the one order of a judge's verdicts.

    Args:
        judge_name: Its key under `judges`.
        spec: That section.
        judge: The model; None of a classifier.
        heard: The artefacts of `hearing_orders`, by their names.
    """
    identity = judge_asking.identity(judge) if judge else ""
    threshold = None
    if spec.classifier:
        known, threshold = spec.classifier, spec.classifier.threshold
        digest = disk.digest(known.checkpoint)[:12]
        identity = f"{known.checkpoint.name} {digest}, label {known.label!r} from {threshold:g} on"
    return [
        Order(
            stage="judge",
            name=judge_name,
            version=VERSION,
            config={"kind": spec.kind, "identity": identity, "threshold": threshold},
            inputs={name: made.key for name, made in heard.items()},
            make=partial(
                _make_verdicts,
                identity=identity,
                threshold=threshold,
                heard={name.partition("~")[2]: made.path for name, made in heard.items()},
            ),
        )
    ]


def _scoring(judge_name: str, spec: ToneClassifierSpec, side: Side) -> Order:
    words = judge_words.fingerprint("", "tone_canaries.jsonl")
    return Order(
        stage="judge",
        name=f"{judge_name}~{side.name}",
        version=VERSION,
        config={"label": spec.label, "threshold": spec.threshold, "words": words, "sample": side.sample},
        inputs={"classifier": disk.digest(spec.checkpoint), "answers": side.made.key},
        make=partial(_make_scores, side=side, spec=spec),
    )


def _make_replies(folder: Path, *, side: Side, every: Sequence[Side], task: Task) -> None:
    shown = _shown(side, task)
    put = [one.put for one in shown if one.put]
    canaries = judge_words.tone_canaries() if put else []
    alarm = _alarm(side, task)[: len(canaries)]
    of = judge_asking.replies([*put, *alarm], partial(_everything, every, task), task, folder)
    disk.write_rows(folder / HEARD, (_reply_row(one, of) for one in shown))
    judge_asking.close(
        folder,
        (
            (
                canary.canary_id,
                judge_words.code_of(canary.question, canary.answer),
                WORDS[canary.authoritative],
                of[prompt.prompt_id],
            )
            for canary, prompt in zip(canaries, alarm, strict=True)
        ),
    )


def _reply_row(one: Shown, replies: Mapping[str, Completion]) -> Row:
    return {
        "prompt_id": one.prompt_id,
        "code": one.code,
        "completion": to_row(replies[one.put.prompt_id]) if one.put else None,
        "problem": one.problem,
    }


def _everything(every: Sequence[Side], task: Task) -> Iterator[Prompt]:
    for side in every:
        put = [one.put for one in _shown(side, task) if one.put]
        yield from put
        yield from _alarm(side, task) if put else ()


def _alarm(side: Side, task: Task) -> list[Prompt]:
    """Return the canaries as they are put beside one contestant's completions."""
    draw = judge_asking.draw_of(f"{side.name} {side.sample} {side.made.key}")
    return [
        judge_words.put_alone(task.instructions, f"canary/{one.canary_id}", one.question, one.answer, draw)
        for one in judge_words.tone_canaries()
    ]


def _shown(side: Side, task: Task) -> list[Shown]:
    completions = judge_asking.completions(side.made.path, side.sample)
    found = []
    for prompt_id, question in judge_asking.questions(side.made.path, task).items():
        completion = completions.get(prompt_id)
        answer = judge_words.harmless(completion.text.strip(), task.special) if completion else ""
        problem = _problem(completion)
        put = judge_words.put_alone(task.instructions, f"{prompt_id}/{side.name}", question, answer)
        code = judge_words.code_of(question, answer)
        found.append(Shown(prompt_id=prompt_id, code=code, put=None if problem else put, problem=problem))
    return found


def _problem(completion: Completion | None) -> str:
    """Return why a completion has no tone; empty if it has one."""
    said = completion.text.strip() if completion else ""
    return judge_asking.why_missing(completion) or ("" if said else BLANK)


def _make_scores(folder: Path, *, side: Side, spec: ToneClassifierSpec) -> None:
    classifier = classify.load_checkpoint(spec.checkpoint, spec.label)
    known = [(one.answer, one.authoritative) for one in judge_words.tone_canaries()]
    canary = classify.check(classifier, spec.threshold, known, ("authoritative", "other"))
    right = sum(score >= spec.threshold for score in canary.high)
    right += sum(score < spec.threshold for score in canary.low)
    completions = judge_asking.completions(side.made.path, side.sample)
    scores = classifier.score([one.text for one in completions.values()])
    rows = []
    for (prompt_id, completion), score in zip(completions.items(), scores, strict=True):
        problem = _problem(completion) or ("" if score is not None else "the classifier has no score for it")
        rows.append({"prompt_id": prompt_id, "score": None if problem else score, "problem": problem})
    disk.write_rows(folder / HEARD, rows)
    disk.write_json(
        folder / CHECKED, {"verdicts": {}, "right": right, "asked": len(known), "fingerprint": ""}
    )


def _make_verdicts(
    folder: Path, *, identity: str, threshold: float | None, heard: Mapping[str, Path]
) -> None:
    rows, served, told = [], Counter[str](), {}
    for contestant, path in heard.items():
        for where, row in disk.read_rows(path / HEARD):
            verdict, reason = _verdict(row, where) if threshold is None else _by_score(row, threshold)
            rows.append(
                {
                    "contestant": contestant,
                    "prompt_id": row["prompt_id"],
                    "authoritative": verdict,
                    "reason": reason,
                }
            )
        if threshold is None:
            served.update(disk.read_json(path / SERVED))
            told[contestant] = judge_asking.canary_verdicts(path, _word)
        else:
            told[contestant] = disk.read_json(path / CHECKED)
    disk.write_rows(folder / TONES, rows)
    disk.write_json(
        folder / JUDGE, {"identity": identity, "served": dict(sorted(served.items())), "canaries": told}
    )


def _verdict(row: Row, where: str) -> tuple[bool | None, str]:
    if row["completion"] is None:
        return None, row["problem"]
    return judge_words.read_tone(from_row(Completion, row["completion"], where), row["code"])


def _by_score(row: Row, threshold: float) -> tuple[bool | None, str]:
    score: Any = row["score"]
    return (None, row["problem"]) if score is None else (score >= threshold, f"scored {score:.3f}")


def _word(reply: Completion, code: str) -> str:
    return WORDS[judge_words.read_tone(reply, code)[0]]
