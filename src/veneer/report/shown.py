"""Numbers as people read them: each keeps its place in report.json, and its unit decides how it is written."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from veneer.stats import Number, Undefined, from_json

MINUS = "\u2212"


class Unit(StrEnum):
    """How a number is written."""

    SHARE = "share"
    """A share, as a percentage."""
    POINTS = "points"
    """A difference of shares, in percentage points, signed."""
    PLAIN = "plain"
    """As it is: correlations, distances, nats."""


UNITS = {
    "gain": Unit.POINTS,
    "gap": Unit.POINTS,
    "veneer": Unit.POINTS,
    "per_doubling": Unit.POINTS,
    "per_base_step": Unit.POINTS,
    "base_over_data": Unit.POINTS,
    "buys": Unit.POINTS,
    "per_thousand_dollars": Unit.POINTS,
    "ahead": Unit.POINTS,
    "strict_gain": Unit.POINTS,
    "knowledge_gain": Unit.POINTS,
    "format_gain": Unit.POINTS,
    "difference": Unit.POINTS,
    "off": Unit.POINTS,
    "queries": Unit.PLAIN,
    "answers": Unit.PLAIN,
    "queries_meaning": Unit.PLAIN,
    "answers_meaning": Unit.PLAIN,
    "p": Unit.PLAIN,
    "likelihood": Unit.PLAIN,
    "length_correlation": Unit.PLAIN,
    "distance": Unit.PLAIN,
    "slope": Unit.PLAIN,
    "rise": Unit.POINTS,
    "rise_at_equal_style": Unit.POINTS,
    "base_distance": Unit.PLAIN,
    "ceiling_distance": Unit.PLAIN,
    "number": Unit.PLAIN,
    "kappa": Unit.PLAIN,
    "alpha": Unit.PLAIN,
    "p_supported": Unit.PLAIN,
    "p_contradicted": Unit.PLAIN,
}
"""The unit of each key of report.json that holds Numbers; all others hold shares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A Number of report.json, and where it stands there."""

    number: Number
    at: str
    """JSON pointer into report.json."""
    unit: Unit

    @property
    def value(self) -> str:
        """The estimate as text, its unit included."""
        if isinstance(self.number, Undefined):
            return "Undefined"
        return self._text(self.number.value) + (" %" if self.unit is Unit.SHARE else "")

    @property
    def interval(self) -> str:
        """The interval as text; empty for what is Undefined."""
        if isinstance(self.number, Undefined):
            return ""
        return f"[{self._text(self.number.low)}, {self._text(self.number.high)}]".replace("+", "")

    @property
    def reason(self) -> str:
        """Why there is no number; empty where there is one."""
        return self.number.reason if isinstance(self.number, Undefined) else ""

    def _text(self, number: float) -> str:
        assert not isinstance(self.number, Undefined)
        if self.unit is Unit.PLAIN:
            return signed(number, 2)
        width = 100 * (self.number.high - self.number.low)
        digits = 1 if 0 < width < 3 else 0
        return signed(100 * number, digits, plus=self.unit is Unit.POINTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """A number that was not estimated: an amount, a seed, a count of rows."""

    value: float
    text: str
    counted: bool = False
    """Whether it counts rows of report.json; otherwise it stands there itself."""


Piece = str | Shown | Bare
Sentence = tuple[Piece, ...]


def signed(number: float, digits: int, *, plus: bool = False) -> str:
    """Return the rounded number with a true minus sign, and a plus where asked; zero has neither."""
    text = f"{abs(number):.{digits}f}"
    if float(text) == 0:
        return text
    return (MINUS if number < 0 else "+" if plus else "") + text


def tokens(amount: int) -> Bare:
    """Return an amount of tokens as `80k` or `1.5M`, to three digits."""
    rounded = int(float(f"{amount:.3g}"))
    for size, suffix in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if rounded >= size:
            return Bare(value=amount, text=f"{rounded / size:.3g}{suffix}")
    return Bare(value=amount, text=str(amount))


def count(number: int) -> Bare:
    """Return a count of rows of report.json."""
    return Bare(value=number, text=whole(number).text, counted=True)


def whole(number: int) -> Bare:
    """Return a whole number that stands in report.json."""
    return Bare(value=number, text=f"{number:,}".replace(",", "\u202f"))


def percent(share: float) -> Bare:
    """Return a share that was set, not measured, as a percentage."""
    return Bare(value=share, text=f"{100 * share:.3g} %")


def plain(sentence: Sequence[Piece]) -> str:
    """Return a sentence as plain text, every number with its interval."""
    return "".join(_plain(piece) for piece in sentence)


def _plain(piece: Piece) -> str:
    if isinstance(piece, str):
        return piece
    if isinstance(piece, Bare):
        return piece.text
    if piece.reason:
        return f"Undefined ({piece.reason})"
    points = " points" if piece.unit is Unit.POINTS else ""
    return f"{piece.value}{points} {piece.interval}"


def read(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of report.json with every Number as a `Shown` that knows its place."""
    read_answers = _read(answers, "", "")
    assert isinstance(read_answers, dict)
    return read_answers


def _read(value: Any, at: str, key: str) -> Any:
    if isinstance(value, Mapping):
        if "n" in value and set(value) in ({"value", "low", "high", "n"}, {"undefined", "n"}):
            return Shown(number=from_json(dict(value)), at=at, unit=UNITS.get(key, Unit.SHARE))
        return {name: _read(item, f"{at}/{_escaped(name)}", name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_read(item, f"{at}/{index}", key) for index, item in enumerate(value)]
    return value


def _escaped(name: str) -> str:
    """Return a key as RFC 6901 wants it inside a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def every(read_answers: Any) -> Iterator[Shown]:
    """Yield every Number, in the order of report.json."""
    if isinstance(read_answers, Shown):
        yield read_answers
    elif isinstance(read_answers, dict):
        for item in read_answers.values():
            yield from every(item)
    elif isinstance(read_answers, list):
        for item in read_answers:
            yield from every(item)


def without_figures(reason: str) -> str:
    """Return a reason without the number and interval that end it, so that like reasons are told once."""
    return re.sub(r":? *[+-]?\d+\.\d+ \[[^]]*\]$", "", reason)


INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
    "|[\U000e0000-\U000e007f]"
)
"""Control characters, and those that hide or turn text round (Unicode TR 36, section 3)."""


def visible(text: str) -> str:
    """Return text whose control, direction and zero-width characters are spelled out as `⟦U+202E⟧`."""
    return INVISIBLE.sub(lambda match: f"⟦U+{ord(match[0]):04X}⟧", text)
