"""Replay: rows of the base's own pretraining text, mixed into every step."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from veneer.disk import read_rows
from veneer.errors import DataError
from veneer.models.encode import Encoded


def stream(file: Path, tokenizer: Any, seed: int) -> Iterator[int]:
    """Yield the tokens of pretraining text without end: documents in random order, each ended.

    Raises:
        DataError: The file holds no text.
    """
    texts = []
    for where, row in read_rows(file):
        if not isinstance(row.get("text"), str):
            raise DataError(f"{where}: `text` is {row.get('text')!r}; a document is wanted there.")
        texts.append(row["text"])
    if not any(texts):
        raise DataError(f"{file}: holds no text to replay.")
    # A generator of its own, so that the twin without replay sees its examples in the same order.
    generator = torch.Generator().manual_seed(seed)
    while True:
        for place in torch.randperm(len(texts), generator=generator).tolist():
            ids = tokenizer(texts[place])["input_ids"]
            yield from ids
            if ids[-1:] != [tokenizer.eos_token_id]:
                yield tokenizer.eos_token_id


def draw(tokens: Iterator[int], rows: Sequence[Encoded], share: float) -> list[Encoded]:
    """Return so many rows of pretraining text that they are `share` of the batch, each as long as its longest row."""
    longest = max(len(row.input_ids) for row in rows)
    texts = [tuple(islice(tokens, longest)) for _ in range(rows_beside(len(rows), share))]
    return [Encoded(input_ids=ids, labels=ids) for ids in texts]


def rows_beside(rows: int, share: float) -> int:
    """Return how many rows of replay stand beside so many others, to be `share` of all."""
    return round(rows * share / (1 - share))
