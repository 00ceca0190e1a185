"""A judge that reads nothing: the completion whose text a model finds likelier per token wins.

Its scores, one artefact a judge and contestant, hold `scores.jsonl`: one row a completion of a prompt for style,
`{prompt_id, sample, mean_logprob, tokens, reason}`: the mean log-probability (nats) per token of the completion as the
whole reply to the prompt, its end token included, under the judge; null, with the reason, where there is nothing to
score. Every pair is weighed once, in the order of `judge.pairs`: this judge has no eye for position.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from veneer import disk
from veneer.benchmarks import items
from veneer.errors import StudyError
from veneer.evaluate.answer import COMPLETIONS, PROMPTS
from veneer.evaluate.judge import COMPARISONS, Pair, pairs
from veneer.models.model import Continuation, ModelRef, ScoringModel
from veneer.models.open import open_model
from veneer.models.render import default_template_digest
from veneer.records import Comparison, Completion, Contestant, Prompt, Stop, Verdict, from_row, to_row
from veneer.store import Artefact, Order
from veneer.study_judges import LikelihoodJudgeSpec

VERSION = 1
SCORES = "scores.jsonl"
BATCH_SIZE = 64

Scores = Mapping[tuple[str, int], float | str]
"""(prompt's id, sample) to the mean log-probability per token, or the reason why there is none."""


def score_orders(
    judge_name: str,
    spec: LikelihoodJudgeSpec,
    judge: ModelRef,
    contestants: Sequence[Contestant],
    answered: Mapping[str, Artefact],
) -> list[Order]:
    """Return the order of every contestant's scores under a likelihood judge.

    Args:
        judge_name: Its key under `judges`.
        spec: That section.
        judge: The model that it names.
        contestants: Whose completions are scored.
        answered: Their answers, by name.

    Raises:
        StudyError: The judge exists only as recordings, so its probabilities cannot be read.
    """
    if judge.kind != "checkpoint":
        raise StudyError(
            f"judges.{judge_name}.model: {spec.model!r} is a {judge.kind} model; a likelihood judge needs a "
            "checkpoint, since probabilities cannot be read from recordings. Name a base or teacher with a checkpoint."
        )
    return [
        Order(
            stage="judge",
            name=_scores_name(judge_name, contestant),
            version=VERSION,
            config={"batch_size": BATCH_SIZE, "default_template": default_template_digest()},
            inputs={"judge": judge.digest, "answers": answered[contestant.name].key},
            make=partial(_make_scores, judge=judge, answers=answered[contestant.name].path),
            needs=judge.needs,
        )
        for contestant in contestants
    ]


def verdict_orders(
    judge_name: str,
    spec: LikelihoodJudgeSpec,
    contestants: Sequence[Contestant],
    scored: Mapping[str, Artefact],
) -> list[Order]:
    """Return the one order of a likelihood judge's comparisons.

    Args:
        judge_name: Its key under `judges`.
        spec: That section.
        contestants: All of the study's, one of them the teacher.
        scored: The artefacts of `score_orders`, by their names.
    """
    known = {one.name: scored[_scores_name(judge_name, one)] for one in contestants}
    met = pairs(contestants, known, against_base=True)
    return [
        Order(
            stage="judge",
            name=judge_name,
            version=VERSION,
            config={
                "kind": spec.kind,
                "judge": judge_name,
                "tie": spec.tie,
                "pairs": [[[side.name, side.sample] for side in pair] for pair in met],
            },
            inputs={name: artefact.key for name, artefact in known.items()},
            make=partial(_make_weighings, judge=judge_name, tie=spec.tie, pairs=met),
        )
    ]


def weigh(one: float | str, other: float | str, tie: float) -> tuple[Verdict, str]:
    """Return the verdict on two scores, and what it rests on.

    Args:
        one: The first completion's mean log-probability per token, or the reason why there is none.
        other: The second's.
        tie: A difference of at most this is a tie.

    >>> weigh(-1.5, -1.0, 0.1)
    (<Verdict.SECOND: 'second'>, 'mean log-probability per token -1.5000 against -1.0000')
    """
    if isinstance(one, str) or isinstance(other, str):
        reasons = [
            f"{which}: {score}"
            for which, score in (("first", one), ("second", other))
            if isinstance(score, str)
        ]
        return Verdict.NONE, "; ".join(reasons)
    reason = f"mean log-probability per token {one:.4f} against {other:.4f}"
    if abs(one - other) <= tie:
        return Verdict.TIE, reason
    return (Verdict.FIRST if one > other else Verdict.SECOND), reason


def _make_scores(folder: Path, *, judge: ModelRef, answers: Path) -> None:
    prompts = {
        prompt.prompt_id: prompt
        for prompt in (from_row(Prompt, row, where) for where, row in disk.read_rows(answers / PROMPTS))
    }
    completions = [
        from_row(Completion, row["completion"], where)
        for where, row in disk.read_rows(answers / COMPLETIONS)
        if row["benchmark"] == items.PROMPTS
    ]
    texts = [one for one in completions if one.text.strip()]
    model = open_model(judge, batch_size=BATCH_SIZE)
    assert isinstance(model, ScoringModel)
    requests = [Continuation(prompt=prompts[one.prompt_id], continuation=one.text.strip()) for one in texts]
    scores = model.loglikelihoods(requests)
    found = {
        (one.prompt_id, one.sample): score
        for one, score in zip(texts, scores, strict=True)
        if score.tokens and math.isfinite(score.value)
    }
    rows: list[dict[str, Any]] = []
    for one in completions:
        score = found.get((one.prompt_id, one.sample))
        rows.append(
            {
                "prompt_id": one.prompt_id,
                "sample": one.sample,
                "mean_logprob": score.value / score.tokens if score else None,
                "tokens": score.tokens if score else 0,
                "reason": "" if score else _why_unscored(one),
            }
        )
    disk.write_rows(folder / SCORES, rows)


def _why_unscored(completion: Completion) -> str:
    if completion.stop is Stop.FAILED:
        return completion.detail or "could not be asked"
    if completion.stop is Stop.REFUSED:
        return "refused"
    return "its likelihood is no finite number" if completion.text.strip() else "empty completion"


def _scores_name(judge_name: str, contestant: Contestant) -> str:
    return f"{judge_name}-{contestant.name}"


def _make_weighings(folder: Path, *, judge: str, tie: float, pairs: Sequence[Pair]) -> None:
    read: dict[Path, Scores] = {}
    comparisons = []
    for one, other in pairs:
        for side in (one, other):
            if side.made.path not in read:
                read[side.made.path] = _read_scores(side.made.path)
        for prompt_id in dict.fromkeys(prompt_id for prompt_id, _ in read[other.made.path]):
            verdict, reason = weigh(
                read[one.made.path].get((prompt_id, one.sample), "not answered"),
                read[other.made.path].get((prompt_id, other.sample), "not answered"),
                tie,
            )
            comparisons.append(
                Comparison(
                    prompt_id=prompt_id,
                    first=one.name,
                    second=other.name,
                    verdict=verdict,
                    by=judge,
                    reason=reason,
                )
            )
    disk.write_rows(folder / COMPARISONS, map(to_row, comparisons))


def _read_scores(folder: Path) -> Scores:
    return {
        (row["prompt_id"], row["sample"]): row["reason"]
        if row["mean_logprob"] is None
        else row["mean_logprob"]
        for _, row in disk.read_rows(folder / SCORES)
    }
