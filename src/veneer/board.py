"""Progress of a run on the terminal."""

import math
import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from veneer.disk import Row
from veneer.lease import Holder

LOGGED = 60.0
"""Seconds between two lines about a stage that takes long where the output is no terminal."""


class Board:
    """Progress on the terminal: a bar a stage where there is a person, a line a stage where there is a log."""

    def __init__(self, screen: Console, wanted: Mapping[str, float]) -> None:
        self._screen = screen
        self._wanted = wanted
        self._bars = Progress(
            TextColumn("{task.description:8}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[cell]}"),
            console=screen,
            disable=not self._screen.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._left: dict[str, int] = {}
        self._began = time.monotonic()
        self._heard: list[tuple[float, int]] = []
        self._stage = self._asking = ""
        self._before = 0
        self._logged = self._began

    def __enter__(self) -> "Board":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, stage: str, cells: int, done: int) -> None:
        """Begin a stage, or add cells to it."""
        if stage in self._tasks:
            total = (self._bars.tasks[self._tasks[stage]].total or 0) + cells
            self._bars.update(self._tasks[stage], total=total, advance=done)
        else:
            self._tasks[stage] = self._bars.add_task(stage, total=cells, completed=done, cell="")
        self._stage = stage
        self._left[stage] = cells - done
        if not self._screen.is_terminal:
            self._screen.print(f"{stage}: {cells} cells, {done} done before")

    def advance(self, stage: str, cell: str) -> None:
        """Count a cell that has ended."""
        self._bars.update(self._tasks[stage], advance=1, cell=cell)
        self._left[stage] -= 1
        if not self._screen.is_terminal:
            seconds = time.monotonic() - self._began
            self._screen.print(f"{stage}: {cell} ({self._left[stage]} left, {seconds:.0f} s since the start)")

    def heard(self, answers: int, dollars: float) -> None:
        """Say how many answers the stage has, how fast they come and what they cost."""
        now = time.monotonic()
        if self._asking != self._stage:
            # The journal holds other stages' answers too: what was there at this stage's start is not counted.
            self._asking, self._before, self._heard = self._stage, answers, []
        self._heard = [*self._heard[-120:], (now, answers)]
        began, then = self._heard[0]
        if answers == then or now == began:
            return
        rate, done = (answers - then) / (now - began), answers - self._before
        wanted = self._wanted.get(self._stage, math.inf)
        of, left = "", ""
        if done <= wanted < math.inf:
            of, left = f" of {wanted:,}", f", {(wanted - done) / rate:,.0f} s left"
        said = f"{done:,}{of} answers, {rate:,.1f}/s, ${dollars:,.2f}{left}"
        self._say(said)
        self._log(f"{self._stage}: {said}")

    def lacks(self, stage: str, cell: str, said: str, closed: str) -> None:
        """Say what has no answer."""
        self._screen.print(
            f"{stage}: {cell}: {said}; {closed or 'the next run asks these again'}.", markup=False
        )

    def waits(self, stage: str, cell: str, who: Holder, asks: bool) -> None:
        """Say for which run a cell waits."""
        said = f"{cell} waits for {who}"
        said += ": one run asks endpoints at a time" if asks else ", which makes it"
        self._say(said)
        self._log(f"{stage}: {said}")

    def learned(self, lines: Mapping[str, Row]) -> None:
        """Say how far each student in training is."""
        said = [
            f"{name} {line['tokens']:,} tokens, loss {line['loss']:.3f}, {line['tokens_per_s']:,.0f}/s, "
            f"{line['share_of_matmul_peak']:.0%} of the matmul peak, {line['seconds_left']:,} s left"
            for name, line in lines.items()
        ]
        if said:
            self._say("; ".join(said))
            self._log("\n".join(f"  {line}" for line in said))

    def _log(self, said: str) -> None:
        """Print a line where the output is no terminal, about once a minute."""
        now = time.monotonic()
        if not self._screen.is_terminal and now - self._logged > LOGGED:
            self._logged = now
            self._screen.print(said, markup=False)

    def _say(self, said: str) -> None:
        for task in self._bars.tasks:
            if not task.finished:
                self._bars.update(task.id, cell=said)
