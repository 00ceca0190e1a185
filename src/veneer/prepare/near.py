"""Near-duplicates: MinHash finds the candidates, the exact Jaccard similarity of word n-grams decides.

MinHash is Broder's (1997), banding as in Leskovec, Rajaraman and Ullman (*Mining of Massive Datasets*, section 3.4).
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from veneer.prepare.hashing import Numbers, mixed, ngram_hashes, plain, word_hashes
from veneer.study_data import NearSpec

Signatures = npt.NDArray[np.uint32]
Places = npt.NDArray[np.int64]

PERMUTATIONS = 128
"""Numbers of a signature."""
CHANCE = 0.99
"""Two texts exactly as like as the threshold become candidates with at least this probability."""
MOST_KEPT = 256
"""Rows that a bucket holds. Templated texts crowd the buckets that hang on the template alone; in those the first rows
stand for all, and two near-duplicates among such texts still meet in a bucket that hangs on their own words."""
MOST_VERIFIED = 64
"""Candidates of one row that are compared exactly, those of most equal signature first."""
REMEMBERED = 1 << 24
"""Numbers (of 8 bytes) of texts' n-grams that are kept in memory."""


def signer(spec: NearSpec) -> Callable[[str], Signatures]:
    """Return the function that turns a text into its MinHash signature (128 numbers of 32 bits).

    Words and n-grams are hashed with numpy. Their permutations are left to `rensa`, whose compiled loop is several
    times as fast as the same loop in numpy.
    """
    from rensa import RMinHash

    seed = spec.seed % 2**64

    def sign(text: str) -> Signatures:
        grams = _grams(text, spec.words)
        ends = np.array([0, len(grams)], dtype=np.uint64)
        digests = RMinHash.digest_matrix_from_flat_token_hashes(grams, ends, PERMUTATIONS, seed)
        return np.array(digests.to_rows()[0], dtype=np.uint32)

    return sign


def shingles(text: str, size: int) -> Numbers:
    """Return the set of a text's word n-grams as sorted numbers, never empty.

    Words are runs of letters, digits and underscores, whatever their case; a Han character or a kana is one. A text of
    fewer words is one n-gram of all of them; a text without words is one n-gram of all its marks.
    """
    return np.unique(_grams(text, size))


def _grams(text: str, size: int) -> Numbers:
    """Return the n-grams of `shingles` in their order in the text, repeated ones too."""
    words = word_hashes(plain(text))
    if not len(words):
        marks = hashlib.blake2b("".join(text.split()).encode("utf-8", "replace"), digest_size=8).digest()
        return np.frombuffer(marks, dtype="<u8").astype(np.uint64)
    return ngram_hashes(words, min(size, len(words)))


