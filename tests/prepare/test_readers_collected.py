"""What the teacher said to a source's queries is read as conversations, one a query, or refused."""

from pathlib import Path

import pytest

from veneer.disk import write_rows
from veneer.errors import DataError
from veneer.prepare.readers import collected
from veneer.records import Stop


def test_a_collected_completion_becomes_a_conversation(tmp_path: Path) -> None:
    _collected(tmp_path, queries=["a"], completions=[("a", 0)])
    (found,) = collected(tmp_path)
    assert [(one.role, one.content) for one in found.messages] == [
        ("user", "ask a"),
        ("assistant", "say a 0"),
    ]
    assert (found.example_id, found.stop) == ("a", Stop.END)


def test_only_the_first_of_several_samples_is_imitated(tmp_path: Path) -> None:
    _collected(tmp_path, queries=["a", "b"], completions=[("a", 0), ("a", 1), ("b", 0), ("b", 1)])
    assert [found.messages[1].content for found in collected(tmp_path)] == ["say a 0", "say b 0"]


def test_a_completion_of_no_query_is_an_error(tmp_path: Path) -> None:
    _collected(tmp_path, queries=["a"], completions=[("a", 0), ("a", 0)])
    with pytest.raises(DataError, match="completions.jsonl:2: answers 'a', which is no query left"):
        list(collected(tmp_path))


def test_a_query_without_completion_is_an_error(tmp_path: Path) -> None:
    _collected(tmp_path, queries=["a", "b"], completions=[("a", 0)])
    with pytest.raises(DataError, match="1 queries have no row, 'b' first"):
        list(collected(tmp_path))


def _collected(folder: Path, *, queries: list[str], completions: list[tuple[str, int]]) -> None:
    write_rows(folder / "queries.jsonl", [{"id": name, "query": f"ask {name}"} for name in queries])
    completion = {"model": "t", "rendered": "", "stop": "end", "detail": "", "tokens_in": 1, "tokens_out": 1}
    write_rows(
        folder / "completions.jsonl",
        [
            {"prompt_id": name, "sample": sample, "text": f"say {name} {sample}", **completion}
            for name, sample in completions
        ],
    )
