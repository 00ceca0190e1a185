import json
from pathlib import Path
from typing import Any

import pytest

from veneer.errors import DataError
from veneer.rate.screening import Act, Kind, exclusion, passed, read_checks, read_training
from veneer.records import Verdict
from veneer.study_rate import ExcludeSpec

ROW = {"id": "a", "kind": "gold", "prompt": "p", "first": "x", "second": "y", "answer": "first"}


def act(
    kind: Kind = "match", verdict: Verdict = Verdict.TIE, right: bool | None = None, seconds: float = 30
) -> Act:
    return Act(kind=kind, verdict=verdict, right=right, seconds=seconds)


@pytest.mark.parametrize(
    ("acts", "why"),
    [
        ([], ""),
        ([act("attention", right=False)], ""),
        ([act("attention", right=False)] * 2, "failed 2 attention checks"),
        ([act("attention", right=True)] * 9, ""),
        ([act("gold", right=False)] * 3, "judged 3 gold pairs against their known answer"),
        ([act("training", right=False)] * 9, ""),
        ([act(seconds=1.0)] * 4, ""),
        ([act(seconds=1.0)] * 3 + [act()] * 2, "took less than 3 s per pair (median)"),
        ([act(seconds=1.0)] * 2 + [act()] * 3, ""),
        ([act(verdict=Verdict.FIRST)] * 6, "chose the same side 6 times in a row"),
        ([*[act(verdict=Verdict.FIRST)] * 5, act(), act(verdict=Verdict.FIRST)], ""),
    ],
)  # fmt: skip
def test_the_rules_of_the_study_exclude_and_nothing_else(acts: list[Act], why: str) -> None:
    assert exclusion(acts, ExcludeSpec(same_side=6)) == why


def test_no_rule_excludes_nobody() -> None:
    nothing = ExcludeSpec(failed_attention=None, failed_gold=None, faster_than=None)
    assert exclusion([act("attention", right=False, seconds=0.1)] * 20, nothing) == ""


def test_a_turned_pair_is_right_on_the_other_side(tmp_path: Path) -> None:
    (known,) = read_checks(written(tmp_path, ROW))
    assert passed(known, Verdict.FIRST, turned=False)
    assert passed(known, Verdict.SECOND, turned=True)
    assert not passed(known, Verdict.TIE, turned=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "A"}, "field answer: found 'A'; allowed are"),
        ({"kind": "silver"}, "field kind: found 'silver'"),
        ({"prompt": " "}, "field prompt: found ' '; a text is wanted"),
        ({"extra": 1}, "unknown field 'extra'"),
    ],
)
def test_a_malformed_check_names_its_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"rows.jsonl:1.*{message}"):
        read_checks(written(tmp_path, ROW | change))


def test_an_id_given_twice_and_an_empty_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'a' stands there already"):
        read_checks(written(tmp_path, ROW, ROW))
    with pytest.raises(DataError, match="holds no rows"):
        read_training(written(tmp_path))


def test_a_training_item_says_why(tmp_path: Path) -> None:
    row = {key: value for key, value in ROW.items() if key != "kind"} | {"why": "because"}
    (known,) = read_training(written(tmp_path, row))
    assert (known.kind, known.why) == ("training", "because")


def written(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
