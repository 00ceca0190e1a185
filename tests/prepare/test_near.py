"""Near-duplicates: found by MinHash, decided by exact similarity, each with the kept row that stands for it."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veneer.prepare import near
from veneer.prepare.hashing import Numbers
from veneer.prepare.near import bands_of, jaccard, near_duplicates, shingles, signer
from veneer.study_data import NearSpec

SPEC = NearSpec()
TEXTS = st.lists(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=12).map(" ".join), min_size=1, max_size=25
)


def _signatures(texts: list[str], spec: NearSpec = SPEC) -> near.Signatures:
    return np.stack([signer(spec)(text) for text in texts])


def _dropped(texts: list[str], spec: NearSpec = SPEC) -> dict[int, tuple[int, float]]:
    return near_duplicates(_signatures(texts, spec), texts.__getitem__, spec)


def _changed(text: str, places: list[int]) -> str:
    words = text.split(" ")
    for place in places:
        words[place] = f"changed{place}"
    return " ".join(words)


def _random(rng: np.random.Generator, size: int) -> str:
    return " ".join(f"word{number}" for number in rng.integers(0, 5000, size))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=10))
def test_the_same_text_is_always_found(texts: list[str]) -> None:
    dropped = _dropped([*texts, *texts])
    assert set(range(len(texts), 2 * len(texts))) <= set(dropped)


@settings(max_examples=40, deadline=None)
@given(TEXTS)
def test_what_is_dropped_is_as_like_as_said_to_an_earlier_kept_row(texts: list[str]) -> None:
    dropped = _dropped(texts)
    for row, (twin, likeness) in dropped.items():
        assert twin < row
        assert twin not in dropped
        assert likeness == jaccard(shingles(texts[row], 5), shingles(texts[twin], 5)) >= SPEC.threshold


@settings(max_examples=40, deadline=None)
@given(TEXTS)
def test_no_two_kept_rows_that_agree_in_a_band_are_near_duplicates(texts: list[str]) -> None:
    dropped = _dropped(texts)
    bands, rows = bands_of(SPEC.threshold)
    cut = _signatures(texts)[:, : bands * rows].reshape(len(texts), bands, rows)
    kept = [row for row in range(len(texts)) if row not in dropped]
    for one in kept:
        for other in kept[: kept.index(one)]:
            if (cut[one] == cut[other]).all(1).any():
                assert jaccard(shingles(texts[one], 5), shingles(texts[other], 5)) < SPEC.threshold


@settings(max_examples=40, deadline=None)
@given(TEXTS, st.integers(1, 5))
def test_the_result_does_not_depend_on_unrelated_rows(texts: list[str], every: int) -> None:
    mixed: list[str] = []
    place: dict[int, int] = {}
    for row, text in enumerate(texts):
        if row % every == 0:
            mixed.append(f"something else entirely that is numbered {row // 2}")
        place[row] = len(mixed)
        mixed.append(text)
    found = _dropped(mixed)
    own = {place[row]: (place[twin], likeness) for row, (twin, likeness) in _dropped(texts).items()}
    assert {row: twin for row, twin in found.items() if row in place.values()} == own


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 99))
def test_nearly_all_copies_just_above_the_threshold_are_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    originals = [_random(rng, 204) for _ in range(100)]
    # 4 changes among 200 n-grams cost 20: (200 - 20) / (200 + 20) = 0.818.
    texts = [*originals, *(_changed(text, [20, 60, 100, 140]) for text in originals)]
    found = _dropped(texts)
    assert all(twin == row - 100 and round(likeness, 3) == 0.818 for row, (twin, likeness) in found.items())
    assert len(found) >= 95


def test_copies_below_the_threshold_are_kept() -> None:
    original = _random(np.random.default_rng(0), 204)
    assert _dropped([original, _changed(original, [20, 60, 100, 140, 180])]) == {}


def test_the_most_similar_kept_row_is_named() -> None:
    text = _random(np.random.default_rng(0), 204)
    far, close = _changed(text, [10, 30, 50, 70]), _changed(text, [100, 120])
    assert _dropped([far, close, text])[2][0] == 1


def test_the_first_of_equally_similar_rows_is_named() -> None:
    text = _random(np.random.default_rng(0), 204)
    assert _dropped([_changed(text, [10, 30, 50]), _changed(text, [100, 120, 140]), text])[2][0] == 0


def test_a_row_is_not_dropped_for_one_that_is_dropped_itself() -> None:
    text = _random(np.random.default_rng(0), 204)
    once, twice = _changed(text, [10, 30, 50]), _changed(text, [10, 30, 50, 100, 120, 140])
    assert set(_dropped([text, once, twice])) == {1}


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_bands_meet_at_any_threshold(threshold: float) -> None:
    bands, rows = bands_of(threshold)
    assert bands * rows <= near.PERMUTATIONS
    assert 1 - (1 - threshold**rows) ** bands >= 0.99


def test_a_lower_threshold_finds_what_is_less_similar() -> None:
    original = _random(np.random.default_rng(0), 204)
    assert set(
        _dropped([original, _changed(original, list(range(10, 150, 14)))], NearSpec(threshold=0.5))
    ) == {1}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Write a poem, please, on cats.", "write a poem please on CATS"),
        ("He said “write a poem” — and left…", 'he said "write a poem" - and left'),
        ("one\u00a0two three four five six", "one two three four five six"),
        ("Straße und Fluss sind zwei Wörter", "STRASSE und Fluss sind zwei Wörter!"),
        ("yes", "Yes!"),
    ],
)
def test_case_and_marks_make_no_difference(one: str, other: str) -> None:
    assert _dropped([one, other]) == {1: (0, 1.0)}


@pytest.mark.parametrize(
    ("one", "other"), [("yes", "no"), ("a b c", "a b c d"), ("!!!", "???"), ("😀", "😡")]
)
def test_short_texts_are_compared_whole(one: str, other: str) -> None:
    assert _dropped([one, other]) == {}


def test_scripts_without_spaces_are_compared_by_their_characters() -> None:
    text = (
        "北京是中国的首都，位于华北平原的北部。它有三千多年的建城史，也是世界上拥有世界遗产最多的城市之一。"
    )
    assert list(_dropped([text, text.replace("之一", "之首"), text[::-1]])) == [1]


def test_no_rows_have_no_duplicates() -> None:
    assert near_duplicates(np.empty((0, near.PERMUTATIONS), dtype=np.uint32), str, SPEC) == {}


def test_signatures_are_the_same_in_every_process() -> None:
    program = (
        "from veneer.prepare.near import signer; from veneer.study_data import NearSpec;"
        "print(signer(NearSpec())('one two three four five six seven').tolist())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert said == {str(signer(SPEC)("one two three four five six seven").tolist())}


def test_another_seed_gives_other_signatures() -> None:
    text = "one two three four five six seven"
    assert (signer(SPEC)(text) != signer(NearSpec(seed=1))(text)).any()


def test_thousands_of_equal_texts_cost_no_square(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = _counted(monkeypatch)
    texts = ["the same words in every single row of it"] * 3000
    asked: Counter[int] = Counter()

    def text_of(row: int) -> str:
        asked[row] += 1
        return texts[row]

    signatures = np.repeat(_signatures(texts[:1]), len(texts), axis=0)
    assert len(near_duplicates(signatures, text_of, SPEC)) == 2999
    assert compared() == 2999
    assert max(asked.values()) == 1


def test_thousands_of_templated_texts_cost_no_square_and_hide_no_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = _counted(monkeypatch)
    rng = np.random.default_rng(0)
    template = _random(rng, 80)
    texts = [f"{template} {_random(rng, 20)}" for _ in range(1000)]
    # One change costs 5 of 96 n-grams.
    copies = {1000 + place: 500 + place for place in range(100)}
    texts += [_changed(texts[place], [90]) for place in copies.values()]
    found = _dropped(texts)
    assert sum(row in found and found[row][0] == twin for row, twin in copies.items()) >= 95
    assert compared() <= near.MOST_VERIFIED * len(texts)


def test_little_memory_changes_nothing_but_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    originals = [_random(rng, 50) for _ in range(20)]
    texts = [*originals, *(_changed(text, [20]) for text in originals)]
    found = _dropped(texts)
    monkeypatch.setattr(near, "REMEMBERED", 10)
    assert found == _dropped(texts) != {}


def _counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Count exact comparisons from here on."""
    calls: list[float] = []

    def counting(one: Numbers, other: Numbers) -> float:
        calls.append(jaccard(one, other))
        return calls[-1]

    monkeypatch.setattr(near, "jaccard", counting)
    return lambda: len(calls)