def jaccard(one: Numbers, other: Numbers) -> float:
    """Return the share of two sorted sets' union that both have; 0 where both are empty."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(1, len(one) + len(other) - shared)


def bands_of(threshold: float) -> tuple[int, int]:
    """Return the number of bands that a signature is cut into, and the numbers of one band.

    Two texts of Jaccard similarity s agree in one of b bands of r numbers with probability 1 - (1 - s^r)^b (Leskovec
    et al., section 3.4.2). The longest bands for which this is at least `CHANCE` at the threshold bring the fewest
    candidates in vain: 21 bands of 6 and 0.998 for 0.8. Below a threshold of 0.04 not even bands of 1 reach it.
    """
    for rows in range(16, 1, -1):
        bands = PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** bands >= CHANCE:
            return bands, rows
    return PERMUTATIONS, 1


def near_duplicates(
    signatures: Signatures, text_of: Callable[[int], str], spec: NearSpec
) -> dict[int, tuple[int, float]]:
    """Return, for every row that is dropped, the earlier kept row that it duplicates and their Jaccard similarity.

    Rows are gone through in order: one is dropped if its exact similarity to an earlier row that is kept reaches the
    threshold. The most similar such row is named, the first of equals. Time grows with the rows, not their square,
    whatever they hold: see `MOST_KEPT` and `MOST_VERIFIED`.

    Args:
        signatures: One row a text, from `signer` with the same settings.
        text_of: Returns a row's text; called for rows with a candidate only, and seldom twice.
        spec: Threshold and n.
    """
    buckets = _buckets(signatures, *bands_of(spec.threshold))
    grams_of = _remembering(text_of, spec.words)
    # Four standard errors of the share of equal numbers below the threshold, no near-duplicate is to be expected.
    error = np.sqrt(spec.threshold * (1 - spec.threshold) / PERMUTATIONS)
    least = (spec.threshold - 4 * error) * PERMUTATIONS
    dropped: dict[int, tuple[int, float]] = {}
    for row in np.flatnonzero((buckets.of >= 0).any(1)).tolist():
        own = buckets.of[row][buckets.of[row] >= 0].tolist()
        best: tuple[int, float] | None = None
        candidates = buckets.kept(own)
        if len(candidates):
            equal = (signatures[candidates] == signatures[row]).sum(1)
            order = np.argsort(-equal, kind="stable")[:MOST_VERIFIED]
            best = _most_like(
                row, candidates[order[equal[order] >= least]].tolist(), grams_of, spec.threshold
            )
        if best:
            dropped[row] = best
        else:
            buckets.keep(row, own)
    return dropped


def _most_like(
    row: int, candidates: list[int], grams_of: Callable[[int], Numbers], threshold: float
) -> tuple[int, float] | None:
    """Return the candidate of the highest Jaccard similarity, the first of equals; None where all fall short."""
    best: tuple[int, float] | None = None
    for earlier in candidates:
        likeness = jaccard(grams_of(row), grams_of(earlier))
        if likeness >= threshold and (best is None or (likeness, -earlier) > (best[1], -best[0])):
            best = (earlier, likeness)
        if likeness == 1:
            break
    return best


def _remembering(text_of: Callable[[int], str], size: int) -> Callable[[int], Numbers]:
    """Return the function that gives a row's n-grams and keeps those last asked for, up to `REMEMBERED` numbers."""
    known: OrderedDict[int, Numbers] = OrderedDict()
    held = 0

    def grams_of(row: int) -> Numbers:
        nonlocal held
        if row not in known:
            known[row] = shingles(text_of(row), size)
            held += len(known[row])
        known.move_to_end(row)
        # The two last are being compared.
        while held > REMEMBERED and len(known) > 2:
            held -= len(known.popitem(last=False)[1])
        return known[row]

    return grams_of


@dataclass(frozen=True, slots=True, kw_only=True)
class _Buckets:
    """Rows that agree in a band, filled as rows are kept; flat arrays, since there may be millions of buckets."""

    of: npt.NDArray[np.int32]
    """Bucket by row and band; -1 where no other row agrees."""
    starts: Places
    """Where a bucket's rows begin in `rows`, and at the end the length of `rows`."""
    filled: npt.NDArray[np.int32]
    """Rows that a bucket holds so far."""
    rows: npt.NDArray[np.int32]

    def kept(self, buckets: list[int]) -> npt.NDArray[np.int32]:
        """Return the kept rows of some buckets, in order, each once."""
        parts = [self.rows[self.starts[one] : self.starts[one] + self.filled[one]] for one in buckets]
        return np.unique(np.concatenate(parts))

    def keep(self, row: int, buckets: list[int]) -> None:
        """Put a row into its buckets, where there is room."""
        for one in buckets:
            place = self.starts[one] + self.filled[one]
            if place < self.starts[one + 1]:
                self.rows[place] = row
                self.filled[one] += 1


def _buckets(signatures: Signatures, bands: int, width: int) -> _Buckets:
    """Return the empty buckets of rows that agree in a band of so many numbers."""
    of = np.full((len(signatures), bands), -1, dtype=np.int32)
    rooms: list[Places] = []
    count = 0
    for band in range(bands):
        key = np.zeros(len(signatures), dtype=np.uint64)
        for column in range(band * width, (band + 1) * width):
            key = mixed(key + signatures[:, column])
        _, group, sizes = np.unique(key, return_inverse=True, return_counts=True)
        shared = sizes > 1
        numbers = np.where(shared, np.cumsum(shared) - 1 + count, -1)
        of[:, band] = numbers[group]
        rooms.append(np.minimum(sizes[shared], MOST_KEPT))
        count += int(shared.sum())
    starts = np.concatenate(([0], np.cumsum(np.concatenate(rooms)))).astype(np.int64)
    return _Buckets(
        of=of,
        starts=starts,
        filled=np.zeros(count, dtype=np.int32),
        rows=np.zeros(int(starts[-1]), dtype=np.int32),
    )
