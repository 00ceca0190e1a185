"""Sentence BLEU: the same number as sacrebleu's, and a bound that it never passes."""

import os
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from veneer.disk import read_rows
from veneer.prepare import bleu
from veneer.prepare.hashing import spaced

WORDS = st.lists(st.sampled_from("the cat sat on a mat and dog ran".split()), max_size=20).map(" ".join)
REAL = (
    'Don\'t you think that 3.5% of $1,000 is "too much"? (I do.)',
    "Don’t you think that 3,5 % of 1.000 € is “too much”?",
    "  What is the name of the tallest tower in Oslo?\n\nWrite: one line - no more.  ",
    "what is the name of the tallest tower in Oslo, and who built it?",
    "Write a poem &quot;on cats&quot; &amp; dogs-and-birds.",
    "为什么天空是蓝色的?",
    "?!",
    "",
)


@given(WORDS, WORDS)
def test_it_equals_sacrebleus_on_any_words(one: str, other: str) -> None:
    assert _ours(one, other) == pytest.approx(_theirs(one, other), abs=1e-6)


@given(st.text(max_size=60), st.text(max_size=60))
def test_it_equals_sacrebleus_on_any_text(one: str, other: str) -> None:
    assert _ours(one, other + one) == pytest.approx(_theirs(one, other + one), abs=1e-6)


@pytest.mark.parametrize("one", REAL)
@pytest.mark.parametrize("other", REAL)
def test_it_equals_sacrebleus_on_marks_numbers_and_other_scripts(one: str, other: str) -> None:
    assert _ours(one, other) == pytest.approx(_theirs(one, other), abs=1e-6)


def test_it_equals_sacrebleus_on_benchmark_questions() -> None:
    data = Path(os.environ.get("VENEER_DATA") or pytest.skip("VENEER_DATA is not set"))
    asked = [row["text"] for _, row in read_rows(data / "vicuna_bench" / "question.jsonl")][:60]
    pairs = [(one, other) for one in asked for other in asked]
    assert [_ours(*pair) for pair in pairs] == pytest.approx([_theirs(*pair) for pair in pairs], abs=1e-6)


@given(st.tuples(WORDS, WORDS), st.tuples(WORDS, WORDS), WORDS)
def test_it_never_passes_the_bound_that_what_is_shared_sets(
    before: tuple[str, str], after: tuple[str, str], middle: str
) -> None:
    one, other = (f"{left} sat on a mat {middle} {right}" for left, right in zip(before, after, strict=True))
    own, reference = bleu.tokens(one), bleu.tokens(other)
    grams = zip(bleu.ngrams(own), bleu.ngrams(reference), strict=True)
    shared = [(left & right).total() for left, right in grams]
    lengths = np.array([len(reference)])
    assert bleu.bound(len(own), lengths, shared).tolist() == pytest.approx([_ours(one, other)])
    loose = [np.minimum(shared[0], min(len(own), len(reference)) - size) for size in range(3)]
    assert _ours(one, other) <= bleu.bound(len(own), lengths, [*loose, shared[-1]])[0] + 1e-6


def _ours(one: str, other: str) -> float:
    return bleu.bleu(bleu.ngrams(bleu.tokens(one)), bleu.ngrams(bleu.tokens(other)))


def _theirs(one: str, other: str) -> float:
    one, other = spaced(one), spaced(other)
    return float(sacrebleu.sentence_bleu(one, [other], lowercase=True, use_effective_order=True).score)


def test_sentences_without_spaces_are_compared_by_their_characters() -> None:
    one, other = "北京的历史和文化是什么", "北京的历史和文化有什么"
    wanted = sacrebleu.sentence_bleu(one, [other], tokenize="zh").score
    assert _ours(one, other) == pytest.approx(wanted)
    assert 50 < wanted < 100
