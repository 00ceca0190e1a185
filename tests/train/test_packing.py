"""Packing loses nothing, cuts nothing, and never changes its mind about the beginning."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.train.packing import OPEN, pack

SIZE = 32
LENGTHS = st.lists(st.integers(1, SIZE), max_size=120)
OPENED = st.integers(1, OPEN)


@given(LENGTHS, OPENED)
def test_every_row_is_in_one_block(lengths: list[int], opened: int) -> None:
    blocks, sure = pack(lengths, SIZE, opened)
    assert sorted(chain.from_iterable(blocks)) == list(range(len(lengths)))
    assert all(blocks)
    assert sure <= len(blocks)


@given(LENGTHS, OPENED)
def test_no_block_is_above_the_size(lengths: list[int], opened: int) -> None:
    blocks, _ = pack(lengths, SIZE, opened)
    assert all(sum(lengths[row] for row in block) <= SIZE for block in blocks)


@given(LENGTHS, LENGTHS, OPENED)
def test_the_sure_blocks_of_a_beginning_are_the_first_whatever_follows(
    beginning: list[int], rest: list[int], opened: int
) -> None:
    blocks, sure = pack(beginning, SIZE, opened)
    longer, surer = pack([*beginning, *rest], SIZE, opened)
    assert longer[:sure] == blocks[:sure]
    assert surer >= sure


@given(LENGTHS, OPENED)
def test_what_is_not_sure_is_no_more_than_what_was_open(lengths: list[int], opened: int) -> None:
    blocks, sure = pack(lengths, SIZE, opened)
    assert sum(lengths[row] for block in blocks[sure:] for row in block) <= opened * SIZE


@given(st.integers(0, 2**32 - 1), st.floats(0.4, 1.0))
def test_conversations_of_lognormal_lengths_fill_nine_tenths(seed: int, spread: float) -> None:
    drawn = np.random.default_rng(seed).lognormal(np.log(300), spread, size=1000)
    lengths = np.clip(drawn, 8, 2048).astype(int).tolist()
    blocks, _ = pack(lengths, 2048)
    assert sum(lengths) >= 0.9 * 2048 * len(blocks)


def test_full_rows_stand_alone_in_their_order() -> None:
    assert pack([SIZE] * 3, SIZE) == ([(0,), (1,), (2,)], 3)


def test_no_rows_make_no_blocks() -> None:
    assert pack([], SIZE) == ([], 0)


@pytest.mark.parametrize("length", [0, SIZE + 1])
def test_a_row_that_fits_no_block_is_our_own_fault(length: int) -> None:
    with pytest.raises(AssertionError, match=f"row 1 has {length} tokens, a block {SIZE}"):
        pack([1, length], SIZE)
