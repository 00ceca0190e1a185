"""The command line: parse, call, print; no logic."""

import math
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from veneer import pipeline
from veneer.cells import crew
from veneer.errors import StudyError, VeneerError
from veneer.models.journal import progress
from veneer.store import Row
from veneer.study import Study, load
from veneer.study_data import ModelSpec
from veneer.study_judges import ModelJudgeSpec

if TYPE_CHECKING:
    from veneer.forecast import Asked

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Tells whether a model trained on another model's outputs got better or only sounds better.",
)
screen = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

LOGGED = 60.0
"""Seconds between two lines about a stage that takes long where the output is no terminal."""

StudyFile = Annotated[Path, typer.Argument(help="A study file (YAML).")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Cells made at a time; as many as there are cores by default.")
]


class Until(StrEnum):
    """The stages at which a run may stop."""

    collect = "collect"
    prepare = "prepare"
    train = "train"
    answer = "answer"
    grade = "grade"
    judge = "judge"
    rate = "rate"
    analyze = "analyze"
    report = "report"


class PocketSize(StrEnum):
    """How large the built-in study is."""

    full = "full"
    small = "small"
    tiny = "tiny"


@app.command()
def pocket(
    folder: Annotated[Path, typer.Argument(help="Where the study is written.")],
    seed: Annotated[int, typer.Option(help="The world's seed.")] = 0,
    size: Annotated[PocketSize, typer.Option(help="How large its world is.")] = PocketSize.full,
    workers: Workers = None,
) -> None:
    """Write the built-in study: a world, and a teacher and bases trained from nothing on it."""
    with _errors_explained():
        # Imported here: it brings torch, and the other commands must answer at once.
        from veneer.pocket import study as built_in

        written = built_in.write(
            folder,
            seed=seed,
            size=built_in.Size(size),
            workers=workers or os.cpu_count() or 1,
            progress=screen.print,
        )
        screen.print(f"Written: {written}. Next: veneer run {written}")


@app.command()
def new(folder: Annotated[Path, typer.Argument(help="Where the study is written; made if need be.")]) -> None:
    """Write a commented study file to edit."""
    with _errors_explained():
        written = folder / "study.yaml"
        if written.exists():
            raise StudyError(
                f"{written} exists already, and is left as it is. Name another folder, or move it away."
            )
        folder.mkdir(parents=True, exist_ok=True)
        written.write_text((files("veneer") / "prompts" / "new_study.yaml").read_text(encoding="utf-8"))
        screen.print(f"Written: {written}. Edit it, then: veneer plan {written}")


@app.command()
def plan(study_file: StudyFile) -> None:
    """Show what a run would make: the grid and the counts."""
    with _errors_explained():
        store = pipeline.store_of(study_file)
        # Tasks become items first: what endpoints will be asked cannot be counted before.
        study = pipeline.with_items(load(study_file), store.root.parent)
        for line in _grid(study):
            screen.print(line)
        if "people" in study.raters:
            from veneer.rating import forecast

            screen.print(forecast(study, store))
        journal = pipeline.journal_of(store.root.parent)
        if asked := _asked(study, journal):
            from veneer.forecast import unready

            if not screen.is_terminal:
                screen.width = 160  # In a log no line needs to be broken.
            screen.print(_bill(asked))
            screen.print(_total(asked, study.spend_cap, progress(journal)[1]))
            for reason in unready(study):
                screen.print(f"  not ready: {reason}", markup=False)
        screen.print(_states(pipeline.survey(study, store)))


