"""Prepares generated dialogues at the paper's scale (150M tokens) with planted faults, and counts what was found.

    python benchmarks/prepare_scale.py [--tokens 150M] [--compare-documents 20000]

Planted: exact duplicates of queries, near-duplicates (one word in two hundred changed), dialogues in other languages,
and dialogues that hold a benchmark item. Prints minutes, peak memory and recall of each; then near-duplicate detection
beside the pipeline that text-dedup builds on datasketch. The last line is JSON.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from near_duplicates import compare

from veneer.disk import read_rows, write_rows
from veneer.prepare.feeds import feeds_of
from veneer.prepare.make import Job, prepare
from veneer.prepare.overlap import HeldOut
from veneer.study_data import FilterSpec, OverlapSpec, PrepareSpec, RecordedSpec, SourceSpec, parse_tokens

GERMAN = (
    "ich weiß nicht was soll es bedeuten dass ich so traurig bin ein märchen aus alten zeiten das kommt mir nicht "
    "aus dem sinn die luft ist kühl und es dunkelt und ruhig fließt der rhein der gipfel des berges funkelt im"
).split()
ENGLISH = (
    "the of and to in is you that it he was for on are as with his they at be this have from or one had by word but "
    "not what all were we when your can said there use an each which she do how their if will up other about out many "
    "then them these so some her would make like him into time has look two more write go see number no way could "
    "people my than first water been call who oil its now find long down day did get come made may part"
).split()
BEFORE = ("re", "con", "trans", "in", "de", "ex", "pro", "sub", "per", "inter")
STEMS = "form act port struct press duct scrib mit tract vent rupt sist spect tain ject vert clud pos fer vok".split()
AFTER = ("", "ing", "ed", "ation", "ive", "er", "ers", "ment", "able", "ly", "ness")
EVERY, ITEMS = 50, 2000
"""Each fault is planted in one dialogue out of so many; benchmark items to overlap with."""


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", default="150M")
    parser.add_argument("--compare-documents", type=int, default=20_000)
    arguments = parser.parse_args()
    tokens = int(str(parse_tokens(arguments.tokens)))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        planted = write_input(folder, tokens, np.random.default_rng(0))
        # In a process of its own, so that its peak memory is its own.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            figures = pool.apply(measure, (folder,))
        figures |= recall(folder / "out", planted)
    figures["speedup_vs_datasketch"] = compare(arguments.compare_documents, 0)["speedup_vs_datasketch"]
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


def write_input(folder: Path, tokens: int, rng: np.random.Generator) -> dict[str, set[str]]:
    """Write `rows.jsonl` and `items.jsonl`, and return the ids of what was planted, by kind."""
    planted: dict[str, set[str]] = {"exact": set(), "near": set(), "language": set(), "overlap": set()}
    rare = [before + stem + after for before in BEFORE for stem in STEMS for after in AFTER]
    words = np.array(ENGLISH * 40 + rare)
    items = [" ".join(rng.choice(words, 18)) for _ in range(ITEMS)]
    write_rows(folder / "items.jsonl", ({"id": place, "question": text} for place, text in enumerate(items)))

    def rows() -> Iterator[dict[str, Any]]:
        total = number = 0
        last: list[str] = []
        while total < tokens:
            turns = [" ".join(rng.choice(words, size)) for size in rng.integers(20, 320, 4)]
            name, fault = f"d{number}", number % EVERY
            if fault == 1 and last:
                turns[0] = last[0].upper() + " ?"
                planted["exact"].add(name)
            elif fault == 2 and last:
                turns = [_changed(text, rng) for text in last]
                planted["near"].add(name)
            elif fault == 3:
                turns = [" ".join(rng.choice(GERMAN, size)) for size in (40, 90, 30, 80)]
                planted["language"].add(name)
            elif fault == 4:
                turns[2] += " " + items[int(rng.integers(ITEMS))] + " please"
                planted["overlap"].add(name)
            if fault == 0:
                last = turns
            total += int(sum(len(text) for text in turns) / 6.6)
            number += 1
            sides = ("human", "gpt", "human", "gpt")
            yield {
                "id": name,
                "conversations": [
                    {"from": side, "value": text} for side, text in zip(sides, turns, strict=True)
                ],
            }

    write_rows(folder / "rows.jsonl", rows())
    return planted


def _changed(text: str, rng: np.random.Generator) -> str:
    """Return a text with one word in two hundred replaced: a Jaccard similarity of word 5-grams of about 0.95."""
    parts = text.split(" ")
    for place in range(int(rng.integers(0, 200)), len(parts), 200):
        parts[place] = "otherwise"
    return " ".join(parts)


def measure(folder: Path) -> dict[str, float]:
    """Prepare the rows and return minutes, gigabytes and tokens."""
    from functools import partial

    from veneer.models.encode import cut

    tokenizer = _tokenizer(folder)
    recorded = RecordedSpec(format="sharegpt", path=folder / "rows.jsonl")
    source = SourceSpec(kind="broad", recorded=(recorded,))
    spec = PrepareSpec(filters=FilterSpec(languages=("en",)), overlap=OverlapSpec(ngrams=(8, 13), ngram=13))
    job = Job(
        name="scale",
        feeds=tuple(feeds_of("scale", {"scale": source}, None, {})),
        mixture=None,
        spec=spec,
        tokenizer=folder,
        held_out=(HeldOut(path=folder / "items.jsonl"),),
    )
    (folder / "out").mkdir()
    began = time.perf_counter()
    prepare(job, partial(cut, tokenizer, max_length=spec.block), folder / "out")
    minutes = (time.perf_counter() - began) / 60
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    profile = json.loads((folder / "out" / "profile.json").read_text())
    print(
        f"{profile['read']:,} dialogues, {profile['tokens']:,} tokens kept, {minutes:.1f} min, {peak:.2f} GB"
    )
    print(f"dropped: {profile['reasons']}")
    return {"minutes": minutes, "peak_gb": peak, "tokens_kept": profile["tokens"]}


def recall(out: Path, planted: dict[str, set[str]]) -> dict[str, float]:
    """Return the share of each planted fault that was dropped for any reason but language, and how each was found."""
    dropped = {row["example_id"]: row["kind"] for _, row in read_rows(out / "dropped.jsonl")}
    for kind, names in planted.items():
        print(
            f"planted {kind}: {len(names):,}; found as {Counter(dropped.get(name, 'kept') for name in names)}"
        )
    clean = len(set(dropped) - set().union(*planted.values()))
    print(f"dropped though nothing was planted: {clean:,}")
    return {
        f"recall_{kind}": sum(name in dropped for name in names) / max(1, len(names))
        for kind, names in planted.items()
    }


def _tokenizer(folder: Path) -> Any:
    """Return a byte-pair tokenizer of 8,192 tokens, trained here on the first rows."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    texts = (
        turn["value"]
        for (_, row), _ in zip(read_rows(folder / "rows.jsonl"), range(2000), strict=False)
        for turn in row["conversations"]
    )
    trainer = trainers.BpeTrainer(vocab_size=8192, special_tokens=["<eos>"], show_progress=False)
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")


if __name__ == "__main__":
    main()
