"""Words and word n-grams of a text as 64-bit numbers, computed for the whole text at once."""

import re
import unicodedata

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.uint64]

ODD = np.uint64(0x9E3779B97F4A7C15)
STEP = np.uint64(0xD6E8FEB86659FD93)
POWERS = np.cumprod(np.full(1 << 12, 0x100000001B3, dtype=np.uint64), dtype=np.uint64)


UNSPACED = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003ffff]+"
)
"""Han characters and kana: no space parts the words that they write."""


def spaced(text: str) -> str:
    """Return a text with spaces around every Han character and kana, so that each counts as a word."""
    return text if text.isascii() else UNSPACED.sub(lambda run: f" {' '.join(run[0])} ", text)


def plain(text: str) -> str:
    """Return a text of which words are made: casefolded, and with spaces for marks beyond ASCII.

    A curly quote parts words as a straight one does.
    """
    if text.isascii():
        return text.casefold()
    text = unicodedata.normalize("NFKC", text).casefold()
    for character in set(text):
        if character > "\x7f" and unicodedata.category(character)[0] not in "LMN":
            text = text.replace(character, " ")
    return spaced(text)


def _table() -> npt.NDArray[np.bool_]:
    """Return which bytes belong to words: ASCII letters and digits, and every byte of other characters."""
    inside = np.zeros(256, dtype=np.bool_)
    for character in b"abcdefghijklmnopqrstuvwxyz0123456789_":
        inside[character] = True
    inside[128:] = True
    return inside


INSIDE = _table()


def word_hashes(text: str) -> Numbers:
    """Return one number per word of a text, in order; equal words have equal numbers in every process.

    Words are runs of ASCII letters, digits and characters beyond ASCII, whatever their case.
    """
    data = np.frombuffer(text.casefold().encode("utf-8", "replace"), dtype=np.uint8)
    inside = INSIDE[data]
    edges = np.flatnonzero(np.diff(inside, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return np.empty(0, dtype=np.uint64)
    lengths = ends - starts
    place = np.arange(len(data)) - np.repeat(
        np.concatenate(([0], starts)), np.diff(np.concatenate(([0], starts, [len(data)])))
    )
    values = (data.astype(np.uint64) + np.uint64(1)) * POWERS[place & (len(POWERS) - 1)]
    values[~inside] = 0
    return mixed(np.add.reduceat(values, starts) + lengths.astype(np.uint64) * ODD)


def ngram_hashes(words: Numbers, size: int) -> Numbers:
    """Return one number per run of `size` words, in order; none where there are fewer words.

    Args:
        words: From `word_hashes`.
        size: The n.
    """
    count = len(words) - size + 1
    if count <= 0:
        return np.empty(0, dtype=np.uint64)
    found = np.zeros(count, dtype=np.uint64)
    for place in range(size):
        found = found * STEP + words[place : place + count]
    return mixed(found)


def mixed(numbers: Numbers) -> Numbers:
    """Return numbers with all bits well mixed (the finaliser of SplitMix64, Steele et al. 2014)."""
    found = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return found ^ (found >> np.uint64(31))
