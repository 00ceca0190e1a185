"""Sifts a source's rows: each is kept, or dropped for the first reason that holds, and none is lost on the way."""

import json
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from veneer.errors import DataError, ModelError
from veneer.models.encode import TooLongError
from veneer.prepare import filters, near, overlap
from veneer.prepare.duplicates import query_of
from veneer.prepare.feeds import Feed
from veneer.prepare.filters import Kind, Reason
from veneer.prepare.overlap import HeldOut, Match
from veneer.prepare.readers import Candidate, Malformed
from veneer.records import Dropped, Message, to_row
from veneer.study_data import PrepareSpec

Piece = tuple[tuple[Message, ...], int]
"""A conversation, or a part of one that fits a block, and its length in tokens."""
Cut = Callable[[Sequence[Message]], list[Piece]]
"""Cuts a conversation between turns into pieces that fit a block; raises TooLongError where none can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Rows on disk, each read back by its number, so that memory does not grow with their text."""

    handle: int
    offsets: "array[int]"

    def put(self, row: Any) -> None:
        """Write one row after the others."""
        line = json.dumps(row, ensure_ascii=True).encode() + b"\n"
        if os.write(self.handle, line) != len(line):
            raise DataError("The disk is full: a row was written in part. Make room and run again.")
        self.offsets.append(self.offsets[-1] + len(line))

    def get(self, number: int) -> Any:
        """Return a row as it was put."""
        start, end = self.offsets[number], self.offsets[number + 1]
        return json.loads(os.pread(self.handle, end - start, start))

    def messages(self, number: int) -> tuple[Message, ...]:
        """Return a row's conversation."""
        return tuple(Message(role=role, content=content) for role, content in self.get(number))


@contextmanager
def open_shelf(path: Path) -> Iterator[Shelf]:
    """Give an empty shelf; what an interrupted call left there is forgotten."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    try:
        yield Shelf(handle=handle, offsets=array("q", [0]))
    finally:
        os.close(handle)


@dataclass(slots=True, kw_only=True)
class Sifted:
    """What became of all rows of a source, in the order in which they were read."""

    shelf: Shelf
    ids: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    """The feed of each row."""
    sources: list[str] = field(default_factory=list)
    """The source of each row."""
    reasons: list[Reason | None] = field(default_factory=list)
    """None for a row that is kept."""
    lengths: list[list[int]] = field(default_factory=list)
    """Tokens of the pieces that each row was cut into; none for a row that was dropped before."""
    instead: dict[int, int] = field(default_factory=dict)
    """Duplicates: the kept row that stands for them."""
    asked_before: dict[int, int] = field(default_factory=dict)
    """Rows whose query an earlier row asks, kept or not: the first that does."""
    matches: list[tuple[int, Match]] = field(default_factory=list)
    """Rows that share something with a held-out item, kept or not."""

    def kept(self) -> list[int]:
        """Return the numbers of the rows that are kept."""
        return [number for number, reason in enumerate(self.reasons) if reason is None]

    def dropped(self) -> Iterator[dict[str, Any]]:
        """Yield a row for `dropped.jsonl` for each that is not."""
        for number, reason in enumerate(self.reasons):
            if reason is not None:
                malformed = reason.kind is Kind.MALFORMED
                twin = self.instead.get(number)
                yield to_row(
                    Dropped(
                        example_id=self.ids[number],
                        source=self.labels[number],
                        kind=str(reason.kind),
                        detail=reason.detail,
                        kept_instead="" if twin is None else self.ids[twin],
                        messages=() if malformed else self.shelf.messages(number),
                        raw=str(self.shelf.get(number)) if malformed else "",
                    )
                )


def sift(
    feeds: Sequence[Feed], spec: PrepareSpec, held_out: Sequence[HeldOut], shelf: Shelf, cut: Cut
) -> Sifted:
    """Read every row and say which are kept, and why the others are not.

    The order of reasons is that of `filters.ORDER`: malformed, unfit by itself, a query that was kept before, overlap
    with a held-out item, one exchange too long, a near-duplicate of a row that is kept. Of rows with the same query the
    first that nothing else speaks against is kept.

    Raises:
        DataError: A file has the wrong shape, or the counting tokenizer's template refuses a conversation.
    """
    found = Sifted(shelf=shelf)
    rules = filters.rules(spec.filters)
    items = overlap.build(held_out, spec.overlap)
    sign = near.signer(spec.near_duplicates) if spec.near_duplicates else None
    asked: dict[str, int] = {}
    stands: dict[str, int] = {}
    fit: list[int] = []
    signatures: list[Any] = []
    for feed in feeds:
        for row in feed.rows():
            number = _shelve(found, feed, row, prefixed=len(feeds) > 1)
            if isinstance(row, Malformed):
                continue
            query = query_of(row.messages)
            if query and (first := asked.setdefault(query, number)) != number:
                found.asked_before[number] = first
            reason = filters.unfit(row, rules)
            if reason is None and query in stands:
                found.instead[number] = stands[query]
                reason = Reason(kind=Kind.DUPLICATE, detail=f"the same as {found.ids[stands[query]]}")
            if reason is None:
                matches = items.matches(row.messages)
                found.matches += [(number, match) for match in matches]
                reason = _overlapping(matches, spec) or _cut(found, number, row.messages, cut)
            found.reasons[number] = reason
            if reason is None:
                stands[query] = number
                fit.append(number)
                if sign and spec.near_duplicates:
                    signatures.append(sign(_compared(row.messages, spec.near_duplicates.of)))
    if sign:
        _drop_near(found, fit, signatures, spec)
    return found


def _cut(found: Sifted, number: int, messages: Sequence[Message], cut: Cut) -> Reason | None:
    """Note the lengths of a row's pieces, or return that one exchange of it is too long."""
    try:
        found.lengths[number] = [tokens for _, tokens in cut(messages)]
    except TooLongError as error:
        return Reason(kind=Kind.TOO_LONG, detail=str(error))
    except ModelError as error:
        raise DataError(f"{found.labels[number]}, row {found.ids[number]}: {error}") from error
    return None


