"""A price is the study's, or one that is surely known; no bound is below what a request can cost."""

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.models.prices import Price, price_of, upper_bound
from veneer.study_data import EndpointSpec, PriceSpec

OPENAI = "https://api.openai.com/v1"


def price(url: str = OPENAI, model: str = "gpt-4o-mini", **settings: Any) -> Price | None:
    return price_of(EndpointSpec(url=url, model=model, **settings))


def test_the_studys_price_comes_first() -> None:
    found = price(price=PriceSpec(input=3, output=6))
    assert found == Price(input=3e-6, output=6e-6, source="study")


def test_the_studys_price_is_not_halved_for_batches() -> None:
    assert price(price=PriceSpec(input=3, output=6), batch=True) == price(price=PriceSpec(input=3, output=6))


def test_a_known_model_has_its_price_per_token() -> None:
    found = price()
    assert found is not None
    assert (found.input, found.output) == pytest.approx((0.15e-6, 0.6e-6))
    assert found.source == "genai-prices"


def test_a_known_price_is_halved_for_batches() -> None:
    single, batched = price(), price(batch=True)
    assert single is not None
    assert batched is not None
    assert (batched.input, batched.output) == pytest.approx((single.input / 2, single.output / 2))


@pytest.mark.parametrize(
    ("url", "model"),
    [
        (OPENAI, "gpt-4o-mini-of-ours"),
        (OPENAI, "no such model"),
        ("http://127.0.0.1:8000/v1", "gpt-4o-mini"),
        ("https://example.org/v1", "gpt-4o-mini"),
        ("https://example.org/https://api.openai.com/v1", "gpt-4o-mini"),
    ],
)
def test_a_model_that_is_not_surely_known_has_no_price(url: str, model: str) -> None:
    assert price(url, model) is None


def test_a_model_that_does_not_charge_by_token_has_no_price() -> None:
    assert price(model="text-embedding-3-small") is None


def test_a_price_in_steps_is_taken_at_its_first() -> None:
    found = price("https://generativelanguage.googleapis.com/v1beta/openai", "gemini-2.5-pro")
    assert found is not None
    assert (found.input, found.output) == pytest.approx((1.25e-6, 10e-6))


def test_the_bound_counts_every_byte_and_every_token_of_the_answer() -> None:
    found = upper_bound(Price(input=1.0, output=10.0, source="study"), 100, 2, 50)
    assert found >= 100 + 500


@given(st.integers(0, 10**6), st.integers(0, 50), st.integers(1, 10**5))
def test_a_longer_request_never_has_a_lower_bound(texts: int, messages: int, most: int) -> None:
    one = Price(input=1e-6, output=2e-6, source="study")
    bound = upper_bound(one, texts, messages, most)
    assert bound <= upper_bound(one, texts + 1, messages, most)
    assert bound <= upper_bound(one, texts, messages + 1, most)
    assert bound < upper_bound(one, texts, messages, most + 1)


def test_the_price_list_is_loaded_only_when_it_is_needed() -> None:
    asked = "import sys, veneer.models.prices; print('genai_prices' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
