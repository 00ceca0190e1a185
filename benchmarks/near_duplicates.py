"""Near-duplicate detection beside the pipeline that text-dedup describes, built on datasketch.

    python benchmarks/near_duplicates.py [--documents 20000] [--permutations 128]

Both read the same generated dialogues, take word 5-grams and a threshold of 0.8, keep the first row of near-duplicates
and verify every candidate by exact Jaccard similarity. datasketch hashes with its own `sha1_hash32`, takes all n-grams
of a text at once (`update_batch`), and gets Veneer's bands of 128 permutations, so that both find a pair with the same
probability; `--permutations 256` is text-dedup's default. Each runs in a process of its own. Prints seconds, the peak
memory above that of the texts, recall of the planted pairs from 0.8 up, and how many rows were dropped that no exact
comparison of plain sets of words confirms. The last line is JSON.
"""

import argparse
import json
import multiprocessing
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from veneer.prepare.near import bands_of, near_duplicates, signer
from veneer.study_data import NearSpec

SPEC = NearSpec()
EVERY = 10
"""One dialogue in so many is a changed copy of the one five rows before it, one a filled-in template."""
TEMPLATES = 20


def documents(count: int, rng: np.random.Generator) -> tuple[list[str], dict[int, int]]:
    """Return dialogues of 20 to 1,200 words, and which are copies of an earlier one (Jaccard about 0.7 to 1).

    Words are drawn by Zipf's law. Copies have words replaced at least five words apart, which costs five n-grams
    each: k changes among N n-grams leave a similarity of (N - 5k) / (N + 5k). Templated dialogues share 60 % of
    their words with each other and are no copies.
    """
    words = np.array([f"word{number}" for number in range(30_000)])
    odds = 1 / np.arange(3, len(words) + 3)
    odds /= odds.sum()
    frames = [rng.choice(words, 400, p=odds) for _ in range(TEMPLATES)]
    texts: list[str] = []
    copies: dict[int, int] = {}
    for place in range(count):
        if place % EVERY == EVERY - 1:
            parts = texts[place - 5].split(" ")
            copies[place] = place - 5
            share = rng.uniform(0.7, 1)
            changes = int((len(parts) - 4) * (1 - share) / (1 + share) / 5)
            for spot in 5 * rng.choice(max(1, len(parts) // 5), changes, replace=False):
                parts[spot] = f"changed{rng.integers(1000)}"
        elif place % EVERY == 0:
            frame = frames[int(rng.integers(TEMPLATES))].copy()
            frame[-160:] = rng.choice(words, 160, p=odds)
            parts = frame.tolist()
        else:
            size = int(np.clip(rng.lognormal(6.2, 0.7), 20, 1200))
            parts = rng.choice(words, size, p=odds).tolist()
        texts.append(" ".join(parts))
    return texts, copies


def ours(texts: list[str], _: int) -> dict[int, int]:
    """Return dropped row to kept row, by Veneer."""
    sign = signer(SPEC)
    signatures = np.stack([sign(text) for text in texts])
    return {row: twin for row, (twin, _) in near_duplicates(signatures, texts.__getitem__, SPEC).items()}


def theirs(texts: list[str], permutations: int) -> dict[int, int]:
    """Return dropped row to kept row, by datasketch."""
    from datasketch import MinHash, MinHashLSH

    bands, rows = bands_of(SPEC.threshold)
    lsh = MinHashLSH(num_perm=permutations, params=(bands * permutations // 128, rows))
    start = MinHash(num_perm=permutations)
    grams: dict[int, set[bytes]] = {}
    found: dict[int, int] = {}
    for row, text in enumerate(texts):
        own = {gram.encode() for gram in plain(text)}
        sketch = start.copy()
        sketch.update_batch(list(own))
        likeness = {
            twin: len(own & grams[twin]) / len(own | grams[twin]) for twin in sorted(lsh.query(sketch))
        }
        best = max(likeness, key=lambda twin: likeness[twin], default=None)
        if best is not None and likeness[best] >= SPEC.threshold:
            found[row] = best
        else:
            lsh.insert(row, sketch)
            grams[row] = own
    return found


def plain(text: str) -> set[str]:
    """Return a text's word n-grams as strings."""
    words = re.findall(r"\w+", text.casefold())
    return {
        " ".join(words[place : place + SPEC.words]) for place in range(max(1, len(words) - SPEC.words + 1))
    }


def peak() -> float:
    """Return the most memory that this process has had, in MB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def run(
    detect: Callable[[list[str], int], dict[int, int]], count: int, seed: int, permutations: int
) -> dict[str, float]:
    """Detect the near-duplicates among generated dialogues; return seconds, MB, recall and how many were wrong."""
    texts, copies = documents(count, np.random.default_rng(seed))
    before = peak()
    began = time.perf_counter()
    found = detect(texts, permutations)
    seconds, memory = time.perf_counter() - began, peak() - before

    def alike(row: int, twin: int) -> bool:
        one, other = plain(texts[row]), plain(texts[twin])
        return len(one & other) / len(one | other) >= SPEC.threshold

    true = [row for row, twin in copies.items() if alike(row, twin)]
    return {
        "seconds": seconds,
        "peak_mb": memory,
        "recall": sum(row in found for row in true) / max(1, len(true)),
        "wrong": sum(not alike(row, twin) for row, twin in found.items()),
        "planted": len(true),
    }


def compare(documents: int, seed: int, permutations: int = 128) -> dict[str, float]:
    """Run both on the same dialogues, each in its own process.

    Returns:
        `seconds`, `peak_mb`, `recall`, `wrong` and `planted` of both, ending in `_veneer` and `_datasketch`, and
        `speedup_vs_datasketch`, `recall_near` (Veneer's) and `recall_datasketch`.
    """
    figures: dict[str, float] = {}
    for name, detect in (("veneer", ours), ("datasketch", theirs)):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            own = pool.apply(run, (detect, documents, seed, permutations))
        figures |= {f"{key}_{name}": value for key, value in own.items()}
        print(
            f"{name}: {own['seconds']:.1f} s, {own['peak_mb']:.0f} MB, recall {own['recall']:.2%} of "
            f"{own['planted']:,} planted, wrong {own['wrong']}",
            flush=True,
        )
    figures["speedup_vs_datasketch"] = figures["seconds_datasketch"] / figures["seconds_veneer"]
    figures["recall_near"] = figures["recall_veneer"]
    return figures


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--permutations", type=int, default=128, help="of datasketch: a multiple of 128")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    figures = compare(arguments.documents, arguments.seed, arguments.permutations)
    keys = ("speedup_vs_datasketch", "recall_near", "recall_datasketch")
    print(json.dumps({key: round(figures[key], 4) for key in keys}))


if __name__ == "__main__":
    main()
