"""Near-duplicate detection beside the pipeline that text-dedup builds on datasketch: seconds and recall in one run.

    python benchmarks/near_duplicates.py [--documents 20000]

Both take word 5-grams and threshold 0.8, and verify every candidate by exact Jaccard similarity; datasketch hashes
with its fastest function for this (`sha1_hash32` over bytes, `update_batch`), 128 permutations, and its own LSH.
The last line is JSON.
"""

import argparse
import json
import time

import numpy as np
from datasketch import MinHash, MinHashLSH

from veneer.prepare.near import jaccard, near_duplicates, shingles, signer
from veneer.study_data import NearSpec

PERMUTATIONS = 128


def documents(count: int, rng: np.random.Generator) -> tuple[list[str], dict[int, int]]:
    """Return texts of 100 to 900 words, and which are changed copies of an earlier one (Jaccard 0.75 to 1)."""
    words = np.array([f"word{number}" for number in range(20_000)])
    texts: list[str] = []
    copies: dict[int, int] = {}
    for place in range(count):
        if place % 10 == 9:
            parts = texts[place - 5].split(" ")
            for spot in rng.choice(len(parts), rng.integers(0, max(1, len(parts) // 35)), replace=False):
                parts[spot] = "changed"
            texts.append(" ".join(parts))
            copies[place] = place - 5
        else:
            texts.append(" ".join(rng.choice(words, rng.integers(100, 900))))
    return texts, copies


def ours(texts: list[str], spec: NearSpec) -> dict[int, int]:
    """Return row to earlier row, by Veneer."""
    sign = signer(spec)
    signatures = np.stack([sign(text) for text in texts])
    return {row: twin for row, (twin, _) in near_duplicates(signatures, texts.__getitem__, spec).items()}


def theirs(texts: list[str], spec: NearSpec) -> dict[int, int]:
    """Return row to earlier row, by datasketch."""
    lsh = MinHashLSH(threshold=spec.threshold, num_perm=PERMUTATIONS, weights=(0.1, 0.9))
    grams: dict[int, set[bytes]] = {}
    found: dict[int, int] = {}
    for row, text in enumerate(texts):
        words = text.casefold().split()
        own = {
            " ".join(words[place : place + spec.words]).encode()
            for place in range(len(words) - spec.words + 1)
        }
        sketch = MinHash(num_perm=PERMUTATIONS)
        sketch.update_batch(list(own))
        for twin in sorted(lsh.query(sketch)):
            shared = len(own & grams[twin])
            if shared / (len(own) + len(grams[twin]) - shared) >= spec.threshold:
                found[row] = twin
                break
        else:
            lsh.insert(row, sketch)
            grams[row] = own
    return found


def compare(count: int, seed: int) -> dict[str, float]:
    """Run both on the same texts and return their seconds and recall."""
    spec = NearSpec()
    texts, copies = documents(count, np.random.default_rng(seed))
    sets = {
        row: (shingles(texts[row], spec.words), shingles(texts[twin], spec.words))
        for row, twin in copies.items()
    }
    true = [row for row, (own, other) in sets.items() if jaccard(own, other) >= spec.threshold]
    figures: dict[str, float] = {}
    for name, detect in (("veneer", ours), ("datasketch", theirs)):
        began = time.perf_counter()
        found = detect(texts, spec)
        figures[f"seconds_{name}"] = time.perf_counter() - began
        figures[f"recall_{name}"] = sum(found.get(row) == copies[row] for row in true) / len(true)
        wrong = sum(row not in copies for row in found)
        print(
            f"{name}: {figures[f'seconds_{name}']:.1f} s, recall {figures[f'recall_{name}']:.2%}, wrong {wrong}"
        )
    figures["speedup_vs_datasketch"] = figures["seconds_datasketch"] / figures["seconds_veneer"]
    return figures


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=20_000)
    figures = compare(parser.parse_args().documents, 0)
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
