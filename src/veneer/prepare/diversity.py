"""Diversity of queries: how like each is to the one that is most like it."""

from collections.abc import Sequence

import numpy as np

from veneer.prepare import bleu
from veneer.prepare.hashing import spaced
from veneer.stats import Draws, Number, Undefined, interval, resample

EXHAUSTIVE = 400
"""Up to so many queries every pair is compared."""
CANDIDATES = 50
"""Beyond, so many nearest queries by TF-IDF are compared with each one that is looked at."""
HEAD = 1000
"""The characters of a query by which the nearest are found, so that long ones cost no more memory."""
WORD_OR_MARK = r"\w+|[^\w\s]"
RESAMPLES, LEVEL = 1000, 0.95


def nearest_bleu(queries: Sequence[str], most: int, *, rng: np.random.Generator) -> Number:
    """Return the mean BLEU of each query against the other query that is most similar to it, in percent.

    The paper's measure (section 3.2 and appendix A), there 8 % for ShareGPT-Mix and 61 % for Super-NaturalInstructions
    of like size. Up to `EXHAUSTIVE` queries every pair is compared; beyond, the likeliest `CANDIDATES` by TF-IDF of
    words and pairs of words. That can only lower the mean: on Alpaca's instructions and on MMLU's and NQ's questions
    by less than a hundredth of it. The interval is a 95 % bootstrap over the queries looked at (see
    `stats.interval`); those that they are compared with are not drawn again.

    Args:
        queries: All of a source.
        most: How many of them are looked at, a random sample; each is compared with all others.
        rng: Draws the sample and the bootstrap.

    Returns:
        The mean in percent, or Undefined for fewer than two queries.
    """
    assert most > 0, "a mean of nothing"
    if len(queries) < 2:
        return Undefined(reason="fewer than two queries", n=len(queries))
    looked_at = rng.permutation(len(queries))[:most].tolist()
    kept = range(len(queries)) if len(queries) <= EXHAUSTIVE else looked_at
    known = {place: bleu.ngrams(bleu.tokens(queries[place])) for place in kept}
    near = _nearest(queries, looked_at)
    best = []
    for place, others in zip(looked_at, near, strict=True):
        found = [
            bleu.bleu(known[place], known.get(other) or bleu.ngrams(bleu.tokens(queries[other])))
            for other in others
            if other != place
        ]
        best.append(max(found, default=0.0))
    scores = np.array(best)
    means = resample(len(best), RESAMPLES, rng=rng) @ scores / len(best)
    return interval(Draws(value=float(scores.mean()), draws=means, n=len(best)), LEVEL)


def _nearest(queries: Sequence[str], looked_at: Sequence[int]) -> list[list[int]]:
    """Return the queries with which each of some is compared: all, or the likeliest by TF-IDF of words and pairs."""
    if len(queries) <= EXHAUSTIVE:
        return [list(range(len(queries)))] * len(looked_at)
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    # Hashed, so that memory does not grow with the vocabulary.
    hashed = HashingVectorizer(
        n_features=2**20,
        token_pattern=WORD_OR_MARK,
        ngram_range=(1, 2),
        alternate_sign=False,
        norm=None,
        dtype=np.float32,
    )
    heads = hashed.transform(spaced(query[:HEAD]) for query in queries)
    vectors = TfidfTransformer(sublinear_tf=True).fit_transform(heads)
    columns = vectors.T.tocsr()
    found = []
    for start in range(0, len(looked_at), 32):
        likeness = (vectors[looked_at[start : start + 32]] @ columns).tocsr()
        for row in range(likeness.shape[0]):
            part = likeness.getrow(row)
            keep = np.argsort(-part.data, kind="stable")[: CANDIDATES + 1]
            found.append(part.indices[keep].tolist())
    return found
