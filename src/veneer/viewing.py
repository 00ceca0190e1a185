"""A study seen in a browser: finds what a study has made, indexes it once, and serves its pages."""

import hashlib
import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from veneer import disk, pipeline
from veneer.analyze import answers, reading, support
from veneer.benchmarks import items
from veneer.disk import canonical
from veneer.errors import StudyError
from veneer.records import Contestant, Grade, Role, from_row
from veneer.store import Artefact, Order, Store
from veneer.study import Study, load

if TYPE_CHECKING:
    from veneer.report import view_book, view_index

FOLDER = "view"
"""Where a study's index lies, in its folder."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A study that can be served."""

    name: str
    book: "view_book.Book"
    report: Path | None


def ready(study_file: Path, tell: Callable[[int, int], None]) -> Ready:
    """Return a study with its index, made in `<study>/view` where it is new or the study has changed.

    Args:
        study_file: The study.
        tell: Is told how many items are indexed, of how many, while the index is made.

    Raises:
        StudyError: Nobody has answered yet, or a package is missing.
        VeneerError: As the files of the study say.
    """
    try:
        from veneer.report import view_book, view_index
    except ImportError as error:
        raise _lacks(error) from error
    study, kept = load(study_file), pipeline.store_of(study_file)
    sources = find(study, kept)
    path = view_index.make(kept.root.parent / FOLDER, sources, tell)
    book = view_book.open_book(path, sources.answered, sources.graded)
    return Ready(name=study.name, book=book, report=sources.report)


def serve(study: Ready, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve a study's pages until interrupted; nothing of the study is changed.

    Args:
        study: The study.
        host: The address that is listened on.
        port: The port; 0 for any that is free.
        say: Is told the link.

    Raises:
        StudyError: The address cannot be taken, or a package is missing.
    """
    try:
        import uvicorn

        from veneer.report import view
    except ImportError as error:
        raise _lacks(error) from error
    with closing(_listen(host, port)) as listening, closing(study.book):
        # A web site may point a name of its own here to read along. Where others may come, any name may be ours.
        hosts = sorted(LOOPBACK) if host in LOOPBACK else ["*"]
        site = view.app(study.book, study.report, hosts)
        config = uvicorn.Config(site, log_level="warning", access_log=False, server_header=False)
        shown = f"[{host}]" if ":" in host else host
        say(f"{study.name}: http://{shown}:{listening.getsockname()[1]}/")
        say("Ctrl-C stops.")
        uvicorn.Server(config).run(sockets=[listening])


def _lacks(error: ImportError) -> StudyError:
    return StudyError(f"These pages need the package {error.name}: pip install 'veneer[rate]'")


def find(study: Study, kept: Store) -> "view_index.Sources":
    """Return what there is to be seen of a study, making nothing.

    Args:
        study: The study.
        kept: Where its artefacts lie.

    Raises:
        StudyError: Nobody has answered yet.
    """
    from veneer.report.view_index import VERSION, Sources

    study = pipeline.with_items(study, kept.root.parent)
    made, contestants = _look(study, kept)
    answered = [one for one in contestants if one.name in made.get("answer", {})]
    if not answered:
        raise StudyError(
            f"{study.name}: there is nothing to see yet: nobody has answered. Run `veneer run STUDY` first."
        )
    keys = {f"{stage} {name}": one.key for stage, own in made.items() for name, one in own.items()}
    inputs = [VERSION, keys, [one.name for one in answered], study.analyze.support_threshold]
    benchmarks = [items.load(name, spec) for name, spec in study.evaluate.benchmarks.items()]
    if study.evaluate.prompts:
        benchmarks.append(items.load_prompts(study.evaluate.prompts))
    report = made.get("report", {}).get("report")
    judged = {name: one for name, one in made.get("judge", {}).items() if name != study.tone}
    return Sources(
        key=hashlib.sha256(canonical(inputs).encode()).hexdigest(),
        said={"name": study.name, "question": study.question},
        contestants=answered,
        answered=_paths(made["answer"]),
        graded=_paths(made.get("grade", {})),
        compared=_paths({**judged, **made.get("rate", {})}),
        benchmarks=benchmarks,
        weigh=partial(_weigh, study, made, answered),
        report=report.path if report else None,
    )


def _look(study: Study, kept: Store) -> tuple[dict[str, pipeline.Made], list[Contestant]]:
    """Return what every stage has made so far, and all contestants."""
    contestants: list[Contestant] = []

    def look(stage: str, orders: Sequence[Order]) -> pipeline.Made:
        for order in orders if stage == "analyze" else ():
            rows = order.config["contestants"]
            contestants.extend(from_row(Contestant, row, order.label) for row in rows)
        return {order.name: kept.find(order) or pipeline.to_come(order, kept) for order in orders}

    made = {
        stage: {name: one for name, one in own.items() if one.path.exists()}
        for stage, own in pipeline.stages(study, kept.root.parent, look)
    }
    return made, contestants


def _paths(made: Mapping[str, Artefact]) -> dict[str, Path]:
    return {name: one.path for name, one in made.items()}


def _weigh(
    study: Study, made: Mapping[str, pipeline.Made], contestants: Sequence[Contestant]
) -> "view_index.Weighed":
    """Return which items each student's data supports, which stand in no score, and who is confident and wrong."""
    from veneer.report.view_index import Weighed

    prepared = made.get("prepare", {})
    benchmarks = [items.load(name, spec) for name, spec in study.evaluate.benchmarks.items()]
    out = reading.left_out(prepared, study.prepare.overlap)
    sizes = {one.name: len(one.items) for one in benchmarks}
    out |= reading.unscored(list(_unscored(made.get("grade", {}))), sizes)
    kept = [reading.without(one, out) for one in benchmarks]
    ladders = reading.ladders(prepared, study.train.amounts if study.train else ())
    held = support.support_of(kept, ladders, study.analyze.support_threshold) if kept and ladders else {}
    supported: dict[str, dict[tuple[str, str], bool]] = {}
    for one in contestants:
        if one.role is Role.STUDENT:
            supported[one.name] = {
                (benchmark.name, item.item_id): bool(yes)
                for benchmark in kept
                if (array := held.get((one.source, one.amount, benchmark.name))) is not None
                for item, yes in zip(benchmark.items, array, strict=True)
            }
    confident: set[tuple[str, str]] = set()
    for analyzed in made.get("analyze", {}).values():
        rows = disk.read_rows(analyzed.path / answers.WRONG)
        confident |= {(row["contestant"], row["prompt_id"]) for _, row in rows}
    return Weighed(supported=supported, left_out=out, confident=frozenset(confident))


def _unscored(graded: Mapping[str, Artefact]) -> Iterator[Grade]:
    """Yield the grades of what no classifier could score, without reading the many others in full."""
    for one in graded.values():
        path = one.path / "grades.jsonl"
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                if '"unscored": true' in line:
                    yield from_row(Grade, json.loads(line), str(path))


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise StudyError(
            f"{host}:{port} cannot be served ({error}). Name another --port, or 0 for any that is free."
        ) from error
    return listening