def _shelve(found: Sifted, feed: Feed, row: Candidate | Malformed, *, prefixed: bool) -> int:
    number = len(found.ids)
    malformed = isinstance(row, Malformed)
    name = row.where if isinstance(row, Malformed) else row.example_id
    found.ids.append(f"{feed.label}:{name}" if prefixed and not malformed else name)
    found.labels.append(feed.label)
    found.sources.append(feed.source)
    found.lengths.append([])
    if isinstance(row, Malformed):
        found.reasons.append(Reason(kind=Kind.MALFORMED, detail=row.reason))
        found.shelf.put(row.raw)
    else:
        found.reasons.append(None)
        found.shelf.put([[message.role, message.content] for message in row.messages])
    return number


def _overlapping(matches: Sequence[Match], spec: PrepareSpec) -> Reason | None:
    if spec.overlap.goes != "example":
        return None
    for match in matches:
        if overlap.decides(match, spec.overlap):
            return Reason(kind=Kind.OVERLAP, detail=f"item {match.item} of {match.file} ({match.kind})")
    return None


def _compared(messages: Sequence[Message], part: str) -> str:
    """Return the text by which near-duplicates are found."""
    if part == "query":
        return next(message.content for message in messages if message.role == "user")
    return "\n".join(message.content for message in messages)


def _drop_near(found: Sifted, fit: Sequence[int], signatures: Sequence[Any], spec: PrepareSpec) -> None:
    rule = spec.near_duplicates
    if not fit or not rule:
        return

    def text_of(place: int) -> str:
        return _compared(found.shelf.messages(fit[place]), rule.of)

    for place, (twin, jaccard) in near.near_duplicates(np.stack(signatures), text_of, rule).items():
        number, kept = fit[place], fit[twin]
        found.instead[number] = kept
        found.reasons[number] = Reason(kind=Kind.NEAR, detail=f"{jaccard:.2f} like {found.ids[kept]}")
        found.lengths[number] = []
    # What a near-duplicate stood for, the row that stands for it stands for now.
    for number, twin in found.instead.items():
        found.instead[number] = found.instead.get(twin, twin)
