"""Who is told how a run gets on."""

from collections.abc import Mapping
from typing import Protocol

from veneer.disk import Row
from veneer.lease import Holder


class Watch(Protocol):
    """Who is told of progress."""

    def begin(self, stage: str, cells: int, done: int) -> None:
        """A stage begins: so many cells, so many of them done by earlier runs."""

    def advance(self, stage: str, cell: str) -> None:
        """A cell has ended."""

    def heard(self, answers: int, dollars: float) -> None:
        """Endpoints have given so many answers in this study so far, for so much; first said before a stage's cells."""

    def lacks(self, stage: str, cell: str, said: str, closed: str) -> None:
        """A cell has requests without an answer: how many, and why no run asks them again; empty if the next does."""

    def waits(self, stage: str, cell: str, who: Holder, asks: bool) -> None:
        """A cell waits for another run, which makes it or, where it asks endpoints, asks; said twice a second."""

    def learned(self, lines: Mapping[str, Row]) -> None:
        """How far each student in training is: the last line of its log, by its name; said twice a second."""
