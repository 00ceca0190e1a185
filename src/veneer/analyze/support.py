"""Which benchmark items the imitation data supports: how near its examples come to what an item asks."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from veneer.benchmarks.benchmark import Benchmark, Item
from veneer.records import Example
from veneer.stats import share, to_json
from veneer.study import AnalyzeSpec
from veneer.text import find_words, words

BLOCK = 4_000_000
"""Item-example pairs weighed at once: bounds the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """A source's examples in ladder order, and how many of them make each amount."""

    source: str
    examples: tuple[Example, ...]
    amounts: Mapping[int, int]
    """Tokens to number of examples."""


Support = Mapping[tuple[str, int, str], np.ndarray[Any, np.dtype[np.bool_]]]
"""By source, amount and benchmark: whether each item is supported."""


def support_of(benchmarks: Sequence[Benchmark], ladders: Sequence[Ladder], threshold: float) -> Support:
    """Return which items each amount of each source supports.

    An item with references is supported when some example that has one of them in an assistant's turn (as whole
    words) also covers at least `threshold` of the question with its own words. An item without references needs
    the coverage by an example's query alone. Coverage is the smaller of two shares of the question's distinct
    words: weighted by idf, where several middling words (what is asked of a thing) count for much, and by idf
    squared, where the rarest words (the thing itself) do; so that neither can be missed. A word's idf is
    log(N / texts that hold it) over all questions and all queries (Sparck Jones 1972). Words that recur with many
    answers (the wording of a question) say nothing of which one is asked for, so idf is multiplied by how much of
    the reference a word tells (see `_telling`). Nothing in this is particular to a benchmark.

    Amounts nest, so that an item once supported stays so.

    Args:
        benchmarks: With their items.
        ladders: The sources.
        threshold: A share.
    """
    questions = [set(words(item.question)) for benchmark in benchmarks for item in benchmark.items]
    queries = {ladder.source: [set(words(said(e, "user"))) for e in ladder.examples] for ladder in ladders}
    weight = _idf([*questions, *(query for own in queries.values() for query in own)])
    found = {}
    for ladder in ladders:
        first = _first_support(benchmarks, questions, queries[ladder.source], ladder, weight, threshold)
        start = 0
        for benchmark in benchmarks:
            own = first[start : start + len(benchmark.items)]
            start += len(benchmark.items)
            for amount, size in ladder.amounts.items():
                found[ladder.source, amount, benchmark.name] = own < size
    return found


