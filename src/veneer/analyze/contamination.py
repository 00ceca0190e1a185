"""The gap closed on benchmark items that stand in the imitation data, apart from all others."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from veneer.analyze.gap import NO_GAP, book_of, gain_and_gap
from veneer.analyze.measure import Rung, who
from veneer.analyze.reading import Places
from veneer.analyze.scores import tables_of
from veneer.benchmarks.benchmark import Benchmark
from veneer.records import Grade
from veneer.stats import interval, ratio, to_json
from veneer.study import AnalyzeSpec


def rows_of(
    benchmarks: Sequence[Benchmark],
    marks: Sequence[Grade],
    places: Places,
    rungs: Sequence[Rung],
    contestants: tuple[Sequence[str], Sequence[str], str],
    spec: AnalyzeSpec,
) -> list[dict[str, Any]]:
    """Return the report's `contaminated`: gain, gap and gap closed on contaminated items alone; lenient, headline form.

    Empty where no item is contaminated. What a student knows of these it may have learned by heart.

    Args:
        benchmarks: With all their items.
        marks: Grades of all items.
        places: The contaminated ones.
        rungs: The students.
        contestants: The names of all, of the bases, and of the teacher.
        spec: Resamples, level and seed.
    """
    names, bases, teacher = contestants
    held = [
        replace(
            benchmark,
            items=tuple(item for item in benchmark.items if (benchmark.name, item.item_id) in places),
            forms=benchmark.forms[:1],
        )
        for benchmark in benchmarks
    ]
    held = [benchmark for benchmark in held if benchmark.items]
    own = [mark for mark in marks if (mark.benchmark, mark.prompt_id) in places]
    book = book_of(tables_of(held, names, own, spec), {}, rungs, bases, teacher, spec.seed)
    rows = []
    for name, form in book.tables:
        for rung in rungs:
            values = book.means([(name, form)], "lenient", rung.source)[rung.amount]
            gain, gap = gain_and_gap(values, rung.base, rung.student, teacher)
            numbers = {"gain": gain, "gap": gap, "gap_closed": ratio(gain, gap, spec.level, NO_GAP)}
            told = {key: to_json(interval(number, spec.level)) for key, number in numbers.items()}
            items = len(book.tables[name, form].benchmark.items)
            rows.append({**who(rung), "benchmark": name, "form": form, "items": items, **told})
    return rows
