"""Overlap with held-out items: word for word, in shared n-grams, and nearly (BLEU)."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from veneer.errors import DataError
from veneer.prepare import bleu
from veneer.prepare.overlap import HeldOut, Match, build, decides
from veneer.prepare.readers import Candidate, recorded
from veneer.records import Message
from veneer.store import write_rows
from veneer.study_data import OverlapSpec, RecordedSpec

LONG = "which of the rivers that flow through the old town is the one that the poet named in his last letter"
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


@given(WORDS, WORDS)
def test_bleu_is_sacrebleus(one: str, other: str) -> None:
    wanted = sacrebleu.sentence_bleu(one, [other], lowercase=True, use_effective_order=True).score
    found = bleu.bleu(bleu.ngrams(bleu.tokens(one)), bleu.ngrams(bleu.tokens(other)))
    assert found == pytest.approx(wanted, abs=1e-6)


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
