"""What a step costs: the size of a base, the operations that training takes, GPU-hours and money."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veneer import absent
from veneer.study import PricesSpec, Study

OPERATIONS = 6
"""Operations that training takes a parameter and token (Kaplan et al. 2020, section 2.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the next student costs."""

    tokens: int
    """Imitation data that is not there yet."""
    operations: float
    gpu_hours: float
    dollars: float


def sizes_of(study: Study) -> Mapping[str, int]:
    """Return how many parameters each base has whose checkpoint tells it."""
    found = {name: parameters_of(spec.checkpoint) for name, spec in study.bases.items() if spec.checkpoint}
    return {name: size for name, size in found.items() if size}


def parameters_of(checkpoint: Path) -> int:
    """Return how many numbers a checkpoint's safetensors hold, by their headers; 0 where it has none."""
    from safetensors import safe_open  # Imported here for the reason given in `stats.p_value`.

    total: int = sum(one.get("parameters", 0) for one in absent.of(checkpoint).values())
    for file in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(str(file), framework="numpy") as tensors:
            total += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    return total


def cost(size: int, tokens: int, bought: int, passes: int, prices: PricesSpec) -> Cost:
    """Return what a student costs.

    Args:
        size: Parameters of its base.
        tokens: Imitation data that it is trained on.
        bought: How much of that has to be made first.
        passes: Over the data.
        prices: Of data and machines.
    """
    operations = float(OPERATIONS) * size * tokens * passes
    hours = operations / (prices.tflops * 1e12) / 3600
    dollars = bought / 1e6 * prices.million_tokens + hours * prices.gpu_hour
    return Cost(tokens=bought, operations=operations, gpu_hours=hours, dollars=dollars)


def to_row(cost: Cost) -> dict[str, Any]:
    """Return the cost as it stands in the report."""
    return {
        "tokens": cost.tokens,
        "operations": cost.operations,
        "gpu_hours": cost.gpu_hours,
        "dollars": cost.dollars,
    }
