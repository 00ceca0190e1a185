from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.report.shown import Unit, every, plain, read, signed, tokens, visible


def shown(key: str, value: float, low: float, high: float) -> Any:
    return read({key: {"value": value, "low": low, "high": high, "n": 9}})[key]


def test_a_share_is_written_in_percent_with_its_interval() -> None:
    assert plain(("large ", shown("win_rate", 0.484, 0.41, 0.556))) == "large 48 % [41, 56]"


def test_a_difference_is_written_in_signed_points() -> None:
    assert plain((shown("gain", 0.22, -0.01, 0.46),)) == "+22 points [−1, 46]"
    assert plain((shown("gain", -0.22, -0.31, -0.1),)) == "−22 points [−31, −10]"


def test_a_narrow_interval_keeps_a_decimal() -> None:
    assert shown("strict", 0.012, 0.005, 0.019).interval == "[0.5, 1.9]"


def test_a_negative_share_is_shown_as_it_is() -> None:
    assert shown("gap_closed", -0.45, -0.62, -0.28).value == "−45 %"


def test_a_correlation_is_written_plainly() -> None:
    assert shown("length_correlation", -0.11, -0.2, -0.02).unit is Unit.PLAIN
    assert shown("length_correlation", -0.11, -0.2, -0.02).value == "−0.11"


def test_what_is_undefined_says_so_with_its_reason() -> None:
    data = read({"gap_closed": {"undefined": "no benchmark", "n": 0}})
    assert plain((data["gap_closed"],)) == "Undefined (no benchmark)"


@pytest.mark.parametrize("number", [0.0, -0.0, -0.001])
def test_zero_has_no_sign(number: float) -> None:
    assert signed(number, 1, plus=True) == "0.0"


@given(st.floats(-1e6, 1e6), st.integers(0, 3))
def test_a_rounded_number_reads_back(number: float, digits: int) -> None:
    assert float(signed(number, digits, plus=True).replace("−", "-")) == pytest.approx(
        number, abs=0.5000001 * 10**-digits
    )


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (900, "900"),
        (5_000, "5k"),
        (300_000, "300k"),
        (999_999, "1M"),
        (150_000_000, "150M"),
        (1_500_000_000, "1.5G"),
    ],
)
def test_tokens_are_written_short(amount: int, text: str) -> None:
    assert tokens(amount).text == text


def test_every_number_knows_its_place() -> None:
    answers = {"gap_closed": [{"gain": {"undefined": "none", "n": 0}}], "a/b": {"undefined": "none", "n": 1}}
    assert [number.at for number in every(read(answers))] == ["/gap_closed/0/gain", "/a~1b"]


@given(st.text())
def test_no_text_hides_or_turns_anything(text: str) -> None:
    assert not set(visible(text)) & set(
        "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\x00\x1b"
    )


def test_an_override_is_spelled_out() -> None:
    assert visible("a\u202eb\tc\n") == "a⟦U+202E⟧b\tc\n"
