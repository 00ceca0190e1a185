"""Overlap with held-out items: word for word, in shared n-grams, and nearly (BLEU)."""

import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from veneer.disk import write_rows
from veneer.errors import DataError
from veneer.prepare import overlap
from veneer.prepare.hashing import plain, word_hashes
from veneer.prepare.overlap import HeldOut, Items, Match, build, decides
from veneer.prepare.readers import Candidate, recorded
from veneer.records import Message
from veneer.study_data import OverlapSpec, RecordedSpec

LONG = "which of the rivers that flow through the old town is the one that the poet named in his last letter"
CHINESE = "下列哪一条河流流经老城并在诗人最后的信中被提到"
WORDS = st.lists(st.sampled_from("the cat sat on a mat and dog ran".split()), min_size=1, max_size=15).map(
    " ".join
)


def test_an_item_is_found_by_its_question_whatever_its_case_and_marks(tmp_path: Path) -> None:
    assert _found(tmp_path, "Where is Ada?", "where is  ADA !") == (_match("exact", 1.0),)


def test_an_item_is_found_within_a_longer_turn_by_its_ngrams(tmp_path: Path) -> None:
    found = _found(tmp_path, LONG, f"Please tell me. {LONG.upper()} Thank you")
    assert {match.kind: match.score for match in found} == {"8-gram": 1.0, "13-gram": 1.0}


def test_half_an_item_has_half_of_its_ngrams(tmp_path: Path) -> None:
    (found,) = _found(tmp_path, LONG, " ".join(LONG.split()[:10]))
    assert (found.kind, round(found.score * 14)) == ("8-gram", 3)


def test_a_short_item_has_no_ngrams_to_share(tmp_path: Path) -> None:
    assert _found(tmp_path, "who is ada", "tell me who is ada and why") == ()


def test_an_answer_that_holds_an_item_is_found_too(tmp_path: Path) -> None:
    items = build([_held(tmp_path, LONG)], OverlapSpec())
    said = (Message(role="user", content="write a question"), Message(role="assistant", content=LONG))
    assert {match.kind for match in items.matches(said)} == {"8-gram", "13-gram"}


def test_a_query_that_is_nearly_an_item_is_found_by_bleu(tmp_path: Path) -> None:
    spec = OverlapSpec(ngrams=(), ngram=None, bleu=20)
    found = _found(
        tmp_path,
        "what is the name of the tallest tower in oslo",
        "what is the name of the tallest tree",
        spec,
    )
    assert [match.kind for match in found] == ["bleu"]


@settings(deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=8), st.data())
def test_bleu_finds_every_item_that_comparing_with_all_would_find(
    questions: list[str], data: st.DataObject
) -> None:
    said = data.draw(_like(questions))
    items = _items(questions, OverlapSpec(ngrams=(), ngram=None, bleu=20))
    scores = {str(item): _theirs(said, question) for item, question in enumerate(questions)}
    found = items.matches([Message(role="user", content=said)])
    assert {match.item: match.score for match in found if match.kind == "bleu"} == pytest.approx(
        {item: score for item, score in scores.items() if score > 20}, abs=1e-6
    )


@settings(deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=8), st.integers(1, 5), st.data())
def test_ngrams_find_every_item_that_comparing_with_all_would_find(
    questions: list[str], size: int, data: st.DataObject
) -> None:
    turns = data.draw(st.lists(_like(questions), max_size=4))
    items = _items(questions, OverlapSpec(ngrams=(size, size + 2), ngram=size))
    found = items.matches([Message(role="assistant", content=turn) for turn in turns])
    for n in (size, size + 2):
        said = {gram for turn in turns for gram in _runs(turn, n)}
        shared = {str(item): _runs(question, n) for item, question in enumerate(questions)}
        assert {match.item: match.score for match in found if match.kind == f"{n}-gram"} == {
            item: len(runs & said) / len(runs) for item, runs in shared.items() if runs & said
        }


def test_words_whose_numbers_are_equal_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "word_hashes", lambda text: np.full(len(text.split()), 7, dtype=np.uint64))
    items = _items([LONG], OverlapSpec())
    assert items.matches([Message(role="user", content="other words altogether " * 8)]) == ()


def test_no_ngram_reaches_from_one_turn_into_the_next() -> None:
    words = LONG.split()
    halves = [Message(role="user", content=" ".join(part)) for part in (words[:7], words[7:14], words[14:])]
    assert _items([LONG], OverlapSpec()).matches(halves) == ()


