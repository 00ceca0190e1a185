"""Overlap: which held-out items, of benchmarks and prompts, stand in a conversation: whole, in part, or nearly."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from veneer.errors import DataError
from veneer.prepare import bleu
from veneer.prepare.duplicates import normalise
from veneer.prepare.hashing import Numbers, ngram_hashes, word_hashes
from veneer.records import Message
from veneer.store import read_rows
from veneer.study_data import OverlapSpec

EXACT, BLEU = "exact", "bleu"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """All held-out items, ready to be looked for."""

    names: tuple[tuple[str, str], ...]
    """Label and id of every item; an item of several turns stands there once a turn."""
    exact: Mapping[str, tuple[int, ...]]
    """Normalised question to items."""
    grams: Mapping[int, tuple[Numbers, tuple[tuple[int, ...], ...]]]
    """n to the sorted n-grams of all items, and the items that hold each."""
    counts: Mapping[int, tuple[int, ...]]
    """n to the number of distinct n-grams of each item."""
    questions: tuple[str, ...]
    fours: Mapping[int, tuple[int, ...]]
    """The 4-grams of all items, for BLEU; empty where BLEU is not asked for."""
    limit: float | None

    def matches(self, messages: Sequence[Message]) -> tuple[Match, ...]:
        """Return what a conversation shares with items.

        An item is matched whole by a user's turn, in n-grams by any turn, and in BLEU by a user's turn.
        """
        asked = [message.content for message in messages if message.role == "user"]
        found: dict[tuple[int, str], float] = {}
        for text in asked:
            for item in self.exact.get(normalise(text), ()):
                found[item, EXACT] = 1.0
        self._ngrams(messages, found)
        if self.limit is not None:
            for text in asked:
                self._bleu(text, found)
        best: dict[tuple[str, str, str], float] = {}
        for (item, kind), score in found.items():
            place = (*self.names[item], kind)
            best[place] = max(score, best.get(place, 0.0))
        return tuple(
            Match(file=file, item=item, kind=kind, score=score)
            for (file, item, kind), score in sorted(best.items())
        )

    def _ngrams(self, messages: Sequence[Message], found: dict[tuple[int, str], float]) -> None:
        if not self.grams:
            return
        turns = [word_hashes(message.content) for message in messages]
        for size, (known, holders) in self.grams.items():
            said = np.concatenate([ngram_hashes(words, size) for words in turns])
            places = np.searchsorted(known, said)
            places[places == len(known)] = 0
            hits = np.unique(places[known[places] == said]).tolist() if len(known) else []
            shared: dict[int, int] = defaultdict(int)
            for hit in hits:
                for item in holders[hit]:
                    shared[item] += 1
            for item, count in shared.items():
                found[item, f"{size}-gram"] = count / self.counts[size][item]

    def _bleu(self, text: str, found: dict[tuple[int, str], float]) -> None:
        """Note the items against which a query has more BLEU than the limit.

        Only items that share four words in a row are compared: without them smoothing alone would make a score.
        """
        assert self.limit is not None
        near = {
            item
            for gram in np.unique(ngram_hashes(word_hashes(text), 4)).tolist()
            for item in self.fours.get(gram, ())
        }
        if not near:
            return
        own = bleu.ngrams(bleu.tokens(text))
        for item in near:
            score = bleu.bleu(own, bleu.ngrams(bleu.tokens(self.questions[item])))
            if score > self.limit:
                found[item, BLEU] = max(score, found.get((item, BLEU), 0.0))


def build(held_out: Sequence[HeldOut], spec: OverlapSpec) -> Items:
    """Return the held-out items, ready to be looked for.

    n-grams are those of casefolded words, as 64-bit numbers; that two different ones of a study share a number has a
    chance below one in a hundred million. An item of fewer than n words has no n-gram. BLEU is that of `bleu.bleu`.

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
        if key := normalise(question):
            exact[key].append(item)
    words = [word_hashes(question) for question in questions]
    grams, counts = {}, {}
    for size in spec.ngrams:
        own = [np.unique(ngram_hashes(one, size)) for one in words]
        holders = _holders(own)
        known = np.array(sorted(holders), dtype=np.uint64)
        grams[size] = (known, tuple(holders[gram] for gram in known.tolist()))
        counts[size] = tuple(map(len, own))
    wanted = spec.bleu is not None
    return Items(
        names=tuple(names),
        exact={key: tuple(items) for key, items in exact.items()},
        grams=grams,
        counts=counts,
        questions=tuple(questions),
        fours=_holders([np.unique(ngram_hashes(one, 4)) for one in words]) if wanted else {},
        limit=spec.bleu,
    )


def decides(match: Match, spec: OverlapSpec) -> bool:
    """Return whether a match counts as overlap, or is only reported."""
    return match.kind in (EXACT, BLEU) or (spec.ngram is not None and match.kind == f"{spec.ngram}-gram")


def _holders(grams: Sequence[Numbers]) -> dict[int, tuple[int, ...]]:
    found: dict[int, list[int]] = defaultdict(list)
    for item, own in enumerate(grams):
        for gram in own.tolist():
            found[gram].append(item)
    return {gram: tuple(items) for gram, items in found.items()}


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
