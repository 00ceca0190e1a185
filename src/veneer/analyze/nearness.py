"""How near the imitation data comes to each benchmark item: its nearest query and answer, and the reference itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from veneer.analyze.support import Ladder, said
from veneer.benchmarks.benchmark import Benchmark
from veneer.errors import StudyError
from veneer.stats import Floats, average, to_json
from veneer.text import find_words, words

BLOCK = 4_000_000
"""Item-example pairs weighed at once: bounds the memory."""
REFERENCE = "reference"
Encode = Callable[[Sequence[str]], Floats]
"""Turns texts into vectors of length one, a row a text."""
Nearness = Mapping[tuple[str, int, str], Mapping[str, Floats]]
"""By source, amount and benchmark: by measure, a number an item."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
    """One side of a conversation, compared with the questions in one way."""

    measure: str
    questions: Any
    examples: Any
    """Rows of length one, so that a product of rows is their cosine; sparse or dense."""


def nearness_of(
    benchmarks: Sequence[Benchmark], ladders: Sequence[Ladder], encode: Encode | None = None
) -> Nearness:
    """Return how near each amount of each source comes to each item.

    `queries` and `answers`: the cosine of the question's words with those of the nearest example's user turns and
    assistant turns, weighted by TF-IDF over all questions and this source's texts (Salton and Buckley 1988, with
    logarithmic term frequency): 0 for no word in common, 1 for the same words. `queries_meaning` and `answers_meaning`:
    the same of embeddings, where there is a model for them. `reference`: 1 where some assistant's turn holds one of the
    item's references, as whole words, else 0; only where items have references. Amounts nest, so none of these falls
    with the amount.

    Args:
        benchmarks: With their items.
        ladders: The sources.
        encode: Embeds texts; None leaves meaning out.
    """
    questions = [item.question for benchmark in benchmarks for item in benchmark.items]
    if not questions:
        return {}
    found: dict[tuple[str, int, str], dict[str, Floats]] = {}
    for ladder in ladders:
        for side in _sides(questions, ladder, encode):
            for amount, best in _nearest(side, ladder.amounts).items():
                _split(found, benchmarks, ladder.source, amount, side.measure, best)
        for amount, held in _references(benchmarks, ladder).items():
            _split(found, benchmarks, ladder.source, amount, REFERENCE, held)
    return found


def _split(
    found: dict[tuple[str, int, str], dict[str, Floats]],
    benchmarks: Sequence[Benchmark],
    source: str,
    amount: int,
    measure: str,
    values: Floats,
) -> None:
    start = 0
    for benchmark in benchmarks:
        own = values[start : start + len(benchmark.items)]
        start += len(benchmark.items)
        if measure != REFERENCE or all(item.references for item in benchmark.items):
            found.setdefault((source, amount, benchmark.name), {})[measure] = own


def _sides(questions: Sequence[str], ladder: Ladder, encode: Encode | None) -> list[_Side]:
    texts = {
        "queries": [said(example, "user") for example in ladder.examples],
        "answers": [said(example, "assistant") for example in ladder.examples],
    }
    sides = [
        _Side(measure=measure, questions=asked, examples=told)
        for measure, (asked, told) in {name: _tfidf(questions, own) for name, own in texts.items()}.items()
    ]
    if encode:
        asked = encode(questions)
        sides += [
            _Side(measure=f"{name}_meaning", questions=asked, examples=encode(own))
            for name, own in texts.items()
        ]
    return sides


def _tfidf(questions: Sequence[str], texts: Sequence[str]) -> tuple[Any, Any]:
    # Imported here: it takes longer to load than a finished study's second run allows.
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer=words, sublinear_tf=True)
    if not any(words(text) for text in (*questions, *texts)):
        return np.zeros((len(questions), 1)), np.zeros((len(texts), 1))
    table = vectorizer.fit_transform([*questions, *texts])
    return table[: len(questions)], table[len(questions) :]


def _nearest(side: _Side, amounts: Mapping[int, int]) -> dict[int, Floats]:
    """Return each item's cosine with the nearest of each amount's examples."""
    size = side.questions.shape[0]
    best = np.zeros(size)
    step = max(1, BLOCK // size)
    found, start = {}, 0
    for amount, stop in sorted(amounts.items(), key=lambda pair: pair[1]):
        for begin in range(start, stop, step):
            product = side.questions @ side.examples[begin : min(begin + step, stop)].T
            dense = product if isinstance(product, np.ndarray) else product.toarray()
            best = np.maximum(best, dense.max(axis=1))
        start = max(start, stop)
        found[amount] = np.clip(best, 0.0, 1.0)
    return found


def _references(benchmarks: Sequence[Benchmark], ladder: Ladder) -> dict[int, Floats]:
    """Return, by amount, whether an item's reference occurs among what the assistant said."""
    wanted = [
        [words(reference) for reference in item.references]
        for benchmark in benchmarks
        for item in benchmark.items
    ]
    answers = [words(said(example, "assistant")) for example in ladder.examples]
    places: dict[str, list[int]] = {}
    for place, answer in enumerate(answers):
        for word in set(answer):
            places.setdefault(word, []).append(place)
    first = np.array([_first(own, answers, places) for own in wanted])
    return {amount: (first < size).astype(float) for amount, size in ladder.amounts.items()}


def _first(
    references: Sequence[Sequence[str]], answers: Sequence[Sequence[str]], places: Mapping[str, Sequence[int]]
) -> int:
    """Return the place of the first answer that holds a reference; the number of answers where none does."""
    found = len(answers)
    for reference in references:
        rarest: Sequence[int] = min((places.get(word, ()) for word in reference), key=len, default=())
        found = min(found, next((p for p in rarest if find_words(reference, answers[p]) >= 0), found))
    return found


def encoder(model: Path) -> Encode:
    """Return what embeds texts by a sentence-transformers model in a folder.

    Raises:
        StudyError: The package that runs such models is not installed.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise StudyError(
            f"analyze.embeddings: {model} needs the package sentence-transformers, which is not installed; "
            "install it (pip install 'veneer[embeddings]') or leave `embeddings` out."
        ) from error
    loaded = SentenceTransformer(str(model), local_files_only=True)

    def encode(texts: Sequence[str]) -> Floats:
        found = loaded.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(found, dtype=float)

    return encode


def rows_of(nearness: Nearness, benchmarks: Sequence[Benchmark], level: float) -> list[dict[str, Any]]:
    """Return the report's `nearness`: the mean over items of every measure, for each source, amount and benchmark."""
    clusters = {}
    for benchmark in benchmarks:
        known = {name: place for place, name in enumerate(dict.fromkeys(i.cluster for i in benchmark.items))}
        clusters[benchmark.name] = np.array([known[item.cluster] for item in benchmark.items], dtype=np.intp)
    rows = []
    for (source, amount, name), measures in nearness.items():
        own = clusters[name]
        means = {
            measure: to_json(
                average(np.bincount(own, values).astype(float), np.bincount(own).astype(float), level)
            )
            for measure, values in measures.items()
        }
        rows.append({"source": source, "amount": amount, "benchmark": name, **means})
    return rows