def _first_support(
    benchmarks: Sequence[Benchmark],
    questions: Sequence[set[str]],
    queries: Sequence[set[str]],
    ladder: Ladder,
    weight: Mapping[str, float],
    threshold: float,
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the place of the first example that supports each item; the number of examples where none does."""
    from scipy import (
        sparse,
    )  # Imported here: it takes longer to load than a finished study's second run allows.

    items = [item for benchmark in benchmarks for item in benchmark.items]
    answers = [words(said(example, "assistant")) for example in ladder.examples]
    column = {word: place for place, word in enumerate(sorted(weight))}

    def table(bags: Sequence[Mapping[str, float]]) -> Any:
        cells = [
            (row, column[word], bag[word])
            for row, bag in enumerate(bags)
            for word in sorted(bag)
            if word in column
        ]
        rows, columns, values = zip(*cells, strict=True) if cells else ((), (), ())
        return sparse.csr_array(
            (np.array(values, dtype=float), (rows, columns)), shape=(len(bags), len(column))
        )

    def indicator(bags: Sequence[set[str]]) -> Any:
        return table([dict.fromkeys(bag, 1.0) for bag in bags])

    told = [
        tells for benchmark in benchmarks for tells in [_telling(benchmark.items)] for _ in benchmark.items
    ]
    asked = table([{word: tells[word] for word in bag} for bag, tells in zip(questions, told, strict=True)])
    idf = np.array([weight[word] for word in column])
    with_reference = np.array([bool(item.references) for item in items])
    holders = _holders(items, answers)
    whole = indicator([query | set(answer) for query, answer in zip(queries, answers, strict=True)]).T.tocsc()
    query_only = indicator(queries).T.tocsc()
    total = len(ladder.examples)
    first = np.full(len(items), total)
    step = max(1, BLOCK // max(1, len(items)))
    for start in range(0, total, step):
        stop = min(start + step, total)
        covered = np.zeros((len(items), stop - start), dtype=bool)
        for chosen, side in ((with_reference, whole), (~with_reference, query_only)):
            if chosen.any():
                covered[chosen] = _covered(asked[chosen], side[:, start:stop], idf, threshold)
        for row in np.flatnonzero(with_reference):
            held = [place - start for place in holders[row] if start <= place < stop]
            kept = np.zeros(stop - start, dtype=bool)
            kept[held] = True
            covered[row] &= kept
        hit = covered.any(axis=1) & (first == total)
        first[hit] = start + covered[hit].argmax(axis=1)
    return first


def _covered(asked: Any, examples: Any, idf: Any, threshold: float) -> Any:
    """Return, item by example, whether both shares of the question's weight reach the threshold."""
    reached: Any = True
    for weight in (idf, idf**2):
        weighted = asked * weight[None, :]
        whole = np.asarray(weighted.sum(axis=1)).reshape(-1, 1)
        covered = (weighted @ examples).toarray()
        # A question of words that stand in every text has no weight to cover: nothing supports it.
        reached = reached & (covered >= threshold * whole - 1e-9) & (whole > 0)
    return reached


def _holders(items: Sequence[Item], answers: Sequence[Sequence[str]]) -> list[list[int]]:
    """Return, for each item, the examples whose answer holds one of its references."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, answer in enumerate(answers):
        for word in set(answer):
            places[word].append(place)
    known: dict[str, frozenset[int]] = {}
    for reference in sorted({reference for item in items for reference in item.references}):
        wanted = words(reference)
        rarest = min((places.get(word, []) for word in wanted), key=len, default=[])
        known[reference] = frozenset(
            place for place in rarest if len(wanted) == 1 or find_words(wanted, answers[place]) >= 0
        )
    return [sorted(frozenset().union(*(known[r] for r in item.references))) for item in items]


def _telling(items: Sequence[Item]) -> Mapping[str, float]:
    """Return how much of the reference each word of a benchmark's questions tells: 1 all of it, 0 nothing.

    It is 1 - H(reference | word) / H(reference), entropies over the items (Theil's 1972 uncertainty coefficient, word
    by word). A word that stands in one question alone, as most do in natural benchmarks, tells all.
    """
    questions = [set(words(item.question)) for item in items]
    every = Counter(item.references[0] for item in items if item.references)
    with_word: dict[str, Counter[str]] = defaultdict(Counter)
    for item, bag in zip(items, questions, strict=True):
        for word in bag:
            with_word[word].update(item.references[:1])
    whole = _entropy(every)
    return {word: 1 - _entropy(held) / whole if whole else 1.0 for word, held in with_word.items()}


def _entropy(counts: Counter[str]) -> float:
    """Return the entropy (nats) of a choice by counts; 0 for no choice."""
    total = counts.total()
    return -sum(count / total * math.log(count / total) for count in counts.values())


def _idf(texts: Sequence[set[str]]) -> dict[str, float]:
    """Return each word's idf over texts."""
    held = Counter(word for text in texts for word in text)
    return {word: math.log(len(texts) / count) for word, count in held.items()}


def said(example: Example, role: str) -> str:
    """Return what one side said in an example, its turns apart so that no phrase spans two."""
    return "\n".join(message.content for message in example.messages if message.role == role)


def rows_of(support: Support, benchmarks: Sequence[Benchmark], spec: AnalyzeSpec) -> list[dict[str, Any]]:
    """Return the report's `support`: the share of each benchmark's items that each amount supports."""
    clusters = {benchmark.name: [item.cluster for item in benchmark.items] for benchmark in benchmarks}
    rows = []
    for (source, amount, name), supported in support.items():
        sums = Counter[str]()
        for cluster, held in zip(clusters[name], supported.tolist(), strict=True):
            sums[cluster] += held
        sizes = Counter(clusters[name])
        value = float(supported.mean())
        residuals = [sums[cluster] - value * size for cluster, size in sizes.items()]
        n = len(sizes)
        variance = n / max(n - 1, 1) * sum(r * r for r in residuals) / len(supported) ** 2
        number = share(value, variance, n, spec.level)
        rows.append({"source": source, "amount": amount, "benchmark": name, "share": to_json(number)})
    return rows
