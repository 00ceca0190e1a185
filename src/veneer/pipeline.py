"""The whole program in order: collect, prepare, train, answer, grade, judge, rate, analyze, report."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from veneer.analyze import answers
from veneer.analyze.measures import Evidence
from veneer.benchmarks import items, prompt_files
from veneer.cells import Cell, Crew
from veneer.collect import queries, synthesis, teacher
from veneer.disk import canonical, digest
from veneer.errors import StudyError
from veneer.evaluate import answer, grade, judge_likelihood, judge_model, judge_recorded, judge_tone
from veneer.lease import Busy, Holder
from veneer.models.journal import progress
from veneer.models.model import ModelRef
from veneer.prepare import make as prepare
from veneer.prepare.feeds import Feed, feeds_of
from veneer.prepare.overlap import HeldOut
from veneer.rate import matches, people, simulated, votes
from veneer.records import Contestant, Role
from veneer.report import page
from veneer.store import Artefact, Order, Store, publish
from veneer.study import Study
from veneer.study_benchmarks import BenchmarkSpec
from veneer.study_data import ModelSpec
from veneer.study_judges import LikelihoodJudgeSpec, RecordedJudgeSpec, ToneJudgeSpec
from veneer.train import ladder
from veneer.watch import Watch

STAGES = ("collect", "prepare", "train", "answer", "grade", "judge", "rate", "analyze", "report")

Made = dict[str, Artefact]
Make = Callable[[str, Sequence[Order]], Made]
"""Turns a stage's orders into artefacts by name: by making them (`run`) or by looking (`survey`)."""


def stages(study: Study, place: Path, make: Make) -> Iterator[tuple[str, Made]]:
    """Yield every stage's name and artefacts, in order. This is the program; the rest of the file serves it."""
    journal = journal_of(place)
    bases = {name: _ref(name, spec, study, journal) for name, spec in study.bases.items()}
    master = _ref(study.teacher.name, study.teacher, study, journal)

    collected = make("collect", _collect(study, master))
    yield "collect", collected

    feeds = _feeds(study, collected)
    prepared = make("prepare", prepare.orders(feeds, study.prepare, _tokenizer(study), _held_out(study)))
    make("prepare", prepare.card_orders(prepared, feeds, study.train.amounts if study.train else ()))
    yield "prepare", prepared
    if study.is_data_only:
        return

    rungs = ladder.rungs(list(bases), list(prepared), study.train) if study.train else []
    texts = {name: spec.pretraining for name, spec in study.bases.items() if spec.pretraining}
    train = partial(ladder.orders, rungs, prepared, bases, texts)
    trained = make("train", train(study.train, place) if study.train else [])
    yield "train", trained

    contestants = _contestants(study, journal, rungs, bases, master, trained)
    names = [contestant for contestant, _ in contestants]
    answered = make("answer", answer.orders(contestants, study.evaluate))
    yield "answer", answered

    graded = make("grade", grade.orders(names, answered, study.evaluate))
    yield "grade", graded

    models = {**bases, study.teacher.name: master, "teacher": master}
    models |= {_own(name): _ref(name, spec, study, journal) for name, spec in study.judges_own.items()}
    judged = make("judge", _judge(study, names, answered, models, make))
    yield "judge", judged

    rated = make("rate", _rate(study, names, answered, graded, place, make))
    yield "rate", rated

    evidence = Evidence(
        contestants=tuple(names),
        answered=answered,
        graded=graded,
        prepared=prepared,
        compared={**judged, **rated},
        trained=trained,
    )
    analyzed = make("analyze", [answers.order(study, evidence)])
    yield "analyze", analyzed

    yield "report", make("report", [page.order(analyzed["answers"])])


@dataclass(frozen=True, slots=True, kw_only=True)
class StageState:
    """How far one stage has come."""

    stage: str
    cells: int
    done: int
    begun: int
    """Cells that are half-made: some run works on them, or was interrupted."""
    holders: tuple[tuple[str, Holder], ...] = ()
    """The names of cells that runs are making this moment, and who does."""


