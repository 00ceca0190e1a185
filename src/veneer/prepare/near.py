"""Near-duplicates: MinHash finds the candidates, the exact Jaccard similarity of word n-grams decides.

MinHash is Broder's (1997), banding as in Leskovec, Rajaraman and Ullman (*Mining of Massive Datasets*, section 3.4).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from veneer.prepare.hashing import Numbers, mixed, ngram_hashes, word_hashes
from veneer.study_data import NearSpec

Signatures = npt.NDArray[np.uint32]

BANDS, ROWS = 20, 5
"""100 permutations; two texts of Jaccard 0.8 meet in some band with probability 1 - (1 - 0.8^5)^20 = 0.9996."""
MOST_COMPARED = 64
"""Kept rows of one bucket that a row is compared with: large buckets are of templated texts, where the first rows
stand for all."""
REMEMBERED = 4096
"""Texts whose n-grams are kept in memory."""


def signer(spec: NearSpec) -> Callable[[str], Signatures]:
    """Return the function that turns a text into its MinHash signature (100 numbers of 32 bits)."""
    rng = np.random.default_rng([spec.seed, 5])
    factors = rng.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    offsets = rng.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64)
    shift = np.uint64(32)

    def sign(text: str) -> Signatures:
        grams = shingles(text, spec.words)
        least = np.full(BANDS * ROWS, np.iinfo(np.uint32).max, dtype=np.uint32)
        # In slices that fit the processor's cache.
        for start in range(0, len(grams), 256):
            part = grams[start : start + 256, None] * factors + offsets
            np.minimum(least, (part >> shift).astype(np.uint32).min(0), out=least)
        return least

    return sign


def shingles(text: str, size: int) -> Numbers:
    """Return the set of a text's word n-grams, sorted; a shorter text is one n-gram of all its words."""
    words = word_hashes(text)
    return np.unique(ngram_hashes(words, min(size, max(1, len(words)))))


def jaccard(one: Numbers, other: Numbers) -> float:
    """Return the share of two sorted sets' union that both have; 0 where both are empty."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(1, len(one) + len(other) - shared)


def near_duplicates(
    signatures: Signatures, text_of: Callable[[int], str], spec: NearSpec
) -> dict[int, tuple[int, float]]:
    """Return, for every row that is dropped, the earlier kept row that it duplicates and their Jaccard similarity.

    Rows are gone through in order: one is dropped if its exact similarity to an earlier row that is kept reaches the
    threshold. The most similar such row is named, the first of equals.

    Args:
        signatures: One row a text.
        text_of: Returns a row's text.
        spec: Threshold and n.
    """
    known: OrderedDict[int, Numbers] = OrderedDict()

    def grams(row: int) -> Numbers:
        if row not in known:
            known[row] = shingles(text_of(row), spec.words)
            if len(known) > REMEMBERED:
                known.popitem(last=False)
        known.move_to_end(row)
        return known[row]

    dropped: dict[int, tuple[int, float]] = {}
    for row, buckets in _meetings(signatures):
        best: tuple[float, int] | None = None
        compared: set[int] = set()
        for bucket in buckets:
            fresh = [earlier for earlier in bucket if earlier not in compared][:MOST_COMPARED]
            for earlier in fresh:
                compared.add(earlier)
                if _hopeless(signatures[row], signatures[earlier], spec.threshold):
                    continue
                likeness = jaccard(grams(row), grams(earlier))
                if likeness >= spec.threshold and (
                    best is None or (-likeness, earlier) < (-best[0], best[1])
                ):
                    best = (likeness, earlier)
            if best and best[0] == 1.0:
                break
        if best:
            dropped[row] = (best[1], best[0])
        else:
            for bucket in buckets:
                bucket.append(row)
    return dropped


def _hopeless(one: Signatures, other: Signatures, threshold: float) -> bool:
    """Return whether two signatures agree too little for the threshold: five standard errors too little."""
    error = np.sqrt(threshold * (1 - threshold) / len(one))
    return bool((one == other).mean() < threshold - 5 * error - 1 / len(one))


def _meetings(signatures: Signatures) -> Iterator[tuple[int, list[list[int]]]]:
    """Yield every row that shares a band with another, in order, with its buckets: lists of the rows kept so far."""
    count = len(signatures)
    bands = np.empty((count, BANDS), dtype=np.uint64)
    for band in range(BANDS):
        number = np.full(count, band, dtype=np.uint64)
        for column in range(band * ROWS, (band + 1) * ROWS):
            number = mixed(number + signatures[:, column].astype(np.uint64))
        # Numbers that stand once have no meeting: 0 marks them.
        order = np.argsort(number, kind="stable")
        same = number[order][1:] == number[order][:-1]
        met = np.zeros(count, dtype=np.bool_)
        met[order[1:][same]] = True
        met[order[:-1][same]] = True
        bands[:, band] = np.where(met, number, np.uint64(0))
    buckets: dict[int, list[int]] = {}
    for row in np.flatnonzero(bands.any(1)).tolist():
        numbers = [number for number in bands[row].tolist() if number]
        yield row, [buckets.setdefault(number, []) for number in numbers]
