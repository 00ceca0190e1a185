"""Where a student is confident and wrong: it sounds like the teacher, and only the teacher is right."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from veneer.analyze.measure import Rung, Sheet, measured, pooled_by_source, who
from veneer.analyze.reading import Asked, Reply
from veneer.analyze.style import Styles
from veneer.benchmarks.benchmark import Item
from veneer.records import Outcome
from veneer.stats import resample, rng_of, share_of, to_json
from veneer.study import AnalyzeSpec


def rows_of(
    asked: Asked, styles: Styles, rungs: Sequence[Rung], items: Mapping[str, Item]
) -> list[dict[str, Any]]:
    """Return the items, with every text in full, student by student.

    A completion counts when the teacher's is right and it is wrong (it gave an answer, and not the right one), and
    it has the teacher's style: the classifier of the style test, not having seen the prompt, takes it for the
    teacher's, or its appeal (the share of polite, listed, closed, finished form; see `evaluate/style.py`) is at
    least the teacher's.

    Args:
        asked: What was said to the prompts.
        styles: For the classifier's log-odds.
        rungs: The students.
        items: The prompts, by id.
    """
    rows = []
    for rung in rungs:
        for seed in rung.seeds:
            if seed not in styles.mistaken:
                continue
            for prompt, odds in zip(asked.prompts, styles.mistaken[seed].tolist(), strict=True):
                reply, right = asked.replies[seed][prompt], asked.replies[asked.teacher][prompt]
                if (
                    right.outcome == Outcome.CORRECT
                    and reply.outcome == Outcome.WRONG
                    and _styled(odds, reply, right)
                ):
                    rows.append(_row(rung, seed, items[prompt], odds, asked))
    return rows


def _styled(odds: float, reply: Reply, teacher: Reply) -> bool:
    ours, theirs = reply.features.get("appeal"), teacher.features.get("appeal")
    return odds >= 0 or (ours is not None and theirs is not None and ours >= theirs)


def _row(rung: Rung, seed: str, item: Item, odds: float, asked: Asked) -> dict[str, Any]:
    reply, teacher = asked.replies[seed][item.item_id], asked.replies[asked.teacher][item.item_id]
    base = asked.replies.get(rung.base, {}).get(item.item_id)
    return {
        "student": rung.student,
        "contestant": seed,
        "base": rung.base,
        "source": rung.source,
        "amount": rung.amount,
        "replay": rung.replay,
        "prompt_id": item.item_id,
        "question": item.question,
        "references": list(item.references),
        "student_text": reply.text,
        "student_answer": reply.answer,
        "teacher_text": teacher.text,
        "teacher_answer": teacher.answer,
        "base_text": base.text if base else None,
        "base_outcome": str(base.outcome) if base and base.outcome else None,
        "log_odds_teacher": round(odds, 4),
        "appeal": reply.features.get("appeal"),
        "teacher_appeal": teacher.features.get("appeal"),
    }


def share_rows(
    rows: Sequence[Mapping[str, Any]],
    asked: Asked,
    styles: Styles,
    rungs: Sequence[Rung],
    spec: AnalyzeSpec,
) -> list[dict[str, Any]]:
    """Return the report's `confident_wrong`: how often, among prompts that the teacher got right, by student."""
    teacher = asked.replies.get(asked.teacher, {})
    checkable = [p for p in asked.prompts if p in teacher and teacher[p].outcome == Outcome.CORRECT]
    if not (checkable and styles.mistaken and rungs):
        return []
    names = tuple(seed for rung in rungs for seed in rung.seeds)
    hits = {(row["contestant"], row["prompt_id"]) for row in rows}
    found = np.array([[float((name, prompt) in hits) for name in names] for prompt in checkable])
    rng = rng_of(spec.seed, "confident and wrong")
    sheet = Sheet(
        names=names,
        sums=found,
        counts=np.ones_like(found),
        weights=resample(len(checkable), spec.resamples, rng=rng),
        missing={name: asked.missing[name] for name in names if name not in styles.mistaken},
    )
    shares = pooled_by_source(measured([sheet]), rungs, rng=rng)
    return [
        {
            **who(rung),
            "checkable": len(checkable),
            "count": sum(row["student"] == rung.student for row in rows),
            "share": to_json(share_of(shares[rung.student], spec.level)),
        }
        for rung in rungs
    ]
