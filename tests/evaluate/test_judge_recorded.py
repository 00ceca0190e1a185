"""Recorded verdicts are repeated as they were given; where there is none, the reason is kept."""

import json
import math
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.evaluate.judging import PEOPLE, comparisons
from veneer.errors import DataError, StudyError
from veneer.evaluate import judge_recorded
from veneer.records import Verdict
from veneer.store import Store
from veneer.study_judges import RecordedJudgeSpec


@pytest.mark.parametrize(
    "value", [None, -1, [], [1], [1, 2, 3], ["1", 2], [True, 2], [-1, -1], [8, -1], [math.nan, 1], "8 9", {}]
)
def test_scores_that_are_not_two_numbers_are_no_verdict_and_the_reason_is_kept(value: object) -> None:
    verdict, reason = judge_recorded.read_scores(value)
    assert verdict is Verdict.NONE
    assert "review" in reason


def reviews(folder: Path, *rows: dict[str, object], **settings: str | None) -> RecordedJudgeSpec:
    path = folder / "reviews.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = {"path": path, "first": "base", "second": "teacher", **settings}
    return RecordedJudgeSpec.model_validate({"kind": "recorded", "reviews": [file]})


def test_recorded_scores_become_verdicts_in_the_order_of_the_review(tmp_path: Path) -> None:
    scores = [[9, 8], [7, 8.5], [8, 8], [-1, -1]]
    rows = [{"question_id": place, "score": pair, "text": "said"} for place, pair in enumerate(scores)]
    (order,) = judge_recorded.recorded_orders("gpt4", reviews(tmp_path, *rows), PEOPLE)
    found = comparisons(Store(root=tmp_path / "store").build(order))
    assert [one.verdict for one in found] == [Verdict.FIRST, Verdict.SECOND, Verdict.TIE, Verdict.NONE]
    assert {(one.first, one.second, one.by) for one in found} == {("base", "teacher", "gpt4")}
    assert found[0].reason == "said"
    assert "review failed" in found[3].reason


def test_a_review_of_a_stranger_is_an_error_that_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"reviews\[0\]\.second: 'bard'.*'base', 'student', 'teacher'"):
        judge_recorded.recorded_orders("gpt4", reviews(tmp_path, second="bard"), PEOPLE)


def test_a_review_without_a_prompt_is_an_error_that_names_its_line(tmp_path: Path) -> None:
    (order,) = judge_recorded.recorded_orders("gpt4", reviews(tmp_path, {"score": [1, 2]}), PEOPLE)
    with pytest.raises(DataError, match=r"reviews\.jsonl:1.*question_id"):
        Store(root=tmp_path / "store").build(order)


@pytest.mark.skipif("VENEER_DATA" not in os.environ, reason="VENEER_DATA is not set: no reviews to read")
def test_real_reviews_all_have_a_verdict(tmp_path: Path) -> None:
    folder = Path(os.environ["VENEER_DATA"]) / "vicuna_bench" / "review" / "vicuna-13b_20230322-clean-lang"
    file = {"path": folder / "review_gpt35_vicuna-13b.jsonl.gz", "first": "teacher", "second": "student"}
    spec = RecordedJudgeSpec.model_validate({"kind": "recorded", "reviews": [file]})
    (order,) = judge_recorded.recorded_orders("gpt4", spec, PEOPLE)
    found = Counter(one.verdict for one in comparisons(Store(root=tmp_path).build(order)))
    assert sum(found.values()) == 80
    assert found[Verdict.NONE] == 0
    assert found[Verdict.FIRST] > found[Verdict.SECOND]


def test_verdicts_in_words_and_of_several_raters_are_read_from_the_rows_that_are_meant(
    tmp_path: Path,
) -> None:
    path = tmp_path / "votes.json"
    rows = [
        {"id": place, "pair": "base-teacher", "one": one, "two": two}
        for place, (one, two) in enumerate([(1, 2), (0, 0), (2, 9)])
    ]
    path.write_text(json.dumps([*rows, {"id": 0, "pair": "other", "one": 1, "two": 1}]))
    file = {
        "path": path, "first": "base", "second": "teacher", "where": {"pair": "base-teacher"},
        "prompt_field": "id", "words": {"tie": "0"},
    }  # fmt: skip
    raters = [{**file, "verdict_field": name, "by": name} for name in ("one", "two")]
    spec = RecordedJudgeSpec.model_validate({"kind": "recorded", "people": True, "reviews": raters})
    (order,) = judge_recorded.recorded_orders("crowd", spec, PEOPLE)
    found = comparisons(Store(root=tmp_path / "store").build(order))
    by = {name: [one.verdict for one in found if one.by == name] for name in ("one", "two")}
    assert by["one"] == [Verdict.FIRST, Verdict.TIE, Verdict.SECOND]
    assert by["two"] == [Verdict.SECOND, Verdict.TIE, Verdict.NONE]
    assert "not one of ['1', '2', '0']" in found[-1].reason


def test_a_filter_that_no_row_meets_is_an_error(tmp_path: Path) -> None:
    spec = reviews(tmp_path, {"question_id": 1, "score": [1, 2]})
    nothing = spec.reviews[0].model_copy(update={"where": {"pair": "x"}})
    (order,) = judge_recorded.recorded_orders("gpt4", spec.model_copy(update={"reviews": (nothing,)}), PEOPLE)
    with pytest.raises(DataError, match=r"no row has \{'pair': 'x'\}"):
        Store(root=tmp_path / "store").build(order)


def test_reviews_may_name_the_two_that_they_compare(tmp_path: Path) -> None:
    rows = [
        {"question_id": 1, "a": "base", "b": "teacher", "score": [1, 2]},
        {"question_id": 1, "a": "teacher", "b": "base", "score": [1, 2]},
        {"question_id": 1, "a": "student", "b": "teacher", "score": [3, 2]},
    ]
    fields = {"first": None, "second": None, "first_field": "a", "second_field": "b"}
    store = Store(root=tmp_path / "store")
    (order,) = judge_recorded.recorded_orders("j", reviews(tmp_path, *rows, **fields), PEOPLE)
    found = [(one.first, one.second, one.verdict) for one in comparisons(store.build(order))]
    assert found == [
        ("base", "teacher", Verdict.SECOND),
        ("teacher", "base", Verdict.SECOND),
        ("student", "teacher", Verdict.FIRST),
    ]
    for wrong, said in (
        (rows[0] | {"b": "bard"}, "'bard' is no contestant"),
        (rows[0] | {"b": "base"}, "itself"),
    ):
        (order,) = judge_recorded.recorded_orders("j", reviews(tmp_path, wrong, **fields), PEOPLE)
        with pytest.raises(DataError, match=said):
            store.build(order)
    (order,) = judge_recorded.recorded_orders("j", reviews(tmp_path, rows[0], rows[0], **fields), PEOPLE)
    with pytest.raises(DataError, match="a second time"):
        store.build(order)
