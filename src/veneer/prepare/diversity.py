"""Diversity of queries: how like each is to the one that is most like it."""

from collections.abc import Sequence

import numpy as np

from veneer.prepare import bleu
from veneer.stats import Estimate, Undefined

EXHAUSTIVE = 400
"""Up to so many queries every pair is compared."""
CANDIDATES = 50
"""Beyond, so many nearest queries by TF-IDF are compared with each one that is looked at."""
RESAMPLES = 1000


def nearest_bleu(queries: Sequence[str], most: int, *, rng: np.random.Generator) -> Estimate | Undefined:
    """Return the mean BLEU of each query against the other query that is most similar to it, in percent.

    The paper's measure (section 3.2 and appendix A), there 8 % for ShareGPT-Mix and 61 % for Super-NaturalInstructions
    of like size. The interval is a 95 % percentile bootstrap over the queries looked at.

    Args:
        queries: All of a source.
        most: How many of them are looked at, a random sample; each is compared with all others.
        rng: Draws the sample and the bootstrap.
    """
    if len(queries) < 2:
        return Undefined(reason="fewer than two queries", n=len(queries))
    looked_at = rng.permutation(len(queries))[:most].tolist()
    known = {place: bleu.ngrams(bleu.tokens(queries[place])) for place in looked_at}
    near = _nearest(queries, looked_at)
    best = []
    for place, others in zip(looked_at, near, strict=True):
        scores = [
            bleu.bleu(known[place], known.get(other) or bleu.ngrams(bleu.tokens(queries[other])))
            for other in others
            if other != place
        ]
        best.append(max(scores, default=0.0))
    means = rng.choice(best, (RESAMPLES, len(best))).mean(1)
    value = float(np.mean(best))
    low, high = np.quantile(means, (0.025, 0.975)).tolist()
    return Estimate(value=value, low=min(low, value), high=max(high, value), n=len(best))


def _nearest(queries: Sequence[str], looked_at: Sequence[int]) -> list[list[int]]:
    """Return the queries with which each of some is compared: all, or the likeliest by TF-IDF of words."""
    if len(queries) <= EXHAUSTIVE:
        return [list(range(len(queries)))] * len(looked_at)
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    # Hashed words, so that memory does not grow with the vocabulary.
    hashed = HashingVectorizer(
        n_features=2**20,
        tokenizer=str.split,
        token_pattern=None,
        alternate_sign=False,
        norm=None,
        dtype=np.float32,
    )
    vectors = TfidfTransformer().fit_transform(hashed.transform(queries))
    found = []
    for start in range(0, len(looked_at), 32):
        likeness = (vectors[looked_at[start : start + 32]] @ vectors.T).tocsr()
        for row in range(likeness.shape[0]):
            part = likeness.getrow(row)
            keep = np.argsort(-part.data, kind="stable")[: CANDIDATES + 1]
            found.append(part.indices[keep].tolist())
    return found