def run(study: Study, store: Store, crew: Crew, watch: Watch, until: str = STAGES[-1]) -> Made:
    """Make everything up to and including the stage `until`, and return that stage's artefacts.

    What is made already is not made again; an interrupted call carries on where it stopped.

    A study of data alone ends with its imitation data.

    Raises:
        VeneerError: As the stages do; what had finished is kept.
    """
    place = store.root.parent
    study = with_items(study, place)
    _read_files(study)

    def make(stage: str, orders: Sequence[Order]) -> Made:
        found = {order.name: store.find(order) for order in orders}
        assert len(found) == len(orders), f"two cells of {stage} share a name"
        closed = _closed(stage, store)
        left = [order for order in orders if (one := found[order.name]) is None or (one.lacks and not closed)]

        def work(order: Order) -> Callable[[], Artefact | Busy]:
            one = found[order.name]
            return partial(store.renew, order, one) if one else partial(store.attempt, order)

        cells = [
            Cell(name=order.name, work=work(order), line=order.line, needs=order.needs) for order in left
        ]
        watch.begin(stage, len(orders), len(orders) - len(cells))
        told = partial(_tell, store, stage, left, watch)
        told()
        made = crew.run(cells, partial(watch.advance, stage), told)
        found |= {artefact.name: artefact for artefact in made}
        for artefact in found.values():
            if artefact and artefact.lacks:
                watch.lacks(stage, artefact.name, artefact.lacks, _closed(stage, store))
        for name, artefact in found.items():
            if artefact and name.endswith(prepare.CARD):
                publish(artefact.path, store.root.parent / "cards" / name.removesuffix(prepare.CARD))
        return {name: artefact for name, artefact in found.items() if artefact}

    last = "prepare" if study.is_data_only and STAGES.index(until) > STAGES.index("prepare") else until
    made = next(made for stage, made in stages(study, place, make) if stage == last)
    if last == "report":
        publish(made["report"].path, store.root.parent / "report")
    return made


def _closed(stage: str, store: Store) -> str:
    """Return why what has no answer in a stage is not asked again; empty if it is."""
    if not journal_of(store.root.parent).exists():
        return "the journal of requests is gone, and asking again could pay twice"
    if stage == "collect" and (store.root / "train").exists():
        return "students are trained without them, and a late answer would train them all anew"
    return ""


def survey(study: Study, store: Store) -> list[StageState]:
    """Return how far each stage has come, making nothing: every key is known before anything is made."""
    states: dict[str, StageState] = {}
    study = with_items(study, store.root.parent)

    def look(stage: str, orders: Sequence[Order]) -> Made:
        before = states.get(stage, StageState(stage=stage, cells=0, done=0, begun=0))
        states[stage] = StageState(
            stage=stage,
            cells=before.cells + len(orders),
            done=before.done + sum(store.find(order) is not None for order in orders),
            begun=before.begun + sum(store.is_begun(order) for order in orders),
            holders=before.holders
            + tuple(
                (order.name, one) for order in orders if (one := store.holder(order)) and not one.expired
            ),
        )
        return {order.name: store.find(order) or to_come(order, store) for order in orders}

    for _ in stages(study, store.root.parent, look):
        pass
    return [states[stage] for stage in STAGES if stage in states]


def to_come(order: Order, store: Store) -> Artefact:
    """Return an artefact as it will be: its key is known before it is made."""
    return Artefact(stage=order.stage, name=order.name, key=order.key, path=store.root / order.label)


