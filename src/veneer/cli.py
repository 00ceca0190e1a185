"""The command line: parse, call, print; no logic."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from veneer import audit
from veneer.errors import StudyError, VeneerError

# What a command needs is imported in it: all of it together takes a second, and `--help` answers at once.

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Tells whether a model trained on another model's outputs got better or only sounds better.",
)
screen = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


StudyFile = Annotated[Path, typer.Argument(help="A study file (YAML).")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Cores that cells take together, one each as a rule; all by default."),
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


class On(StrEnum):
    """Where cells run."""

    local = "local"
    ray = "ray"


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
        from veneer.needs import cores
        from veneer.pocket import study as built_in

        written = built_in.write(
            folder,
            seed=seed,
            size=built_in.Size(size),
            workers=workers or cores(),
            progress=screen.print,
        )
        screen.print(f"Written: {written}. Next: veneer run {written}")


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="Where the study is written; made if need be.")],
    base: Annotated[
        str | None, typer.Option(help="An audit's base: a checkpoint, recordings, or URL#MODEL.")
    ] = None,
    student: Annotated[
        list[str] | None, typer.Option(help="A student made of it, given likewise; several as several.")
    ] = None,
    teacher: Annotated[str | None, typer.Option(help="Who was imitated, given likewise.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="The folder with the benchmarks' data.")] = None,
) -> None:
    """Write a commented study file to edit; with a base, students and a teacher, an audit that is ready to run."""
    with _errors_explained():
        if base and student and teacher:
            written = audit.write(folder, base, student, teacher, bundle=bundle)
            screen.print(f"Written: {written}. Next: veneer plan {written}, then veneer run {written}")
        elif base or student or teacher or bundle:
            raise StudyError("An audit needs all three: --base MODEL --student MODEL --teacher MODEL.")
        else:
            written = audit.blank(folder)
            screen.print(f"Written: {written}. Edit it, then: veneer plan {written}")


@app.command()
def plan(
    study_file: StudyFile,
    on_hardware: Annotated[
        str | None,
        typer.Option(help="Plan for h100, h200, a100 or another data sheet; by default for what is here."),
    ] = None,
    utilisation: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=1, help="Share of its peak that training reaches; by default as was measured."
        ),
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Train each base here for a while: a minute in all.")
    ] = False,
) -> None:
    """Show what a run would make and take: the grid, the counts, memory, hours, money, and what would stop it."""
    with _errors_explained():
        from veneer import dry_run, pipeline, planning, printed, printed_plan
        from veneer.models.journal import progress
        from veneer.study import load

        store = pipeline.store_of(study_file)
        # Tasks become items first: what endpoints will be asked cannot be counted before.
        study = pipeline.with_items(load(study_file), store.root.parent)
        if not screen.is_terminal:
            screen.width = 160  # In a log no line needs to be broken.
        for line in printed.grid(study):
            screen.print(line)
        if "people" in study.raters:
            from veneer.rating import forecast

            screen.print(forecast(study, store))
        journal = pipeline.journal_of(store.root.parent)
        if asked := printed.asked(study, journal):
            screen.print(printed.bill(asked))
            screen.print(printed.total(asked, study.spend_cap, progress(journal)[1]))
        prepared = planning.prepared_of(study, store)
        found = None
        if study.train:
            found = planning.training(
                study, store.root, prepared, on=on_hardware, share=utilisation, calibrate=calibrate
            )
            for part in printed_plan.training(found, study.train):
                screen.print(part, markup=False)
        screen.print(printed.states(pipeline.survey(study, store)))
        wrong = dry_run.findings(study, prepared, found)
        for line in printed_plan.findings(wrong):
            screen.print(line, markup=False)
    if any(one.stops for one in wrong):
        sys.exit(2)


@app.command()
def run(
    study_file: StudyFile,
    until: Annotated[Until, typer.Option(help="The last stage to make.")] = Until.report,
    workers: Workers = None,
    on: Annotated[
        On, typer.Option(help="This machine, or a Ray cluster: RAY_ADDRESS's, or one started here.")
    ] = On.local,
) -> None:
    """Make everything that is not made yet. Interrupt it as you like: the same command carries on."""
    with _errors_explained():
        from veneer import pipeline, printed
        from veneer.board import Board
        from veneer.cells import crew
        from veneer.cells_ray import cluster
        from veneer.study import load

        store = pipeline.store_of(study_file)
        study = pipeline.with_items(load(study_file), store.root.parent)
        asked = printed.asked(study, pipeline.journal_of(store.root.parent))
        with (
            _ended_politely(),
            cluster(store.root, workers) if on is On.ray else crew(workers) as hands,
            Board(screen, printed.left(asked)) as board,
        ):
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
    """Show how far a study has come, and who is at what; it may be asked while runs are at work."""
    with _errors_explained():
        from veneer import pipeline, printed
        from veneer.study import load

        states = pipeline.survey(load(study_file), pipeline.store_of(study_file))
        screen.print(printed.states(states))
        for line in printed.holders(states):
            screen.print(line, markup=False)


@app.command()
def rate(study_file: StudyFile) -> None:
    """Serve the page on which people compare completions blind, as the study's `rate.people` says."""
    with _errors_explained():
        from veneer import rating

        rating.serve(study_file, lambda said: screen.print(said, markup=False))


