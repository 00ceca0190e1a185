"""Near-duplicates: found by MinHash, decided by exact similarity, each with the kept row that stands for it."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from veneer.prepare.near import jaccard, near_duplicates, shingles, signer
from veneer.study_data import NearSpec

SPEC = NearSpec()
TEXTS = st.lists(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=12).map(" ".join), min_size=1, max_size=25
)


def _dropped(texts: list[str]) -> dict[int, tuple[int, float]]:
    sign = signer(SPEC)
    signatures = np.array([sign(text) for text in texts], dtype=np.uint32)
    return near_duplicates(signatures, texts.__getitem__, SPEC)


@given(TEXTS)
def test_the_same_text_is_always_found(texts: list[str]) -> None:
    dropped = _dropped([*texts, *texts])
    assert set(range(len(texts), 2 * len(texts))) <= set(dropped)


@given(TEXTS)
def test_what_is_dropped_is_as_like_as_said_to_an_earlier_kept_row(texts: list[str]) -> None:
    dropped = _dropped(texts)
    for row, (twin, likeness) in dropped.items():
        assert twin < row
        assert twin not in dropped
        assert likeness == jaccard(shingles(texts[row], 5), shingles(texts[twin], 5)) >= SPEC.threshold


@settings(max_examples=10)
@given(st.integers(0, 99))
def test_nearly_all_copies_above_the_threshold_are_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = np.array([f"word{number}" for number in range(3000)])
    originals = [rng.choice(words, 200) for _ in range(40)]
    copies = []
    for original in originals:
        copy = original.copy()
        copy[rng.choice(200, 4, replace=False)] = "changed"
        copies.append(copy)
    texts = [" ".join(text) for text in (*originals, *copies)]
    true = {
        row + 40 for row in range(40) if jaccard(shingles(texts[row], 5), shingles(texts[row + 40], 5)) >= 0.8
    }
    assert len(true & set(_dropped(texts))) >= 0.95 * len(true)


def test_case_and_marks_make_no_difference() -> None:
    assert _dropped(["Write a poem, please, on cats.", "write a poem please on CATS"]) == {1: (0, 1.0)}


def test_thousands_of_equal_texts_cost_no_square() -> None:
    assert len(_dropped(["the same words in every single row of it"] * 5000)) == 4999