def with_items(study: Study, place: Path) -> Study:
    """Return the study with every task of lm-eval, and prompts that are no JSONL file, replaced by files of items.

    They are made in `<place>/benchmarks` if new.

    The form `choose` goes behind the others where a contestant's probabilities cannot be read, so that headlines use a
    form that all contestants share.

    Raises:
        StudyError: A task cannot be used.
        DataError: Its data are not to be had.
    """
    if study.evaluate.prompts:
        asked = prompt_files.resolve(study.evaluate.prompts, place / "benchmarks")
        study = study.model_copy(update={"evaluate": study.evaluate.model_copy(update={"prompts": asked})})
    if not any(spec.task for spec in study.evaluate.benchmarks.values()):
        return study
    # lm-eval takes seconds to load, and many studies have none of its tasks.
    from veneer.benchmarks import harness

    models = (*study.bases.values(), *study.students.values(), study.teacher)
    scored = all(spec.checkpoint for spec in models)
    found = {
        name: harness.resolve(name, spec, study.evaluate.bundle, place / "benchmarks")
        for name, spec in study.evaluate.benchmarks.items()
    }
    if not scored:
        found = {name: _choose_last(spec) for name, spec in found.items()}
    return study.model_copy(update={"evaluate": study.evaluate.model_copy(update={"benchmarks": found})})


def _choose_last(spec: BenchmarkSpec) -> BenchmarkSpec:
    forms = sorted(items.forms_of(spec), key=lambda form: form == "choose")
    return spec.model_copy(update={"forms": tuple(forms)})


def store_of(study_file: Path) -> Store:
    """Return a study's store: a folder beside its file, of its name.

    Raises:
        StudyError: The file's name has no ending, so that the folder would need the same name.
    """
    if not study_file.suffix:
        raise StudyError(
            f"{study_file}: its artefacts go into a folder of this name; call the file {study_file}.yaml."
        )
    return Store(root=study_file.resolve().with_suffix("") / "artefacts")


def _judge(
    study: Study, names: Sequence[Contestant], answered: Made, models: dict[str, ModelRef], make: Make
) -> list[Order]:
    """Return the orders for every judge's verdicts; what a judge says or scores for them is made first."""
    verdicts: list[Order] = []
    for name, spec in study.judges.items():
        if isinstance(spec, RecordedJudgeSpec):
            verdicts += judge_recorded.recorded_orders(name, spec, names)
            continue
        model = models.get(spec.model if isinstance(spec.model, str) else _own(name))
        if isinstance(spec, ToneJudgeSpec):
            heard = judge_tone.hearing_orders(name, spec, model, names, answered, study.evaluate)
            verdicts += judge_tone.verdict_orders(name, spec, model, make("judge", heard))
            continue
        assert model, "a study file names models that there are"
        if isinstance(spec, LikelihoodJudgeSpec):
            scored = make("judge", judge_likelihood.score_orders(name, spec, model, names, answered))
            verdicts += judge_likelihood.verdict_orders(name, spec, names, scored)
        else:
            orders = judge_model.review_orders(name, spec, model, names, answered, study.evaluate)
            verdicts += judge_model.verdict_orders(name, spec, model, make("judge", orders))
    return verdicts


def _own(judge: str) -> str:
    """Return the key of a judge's own model among all models; no name may hold a colon."""
    return f"judge: {judge}"


def journal_of(place: Path) -> Path:
    """Return the file that holds every request to an endpoint and its answer: in the study's folder, never remade."""
    return place / "requests" / "journal.sqlite"


def _tell(store: Store, stage: str, left: Sequence[Order], watch: Watch, busy: Sequence[str] = ()) -> None:
    waiting = [(order, who) for order in left if order.name in busy and (who := store.awaited(order))]
    if waiting and len(waiting) == len(busy):
        order, who = waiting[0]
        watch.waits(stage, order.name, who, order.needs.home)
    elif stage == "train":
        watch.learned(ladder.progress(store.root.parent, [order.name for order in left]))
    else:
        watch.heard(*progress(journal_of(store.root.parent)))


def _collect(study: Study, master: ModelRef) -> list[Order]:
    if not study.collect:
        return []
    asked = teacher.asked(study.collect.sources, study.imitated, study.prepare.mixtures)
    return teacher.orders(asked, master, study.collect, study.evaluate)


