"""A judge whose verdicts were recorded elsewhere: reviews of a model or of people, read and never asked.

A review keeps the order that it had, and its verdict is two scores or a word.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from veneer import disk, rows
from veneer.errors import DataError, StudyError
from veneer.evaluate.judge import COMPARISONS, JUDGE
from veneer.records import Comparison, Contestant, Verdict, to_row
from veneer.store import Order
from veneer.study_judges import RecordedJudgeSpec, ReviewFile, VerdictWords

VERSION = 2


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
            if (name := getattr(review, field)) not in (None, *known):
                raise StudyError(
                    f"judges.{judge_name}.reviews[{place}].{field}: {name!r} is no contestant of this study; they are "
                    f"{known}."
                )
    files = {path: disk.digest(path) for path in {review.path for review in spec.reviews}}
    return [
        Order(
            stage="judge",
            name=judge_name,
            version=VERSION,
            config={
                "kind": spec.kind,
                "judge": judge_name,
                "identity": spec.identity,
                "contestants": sorted(known),
                "reviews": [
                    {**review.model_dump(mode="json", exclude={"path"}), "file": files[review.path]}
                    for review in spec.reviews
                ],
            },
            inputs={digest: digest for digest in sorted(set(files.values()))},
            make=partial(_make, judge=judge_name, spec=spec, known=known),
        )
    ]


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


def read_word(value: object, words: VerdictWords) -> tuple[Verdict, str]:
    """Return the verdict that a recorded word or number stands for, and the reason where it is none.

    >>> read_word(2, VerdictWords())[0], read_word("?", VerdictWords())[0]
    (<Verdict.SECOND: 'second'>, <Verdict.NONE: 'none'>)
    """
    known = {words.first: Verdict.FIRST, words.second: Verdict.SECOND, words.tie: Verdict.TIE}
    word = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if word in known:
        return known[word], ""
    return Verdict.NONE, f"the review's verdict is {value!r}, not one of {list(known)}"


def _make(folder: Path, *, judge: str, spec: RecordedJudgeSpec, known: Sequence[str]) -> None:
    read: dict[Path, list[tuple[str, Mapping[str, Any]]]] = {}
    comparisons: list[Comparison] = []
    for review in spec.reviews:
        if review.path not in read:
            read[review.path] = list(_rows(review.path))
        comparisons += _read_reviews(judge, review, read[review.path], known)
    disk.write_rows(folder / COMPARISONS, map(to_row, comparisons))
    disk.write_json(folder / JUDGE, {"identity": spec.identity})


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for where, row in rows.of_file(path):
        if not isinstance(row, dict):
            raise DataError(f"{path}, {where}: found {row!r}; a JSON object a review is wanted.")
        yield f"{path}, {where}", row


def _read_reviews(
    judge: str, review: ReviewFile, found: Sequence[tuple[str, Mapping[str, Any]]], known: Sequence[str]
) -> list[Comparison]:
    own = [(where, row) for where, row in found if _is_meant(row, review)]
    if not own:
        raise DataError(f"{review.path}: no row has {review.where or 'anything'}; look at `where`.")
    comparisons = []
    seen: set[tuple[str, str, str]] = set()
    for where, row in own:
        prompt = str(_field(row, review.prompt_field, where, "prompt_field"))
        first = review.first or _contestant(row, review.first_field, where, "first_field", known)
        second = review.second or _contestant(row, review.second_field, where, "second_field", known)
        if first == second:
            raise DataError(f"{where}: compares {first!r} with itself; a review is of two contestants.")
        if (prompt, first, second) in seen:
            raise DataError(
                f"{where}: reviews prompt {prompt!r} of {first!r} and {second!r} a second time; one review a prompt "
                "and order is wanted. Where several people reviewed, give each an entry of its own, with `by`."
            )
        seen.add((prompt, first, second))
        verdict, problem = (
            read_word(row.get(review.verdict_field), review.words)
            if review.verdict_field
            else read_scores(row.get(review.scores_field))
        )
        said = row.get(review.reason_field)
        comparisons.append(
            Comparison(
                prompt_id=prompt,
                first=first,
                second=second,
                verdict=verdict,
                by=review.by or judge,
                reason="; ".join(part for part in (problem, said if isinstance(said, str) else "") if part),
            )
        )
    return comparisons


def _field(row: Mapping[str, Any], field: str, where: str, setting: str) -> Any:
    if row.get(field) is None:
        raise DataError(
            f"{where}: has no field {field!r}; its fields are {sorted(row)}. Name the right one as `{setting}`."
        )
    return row[field]


def _contestant(row: Mapping[str, Any], field: str, where: str, setting: str, known: Sequence[str]) -> str:
    name = str(_field(row, field, where, setting))
    if name not in known:
        raise DataError(
            f"{where}, field {field}: {name!r} is no contestant of this study; they are {list(known)}. Rows of others "
            "can be left out with `where`."
        )
    return name


def _is_meant(row: Mapping[str, Any], review: ReviewFile) -> bool:
    return all(str(row.get(field)) == value for field, value in review.where.items())
