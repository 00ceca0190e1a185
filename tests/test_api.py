"""Veneer from Python: what docs/api.md shows comes out so, and the import stays light."""

import doctest
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import veneer
from veneer import api
from veneer.errors import DataError, StoreError

DOCS = Path(__file__).parent.parent / "docs" / "api.md"
STUDY = """\
name: audit
bases: {base: {replay: base.jsonl}}
teacher: {name: teacher, replay: teacher.jsonl}
students: {student: {base: base, source: chats, replay: student.jsonl}}
evaluate:
  benchmarks: {capitals: {items: items.jsonl, measures: knowledge, grading: match}}
analyze: {resamples: 200}
"""


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of forty questions, of which the base knows ten, the student twenty and the teacher thirty."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, rows: list[dict[str, object]]) -> None:
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    write(
        "items.jsonl", [{"id": i, "question": f"What is {i}?", "references": [f"it {i}"]} for i in range(40)]
    )
    for name, known in (("base", 10), ("student", 20), ("teacher", 30)):
        said = [{"prompt_id": i, "text": f"it {i}" if i < known else "no idea"} for i in range(40)]
        write(f"{name}.jsonl", said)
    Path("audit.yaml").write_text(STUDY)
    return tmp_path / "audit.yaml"


@pytest.mark.usefixtures("audit")
def test_what_the_documentation_shows_comes_out_so() -> None:
    pytest.importorskip("pandas")
    found = doctest.testfile(str(DOCS), module_relative=False)
    assert found.attempted > 25
    assert found.failed == 0


def test_the_examples_in_docstrings_come_out_so() -> None:
    found = doctest.testmod(api, extraglobs={"np": np})
    assert found.attempted > 4
    assert found.failed == 0


def test_importing_veneer_reads_nothing_else() -> None:
    program = "import sys, veneer; print([name for name in sys.modules if name.startswith('veneer.')])"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


def test_all_that_is_named_is_there_and_documented() -> None:
    assert veneer.__all__ == api.__all__
    assert set(veneer.__all__) <= set(dir(veneer))
    text = DOCS.read_text(encoding="utf-8")
    for name in veneer.__all__:
        assert getattr(veneer, name) is getattr(api, name)
        assert name in {"Number", "Study"} or name in text


def test_what_is_not_there_is_said_with_what_is() -> None:
    with pytest.raises(AttributeError, match="gap_closed"):
        _ = veneer.gap_open


def test_a_report_that_is_not_made_yet_is_said(audit: Path) -> None:
    with pytest.raises(StoreError, match="no report yet"):
        veneer.read_report(audit)


def test_a_list_that_a_report_lacks_is_said_with_those_it_has() -> None:
    with pytest.raises(DataError, match="scores"):
        veneer.report_rows({"scores": [], "study": {}}, "score")


def test_what_is_undefined_has_no_value_in_a_row() -> None:
    report = {"scores": [{"contestant": "a", "strict": {"undefined": "few items", "n": 3}}]}
    (row,) = veneer.report_rows(report, "scores")
    assert (row["strict_value"], row["strict_undefined"], row["strict_n"]) == (None, "few items", 3)


def test_verdicts_on_one_prompt_are_not_independent() -> None:
    results = ["win"] * 60 + ["loss"] * 60
    apart = veneer.win_rate(results, rng=np.random.default_rng(0))
    together = veneer.win_rate(results, prompts=[i // 6 for i in range(120)], rng=np.random.default_rng(0))
    assert isinstance(apart, veneer.Estimate)
    assert isinstance(together, veneer.Estimate)
    assert together.n == 20
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


def test_no_verdict_leaves_the_denominator_and_alone_leaves_nothing() -> None:
    found = veneer.win_rate(["win", "none"] * 20, rng=np.random.default_rng(0))
    assert (found.n, getattr(found, "value", None)) == (20, 1.0)
    assert isinstance(veneer.win_rate(["none"], rng=np.random.default_rng(0)), veneer.Undefined)


def test_a_result_that_is_no_word_of_ours_is_an_error() -> None:
    with pytest.raises(DataError, match="'draw'"):
        veneer.win_rate(["win", "draw"], rng=np.random.default_rng(0))


def test_lists_of_unequal_length_are_an_error() -> None:
    with pytest.raises(DataError, match="same prompts"):
        veneer.style_gap_closed(["a"], ["a", "b"], ["a"], rng=np.random.default_rng(0))
    with pytest.raises(DataError, match="references"):
        veneer.supported(["a"], [], [])
    with pytest.raises(DataError, match="same items"):
        veneer.gap_closed([0] * 20, [1] * 19, [1] * 20, rng=np.random.default_rng(0))
    with pytest.raises(DataError, match="same items"):
        veneer.gap_closed([], [], [], rng=np.random.default_rng(0))
    with pytest.raises(DataError, match="same units"):
        veneer.cohen_kappa(["a"], ["a", "b"], rng=np.random.default_rng(0))


def test_an_item_without_a_score_is_an_error_and_not_a_number() -> None:
    with pytest.raises(DataError, match="no finite number"):
        veneer.gap_closed([0] * 20, [float("nan")] + [1] * 19, [1] * 20, rng=np.random.default_rng(0))
