"""Everything that a study measured, still to be resampled: what its report and its checks are made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

from veneer.analyze import gap, panel, parts, preference, reading, scores, style, support, tone
from veneer.analyze.measure import Rung, Values, measured, pooled_by_source, rungs_of
from veneer.analyze.reading import Asked
from veneer.analyze.require import Term
from veneer.analyze.support import Ladder
from veneer.analyze.votes import Votes, votes_of
from veneer.benchmarks import items
from veneer.benchmarks.benchmark import Benchmark
from veneer.errors import StudyError
from veneer.records import Contestant, Grade
from veneer.stats import Draws, Undefined, combine, rng_of
from veneer.store import Artefact
from veneer.study import AnalyzeSpec, Study

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the earlier stages left."""

    contestants: tuple[Contestant, ...]
    answered: Mapping[str, Artefact]
    """By contestant."""
    graded: Mapping[str, Artefact]
    """By contestant."""
    prepared: Mapping[str, Artefact]
    """By source; empty in an audit."""
    compared: Mapping[str, Artefact]
    """By judge, that of tone too; `simulated` and `people` are the raters."""
    trained: Mapping[str, Artefact] = field(default_factory=dict)
    """By student; empty in an audit."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measures:
    """What a study measured."""

    out: reading.Places
    """Items that are left out."""
    benchmarks: Sequence[Benchmark]
    prompts: Benchmark | None
    rungs: Sequence[Rung]
    opponents: Sequence[str]
    """The teacher and the bases, the teacher first."""
    tables: Sequence[scores.Table]
    ladders: Sequence[Ladder]
    book: gap.Book
    asked: Asked
    styles: style.Styles
    bench: Sequence[panel.Judge]
    cast: Mapping[str, Votes]
    """By judge."""
    preferences: Sequence[preference.Preference]
    capability: Mapping[str, Draws | Undefined]
    """By student: the gap in knowledge and skill that it closed on what its imitation data does not support."""
    veneer: Mapping[str, Draws | Undefined]
    """By student: the style gap closed, less that."""


def measures_of(study: Study, evidence: Evidence) -> Measures:
    """Return what a study measured."""
    spec, level, teacher = study.analyze, study.analyze.level, study.teacher.name
    names = [contestant.name for contestant in evidence.contestants]
    bases, rungs = list(study.bases), rungs_of(evidence.contestants)
    out, benchmarks, prompts, marks = _measured(study, evidence, names)
    tables = scores.tables_of(benchmarks, names, (g for g in marks if g.benchmark != items.PROMPTS), spec)
    ladders = reading.ladders(evidence.prepared, study.train.amounts if study.train else ())
    supported = support.support_of(benchmarks, ladders, spec.support_threshold) if benchmarks else {}
    book = gap.book_of(tables, supported, rungs, bases, teacher, spec.seed)
    asked = _asked(evidence, names, teacher, prompts, marks)
    tones = tone.of_study(study.tone, evidence.compared, asked, names)
    styles = style.styles_of(asked, names, rungs, spec, tones)
    opponents = [teacher, *bases]
    bench = panel.of_study(study, evidence.contestants, evidence.compared, out)
    cast = {one.name: votes_of(one.comparisons, opponents) for one in bench}
    capability = {rung.student: _capability(book, rung, level) for rung in rungs}
    return Measures(
        out=out,
        benchmarks=benchmarks,
        prompts=prompts,
        rungs=rungs,
        opponents=opponents,
        tables=tables,
        ladders=ladders,
        book=book,
        asked=asked,
        styles=styles,
        bench=bench,
        cast=cast,
        preferences=_preferences(bench, cast, asked, opponents, rungs, spec),
        capability=capability,
        veneer={
            one.student: combine(lambda s, c: s - c, styles.closed[one.student], capability[one.student])
            for one in rungs
        },
    )


def teller(found: Measures, study: Study) -> Callable[[Term], Draws | Undefined]:
    """Return what tells the number that a requirement names; what several name is measured once.

    `score[BENCHMARK, CONTESTANT]`, `gain[BENCHMARK, STUDENT]`, `gap_closed[BENCHMARK, STUDENT]` (a benchmark may be
    followed by `/FORM`, by default its first, and these take `strict` or `lenient` as a third, by default strict);
    `style_gap_closed[STUDENT]`, `capability_gap_closed[STUDENT]`, `veneer[STUDENT]`; `win_rate[JUDGE, CONTESTANT]`
    against the teacher, or against a base as a third; the judge may be `people` or `simulated`. Students are named
    without their seeds, which are pooled.

    The returned function raises `StudyError` where there is no such measure, benchmark, judge or contestant, and names
    those there are.
    """
    by_student = {
        "style_gap_closed": found.styles.closed,
        "capability_gap_closed": found.capability,
        "veneer": found.veneer,
    }

    @cache
    def values(name: str, form: str, grading: scores.Grading) -> Values:
        (table,) = (one for one in found.tables if (one.benchmark.name, one.form) == (name, form))
        sheet = table.sheet(grading, range(len(table.names)))
        rng = rng_of(study.analyze.seed, "term", name, form, grading)
        return pooled_by_source(measured([sheet]), found.rungs, rng=rng)

    def tell(wanted: Term) -> Draws | Undefined:
        if wanted.measure in by_student and len(wanted.of) == 1:
            return _known(by_student[wanted.measure], wanted.of[0], wanted, "students")
        if wanted.measure == "win_rate" and len(wanted.of) in (2, 3):
            return _win_rate(found, wanted)
        if wanted.measure in ("score", "gain", "gap_closed") and len(wanted.of) in (2, 3):
            return _on_benchmark(found, study, wanted, values)
        raise StudyError(
            f"{wanted}: there is no such measure; there are score, gain, gap_closed [BENCHMARK, CONTESTANT]; "
            f"win_rate [JUDGE, CONTESTANT]; {', '.join(by_student)} [STUDENT]."
        )

    return tell


def _win_rate(found: Measures, wanted: Term) -> Draws | Undefined:
    """Return a win rate as `preference` of report.json has it."""
    judge, contestant, *against = wanted.of
    opponent = against[0] if against else found.opponents[0]
    met = {one.opponent: one.rates for one in found.preferences if one.judge == judge}
    _known({one.judge: 0 for one in found.preferences}, judge, wanted, "judges")
    rates = _known(met, opponent, wanted, f"opponents by {judge}")
    return _known(
        rates[preference.WIN_RATE], contestant, wanted, f"contestants that {judge} compared with it"
    )


def _on_benchmark(
    found: Measures, study: Study, wanted: Term, values_of: Callable[[str, str, scores.Grading], Values]
) -> Draws | Undefined:
    name, _, form = wanted.of[0].partition("/")
    forms = {table.form: table.form for table in found.tables if table.benchmark.name == name}
    _known({table.benchmark.name: 0 for table in found.tables}, name, wanted, "benchmarks")
    form = _known(forms, form or next(iter(forms)), wanted, f"forms of {name}")
    gradings: Mapping[str, scores.Grading] = {str(grading): grading for grading in scores.GRADINGS}
    grading = _known(gradings, wanted.of[2] if len(wanted.of) == 3 else "strict", wanted, "gradings")
    values, contestant = values_of(name, form, grading), wanted.of[1]
    if wanted.measure == "score":
        return _known(values, contestant, wanted, "contestants")
    rung = _known({rung.student: rung for rung in found.rungs}, contestant, wanted, "students")
    if wanted.measure == "gain":
        return combine(lambda student, base: student - base, values[contestant], values[rung.base])
    return gap.closed_of(values, rung.base, contestant, study.teacher.name, study.analyze.level)


def _known(there: Mapping[str, T], name: str, wanted: Term, what: str) -> T:
    if name not in there:
        raise StudyError(f"{wanted}: {name!r} is none of the {what}: {sorted(there)}.")
    return there[name]


def _preferences(
    bench: Sequence[panel.Judge],
    cast: Mapping[str, Votes],
    asked: Asked,
    opponents: Sequence[str],
    rungs: Sequence[Rung],
    spec: AnalyzeSpec,
) -> list[preference.Preference]:
    return [
        found
        for one in bench
        for found in preference.preferences_of(
            one.name, one.kind, cast[one.name], asked.replies, opponents, rungs, spec
        )
    ]


def _asked(
    evidence: Evidence,
    names: Sequence[str],
    teacher: str,
    prompts: Benchmark | None,
    marks: Sequence[Grade],
) -> Asked:
    ids = [item.item_id for item in prompts.items] if prompts else []
    own = [grade for grade in marks if grade.benchmark == items.PROMPTS]
    return reading.asked(evidence.answered, evidence.graded, names, teacher, ids, own)


def _capability(book: gap.Book, rung: Rung, level: float) -> Draws | Undefined:
    """Return the gap in knowledge and skill that a student closed on what its imitation data does not support."""
    where = [
        (name, form)
        for (name, form), table in book.tables.items()
        if table.benchmark.measures in parts.CAPABILITY and form == table.benchmark.forms[0]
    ]
    values = book.means(where, "lenient", rung.source, "unsupported")[rung.amount]
    return gap.closed_of(values, rung.base, rung.student, book.teacher, level)


def _measured(
    study: Study, evidence: Evidence, names: Sequence[str]
) -> tuple[reading.Places, list[Benchmark], Benchmark | None, list[Grade]]:
    """Return the items that are left out, the benchmarks and prompts without them, and the grades of the others."""
    marks = list(reading.grades(evidence.graded, names))
    benchmarks = [items.load(name, section) for name, section in study.evaluate.benchmarks.items()]
    out = reading.left_out(evidence.prepared, study.prepare.overlap)
    out |= reading.unscored(marks, {one.name: len(one.items) for one in benchmarks})
    benchmarks = [reading.without(one, out) for one in benchmarks]
    prompts = (
        reading.without(items.load_prompts(study.evaluate.prompts), out) if study.evaluate.prompts else None
    )
    return out, benchmarks, prompts, [one for one in marks if (one.benchmark, one.prompt_id) not in out]
