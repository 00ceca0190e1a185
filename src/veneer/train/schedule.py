"""Learning-rate schedules: what share of the peak rate holds after so many tokens."""

import math
from typing import Literal

Kind = Literal["stable", "linear", "cosine", "constant"]


def factor(kind: Kind, seen: float, *, total: int, warmup: int, decay_from: int | None = None) -> float:
    """Return the share of the peak learning rate that holds when `seen` of `total` tokens are trained on.

    It rises linearly from 0 over the first `warmup` tokens. Then it stays (constant); or it falls to 0 at `total`, in
    a straight line (Devlin et al. 2019, BERT, appendix A.2) or along half a cosine (Loshchilov and Hutter 2017, SGDR,
    equation 5, one cycle); or it stays until `decay_from` and falls to 0 in a straight line from there (stable: Hu et
    al. 2024, MiniCPM, section 4.2). Measured in tokens, so that runs of different amounts warm up alike. A warm-up as
    long as the run never reaches the peak, which the ledger shows.

    Args:
        kind: The form of the decay.
        seen: Tokens before the point that is asked about.
        total: Tokens of the whole run.
        warmup: Tokens of the warm-up.
        decay_from: Where a stable rate begins to fall; without it, it does not. Other kinds know no such place.

    >>> [round(factor("linear", seen, total=100, warmup=20), 2) for seen in (0, 10, 20, 60, 100)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    >>> [round(factor("stable", seen, total=100, warmup=20, decay_from=80), 2) for seen in (10, 20, 80, 90, 100)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    assert 0 <= seen <= total, f"{seen} tokens of {total}"
    if seen < warmup:
        return seen / warmup
    falls_from = total if decay_from is None else decay_from
    if kind == "constant" or warmup >= total or (kind == "stable" and seen <= falls_from):
        return 1.0
    if kind == "stable":
        return (total - seen) / (total - falls_from)
    done = (seen - warmup) / (total - warmup)
    return 1 - done if kind == "linear" else (1 + math.cos(math.pi * done)) / 2
