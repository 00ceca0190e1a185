"""Prices of endpoints: the study's own, or those that genai-prices knows."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from veneer.study_data import EndpointSpec

BATCH = 0.5
"""The providers' price of a batched request, as a share of the ordinary one."""
OVERHEAD = 16
"""Tokens that a provider may add to each message of a conversation; more than any is known to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What tokens cost."""

    input: float
    """US dollars a token."""
    output: float
    source: str
    """`study` or `genai-prices`."""


def price_of(endpoint: EndpointSpec) -> Price | None:
    """Return what an endpoint's tokens cost; None where it is not known.

    The study's own prices are taken as they are, for batches too; known ones are halved for batches.
    """
    if endpoint.price:
        return Price(input=endpoint.price.input / 1e6, output=endpoint.price.output / 1e6, source="study")
    known = _known(endpoint.url, endpoint.model)
    if known is None:
        return None
    factor = BATCH if endpoint.batch else 1.0
    return Price(input=known[0] * factor, output=known[1] * factor, source="genai-prices")


def upper_bound(price: Price, texts: int, messages: int, max_tokens: int) -> float:
    """Return the most that a request can cost, in US dollars.

    Args:
        price: Of the endpoint.
        texts: Bytes in UTF-8 of all that is sent; a token is at least a byte.
        messages: How many messages it has.
        max_tokens: The most tokens of its answer.
    """
    return (texts + OVERHEAD * (messages + 1)) * price.input + max_tokens * price.output


@lru_cache(maxsize=64)
def _known(url: str, model: str) -> tuple[float, float] | None:
    from genai_prices import Usage, calc_price

    try:
        both = [
            calc_price(Usage(**usage), model_ref=model, provider_api_url=url)
            for usage in ({"input_tokens": 1000}, {"output_tokens": 1000})
        ]
    except (LookupError, ValueError):
        return None
    parts: list[Any] = [both[0].input_price, both[1].output_price]
    return float(parts[0]) / 1000, float(parts[1]) / 1000
