"""Packing: conversations of many lengths in full blocks; how the data begins is packed the same whatever follows."""

from collections.abc import Sequence

OPEN = 16
"""Blocks that are filled at once, where nothing asks for fewer; more fill better, and part neighbours further."""

Block = tuple[int, ...]
"""Places of the rows that share a block."""
_Open = tuple[int, list[int]]
"""Tokens and rows of a block that is being filled."""


def pack(lengths: Sequence[int], size: int, opened: int = OPEN) -> tuple[list[Block], int]:
    """Return blocks of at most `size` tokens, and how many of them would be the same with more rows behind.

    Each row goes into the fullest of the open blocks that has room for it. Where none has, and enough are open, the
    fullest is closed. Blocks stand in the order in which they were closed; the rows of those still open at the end
    are packed once more, longest first. So the first blocks of a prefix of the rows are the first blocks of all rows.

    Args:
        lengths: Tokens of each row, in order; none above `size`.
        size: Tokens of a block.
        opened: Blocks that are filled at once.

    >>> pack([3, 2, 2, 4], 4)
    ([(1, 2), (3,), (0,)], 2)
    """
    closed: list[Block] = []
    filling: list[_Open] = []
    for place, length in enumerate(lengths):
        assert 0 < length <= size, f"row {place} has {length} tokens, a block {size}"
        if not _put(filling, place, length, size):
            if len(filling) == opened:
                closed.append(tuple(filling.pop(max(range(opened), key=lambda at: filling[at][0]))[1]))
            filling.append((length, [place]))
        closed += [tuple(rows) for used, rows in filling if used == size]
        filling = [block for block in filling if block[0] < size]
    sure = len(closed)
    last: list[_Open] = []
    left = [place for _, rows in filling for place in rows]
    for place in sorted(left, key=lambda place: (-lengths[place], place)):
        if not _put(last, place, lengths[place], size):
            last.append((lengths[place], [place]))
    return [*closed, *(tuple(rows) for _, rows in last)], sure


def _put(filling: list[_Open], place: int, length: int, size: int) -> bool:
    """Put a row into the fullest block that has room for it; return whether there is one."""
    fitting = [at for at, (used, _) in enumerate(filling) if used + length <= size]
    if fitting:
        at = max(fitting, key=lambda each: filling[each][0])
        used, rows = filling[at]
        rows.append(place)
        filling[at] = (used + length, rows)
    return bool(fitting)
