"""Makes imitation data of what was collected: every row kept or dropped with a reason, cut into nested amounts."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from veneer.errors import StudyError
from veneer.models.render import default_template_digest
from veneer.prepare import duplicates, filters, overlap, readers
from veneer.prepare.filters import Kind, Reason
from veneer.prepare.overlap import HeldOut
from veneer.prepare.readers import Candidate
from veneer.records import Dropped, Example, Message, to_row
from veneer.store import Artefact, Order, canonical, digest, write_json, write_rows
from veneer.study import PrepareSpec

VERSION = 1
EXAMPLES, DROPPED, CARD = "examples.jsonl", "dropped.jsonl", "card.json"
TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "vocab.*",
    "merges.txt",
    "*.model",
    "config.json",
)
"""What of a checkpoint a tokenizer is loaded from; the weights are none of its business."""

Count = Callable[[Sequence[Message]], int]
"""Returns the length of a conversation in tokens, template included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sifted:
    """What became of all candidates of a source; each is in one of the two, in the file's order."""

    kept: tuple[Candidate, ...]
    dropped: tuple[tuple[Candidate, Reason], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """One amount of a source: how many examples of its ladder order make it."""

    amount: int
    """Tokens that were asked for."""
    examples: int
    tokens: int
    """Tokens that it has: at least `amount`, and less than that without its last example."""


def orders(
    collected: Mapping[str, Artefact],
    spec: PrepareSpec,
    tokenizer: Path | None,
    held_out: Sequence[Path | HeldOut],
    amounts: Sequence[int],
) -> list[Order]:
    """Return one order per source: `examples.jsonl` in ladder order, `dropped.jsonl` and `card.json`.

    Args:
        collected: What the teacher said, by source.
        spec: How answers become examples.
        tokenizer: The checkpoint whose tokenizer counts.
        held_out: Files of items that no query may repeat; a bare path is one with `id` and `question`.
        amounts: Tokens of imitation data, growing; each amount is a prefix of the next.

    Raises:
        StudyError: There is no tokenizer to count with.
    """
    if not collected:
        return []
    if tokenizer is None:
        raise StudyError(
            "prepare.tokenizer: missing, and the first base is no checkpoint; name a folder with a tokenizer."
        )
    files = tuple(item if isinstance(item, HeldOut) else HeldOut(path=item) for item in held_out)
    config = {
        "seed": spec.seed,
        "min_answer_words": spec.min_answer_words,
        "amounts": list(amounts),
        "default_template": default_template_digest(),
        "held_out": [[file.path.name, file.id_field, file.question_field] for file in files],
    }
    inputs = {
        "tokenizer": _tokenizer_digest(tokenizer),
        **{f"held_out {place}": digest(file.path) for place, file in enumerate(files)},
    }
    return [
        Order(
            stage="prepare",
            name=name,
            version=VERSION,
            config={"source": name, **config},
            inputs={"collected": artefact.key, **inputs},
            make=partial(_make, name, artefact.path, spec, tokenizer, files, tuple(amounts)),
        )
        for name, artefact in collected.items()
    ]


def sift(candidates: Iterable[Candidate], min_answer_words: int, held: Mapping[str, str]) -> Sifted:
    """Return which candidates are kept, and why the others are not: the first reason that holds.

    Of candidates with the same query the first that is fit is kept.

    Args:
        candidates: In their file's order.
        min_answer_words: Words that every answer must have.
        held: Normalised questions that no query may repeat, each with what it is (see `overlap.index`).
    """
    kept: list[Candidate] = []
    dropped: list[tuple[Candidate, Reason]] = []
    first: dict[str, str] = {}
    for candidate in candidates:
        query = duplicates.query_of(candidate.messages)
        reason = filters.unfit(candidate, min_answer_words)
        if reason is None and query in first:
            reason = Reason(kind=Kind.DUPLICATE, detail=f"the same as {first[query]}")
        if reason is None and query in held:
            reason = Reason(kind=Kind.OVERLAP, detail=held[query])
        if reason is None:
            first[query] = candidate.example_id
            kept.append(candidate)
        else:
            dropped.append((candidate, reason))
    return Sifted(kept=tuple(kept), dropped=tuple(dropped))


def ladder_order(
    source: str, candidates: Sequence[Candidate], count: Count, *, rng: np.random.Generator
) -> list[Example]:
    """Return the examples in the order in which every amount is a prefix: shuffled, so that a prefix is a sample."""
    return [
        Example(
            example_id=candidates[place].example_id,
            source=source,
            messages=candidates[place].messages,
            tokens=count(candidates[place].messages),
        )
        for place in rng.permutation(len(candidates)).tolist()
    ]


def prefixes(tokens: Sequence[int], amounts: Sequence[int]) -> list[Prefix] | None:
    """Return each amount's prefix: whole examples, in ladder order, until the amount is reached.

    None where there is too little for the largest amount.

    Args:
        tokens: The examples' lengths in ladder order.
        amounts: Growing.

    >>> prefixes([30, 30, 30, 30], [50, 90])
    [Prefix(amount=50, examples=2, tokens=60), Prefix(amount=90, examples=3, tokens=90)]
    """
    found: list[Prefix] = []
    examples = total = 0
    for amount in amounts:
        while total < amount and examples < len(tokens):
            total += tokens[examples]
            examples += 1
        if total < amount:
            return None
        found.append(Prefix(amount=amount, examples=examples, tokens=total))
    return found


def prepare(
    source: str,
    sifted: Sifted,
    count: Count,
    amounts: Sequence[int],
    folder: Path,
    *,
    rng: np.random.Generator,
) -> None:
    """Write a source's examples, its dropped rows and the card that adds them up.

    Raises:
        StudyError: There is too little data for the largest amount.
    """
    examples = ladder_order(source, sifted.kept, count, rng=rng)
    reasons = Counter(str(reason.kind) for _, reason in sifted.dropped)
    tokens = [example.tokens for example in examples]
    found = prefixes(tokens, amounts)
    if found is None:
        raise StudyError(
            f"collect.sources.{source}: train.amounts asks for {amounts[-1]:,} tokens of it, and it has "
            f"{sum(tokens):,}, in {len(examples):,} examples ({_said(reasons)}). Put more queries into its file, "
            "or lower the largest amount."
        )
    write_rows(folder / EXAMPLES, map(to_row, examples))
    write_rows(folder / DROPPED, (to_row(_dropped(source, *pair)) for pair in sifted.dropped))
    card = {
        "source": source,
        "read": len(sifted.kept) + len(sifted.dropped),
        "kept": len(sifted.kept),
        "dropped": len(sifted.dropped),
        "reasons": {str(kind): reasons[kind] for kind in Kind},
        "tokens": sum(tokens),
        "amounts": [asdict(prefix) for prefix in found],
    }
    write_json(folder / CARD, card)


def _make(
    source: str,
    collected: Path,
    spec: PrepareSpec,
    tokenizer: Path,
    held_out: tuple[HeldOut, ...],
    amounts: tuple[int, ...],
    folder: Path,
) -> None:
    # Imported here: transformers takes seconds to load, and a finished study never comes here.
    from transformers import AutoTokenizer

    from veneer.models.encode import length

    counting: Any = AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)
    sifted = sift(readers.collected(collected), spec.min_answer_words, overlap.index(held_out))
    prepare(source, sifted, partial(length, counting), amounts, folder, rng=np.random.default_rng(spec.seed))


def _dropped(source: str, candidate: Candidate, reason: Reason) -> Dropped:
    return Dropped(
        example_id=candidate.example_id, source=source, reason=str(reason), messages=candidate.messages
    )


def _said(reasons: Mapping[str, int]) -> str:
    if not reasons:
        return "none were dropped"
    return "dropped: " + ", ".join(f"{count:,} {kind}" for kind, count in sorted(reasons.items()))


def _tokenizer_digest(folder: Path) -> str:
    """Return the fingerprint of the files from which a tokenizer is loaded.

    Raises:
        StudyError: There are none.
    """
    files = sorted({file for pattern in TOKENIZER_FILES for file in folder.glob(pattern) if file.is_file()})
    if not files:
        raise StudyError(
            f"prepare.tokenizer: {folder} holds no tokenizer; name a folder with tokenizer.json."
        )
    return canonical([[file.name, digest(file)] for file in files])
