"""Judges of completions: a model's likelihood of them, or verdicts that were recorded elsewhere.

Two kinds of artefact lie under `judge`. Scores, one a judge and contestant, hold `scores.jsonl`: one row a completion
of a prompt for style, `{prompt_id, sample, mean_logprob, tokens, reason}`: the mean log-probability (nats) per token of
the completion as the whole reply to the prompt, its end token included, under the judge; null, with the reason, where
there is nothing to score.

Verdicts, one a judge, hold `comparisons.jsonl`: one `records.Comparison` a prompt and pair. A likelihood judge weighs
every base, every student and the teacher's second sample (`<teacher>-again`) against the teacher's first, and every
student against its base, always in that order: it has no eye for position. Recorded verdicts keep the order they had.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from veneer import store
from veneer.benchmarks import items
from veneer.errors import DataError, StudyError
from veneer.evaluate.answer import COMPLETIONS, PROMPTS
from veneer.models.model import Continuation, ModelRef, ScoringModel
from veneer.models.open import open_model
from veneer.models.render import default_template_digest
from veneer.records import Comparison, Completion, Contestant, Prompt, Role, Stop, Verdict, from_row, to_row
from veneer.store import Artefact, Order
from veneer.study import LikelihoodJudgeSpec, RecordedJudgeSpec, ReviewFile

VERSION = 1
SCORES, COMPARISONS = "scores.jsonl", "comparisons.jsonl"
BATCH_SIZE = 64

Scores = Mapping[tuple[str, int], float | str]
"""(prompt's id, sample) to the mean log-probability per token, or the reason why there is none."""
Side = tuple[str, Artefact, int]
"""A name, where its scores lie, and which sample is meant."""


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
    pairs = _pairs(contestants, known)
    return [
        Order(
            stage="judge",
            name=judge_name,
            version=VERSION,
            config={
                "kind": spec.kind,
                "judge": judge_name,
                "tie": spec.tie,
                "pairs": [[[name, sample] for name, _, sample in pair] for pair in pairs],
            },
            inputs={name: artefact.key for name, artefact in known.items()},
            make=partial(_make_weighings, judge=judge_name, tie=spec.tie, pairs=pairs),
        )
    ]


def recorded_orders(
    judge_name: str, spec: RecordedJudgeSpec, contestants: Sequence[Contestant]
) -> list[Order]:
    """Return the one order of a recorded judge's comparisons.

    Raises:
        StudyError: A file of reviews is about a contestant that the study has not.
    """
    known = [one.name for one in contestants]
    for place, review in enumerate(spec.reviews):
        for field in ("first", "second"):
            if (name := getattr(review, field)) not in known:
                raise StudyError(
                    f"judges.{judge_name}.reviews[{place}].{field}: {name!r} is no contestant of this study; they are "
                    f"{known}."
                )
    return [
        Order(
            stage="judge",
            name=judge_name,
            version=VERSION,
            config={
                "kind": spec.kind,
                "judge": judge_name,
                "reviews": [review.model_dump(mode="json", exclude={"path"}) for review in spec.reviews],
            },
            inputs={f"reviews {place}": store.digest(one.path) for place, one in enumerate(spec.reviews)},
            make=partial(_make_recorded, judge=judge_name, reviews=spec.reviews),
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


def read_scores(value: object) -> tuple[Verdict, str]:
    """Return the verdict of a recorded pair of scores, and the reason where it is none.

    The higher score wins and equal ones are a tie. A pair with -1 is a review that failed (FastChat's convention).

    >>> read_scores([8, 9.5]), read_scores([-1, -1])[0]
    ((<Verdict.SECOND: 'second'>, ''), <Verdict.NONE: 'none'>)
    """
    if value is None:
        return Verdict.NONE, "the review has no scores"
    numbers = isinstance(value, list | tuple) and [
        float(part) for part in value if isinstance(part, int | float) and not isinstance(part, bool)
    ]
    if not numbers or len(numbers) != 2 or len(value) != 2:  # type: ignore[arg-type]
        return Verdict.NONE, f"the review's scores are {value!r}, not two numbers"
    if not all(map(math.isfinite, numbers)) or -1 in numbers:
        return Verdict.NONE, f"the review failed: its scores are {value!r}"
    if numbers[0] == numbers[1]:
        return Verdict.TIE, ""
    return (Verdict.FIRST if numbers[0] > numbers[1] else Verdict.SECOND), ""


def _make_scores(folder: Path, *, judge: ModelRef, answers: Path) -> None:
    prompts = {
        prompt.prompt_id: prompt
        for prompt in (from_row(Prompt, row, where) for where, row in store.read_rows(answers / PROMPTS))
    }
    completions = [
        from_row(Completion, row["completion"], where)
        for where, row in store.read_rows(answers / COMPLETIONS)
        if row["benchmark"] == items.PROMPTS
    ]
    texts = [one for one in completions if one.text.strip()]
    model = open_model(judge, batch_size=BATCH_SIZE)
    assert isinstance(model, ScoringModel)
    requests = [Continuation(prompt=prompts[one.prompt_id], continuation=one.text.strip()) for one in texts]
    scores = model.loglikelihoods(requests)
    found = {
        (one.prompt_id, one.sample): score for one, score in zip(texts, scores, strict=True) if score.tokens
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
    store.write_rows(folder / SCORES, rows)


def _why_unscored(completion: Completion) -> str:
    if completion.stop is Stop.FAILED:
        return completion.detail or "could not be asked"
    return "refused" if completion.stop is Stop.REFUSED else "empty completion"


def _scores_name(judge_name: str, contestant: Contestant) -> str:
    return f"{judge_name}-{contestant.name}"


def _pairs(contestants: Sequence[Contestant], scored: Mapping[str, Artefact]) -> list[tuple[Side, Side]]:
    """Return who is weighed against whom: all against the teacher, then every student against its base."""
    teacher = next(one.name for one in contestants if one.role is Role.TEACHER)
    first: Side = (teacher, scored[teacher], 0)
    others = [one for one in contestants if one.role is not Role.TEACHER]
    pairs: list[tuple[Side, Side]] = [((one.name, scored[one.name], 0), first) for one in others]
    pairs.append(((f"{teacher}-again", scored[teacher], 1), first))
    students = [one for one in others if one.role is Role.STUDENT]
    return pairs + [((one.name, scored[one.name], 0), (one.base, scored[one.base], 0)) for one in students]


def _make_weighings(folder: Path, *, judge: str, tie: float, pairs: Sequence[tuple[Side, Side]]) -> None:
    read: dict[Path, Scores] = {}
    comparisons = []
    for pair in pairs:
        for _, artefact, _ in pair:
            if artefact.path not in read:
                read[artefact.path] = _read_scores(artefact.path)
        (one, one_at, one_sample), (other, other_at, other_sample) = pair
        for prompt_id in dict.fromkeys(prompt_id for prompt_id, _ in read[other_at.path]):
            verdict, reason = weigh(
                read[one_at.path].get((prompt_id, one_sample), "not answered"),
                read[other_at.path].get((prompt_id, other_sample), "not answered"),
                tie,
            )
            comparisons.append(
                Comparison(
                    prompt_id=prompt_id, first=one, second=other, verdict=verdict, by=judge, reason=reason
                )
            )
    store.write_rows(folder / COMPARISONS, map(to_row, comparisons))


def _read_scores(folder: Path) -> Scores:
    return {
        (row["prompt_id"], row["sample"]): row["reason"]
        if row["mean_logprob"] is None
        else row["mean_logprob"]
        for _, row in store.read_rows(folder / SCORES)
    }


def _make_recorded(folder: Path, *, judge: str, reviews: Sequence[ReviewFile]) -> None:
    comparisons = [comparison for review in reviews for comparison in _read_reviews(judge, review)]
    store.write_rows(folder / COMPARISONS, map(to_row, comparisons))


def _read_reviews(judge: str, review: ReviewFile) -> list[Comparison]:
    if review.first == review.second:
        raise DataError(
            f"{review.path}: `first` and `second` are both {review.first!r}; name the two that it compares."
        )
    comparisons = []
    seen: set[str] = set()
    for where, row in store.read_rows(review.path):
        if row.get(review.prompt_field) is None:
            raise DataError(
                f"{where}: has no field {review.prompt_field!r}; its fields are {sorted(row)}. Name the right one as "
                "`prompt_field`."
            )
        if (prompt := str(row[review.prompt_field])) in seen:
            raise DataError(
                f"{where}: reviews prompt {prompt!r} a second time; one review a prompt is wanted."
            )
        seen.add(prompt)
        verdict, problem = read_scores(row.get(review.scores_field))
        said = row.get(review.reason_field)
        reason = "; ".join(part for part in (problem, said if isinstance(said, str) else "") if part)
        comparisons.append(
            Comparison(
                prompt_id=prompt,
                first=review.first,
                second=review.second,
                verdict=verdict,
                by=judge,
                reason=reason,
            )
        )
    return comparisons
