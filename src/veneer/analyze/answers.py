"""The whole analysis: from what the stages left to the content of report.json and the confident-and-wrong items."""

from collections import Counter
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from veneer import disk
from veneer.analyze import (
    accord,
    breakdown,
    claims,
    crowd,
    gap,
    judges,
    nextstep,
    panel,
    parts,
    preference,
    reach,
    reading,
    scores,
    second,
    style,
    together,
    tone,
    training,
    wrong,
)
from veneer.analyze.measure import Rung, who
from veneer.analyze.measures import Evidence, Measures, measures_of
from veneer.benchmarks import items
from veneer.benchmarks.benchmark import Benchmark
from veneer.needs import Needs
from veneer.records import Role, to_row
from veneer.stats import interval, to_json
from veneer.store import Order
from veneer.study import AnalyzeSpec, Study
from veneer.study_judges import RecordedJudgeSpec

VERSION = 24
ANSWERS, WRONG, AGREEMENT = "answers.json", "confident_wrong.jsonl", "agreement.json"
DIGITS = 9
"""Numbers are written to so many digits after the point: beyond them lies the rounding of sums."""


def order(study: Study, evidence: Evidence) -> Order:
    """Return the order of a study's answers: `answers.json` and `confident_wrong.jsonl`."""
    evaluate = study.evaluate
    files = {name: spec.items for name, spec in evaluate.benchmarks.items() if spec.items}
    inputs = {f"{name}: items": disk.digest(path) for name, path in files.items()}
    second_grades = {
        name: one.second_grades for name, one in evaluate.benchmarks.items() if one.second_grades
    }
    inputs |= {f"{name}: {one.by}": disk.digest(one.path) for name, one in second_grades.items()}
    if evaluate.prompts:
        inputs["prompts"] = disk.digest(evaluate.prompts.items)
    if study.analyze.embeddings:
        inputs["embeddings"] = disk.digest(study.analyze.embeddings)
    for role in ("answered", "graded", "prepared", "compared", "trained"):
        inputs |= {f"{role} {name}": made.key for name, made in getattr(evidence, role).items()}
    return Order(
        stage="analyze",
        name="answers",
        version=VERSION,
        config={
            "analyze": study.analyze.model_dump(mode="json"),
            "overlap": study.prepare.overlap.model_dump(mode="json"),
            "contestants": [to_row(contestant) for contestant in evidence.contestants],
            "study": _header(study),
        },
        inputs=inputs,
        make=partial(_make, study=study, evidence=evidence),
        needs=Needs(gpus=1 if study.analyze.embeddings else 0),
    )


def _make(folder: Path, *, study: Study, evidence: Evidence) -> None:
    content, wrong_rows = analyze(study, evidence)
    disk.write_rows(folder / WRONG, wrong_rows)
    disk.write_json(folder / ANSWERS, content)


def analyze(study: Study, evidence: Evidence) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the content of report.json, and the confident-and-wrong items."""
    spec, level, bases = study.analyze, study.analyze.level, list(study.bases)
    found = measures_of(study, evidence)
    rungs, book, styles, asked = found.rungs, found.book, found.styles, found.asked
    sources = study.imitated
    trained = {rung.source for rung in rungs if rung.amount}
    weighed = claims.weigh(
        parts.parts_of(
            parts.Evidence(
                book=book,
                styles=styles,
                preferences=[one for one in found.preferences if one.opponent == study.teacher.name],
                veneer=found.veneer,
                broad=[name for name, (kind, _) in sources.items() if kind == "broad" and name in trained],
                local={name: task for name, (_, task) in sources.items() if task and name in trained},
                spec=spec,
            )
        ),
        level,
    )
    prompt_items = {item.item_id: item for item in found.prompts.items} if found.prompts else {}
    wrong_rows = wrong.rows_of(asked, styles, rungs, prompt_items)
    ledgers = _ledgers(evidence)
    notes = [
        *_notes(study, evidence, styles, found.out),
        *training.left_out(ledgers),
        *panel.notes_of(found.bench, found.opponents),
        *(tone.notes_of(styles.tones) if styles.tones else ()),
    ]
    header = _header(study)
    if study.train:
        header["training"] = training.said(study.train, ledgers)
        notes.append(header["training"])
    content = {
        "study": {**header, "benchmarks": [_benchmark(one) for one in found.benchmarks], "notes": notes},
        "contestants": [to_row(contestant) for contestant in evidence.contestants],
        "scores": scores.rows_of(found.tables, spec),
        "gap_closed": gap.rows_of(book, level),
        "gains": breakdown.gain_rows(book, level),
        "subjects": breakdown.subject_rows(book, level),
        **second.rows_of(study.evaluate.benchmarks, found, spec, study.teacher.name),
        **reach.rows_of(study, book, found.benchmarks, found.ladders, evidence.prepared, evidence.graded),
        "style": style.table_rows(styles, asked, bases, rungs, level),
        "style_gap_closed": style.closed_rows(styles, asked, rungs, level),
        **_of_verdicts(found, spec),
        "asked_apart": _asked_apart(evidence, found, spec),
        "veneer": [_veneer(rung, found, level) for rung in rungs],
        **nextstep.rows_of(study, book, styles, found.preferences, rungs),
        "confident_wrong": wrong.share_rows(wrong_rows, asked, styles, rungs, spec),
        "claims": claims.rows_of(weighed, level),
    }
    return _rounded(content), wrong_rows


def _of_verdicts(found: Measures, spec: AnalyzeSpec) -> dict[str, Any]:
    """Return what the report holds of judges' and raters' verdicts."""
    bench, opponents, rungs = found.bench, found.opponents, found.rungs
    crowds = [one.name for one in bench if one.people and one.kind != "simulated"]
    return {
        "preference": preference.rows_of(found.preferences, opponents[1:], opponents[0], rungs, spec),
        "rise": preference.rise_rows(found.preferences, rungs, spec.level),
        "taste": preference.taste_rows(found.preferences, spec.level),
        "together": together.rows_of(found.cast, crowds, opponents, rungs, found.asked.replies, spec),
        "judges": judges.rows_of(bench, found.asked.replies, opponents, spec),
        "agreement": accord.rows_of(bench, opponents, spec),
    }


def _asked_apart(evidence: Evidence, found: Measures, spec: AnalyzeSpec) -> list[dict[str, Any]]:
    people = evidence.compared.get("people")
    return crowd.apart_rows(people, found.out, found.opponents, found.rungs, spec) if people else []


def _veneer(rung: Rung, found: Measures, level: float) -> dict[str, Any]:
    return {
        **who(rung),
        "style_gap_closed": to_json(interval(found.styles.closed[rung.student], level)),
        "capability_gap_closed": to_json(interval(found.capability[rung.student], level)),
        "veneer": to_json(interval(found.veneer[rung.student], level)),
    }


def _header(study: Study) -> dict[str, Any]:
    """Return the report's `study`, but for what is read from files."""
    train, sources = study.train, study.imitated
    named = [{"name": name, "kind": one.kind} for name, one in study.judges.items() if name != study.tone]
    return {
        "name": study.name,
        "question": study.question,
        "kind": "study" if train else "audit",
        "version": version("veneer"),
        "level": study.analyze.level,
        "resamples": study.analyze.resamples,
        "bases": list(study.bases),
        "sources": [{"name": name, "kind": kind, "task": task} for name, (kind, task) in sources.items()],
        "amounts": list(train.amounts) if train else [],
        "seeds": list(train.seeds) if train else [],
        "replay_share": train.replay.share if train and train.replay else 0.0,
        "training": training.said(train, ()) if train else "",
        "teacher": study.teacher.name,
        "benchmarks": [
            {
                "name": name,
                "measures": one.measures,
                "forms": list(items.forms_of(one)),
                "pass_at": list(one.pass_at or ()),
            }
            for name, one in study.evaluate.benchmarks.items()
        ],
        "judges": named + [{"name": name, "kind": name} for name in study.raters],
        "notes": [],
    }


