"""Learning-rate schedules: what share of the peak rate holds after so many tokens."""

import math
from typing import Literal

Kind = Literal["linear", "cosine", "constant"]


def factor(kind: Kind, seen: float, *, total: int, warmup: int) -> float:
    """Return the share of the peak learning rate that holds when `seen` of `total` tokens are trained on.

    It rises linearly from 0 over the first `warmup` tokens, then stays (constant) or falls to 0 at `total`: in a
    straight line (Devlin et al. 2019, BERT, appendix A.2) or along half a cosine (Loshchilov and Hutter 2017, SGDR,
    equation 5, one cycle). Measured in tokens, so that runs of different amounts warm up alike. A warm-up as long as
    the run never reaches the peak, which the ledger shows.

    Args:
        kind: The form of the decay.
        seen: Tokens before the point that is asked about.
        total: Tokens of the whole run.
        warmup: Tokens of the warm-up.

    >>> [round(factor("linear", seen, total=100, warmup=20), 2) for seen in (0, 10, 20, 60, 100)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    assert 0 <= seen <= total, f"{seen} tokens of {total}"
    if seen < warmup:
        return seen / warmup
    if kind == "constant" or warmup >= total:
        return 1.0
    done = (seen - warmup) / (total - warmup)
    return 1 - done if kind == "linear" else (1 + math.cos(math.pi * done)) / 2