@app.command()
def run(
    study_file: StudyFile,
    until: Annotated[Until, typer.Option(help="The last stage to make.")] = Until.report,
    workers: Workers = None,
) -> None:
    """Make everything that is not made yet. Interrupt it as you like: the same command carries on."""
    with _errors_explained():
        store = pipeline.store_of(study_file)
        study = pipeline.with_items(load(study_file), store.root.parent)
        asked = _asked(study, pipeline.journal_of(store.root.parent))
        with _ended_politely(), crew(workers) as hands, _Board(_left(asked)) as board:
            made = pipeline.run(study, store, hands, board, until.value)
        if until is Until.report and not study.is_data_only:
            place = store.root.parent / "report"
            screen.print()
            screen.print((place / "verdict.txt").read_text(encoding="utf-8"), markup=False)
            screen.print(f"Report: {place / 'index.html'}")
        else:
            for artefact in made.values():
                screen.print(f"{artefact.stage}: {artefact.path}")
                if artefact.stage == "prepare":
                    screen.print(f"  data card: {store.root.parent / 'cards' / artefact.name / 'card.html'}")


@app.command()
def status(study_file: StudyFile) -> None:
    """Show how far a study has come."""
    with _errors_explained():
        screen.print(_states(pipeline.survey(load(study_file), pipeline.store_of(study_file))))


@app.command()
def rate(study_file: StudyFile) -> None:
    """Serve the page on which people compare completions blind, as the study's `rate.people` says."""
    with _errors_explained():
        # Imported here: the other commands need no web server.
        from veneer import rating

        rating.serve(study_file, lambda said: screen.print(said, markup=False))


def _grid(study: Study) -> Iterator[str]:
    yield f"{study.name}: {study.question}" if study.question else study.name
    yield f"  bases     {', '.join(study.bases) or 'none'}"
    yield f"  teacher   {study.teacher.name}"
    if study.train and study.collect:
        amounts, seeds = study.train.amounts, study.train.seeds
        grid = len(study.bases) * len(study.imitated) * len(amounts) * len(seeds)
        yield f"  sources   {', '.join(study.imitated)}"
        yield f"  amounts   {', '.join(f'{amount:,}' for amount in amounts)} tokens"
        yield f"  seeds     {', '.join(map(str, seeds))}"
        yield f"  students  {grid} (bases x sources x amounts x seeds)"
        if replay := study.train.replay:
            twins = grid // len(amounts) * len(replay.amounts)
            yield f"            and {twins} with {replay.share:.0%} of pretraining text mixed in"
    elif study.students:
        yield f"  students  {', '.join(study.students)} (they exist already)"
    else:
        yield f"  sources   {', '.join(study.imitated)} (imitation data alone: nothing is trained)"
    forms = [
        f"{name} ({', '.join(spec.forms or ('chat',))})" for name, spec in study.evaluate.benchmarks.items()
    ]
    yield f"  benchmarks  {', '.join(forms) or 'none'}"
    raters = {"simulated": "simulated raters", "people": "people"}
    judges = [*study.judges, *(raters[kind] for kind in study.raters)]
    yield f"  judges    {', '.join(judges) or 'none'}"


def _asked(study: Study, journal: Path) -> list["Asked"]:
    """Return what endpoints will be asked; nothing where the study has none."""
    models = [*study.bases.values(), *study.students.values(), study.teacher]
    models += [
        judge.model
        for judge in study.judges.values()
        if isinstance(judge, ModelJudgeSpec) and isinstance(judge.model, ModelSpec)
    ]
    if not any(spec.endpoint for spec in models):
        return []
    # Reads the benchmarks' files; most studies ask no endpoint.
    from veneer.forecast import forecast

    return forecast(study, journal)


def _left(asked: list["Asked"]) -> dict[str, float]:
    """Return how many requests each stage has left; infinity where that is not known."""
    left: dict[str, float] = {}
    for one in asked:
        count = math.inf if one.requests is None else one.requests - one.answered
        left[one.stage] = left.get(one.stage, 0) + count
    return left


def _bill(asked: list["Asked"]) -> Table:
    table = Table(
        "stage", "model", "asked", "requests", "answered", "tokens in (about)", "tokens out (at most)",
        "$ (at most)", box=None, pad_edge=False,
    )  # fmt: skip
    for one in asked:
        guess = "" if one.sure else "~"
        counts = [
            "unknown" if count is None else f"{guess}{count:,}"
            for count in (one.requests, one.tokens_in, one.tokens_out)
        ]
        price = "unknown" if one.dollars is None else f"{guess}{one.dollars:,.2f}"
        table.add_row(one.stage, one.model, one.what, counts[0], f"{one.answered:,}", *counts[1:], price)
    return table


