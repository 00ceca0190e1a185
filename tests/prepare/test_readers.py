import json
from pathlib import Path
from typing import Any

import pytest

from veneer.errors import DataError
from veneer.prepare.readers import chat_messages, collected
from veneer.records import Stop
from veneer.store import write_rows

USER, ASSISTANT = {"role": "user", "content": "why ?"}, {"role": "assistant", "content": "so ."}
SYSTEM = {"role": "system", "content": "be kind ."}


def test_a_collected_completion_becomes_a_conversation(tmp_path: Path) -> None:
    _collected(tmp_path, queries=["a"], completions=["a"])
    (found,) = collected(tmp_path)
    assert [(message.role, message.content) for message in found.messages] == [
        ("user", "ask a"),
        ("assistant", "say a"),
    ]
    assert (found.example_id, found.stop) == ("a", Stop.END)


def test_a_completion_of_no_query_is_an_error(tmp_path: Path) -> None:
    _collected(tmp_path, queries=["a"], completions=["a", "a"])
    with pytest.raises(DataError, match="completions.jsonl:2: answers 'a', which is no query left"):
        list(collected(tmp_path))


def test_a_query_without_completion_is_an_error(tmp_path: Path) -> None:
    _collected(tmp_path, queries=["a", "b"], completions=["a"])
    with pytest.raises(DataError, match="1 queries have no row, 'b' first"):
        list(collected(tmp_path))


def test_conversations_are_read_with_or_without_ids(tmp_path: Path) -> None:
    path = _file(
        tmp_path, {"messages": [USER, ASSISTANT]}, {"id": "x", "messages": [SYSTEM, USER, ASSISTANT]}
    )
    found = list(chat_messages(path))
    assert [(one.example_id, len(one.messages)) for one in found] == [("1", 2), ("x", 3)]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"messages": []}, "must be a list"),
        ({"text": "hello"}, "must be a list"),
        ({"messages": [USER]}, "the turns are"),
        ({"messages": [SYSTEM]}, "the turns are"),
        ({"messages": [ASSISTANT, USER]}, "the turns are"),
        ({"messages": [USER, ASSISTANT, SYSTEM, USER]}, "the turns are"),
        ({"messages": [USER, {"role": "gpt", "content": "so ."}]}, "unknown roles \\['gpt'\\]"),
        ({"messages": [USER, {"role": "assistant"}]}, "turn 2: not a Message row"),
        ({"id": "1", "messages": [USER, ASSISTANT]}, "the id '1' stands already at .*chat.jsonl:1"),
    ],
)
def test_what_is_no_conversation_is_named(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=f"chat.jsonl:2.*{said}"):
        list(chat_messages(_file(tmp_path, {"messages": [USER, ASSISTANT]}, row)))


def _file(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "chat.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _collected(folder: Path, *, queries: list[str], completions: list[str]) -> None:
    write_rows(folder / "queries.jsonl", [{"id": name, "query": f"ask {name}"} for name in queries])
    completion = {
        "sample": 0,
        "model": "t",
        "rendered": "",
        "stop": "end",
        "detail": "",
        "tokens_in": 1,
        "tokens_out": 1,
    }
    write_rows(
        folder / "completions.jsonl",
        [{"prompt_id": name, "text": f"say {name}", **completion} for name in completions],
    )
