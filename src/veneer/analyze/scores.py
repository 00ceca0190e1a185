"""How every contestant scored: grades become tables of items by contestants, and shares of right items."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from veneer.analyze import summaries
from veneer.analyze.measure import Sheet, by_cluster
from veneer.benchmarks.benchmark import Benchmark
from veneer.records import Grade, Outcome
from veneer.stats import Floats, Number, Undefined, average, resample, rng_of, share, to_json
from veneer.study import AnalyzeSpec

Grading = Literal["strict", "lenient"]
GRADINGS: tuple[Grading, ...] = ("strict", "lenient")
Items = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """One benchmark put in one form: what became of each item for each contestant."""

    benchmark: Benchmark
    form: str
    names: tuple[str, ...]
    right: Mapping[Grading, Floats]
    """Items by contestants: the share of an item's samples that are correct."""
    clusters: tuple[int, ...]
    """The cluster of each item, numbered from 0."""
    weights: Floats
    """How often each cluster is drawn in each resample; the same for both forms of a benchmark."""
    missing: Mapping[str, str]
    """Contestants without a score, and why."""
    outcomes: Mapping[str, Counter[Outcome]]
    likelihoods: Floats
    """Items by contestants; NaN where the reference's probability could not be read (never leaves this module)."""
    grades: Mapping[str, Sequence[Grade]]
    """By contestant, in any order."""

    @property
    def size(self) -> int:
        """The number of clusters."""
        return max(self.clusters) + 1

    def sheet(self, grading: Grading, columns: Sequence[int], items: Items | None = None) -> Sheet:
        """Return some contestants' sums over some items (all by default), by cluster."""
        kept = np.ones(len(self.clusters), dtype=bool) if items is None else items
        scores = self.right[grading][:, columns] * kept[:, None]
        counts = by_cluster(kept[:, None].astype(float), self.clusters, self.size)
        names = tuple(self.names[column] for column in columns)
        return Sheet(
            names=names,
            sums=by_cluster(scores, self.clusters, self.size),
            counts=np.repeat(counts, len(names), axis=1),
            weights=self.weights,
            missing={name: reason for name, reason in self.missing.items() if name in names},
        )


def tables_of(
    benchmarks: Sequence[Benchmark], names: Sequence[str], grades: Iterable[Grade], spec: AnalyzeSpec
) -> list[Table]:
    """Return one table for each benchmark and form that anybody was asked.

    Args:
        benchmarks: In the study's order.
        names: All contestants, in the study's order.
        grades: Of everything but the prompts for style; in any order.
        spec: Resamples and seed.
    """
    found: dict[tuple[str, str], dict[str, list[Grade]]] = defaultdict(lambda: defaultdict(list))
    for grade in grades:
        found[grade.benchmark, grade.form][grade.contestant].append(grade)
    tables = []
    for benchmark in benchmarks:
        known = {name: place for place, name in enumerate(dict.fromkeys(i.cluster for i in benchmark.items))}
        clusters = tuple(known[item.cluster] for item in benchmark.items)
        rng = rng_of(spec.seed, "items", benchmark.name)
        weights = resample(len(known), spec.resamples, rng=rng)
        tables += [
            _table(benchmark, form, tuple(names), clusters, weights, found[benchmark.name, form])
            for form in benchmark.forms
            if (benchmark.name, form) in found
        ]
    return tables


def _table(
    benchmark: Benchmark,
    form: str,
    names: tuple[str, ...],
    clusters: tuple[int, ...],
    weights: Floats,
    grades: Mapping[str, Sequence[Grade]],
) -> Table:
    rows = {item.item_id: row for row, item in enumerate(benchmark.items)}
    right: dict[Grading, Floats] = {g: np.zeros((len(rows), len(names))) for g in GRADINGS}
    asked, likelihoods = np.zeros((len(rows), len(names))), np.zeros((len(rows), len(names)))
    outcomes: dict[str, Counter[Outcome]] = {name: Counter() for name in names}
    for column, name in enumerate(names):
        for grade in grades.get(name, ()):
            row = rows[grade.prompt_id]
            asked[row, column] += 1
            strict, lenient = grade.strict == Outcome.CORRECT, grade.lenient == Outcome.CORRECT
            right["strict"][row, column] += strict if grade.points is None else grade.points
            right["lenient"][row, column] += lenient if grade.points is None else grade.points
            outcomes[name][grade.lenient] += 1
            known = grade.reference_loglikelihood
            likelihoods[row, column] += np.nan if known is None else known
    right = {grading: one / np.maximum(asked, 1) for grading, one in right.items()}
    unscored = {name: sum(grade.unscored for grade in grades.get(name, ())) for name in names}
    missing = {
        name: reason
        for column, name in enumerate(names)
        if (reason := _why_missing(outcomes[name], unscored[name], int((asked[:, column] == 0).sum()), form))
    }
    return Table(
        benchmark=benchmark,
        form=form,
        names=names,
        right=right,
        clusters=clusters,
        weights=weights,
        missing=missing,
        outcomes=outcomes,
        likelihoods=likelihoods / np.maximum(asked, 1),
        grades=grades,
    )