@app.command()
def view(
    study_file: StudyFile,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where it is served; 0 for any free port.")
    ] = 8766,
    host: Annotated[str, typer.Option(help="The address; others than this one let others in.")] = "127.0.0.1",
) -> None:
    """Serve a study's pages for a browser: its report, and every item with what base, student and teacher wrote."""
    with _errors_explained():
        from veneer import viewing

        with Progress(console=screen, transient=True, disable=not screen.is_terminal) as bars:
            task = bars.add_task("Reading answers", total=None)
            ready = viewing.ready(
                study_file, lambda done, total: bars.update(task, completed=done, total=total)
            )
        viewing.serve(ready, host, port, lambda said: screen.print(said, markup=False))


@app.command()
def check(
    study_file: StudyFile,
    require: Annotated[
        list[str],
        typer.Option(help="Such as 'gap_closed[nq, vicuna] > 0.1' or 'score[mmlu, a] >= score[mmlu, b]'."),
    ],
) -> None:
    """Hold a finished study against requirements: exit status 0 if all are met, 1 if one is not, 3 if undecided."""
    with _errors_explained():
        from veneer import checking, printed

        found = checking.check(study_file, require)
        for line in printed.checks(found):
            screen.print(line, markup=False)
    sys.exit(printed.status_of(found))


@app.command()
def clean(
    study_files: Annotated[list[Path], typer.Argument(help="Study files; what any of them refers to stays.")],
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
) -> None:
    """Remove what no study named here refers to, after showing it; never paid answers or votes."""
    with _errors_explained():
        from veneer import cleaning, printed_sharing

        found = cleaning.leftovers(study_files)
        for line in printed_sharing.leftovers(found):
            screen.print(line, markup=False)
        if found and (yes or typer.confirm("Remove them?")):
            cleaning.remove(study_files, found)
            screen.print("Removed.")


@app.command()
def fetch(
    study_file: StudyFile,
    folder: Annotated[Path, typer.Argument(help="Where the bundle goes: a new folder.")],
) -> None:
    """Bring all that a study names, from the hub too, into a folder with checksums: it runs there without a network."""
    with _errors_explained():
        from veneer import fetch as bringing

        written = bringing.fetch(study_file, folder, lambda said: screen.print(said, markup=False))
        screen.print(f"Written: {written}. Next: veneer run {written}")


@app.command("export")
def export_study(
    study_file: StudyFile,
    file: Annotated[Path, typer.Argument(help="The file that is written, such as study.tar.")],
    without_checkpoints: Annotated[
        bool, typer.Option("--without-checkpoints", help="Leave weights out: to grade anew, none are needed.")
    ] = False,
) -> None:
    """Write a finished study into one file with checksums, for others to check and to grade anew."""
    with _errors_explained():
        from veneer import parcel, printed_sharing

        for line in printed_sharing.parcel(
            parcel.pack(study_file, file, checkpoints=not without_checkpoints)
        ):
            screen.print(line, markup=False)


@app.command("import")
def import_study(
    file: Annotated[Path, typer.Argument(help="What `veneer export` wrote.")],
    folder: Annotated[Path, typer.Argument(help="Where the study goes: a new folder.")],
) -> None:
    """Check every sum in an export, and lay the study out in a folder, ready to run."""
    with _errors_explained():
        from veneer import parcel, printed_sharing

        for line in printed_sharing.parcel(parcel.unpack(file, folder)):
            screen.print(line, markup=False)


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