def _ledgers(evidence: Evidence) -> list[training.Ledger]:
    """Return what was done to make the students, in their order; nothing where none were made."""
    return [
        {**disk.read_json(made.path / "ledger.json"), "student": one.name, "amount": one.amount}
        for one in evidence.contestants
        if (made := evidence.trained.get(one.name))
    ]


def _benchmark(benchmark: Benchmark) -> dict[str, Any]:
    return {
        "name": benchmark.name,
        "measures": benchmark.measures,
        "forms": list(benchmark.forms),
        "items": len(benchmark.items),
        "clusters": len({item.cluster for item in benchmark.items}),
        "chance": benchmark.chance,
    }


def _notes(study: Study, evidence: Evidence, styles: style.Styles, out: reading.Places) -> list[str]:
    """Return what a reader must know before believing a number."""
    imitated = reading.left_out(evidence.prepared, study.prepare.overlap)
    notes = [
        f"{many} of the items of {name} stand in imitation data and are left out of every score."
        for name, many in sorted(Counter(file for file, _ in imitated).items())
    ]
    notes += [
        f"{many} of the items of {name} are left out for all contestants: what one of them wrote could not be scored."
        for name, many in sorted(Counter(file for file, _ in out - imitated).items())
    ]
    notes += _agreements(evidence)
    if "people" in study.raters and "people" not in evidence.compared:
        notes.append("People were to be asked, and none has voted yet: `veneer rate` serves the page for it.")
    notes += crowd.notes_of(evidence.compared["people"]) if "people" in evidence.compared else []
    if "simulated" in evidence.compared:
        notes.append(
            "The raters are simulated: how much they heed style and facts was set in the study file, so their verdicts "
            "show what such raters would say, not what people say."
        )
    notes += [
        f"The judge {name} is the teacher itself, which knows its own style."
        for name, spec in study.judges.items()
        if not isinstance(spec, RecordedJudgeSpec) and spec.model in ("teacher", study.teacher.name)
    ]
    if study.train and len(study.train.seeds) == 1:
        notes.append(
            "There is one training seed, so no interval holds the spread between trainings: all are too narrow."
        )
    if any(contestant.role == Role.STUDENT for contestant in evidence.contestants) and styles.mistaken:
        ceiling = "the distance of the teacher's second sample from its first"
        if not styles.has_ceiling:
            ceiling = "a distance of 0 (chance), since the teacher answered once"
        notes.append(f"The ceiling of style is {ceiling}.")
    if not study.train:
        notes.append(
            "An audit: what its students were trained on and how was not seen, and cannot be told from this."
        )
    return notes


def _agreements(evidence: Evidence) -> list[str]:
    """Return how the likelihoods of choices were read, where any were."""
    found = [
        (name, benchmark, row)
        for name, made in evidence.answered.items()
        if (made.path / AGREEMENT).exists()
        for benchmark, row in disk.read_json(made.path / AGREEMENT).items()
    ]
    shared = [row for _, _, row in found if row["fast"]]
    notes = [
        f"{name} read the choices of {benchmark} the plain way: {row['why_not']}."
        for name, benchmark, row in found
        if not row["fast"]
    ]
    if shared:
        flipped, looked = sum(row["flipped"] for row in shared), sum(row["items"] for row in shared)
        notes.append(
            f"What questions share was read once. Read whole, a sample of {looked} items moved no likelihood by "
            f"more than {max(row['largest'] for row in shared):.2g} nats, and {flipped} of them to another choice."
        )
    return notes


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS) + 0.0
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