def _why_missing(outcomes: Counter[Outcome], unscored: int, unasked: int, form: str) -> str:
    if not outcomes:
        return "its probabilities cannot be read" if form == "choose" else "it was not asked"
    if unasked:
        return f"{unasked} items were not asked"
    if failed := outcomes[Outcome.FAILED] - unscored:
        return f"{failed} of its answers failed and have yet to be asked again"
    return f"no score could be had of {unscored} of its texts, too many to leave out" if unscored else ""


def rows_of(tables: Sequence[Table], spec: AnalyzeSpec) -> list[dict[str, Any]]:
    """Return the report's `scores`: every contestant on every benchmark, form by form.

    Shares have Wilson's interval at their effective sample size; likelihoods Student's over clusters.
    """
    return [
        {
            "contestant": name,
            "benchmark": table.benchmark.name,
            "form": table.form,
            **{key: to_json(number) for key, number in _numbers(table, column, spec.level).items()},
            "outcomes": {str(outcome): table.outcomes[name][outcome] for outcome in Outcome},
            **{
                key: {part: to_json(number) for part, number in found.items()}
                for key, found in _summed_up(table, name, spec.level).items()
            },
        }
        for table in tables
        for column, name in enumerate(table.names)
        if table.outcomes[name]
    ]


def _numbers(table: Table, column: int, level: float) -> dict[str, Number]:
    """Return one contestant's scores and likelihood."""
    keys = (*GRADINGS, "likelihood")
    if reason := table.missing.get(table.names[column]):
        return dict.fromkeys(keys, Undefined(reason=reason, n=table.size))
    sheets = {grading: table.sheet(grading, [column]) for grading in GRADINGS}
    found: dict[str, Number] = {
        grading: _score(sheet.sums[:, 0], sheet.counts[:, 0], level) for grading, sheet in sheets.items()
    }
    likelihoods = by_cluster(table.likelihoods[:, [column]], table.clusters, table.size)[:, 0]
    unread = Undefined(reason="not every item has a reference whose probability was read", n=table.size)
    readable = not np.isnan(likelihoods).any()
    counts = sheets["strict"].counts[:, 0]
    found["likelihood"] = average(likelihoods, counts, level) if readable else unread
    return found


def _summed_up(table: Table, name: str, level: float) -> dict[str, dict[str, Number]]:
    """Return what one contestant's samples say together: `pass_at` by k, and `toxicity`; empty where neither is."""
    benchmark = table.benchmark
    wanted: dict[str, dict[str, Callable[[summaries.Samples], Floats]]] = {
        "pass_at": {str(k): partial(summaries.pass_at, k=k) for k in benchmark.pass_at},
        "toxicity": summaries.TOXICITY if benchmark.grading == "toxicity" else {},
    }
    own: dict[str, list[Grade]] = {item.item_id: [] for item in benchmark.items}
    for grade in table.grades[name]:
        own[grade.prompt_id].append(grade)
    samples = list(own.values())
    reason = table.missing.get(name) or summaries.uneven(samples)
    return {
        key: {
            part: Undefined(reason=reason, n=table.size) if reason else _of_items(table, of(samples), level)
            for part, of in parts.items()
        }
        for key, parts in wanted.items()
    }


def _of_items(table: Table, values: Floats, level: float) -> Number:
    """Return the mean over items of a share that each has, its interval over clusters as that of a score."""
    columns = np.stack([values, np.ones(len(values))], axis=1)
    sums = by_cluster(columns, table.clusters, table.size)
    return _score(sums[:, 0], sums[:, 1], level)


def _score(sums: Floats, counts: Floats, level: float) -> Number:
    """Return a share of right items, its variance taken over clusters."""
    n, value = len(sums), float(sums.sum() / counts.sum())
    residual = sums - value * counts
    variance = n / max(n - 1, 1) * float(residual @ residual) / float(counts.sum()) ** 2
    return share(value, variance, n, level)