def _total(asked: list["Asked"], cap: float | None, paid: float) -> str:
    known = sum(one.dollars for one in asked if one.sure and one.dollars is not None)
    guessed = sum(one.dollars for one in asked if not one.sure and one.dollars is not None)
    said = [f"at most ${known:,.2f}"]
    if guessed:
        said.append(f"~${guessed:,.2f} (a guess: what will be asked is not known yet)")
    if any(one.dollars is None for one in asked):
        said.append("what is unknown")
    limit = "no spend_cap is set" if cap is None else f"spend_cap: ${cap:,.2f}"
    return (
        f"  left to pay: {' and '.join(said)}; paid: ${paid:,.2f}; {limit}\n"
        "  Tokens and dollars are of requests without an answer. Attempts that break off may cost more: only "
        "spend_cap is a bound."
    )


def _states(states: list[pipeline.StageState]) -> Table:
    table = Table("stage", "cells", "done", "begun", "to do", box=None, pad_edge=False)
    for state in states:
        left = state.cells - state.done - state.begun
        table.add_row(state.stage, str(state.cells), str(state.done), str(state.begun), str(left))
    return table


class _Board:
    """Progress on the terminal: a bar a stage where there is a person, a line a stage where there is a log."""

    def __init__(self, wanted: Mapping[str, float]) -> None:
        self._wanted = wanted
        self._bars = Progress(
            TextColumn("{task.description:8}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[cell]}"),
            console=screen,
            disable=not screen.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._left: dict[str, int] = {}
        self._began = time.monotonic()
        self._heard: list[tuple[float, int]] = []
        self._stage = self._asking = ""
        self._before = 0
        self._logged = self._began

    def __enter__(self) -> "_Board":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, stage: str, cells: int, done: int) -> None:
        if stage in self._tasks:
            total = (self._bars.tasks[self._tasks[stage]].total or 0) + cells
            self._bars.update(self._tasks[stage], total=total, advance=done)
        else:
            self._tasks[stage] = self._bars.add_task(stage, total=cells, completed=done, cell="")
        self._stage = stage
        self._left[stage] = cells - done
        if not screen.is_terminal:
            screen.print(f"{stage}: {cells} cells, {done} done before")

    def advance(self, stage: str, cell: str) -> None:
        self._bars.update(self._tasks[stage], advance=1, cell=cell)
        self._left[stage] -= 1
        if not screen.is_terminal:
            seconds = time.monotonic() - self._began
            screen.print(f"{stage}: {cell} ({self._left[stage]} left, {seconds:.0f} s since the start)")

    def heard(self, answers: int, dollars: float) -> None:
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
        screen.print(f"{stage}: {cell}: {said}; {closed or 'the next run asks these again'}.", markup=False)

    def learned(self, lines: Mapping[str, Row]) -> None:
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
        if not screen.is_terminal and now - self._logged > LOGGED:
            self._logged = now
            screen.print(said, markup=False)

    def _say(self, said: str) -> None:
        for task in self._bars.tasks:
            if not task.finished:
                self._bars.update(task.id, cell=said)


@contextmanager
def _ended_politely() -> Iterator[None]:
    """While it lasts, SIGTERM ends as Ctrl-C does, with exit status 143; a second one while ending is not heard."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        errors.print("Ended by a signal. Nothing finished is lost: the same command carries on.")
        sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _errors_explained() -> Iterator[None]:
    """Turn errors into a message and an exit status: 2 for what a person can mend, 130 for Ctrl-C."""
    try:
        yield
    except VeneerError as error:
        errors.print(f"veneer: {error}", markup=False)
        sys.exit(2)
    except KeyboardInterrupt:
        errors.print("Interrupted. Nothing finished is lost: the same command carries on.")
        sys.exit(130)


if __name__ == "__main__":
    app()
