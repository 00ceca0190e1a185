"""Diversity of queries: the mean BLEU of each against the one that is most like it."""

import numpy as np
import pytest
import sacrebleu

from veneer.prepare import diversity
from veneer.prepare.diversity import nearest_bleu
from veneer.stats import Estimate, Undefined

QUERIES = [
    "What is the name of the tallest tower in Oslo?",
    "What is the name of the oldest bridge in Oslo?",
    "Write a short poem on cats and the sea.",
    "Write a poem on dogs.",
    "Why?",
]


def test_it_is_the_mean_of_each_querys_best_bleu_against_another() -> None:
    best = [
        max(_theirs(one, other) for place, other in enumerate(QUERIES) if place != own)
        for own, one in enumerate(QUERIES)
    ]
    assert _value(QUERIES) == pytest.approx(float(np.mean(best)), abs=1e-6)


def test_a_query_that_stands_twice_is_wholly_like_another() -> None:
    assert _value([QUERIES[0], QUERIES[0]]) == pytest.approx(100)


def test_queries_without_a_word_in_common_are_not_alike() -> None:
    assert _value(["one two three", "four five six", ""]) == 0


@pytest.mark.parametrize("queries", [[], ["only one"]])
def test_fewer_than_two_queries_have_no_diversity(queries: list[str]) -> None:
    found = nearest_bleu(queries, 500, rng=np.random.default_rng(0))
    assert found == Undefined(reason="fewer than two queries", n=len(queries))


def test_the_same_seed_gives_the_same_number_and_the_interval_holds_it() -> None:
    queries = _made(60)
    first, again = (nearest_bleu(queries, 20, rng=np.random.default_rng(3)) for _ in range(2))
    assert first == again
    assert isinstance(first, Estimate)
    assert first.n == 20
    assert first.low <= first.value <= first.high


def test_the_likeliest_candidates_give_the_number_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    queries = _made(600)
    by_candidates = _value(queries, most=150)
    monkeypatch.setattr(diversity, "EXHAUSTIVE", 600)
    assert by_candidates == pytest.approx(_value(queries, most=150), rel=0.01)


def _made(count: int) -> list[str]:
    """Return queries of made-up words, as frequent as words are, some of them nearly others."""
    rng = np.random.default_rng(1)
    ranks = np.arange(1, 401)
    made = [
        [f"w{word}" for word in rng.choice(ranks, rng.integers(4, 25), p=1 / ranks / (1 / ranks).sum())]
        for _ in range(count)
    ]
    for place in range(0, count, 5):
        made[place] = [*made[place - 1][:-2], "changed", *made[place - 1][-1:]]
    return [" ".join(words) for words in made]


def _value(queries: list[str], most: int = 500) -> float:
    found = nearest_bleu(queries, most, rng=np.random.default_rng(0))
    assert isinstance(found, Estimate)
    return found.value


def _theirs(one: str, other: str) -> float:
    return float(sacrebleu.sentence_bleu(one, [other], lowercase=True, use_effective_order=True).score)