@pytest.mark.parametrize("marks", ["“{}”", "— {} …", "«{}»\u200b"])
def test_marks_beyond_ascii_part_words_as_others_do(marks: str) -> None:
    question = "Don't name the king's oldest son, nor the queen's: name her brother, and his ship"
    said = marks.format(question.replace("'", "’"))
    found = _items([question], OverlapSpec()).matches([Message(role="assistant", content=said)])
    assert {match.kind: match.score for match in found} == {"8-gram": 1.0, "13-gram": 1.0}


@given(st.text())
def test_every_word_has_its_number(text: str) -> None:
    assert len(overlap._words(plain(text))) == len(word_hashes(plain(text)))


def test_an_item_in_a_script_without_spaces_is_found_within_a_longer_turn() -> None:
    said = "你好！请帮我回答：" + CHINESE + "谢谢。"
    found = _items([CHINESE], OverlapSpec(bleu=20)).matches([Message(role="user", content=said)])
    assert [match.kind for match in found] == ["13-gram", "8-gram", "bleu"]


def test_only_the_named_ngram_counts_as_overlap() -> None:
    spec = OverlapSpec()
    assert [decides(_match(kind, 1.0), spec) for kind in ("exact", "8-gram", "13-gram", "bleu")] == [
        True,
        False,
        True,
        True,
    ]


def test_fields_can_be_named_and_hold_several_turns(tmp_path: Path) -> None:
    write_rows(tmp_path / "items.jsonl", [{"question_id": 81, "turns": ["One?", "Two?"]}])
    held = HeldOut(path=tmp_path / "items.jsonl", id_field="question_id", question_field="turns", name="mt")
    (found,) = build([held], OverlapSpec()).matches([Message(role="user", content="two")])
    assert (found.file, found.item) == ("mt", "81")


@pytest.mark.parametrize("row", [{"id": "a"}, {"question": "why ?"}, {"id": "a", "question": 3}])
def test_an_item_without_question_or_id_is_an_error(tmp_path: Path, row: dict[str, Any]) -> None:
    write_rows(tmp_path / "items.jsonl", [row])
    with pytest.raises(DataError, match="items.jsonl:1"):
        build([HeldOut(path=tmp_path / "items.jsonl")], OverlapSpec())


def test_alpaca_and_halueval_ask_no_koala_and_no_vicuna_question() -> None:
    data = Path(os.environ.get("VENEER_DATA") or pytest.skip("VENEER_DATA is not set"))
    held = [
        HeldOut(path=data / "koala_test_set" / "koala_test_set.jsonl.gz", question_field="prompt"),
        HeldOut(path=data / "vicuna_bench" / "question.jsonl", id_field="question_id", question_field="text"),
    ]
    items = build(held, OverlapSpec())
    files = [
        RecordedSpec(format="alpaca", path=data / "alpaca" / "alpaca_partial.jsonl.gz"),
        RecordedSpec(
            format="pairs",
            path=data / "halueval_general" / "general_data.json.gz",
            query_field="user_query",
            answer_field="chatgpt_response",
        ),
    ]
    rows = [row for spec in files for row in recorded(spec)]
    kinds = Counter(
        match.kind for row in rows if isinstance(row, Candidate) for match in items.matches(row.messages)
    )
    assert (len(rows), kinds["exact"]) == (31_662, 0)


def _match(kind: str, score: float) -> Match:
    return Match(item="i1", file="items.jsonl", kind=kind, score=score)


def _held(folder: Path, question: str) -> HeldOut:
    write_rows(folder / "items.jsonl", [{"id": "i1", "question": question}])
    return HeldOut(path=folder / "items.jsonl")


def _found(folder: Path, question: str, said: str, spec: OverlapSpec | None = None) -> tuple[Match, ...]:
    items = build([_held(folder, question)], spec or OverlapSpec())
    return items.matches([Message(role="user", content=said)])


def _like(questions: list[str]) -> st.SearchStrategy[str]:
    """Return texts that hold a piece of a question among other words."""
    piece = st.tuples(st.sampled_from(questions), st.integers(0, 6), st.integers(3, 15)).map(
        lambda cut: " ".join(cut[0].split()[cut[1] : cut[1] + cut[2]])
    )
    return st.tuples(WORDS, piece, WORDS).map(" ".join) | piece


def _items(questions: list[str], spec: OverlapSpec) -> Items:
    rows = [{"id": str(item), "question": question} for item, question in enumerate(questions)]
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder) / "items.jsonl", rows)
        return build([HeldOut(path=Path(folder) / "items.jsonl")], spec)


def _runs(text: str, size: int) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[place : place + size]) for place in range(len(words) - size + 1)}


def _theirs(said: str, question: str) -> float:
    """Return sacrebleu's BLEU, and 0 where not four words in a row are shared."""
    found = sacrebleu.sentence_bleu(said, [question], lowercase=True, use_effective_order=True)
    return float(found.score) if found.counts[3] else 0.0
