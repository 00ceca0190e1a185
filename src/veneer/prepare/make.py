"""Makes imitation data of what was collected or recorded: examples in ladder order, what was dropped, and the card."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from veneer.disk import canonical, digest, write_rows
from veneer.errors import StudyError
from veneer.models.render import default_template_digest
from veneer.prepare.feeds import Feed
from veneer.prepare.mixtures import ladder_order
from veneer.prepare.overlap import HeldOut
from veneer.prepare.sift import Cut, Sifted, open_shelf, sift
from veneer.records import Example, to_row
from veneer.store import Artefact, Order
from veneer.study_data import MixtureSpec, PrepareSpec

VERSION = 5
CARD_VERSION = 2
CARD = "+card"
"""What the name of a card's artefact ends in; no source may have a + in its name."""
EXAMPLES, DROPPED, OVERLAPS, PROFILE = "examples.jsonl", "dropped.jsonl", "overlaps.jsonl", "profile.json"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One source or mixture that is prepared: where its rows come from, and the settings."""

    name: str
    feeds: tuple[Feed, ...]
    mixture: MixtureSpec | None
    spec: PrepareSpec
    tokenizer: Path
    held_out: tuple[HeldOut, ...]


def orders(
    feeds: Mapping[str, Sequence[Feed]],
    spec: PrepareSpec,
    tokenizer: Path | None,
    held_out: Sequence[HeldOut],
) -> list[Order]:
    """Return one order per source or mixture.

    Each makes `examples.jsonl` in ladder order, `dropped.jsonl`, `overlaps.jsonl` (held-out items that share
    something with the data) and `profile.json`, the numbers of the card. Amounts are no part of the key: another
    amount is another prefix of the same examples.

    Args:
        feeds: Where the rows come from, by the name of the source or mixture.
        spec: How rows become examples.
        tokenizer: The checkpoint whose tokenizer counts.
        held_out: Files of items that the data must not repeat.

    Raises:
        StudyError: There is no tokenizer to count with.
    """
    if not feeds:
        return []
    if tokenizer is None:
        raise StudyError(
            "prepare.tokenizer: missing, and the first base is no checkpoint; name a folder with a tokenizer."
        )
    config = {
        **spec.model_dump(mode="json", exclude={"tokenizer", "mixtures"}),
        "default_template": default_template_digest(),
        "held_out": [[file.label, file.id_field, file.question_field] for file in held_out],
    }
    inputs = {
        "tokenizer": _tokenizer_digest(tokenizer),
        **{f"held_out {place}": digest(file.path) for place, file in enumerate(held_out)},
    }
    return [
        Order(
            stage="prepare",
            name=name,
            version=VERSION,
            config={
                **config,
                "source": name,
                "feeds": [feed.identity() for feed in own],
                "weights": dict(spec.mixtures[name].weights) if name in spec.mixtures else {},
            },
            inputs={**inputs, **{f"rows {place}": feed.fingerprint() for place, feed in enumerate(own)}},
            make=partial(
                _make,
                Job(
                    name=name,
                    feeds=tuple(own),
                    mixture=spec.mixtures.get(name),
                    spec=spec,
                    tokenizer=tokenizer,
                    held_out=tuple(held_out),
                ),
            ),
        )
        for name, own in feeds.items()
    ]


def card_orders(
    prepared: Mapping[str, Artefact], feeds: Mapping[str, Sequence[Feed]], amounts: Sequence[int]
) -> list[Order]:
    """Return one order per source: its data card, `card.json` and `card.html`, with the amounts.

    What the study says of licences and origins enters here: it changes the card and not the examples.

    Args:
        prepared: The sources' examples.
        feeds: Where their rows come from, as for `orders`.
        amounts: Tokens of imitation data, growing; each is a prefix of the next.
    """
    said = {name: {feed.label: feed.said() for feed in own} for name, own in feeds.items()}
    return [
        Order(
            stage="prepare",
            name=name + CARD,
            version=CARD_VERSION,
            config={"source": name, "amounts": list(amounts), "said": said[name]},
            inputs={"prepared": artefact.key},
            make=partial(_make_card, name, artefact.path, said[name], tuple(amounts)),
        )
        for name, artefact in prepared.items()
    ]


def prepare(job: Job, cut: Cut, folder: Path) -> None:
    """Write a source's examples, its dropped rows, the items it overlaps with, and the profile that adds them up."""
    # Imported here: language detection and nearest queries bring libraries that a finished study never needs.
    from veneer.prepare import profile

    with open_shelf(folder / ".rows") as shelf:
        found = sift(job.feeds, job.spec, job.held_out, shelf, cut)
        kept = found.kept()
        mixed = ladder_order(
            [found.sources[number] for number in kept],
            [sum(found.lengths[number]) for number in kept],
            job.mixture.weights if job.mixture else {},
            rng=np.random.default_rng(job.spec.seed),
        )
        ordered = [kept[place] for place in mixed.order]
        write_rows(folder / EXAMPLES, _examples(found, ordered, cut))
        write_rows(folder / DROPPED, found.dropped())
        write_rows(folder / OVERLAPS, profile.overlap_rows(found))
        profile.write(job, found, mixed, ordered, folder)


def _examples(found: Sifted, ordered: Sequence[int], cut: Cut) -> Iterator[dict[str, Any]]:
    taken = set(found.ids)
    for number in ordered:
        messages = found.shelf.messages(number)
        lengths = found.lengths[number]
        many = len(lengths) > 1
        pieces = cut(messages) if many else [(messages, lengths[0])]
        for place, (piece, tokens) in enumerate(pieces, 1):
            name = f"{found.ids[number]}/{place}" if many else found.ids[number]
            # A row may be called `a/1` by its own id.
            while many and name in taken:
                name += "#"
            yield to_row(
                Example(example_id=name, source=found.sources[number], messages=piece, tokens=tokens)
            )


def _make(job: Job, folder: Path) -> None:
    from veneer.models.encode import cut

    prepare(job, partial(cut, _tokenizer(job.tokenizer), max_length=job.spec.block), folder)


def _tokenizer(folder: Path) -> Any:
    """Return the counting tokenizer.

    Raises:
        StudyError: Its files are damaged, or of no kind that can be loaded.
    """
    # Imported here: transformers takes seconds to load, and a finished study never comes here.
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        # A damaged file comes as one of these, or as a bare Exception from the compiled tokenizers.
        if type(error) is not Exception and not isinstance(
            error, OSError | ValueError | LookupError | TypeError
        ):
            raise
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise StudyError(
            f"prepare.tokenizer: the tokenizer in {folder} cannot be loaded ({said[0]}). Copy its files anew, or name "
            "a folder from which transformers' AutoTokenizer.from_pretrained loads one."
        ) from error


def _make_card(
    name: str, prepared: Path, said: Mapping[str, Mapping[str, str]], amounts: tuple[int, ...], folder: Path
) -> None:
    from veneer.prepare import card

    card.write(name, prepared, said, amounts, folder)


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