def _feeds(study: Study, collected: Made) -> dict[str, list[Feed]]:
    return {name: _feeds_of(study, name, collected) for name in study.imitated}


def _feeds_of(study: Study, name: str, collected: Made) -> list[Feed]:
    sources = study.collect.sources if study.collect else {}
    return feeds_of(name, sources, study.prepare.mixtures.get(name), collected)


def _ref(name: str, spec: ModelSpec, study: Study, journal: Path) -> ModelRef:
    if spec.endpoint:
        shaping = spec.endpoint.model_dump(
            mode="json", include={"url", "model", "api", "max_tokens_field", "send_seed", "extra"}
        )
        return ModelRef(
            name=name,
            kind="endpoint",
            path=journal,
            digest=hashlib.sha256(canonical(shaping).encode()).hexdigest(),
            endpoint=spec.endpoint,
            spend_cap=study.spend_cap,
        )
    path = spec.checkpoint or spec.replay
    assert path is not None
    return ModelRef(
        name=name,
        kind="checkpoint" if spec.checkpoint else "replay",
        path=path,
        digest=digest(path),
        prompt_field=spec.prompt_field,
        text_field=spec.text_field,
    )


def _contestants(
    study: Study,
    journal: Path,
    rungs: Sequence[ladder.Rung],
    bases: dict[str, ModelRef],
    master: ModelRef,
    trained: Made,
) -> list[tuple[Contestant, ModelRef]]:
    """Return everybody who is measured, bases first, the teacher last."""

    def untrained(name: str, role: Role, base: str, source: str = "") -> Contestant:
        return Contestant(
            name=name, role=role, student=name, base=base, source=source, amount=0, seed=0, replay=0.0
        )

    found = [(untrained(name, Role.BASE, name), ref) for name, ref in bases.items()]
    for rung in rungs:
        made = trained[rung.name]
        ref = ModelRef(name=rung.name, kind="checkpoint", path=made.path / "checkpoint", digest=made.key)
        found.append((rung.contestant, ref))
    for name, spec in study.students.items():
        found.append(
            (untrained(name, Role.STUDENT, spec.base, spec.source), _ref(name, spec, study, journal))
        )
    return [*found, (untrained(master.name, Role.TEACHER, ""), master)]


def _rate(
    study: Study, names: Sequence[Contestant], answered: Made, graded: Made, place: Path, make: Make
) -> list[Order]:
    """Return the orders of comparisons by simulated raters, and by people as far as they have voted."""
    found = []
    if study.rate and study.rate.simulated:
        found += simulated.orders(study.rate.simulated, graded, names)
    if study.rate and (spec := study.rate.people):
        asked = make("rate", matches.orders(spec, answered, names))
        past = votes.read(votes.path_of(place))
        people.check_fixed(spec, past, votes.path_of(place))
        found += people.orders(spec, asked[matches.NAME], past)
    return found


def _tokenizer(study: Study) -> Path | None:
    return study.prepare.tokenizer or next((spec.checkpoint for spec in study.bases.values()), None)


def _read_files(study: Study) -> None:
    """Read every file of questions once, so that a malformed row is found now and not after hours of training."""
    for source in (study.collect.sources if study.collect else {}).values():
        if source.queries or source.benchmark:
            queries.of(source, study.evaluate.benchmarks)
        elif source.synthesis:
            synthesis.expected(source.synthesis)
    for name, spec in study.evaluate.benchmarks.items():
        items.load(name, spec)
    if study.evaluate.prompts:
        items.load_prompts(study.evaluate.prompts)


def _held_out(study: Study) -> list[HeldOut]:
    """Return the files whose questions must not be in the imitation data."""
    files = [
        HeldOut(path=spec.items, name=name) for name, spec in study.evaluate.benchmarks.items() if spec.items
    ]
    if prompts := study.evaluate.prompts:
        files.append(
            HeldOut(
                path=prompts.items,
                name="prompts",
                id_field=prompts.id_field,
                question_field=prompts.question_field,
            )
        )
    return files
