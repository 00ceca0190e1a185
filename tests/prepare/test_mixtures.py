"""Ladder order: a shuffle of one source, and several sources in their shares at every prefix."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from veneer.prepare.mixtures import ladder_order

ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(1, 50)), max_size=60)
WEIGHTS = st.fixed_dictionaries({name: st.floats(0.1, 10) for name in ("a", "b", "c")})


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(0, 5))
def test_one_source_is_shuffled_whole(tokens: list[int], seed: int) -> None:
    mixed = ladder_order(["a"] * len(tokens), tokens, {}, rng=np.random.default_rng(seed))
    assert sorted(mixed.order) == list(range(len(tokens)))
    assert mixed.left_over == {}


@given(ROWS, WEIGHTS, st.integers(0, 5))
def test_every_prefix_of_a_mixture_has_the_shares_to_one_conversation(
    rows: list[tuple[str, int]], weights: dict[str, float], seed: int
) -> None:
    sources, tokens = [name for name, _ in rows], [count for _, count in rows]
    mixed = ladder_order(sources, tokens, weights, rng=np.random.default_rng(seed))
    taken = dict.fromkeys(weights, 0)
    longest = max(tokens, default=0)
    for place in mixed.order:
        taken[sources[place]] += tokens[place]
        paces = [taken[name] / weight for name, weight in weights.items()]
        assert max(paces) - min(paces) <= longest / min(weights.values()) + 1e-9


@given(ROWS, WEIGHTS)
def test_no_conversation_is_in_a_mixture_twice_and_the_rest_is_counted(
    rows: list[tuple[str, int]], weights: dict[str, float]
) -> None:
    sources, tokens = [name for name, _ in rows], [count for _, count in rows]
    mixed = ladder_order(sources, tokens, weights, rng=np.random.default_rng(0))
    assert len(set(mixed.order)) == len(mixed.order)
    assert len(mixed.order) + sum(mixed.left_over.values()) == len(rows)
    assert mixed.left_over[mixed.ran_out] == 0


def test_the_order_depends_on_the_seed_alone() -> None:
    orders = [
        ladder_order(["a"] * 20, [1] * 20, {}, rng=np.random.default_rng(seed)).order for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]
