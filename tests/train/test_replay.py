"""Replay mixes the base's own kind of text in: all of it, in an order of its own, as much as was asked for."""

from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models.tiny import tokenizer
from veneer.disk import write_rows
from veneer.errors import DataError
from veneer.models.encode import Encoded
from veneer.train.replay import draw, rows_beside, stream

WORDS = tokenizer()
TEXTS = [f"w{number} one two" for number in range(10)]
END = WORDS.eos_token_id


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_rows(tmp_path / "text.jsonl", [{"text": text} for text in TEXTS])
    return tmp_path / "text.jsonl"


def documents(file: Path, seed: int, many: int) -> list[list[int]]:
    """Return the first documents of a stream, as the tokens before each end."""
    tokens = stream(file, WORDS, seed)
    return [list(iter(lambda: next(tokens), END)) for _ in range(many)]


def test_every_document_comes_once_a_round_and_is_ended(file: Path) -> None:
    wanted = sorted(WORDS(text)["input_ids"] for text in TEXTS)
    found = documents(file, 0, 30)
    for start in (0, 10, 20):
        assert sorted(found[start : start + 10]) == wanted
    assert found[:10] != found[10:20]


def test_the_order_is_the_seed_s(file: Path) -> None:
    assert documents(file, 3, 20) == documents(file, 3, 20)
    assert documents(file, 3, 20) != documents(file, 4, 20)


def test_a_document_that_ends_itself_is_not_ended_twice(tmp_path: Path) -> None:
    write_rows(tmp_path / "text.jsonl", [{"text": "w1 <eos>"}, {"text": ""}])
    found = list(islice(stream(tmp_path / "text.jsonl", WORDS, 0), 6))
    assert sorted(found[:3]) == sorted([WORDS.convert_tokens_to_ids("w1"), END, END])


def test_rows_are_learned_whole_and_as_long_as_the_longest_beside_them(file: Path) -> None:
    beside = [
        Encoded(input_ids=(4, 5), labels=(4, 5)),
        Encoded(input_ids=(4, 5, 6, 7, 8), labels=(4, 5, 6, 7, 8)),
    ]
    rows = draw(stream(file, WORDS, 0), beside, 0.6)
    assert [len(row.input_ids) for row in rows] == [5, 5, 5]
    assert all(row.labels == row.input_ids for row in rows)
    # One goes on where the other ended.
    assert [number for row in rows for number in row.input_ids] == list(islice(stream(file, WORDS, 0), 15))


@given(st.integers(1, 1000), st.floats(0.01, 0.9))
def test_rows_are_their_share_of_all(rows: int, share: float) -> None:
    beside = rows_beside(rows, share)
    # To half a row: there are none in parts.
    assert abs(beside - share * (rows + beside)) <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("row", "said"),
    [({"words": "a"}, r"text\.jsonl:1: `text` is None"), ({"text": ""}, "holds no text to replay")],
)
def test_a_file_without_text_is_an_error(tmp_path: Path, row: dict[str, str], said: str) -> None:
    write_rows(tmp_path / "text.jsonl", [row])
    with pytest.raises(DataError, match=said):
        next(stream(tmp_path / "text.jsonl", WORDS, 0))
