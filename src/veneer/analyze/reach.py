"""What the report holds of support: how near the imitation data comes to each item, and what follows from that."""

from collections.abc import Mapping, Sequence
from typing import Any

from veneer.analyze import breakdown, contamination, curve, nearness, reading, support
from veneer.analyze.gap import Book
from veneer.analyze.support import Ladder
from veneer.benchmarks import items
from veneer.benchmarks.benchmark import Benchmark
from veneer.store import Artefact
from veneer.study import Study


def rows_of(
    study: Study,
    book: Book,
    benchmarks: Sequence[Benchmark],
    ladders: Sequence[Ladder],
    prepared: Mapping[str, Artefact],
    graded: Mapping[str, Artefact],
) -> dict[str, Any]:
    """Return the report's `support`, `nearness`, `support_difference`, `support_curve` and `contaminated`.

    Args:
        study: The study.
        book: Its graded answers.
        benchmarks: Without the items that are left out of scores.
        ladders: The sources' examples.
        prepared: By source.
        graded: By contestant.
    """
    spec = study.analyze
    encode = nearness.encoder(spec.embeddings) if spec.embeddings and ladders else None
    near = nearness.nearness_of(benchmarks, ladders, encode)
    return {
        "support": support.rows_of(book.support, benchmarks, spec),
        "nearness": nearness.rows_of(near, benchmarks, spec.level),
        "support_difference": breakdown.difference_rows(book, spec.level),
        "support_curve": curve.rows_of(book, near, spec.level),
        "contaminated": _contaminated(study, book, prepared, graded),
    }


def _contaminated(
    study: Study, book: Book, prepared: Mapping[str, Artefact], graded: Mapping[str, Artefact]
) -> list[dict[str, Any]]:
    places = reading.contaminated(prepared, study.prepare.overlap)
    if not places:
        return []
    names = list(graded)
    whole = [items.load(name, section) for name, section in study.evaluate.benchmarks.items()]
    marks = list(reading.grades(graded, names))
    everybody = (names, book.bases, book.teacher)
    return contamination.rows_of(whole, marks, places, book.rungs, everybody, study.analyze)
