"""Overlap: which held-out items, of benchmarks and prompts, stand in a conversation: whole, in part, or nearly."""

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from veneer.disk import read_rows
from veneer.errors import DataError
from veneer.prepare import bleu
from veneer.prepare.hashing import Numbers, mixed, ngram_hashes, plain, word_hashes
from veneer.records import Message
from veneer.study_data import OverlapSpec
from veneer.text import plain_query

EXACT, BLEU = "exact", "bleu"
WORD = re.compile("[a-z0-9_\x80-\U0010ffff]+")
BETWEEN = "\ue000"
"""A character for private use: it counts as a word and stands in no text that `plain` has been over."""
ROUNDING = 1e-6
"""Percent of BLEU by which a bound may be off through rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """A file of items that imitation data must not hold."""

    path: Path
    id_field: str = "id"
    question_field: str = "question"
    """Holds the question: a text, or a list of texts (the user's turns)."""
    name: str = ""
    """The benchmark's, or `prompts`; by default the file's."""

    @property
    def label(self) -> str:
        """The name by which its items are told apart from other files'."""
        return self.name or self.path.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Something that a conversation shares with an item."""

    item: str
    file: str
    """The held-out file's label."""
    kind: str
    """`exact`, `8-gram` (or another size) or `bleu`."""
    score: float
    """exact: 1; n-grams: the share of the item's that stand in the conversation; bleu: in percent."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grams:
    """The n-grams of all items, for one n, as numbers in a sorted array."""

    known: Numbers
    sieve: npt.NDArray[np.bool_]
    """Whether any known number begins with these bits: most of what is looked up ends here, without a search."""
    shift: np.uint64
    """The bits of a number that the sieve leaves out."""
    starts: npt.NDArray[np.int64]
    """Where each n-gram's holders start in `holders`, and the end of the last one's."""
    holders: npt.NDArray[np.int64]
    """The items that hold each n-gram, one n-gram after the other."""

    def hits(self, said: Numbers) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return the places of n-grams that are known, and for each its place among the known ones."""
        passed = np.flatnonzero(self.sieve[said >> self.shift])
        places = np.searchsorted(self.known, said[passed])
        places[places == len(self.known)] = 0
        real = self.known[places] == said[passed]
        return passed[real], places[real]

    def holders_of(self, place: int) -> list[int]:
        """Return the items that hold a known n-gram."""
        found: list[int] = self.holders[self.starts[place] : self.starts[place + 1]].tolist()
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nearness:
    """What BLEU against all items needs."""

    limit: float
    tokens: tuple[tuple[str, ...], ...]
    """Each item's, as BLEU has them."""
    lengths: npt.NDArray[np.int64]
    vocabulary: Mapping[str, int]
    """A number above 0 for every token of the items."""
    fours: Grams
    """Their 4-grams of tokens."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Items:
    """All held-out items, ready to be looked for."""

    names: tuple[tuple[str, str], ...]
    """Label and id of every item; an item of several turns stands there once a turn."""
    exact: Mapping[str, tuple[int, ...]]
    """Normalised question to items."""
    words: tuple[str, ...]
    """Each question's words between single spaces, with one before and one after."""
    grams: Mapping[int, Grams]
    """n to the n-grams of all items, the smallest n first."""
    counts: Mapping[int, tuple[int, ...]]
    """n to the number of distinct n-grams of each item."""
    nearness: Nearness | None
    """None where BLEU is not asked for."""

    def matches(self, messages: Sequence[Message]) -> tuple[Match, ...]:
        """Return what a conversation shares with items.

        An item is matched whole by a user's turn, in n-grams by any turn, and in BLEU by a user's turn.
        """
        asked = [message.content for message in messages if message.role == "user"]
        found: dict[tuple[int, str], float] = {}
        for text in asked:
            for item in self.exact.get(plain_query(text), ()):
                found[item, EXACT] = 1.0
        self._ngrams(messages, found)
        if self.nearness is not None:
            for text in asked:
                _near(text, self.nearness, found)
        best: dict[tuple[str, str, str], float] = {}
        for (item, kind), score in found.items():
            place = (*self.names[item], kind)
            best[place] = max(score, best.get(place, 0.0))
        return tuple(
            Match(file=file, item=item, kind=kind, score=score)
            for (file, item, kind), score in sorted(best.items())
        )

    def _ngrams(self, messages: Sequence[Message], found: dict[tuple[int, str], float]) -> None:
        """Note the items with which any turn shares n-grams: found by their numbers, then verified word for word."""
        if not self.grams:
            return
        # All turns at once; no item has the word between them, so no n-gram reaches from one into the next.
        text = f" {BETWEEN} ".join(plain(message.content) for message in messages)
        hashes, words = word_hashes(text), list[str]()
        for size, grams in self.grams.items():
            places, known = grams.hits(ngram_hashes(hashes, size))
            if not len(places):
                return  # What shares no n-gram of this size shares no longer one either.
            words = words or _words(text)
            shared: dict[int, set[str]] = defaultdict(set)
            for place, gram in zip(places.tolist(), known.tolist(), strict=True):
                run = f" {' '.join(words[place : place + size])} "
                for item in grams.holders_of(gram):
                    if run in self.words[item]:
                        shared[item].add(run)
            for item, runs in shared.items():
                found[item, f"{size}-gram"] = len(runs) / self.counts[size][item]


def build(held_out: Sequence[HeldOut], spec: OverlapSpec) -> Items:
    """Return the held-out items, ready to be looked for.

    n-grams are those of casefolded words, whatever marks stand between them (`don't` is two words); a Han character
    or a kana is a word. An item of fewer than n words has none.

    BLEU is that of `bleu.bleu`, with the query as hypothesis and the item as reference. Only a query and an item that
    share four tokens in a row are compared: without them smoothing alone would make a score. A query or an item of
    fewer than four tokens is therefore matched whole or not at all.

    Raises:
        DataError: A row lacks its id or its question, or they are of the wrong type.
    """
    names: list[tuple[str, str]] = []
    questions: list[str] = []
    for file in held_out:
        for name, question in _questions(file):
            names.append((file.label, name))
            questions.append(question)
    exact: dict[str, list[int]] = defaultdict(list)
    for item, question in enumerate(questions):
        if key := plain_query(question):
            exact[key].append(item)
    texts = [plain(question) for question in questions]
    hashes = [word_hashes(text) for text in texts]
    own = {size: [np.unique(ngram_hashes(one, size)) for one in hashes] for size in sorted(set(spec.ngrams))}
    return Items(
        names=tuple(names),
        exact={key: tuple(items) for key, items in exact.items()},
        words=tuple(f" {' '.join(_words(text))} " for text in texts),
        grams={size: _grams(parts) for size, parts in own.items()},
        counts={size: tuple(map(len, parts)) for size, parts in own.items()},
        nearness=None if spec.bleu is None else _nearness(questions, spec.bleu),
    )


def decides(match: Match, spec: OverlapSpec) -> bool:
    """Return whether a match counts as overlap, or is only reported."""
    return match.kind in (EXACT, BLEU) or (spec.ngram is not None and match.kind == f"{spec.ngram}-gram")


def _words(text: str) -> list[str]:
    """Return the words of which `word_hashes` makes numbers, in the same order, of a text from `plain`."""
    return WORD.findall(text)


def _grams(own: Sequence[Numbers]) -> Grams:
    """Return the n-grams of all items, from the distinct ones of each."""
    numbers = np.concatenate([*own, np.empty(0, dtype=np.uint64)])
    holders = np.repeat(np.arange(len(own)), [len(one) for one in own])
    order = np.argsort(numbers, kind="stable")
    known, starts = np.unique(numbers[order], return_index=True)
    bits = max(16, (8 * len(known)).bit_length())
    sieve, shift = np.zeros(1 << bits, dtype=np.bool_), np.uint64(64 - bits)
    sieve[known >> shift] = True
    ends = np.append(starts, len(numbers)).astype(np.int64)
    return Grams(known=known, sieve=sieve, shift=shift, starts=ends, holders=holders[order])


def _nearness(questions: Sequence[str], limit: float) -> Nearness:
    tokens = [tuple(map(sys.intern, bleu.tokens(question))) for question in questions]
    vocabulary: dict[str, int] = {}
    for one in tokens:
        for token in one:
            vocabulary.setdefault(token, len(vocabulary) + 1)
    fours = [np.unique(ngram_hashes(_numbered(one, vocabulary), bleu.ORDERS)) for one in tokens]
    lengths = np.array([len(one) for one in tokens], dtype=np.int64)
    return Nearness(
        limit=limit, tokens=tuple(tokens), lengths=lengths, vocabulary=vocabulary, fours=_grams(fours)
    )


def _numbered(tokens: Sequence[str], vocabulary: Mapping[str, int]) -> Numbers:
    """Return a number per token, 0 for one that no item has."""
    return mixed(np.array([vocabulary.get(token, 0) for token in tokens], dtype=np.uint64))


def _near(text: str, nearness: Nearness, found: dict[tuple[int, str], float]) -> None:
    """Note the items against which a query has more BLEU than the limit."""
    tokens = bleu.tokens(text)
    four_grams = ngram_hashes(_numbered(tokens, nearness.vocabulary), bleu.ORDERS)
    _, known = nearness.fours.hits(four_grams)
    if not len(known):
        return
    held = np.concatenate([nearness.fours.holders_of(place) for place in known.tolist()])
    items, fours = np.unique(held, return_counts=True)
    lengths = nearness.lengths[items]
    most = [np.minimum(len(tokens), lengths) - size for size in range(bleu.ORDERS - 1)]
    possible = bleu.bound(len(tokens), lengths, [*most, fours]) > nearness.limit - ROUNDING
    own, words = bleu.ngrams(tokens), Counter(tokens)
    for item, four in zip(items[possible].tolist(), fours[possible].tolist(), strict=True):
        other = nearness.tokens[item]
        # The words that they share bound the pairs and threes that they share.
        shared = sum(min(count, words[word]) for word, count in Counter(other).items() if word in words)
        above = [np.minimum(shared, min(len(tokens), len(other)) - size) for size in range(bleu.ORDERS - 1)]
        if bleu.bound(len(tokens), np.array(len(other)), [*above, four]) <= nearness.limit - ROUNDING:
            continue
        reference = bleu.ngrams(other)
        if own[-1].keys().isdisjoint(reference[-1]):
            continue
        score = bleu.bleu(own, reference)
        if score > nearness.limit:
            found[item, BLEU] = max(score, found.get((item, BLEU), 0.0))


def _questions(file: HeldOut) -> list[tuple[str, str]]:
    found = []
    for where, row in read_rows(file.path):
        name = _field(row, file.id_field, where)
        asked = _field(row, file.question_field, where)
        for question in asked if isinstance(asked, list) else [asked]:
            if not isinstance(question, str):
                raise DataError(f"{where}: `{file.question_field}` holds {question!r}; a text is wanted.")
            found.append((str(name), question))
    return found


def _field(row: Mapping[str, Any], field: str, where: str) -> Any:
    if field not in row:
        raise DataError(f"{where}: lacks the field `{field}`; its fields are {sorted(row)}.")
    return row[field]
