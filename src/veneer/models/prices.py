"""Prices of endpoints: the study's own, or those that genai-prices knows."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from veneer.models.journal import Answer
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


def priced(answer: Answer, price: Price | None, bound: float) -> Answer:
    """Return an answer with its cost: the most that it can be where the server does not say all that it used."""
    if price is None:
        return answer
    used = answer.tokens_in * price.input + answer.tokens_out * price.output
    return replace(answer, cost=used if answer.counted else bound)


@lru_cache(maxsize=64)
def _known(url: str, model: str) -> tuple[float, float] | None:
    """Return US dollars a token, input and output, from the data that genai-prices carries; it asks no server.

    The provider is told by the address alone: a model of the same name on another server has no known price. Where
    a price depends on the time of day, the dearest counts; where it rises with the prompt's length, the first step.
    """
    from genai_prices import Usage, calc_price

    today = datetime.combine(datetime.now(tz=UTC).date(), datetime.min.time(), tzinfo=UTC)
    prices = []
    for hour in range(24):
        try:
            found = calc_price(
                Usage(input_tokens=0, output_tokens=0),
                model_ref=model,
                provider_api_url=url,
                genai_request_timestamp=today + timedelta(hours=hour),
            ).model_price
        except (LookupError, ValueError):
            return None
        prices.append([_a_token(getattr(found, name, None)) for name in ("input_mtok", "output_mtok")])
    ins = [given for given, _ in prices if given is not None]
    outs = [given for _, given in prices if given is not None]
    # A model that charges for something else (seconds, images, searches) has no price that Veneer could reckon with.
    return (max(ins), max(outs)) if len(ins) == len(outs) == len(prices) else None


def _a_token(price: Any) -> float | None:
    """Return US dollars a token from a price per million tokens, plain or in steps."""
    price = getattr(price, "base", price)
    return None if price is None else float(price) / 1e6
