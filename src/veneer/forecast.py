"""What a run will ask of endpoints and what that will cost, told before a cent is spent."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from veneer.benchmarks import items
from veneer.collect import queries, synthesis, teacher
from veneer.errors import ModelError
from veneer.evaluate import answer, judge_words
from veneer.models.journal import reading
from veneer.models.model import Sampling
from veneer.models.prices import price_of, upper_bound
from veneer.models.remote import RemoteModel
from veneer.models.wire import key_of
from veneer.records import Prompt, Role
from veneer.study import Study
from veneer.study_data import EndpointSpec
from veneer.study_judges import ModelJudgeSpec, ToneJudgeSpec
from veneer.train import ladder

BYTES_PER_TOKEN = 4
"""Of English prose, by OpenAI's rule of thumb, and not far off where a letter is three bytes: for what is `about`."""

Answered = Callable[[str], bool]
"""Whether a request, by its key, has its answer in the journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one endpoint will be asked in one stage for one purpose."""

    stage: str
    model: str
    what: str
    requests: int | None
    """All of them; None where the number is not known beforehand."""
    answered: int = 0
    """So many of these have their answer already; the figures below are of the others."""
    tokens_in: int | None
    """About so many: bytes over four. None where it is not known what is asked."""
    tokens_out: int | None
    """At most so many: the limit of every request."""
    dollars: float | None
    """At most so much, as spend_cap counts it, a token a byte; None where a price or what is asked is not known."""
    sure: bool = True
    """Whether it is known what will be asked. If not, all figures are a guess and no bound."""


def forecast(study: Study, journal: Path | None = None) -> list[Asked]:
    """Return what all endpoints of a study will be asked, stage by stage.

    Args:
        study: With items for every task.
        journal: Its file of requests and answers; what is in it is not asked again.

    Raises:
        DataError: A file of queries, seeds or items is malformed.
        StoreError: The journal is damaged.
    """
    with _answers_in(journal) as answered:
        return [*_collect(study, answered), *_answer(study, answered), *_judge(study)]


def unready(study: Study) -> list[str]:
    """Return why endpoints could not be asked now: keys that are not set, or cannot be sent; each once."""
    models = [*study.bases.values(), *study.students.values(), study.teacher, *study.judges_own.values()]
    reasons: dict[str, None] = {}
    for spec in models:
        try:
            if spec.endpoint:
                key_of(spec.endpoint)
        except ModelError as error:
            reasons[str(error)] = None
    return list(reasons)


@contextmanager
def _answers_in(journal: Path | None) -> Iterator[Answered]:
    if journal is None or not journal.exists():
        yield lambda _: False
        return
    with reading(journal) as opened:
        yield opened.has


def _collect(study: Study, answered: Answered) -> Iterator[Asked]:
    endpoint, spec = study.teacher.endpoint, study.collect
    if not endpoint or not spec:
        return
    for name, source in teacher.asked(spec.sources, study.imitated, study.prepare.mixtures).items():
        sampling = teacher.drawn(spec.sampling, spec.samples)
        if source.hub:
            # It is not fetched for a plan: what is asked, and without a limit how often, is not known.
            requests = source.limit * spec.samples if source.limit else None
            yield Asked(
                stage="collect",
                model=study.teacher.name,
                what=name,
                requests=requests,
                tokens_in=None,
                tokens_out=requests * sampling.max_tokens if requests else None,
                dollars=None,
                sure=False,
            )
            continue
        if source.synthesis:
            prompts: Iterable[Prompt] = synthesis.expected(source.synthesis)
            sampling = teacher.drawn(source.synthesis.sampling)
        else:
            prompts = map(teacher.prompt_of, queries.of(source, study.evaluate.benchmarks))
        row = _asked("collect", study.teacher.name, name, endpoint, prompts, sampling, answered)
        # Whether the pairs of a synthesis are new, and how many a reply holds, is not known.
        yield replace(row, sure=not source.synthesis)


def _answer(study: Study, answered: Answered) -> Iterator[Asked]:
    if study.is_data_only:
        return
    contestants = [
        *((name, Role.BASE, spec.endpoint) for name, spec in study.bases.items()),
        *((name, Role.STUDENT, spec.endpoint) for name, spec in study.students.items()),
        (study.teacher.name, Role.TEACHER, study.teacher.endpoint),
    ]
    for name, role, endpoint in contestants:
        for sheet in answer.sheets(study.evaluate, answer.samples_of(role), scored=False) if endpoint else ():
            assert endpoint is not None
            what = f"{sheet.benchmark.name} ({sheet.form})"
            prompts = sheet.benchmark.prompts(sheet.form)
            yield _asked("answer", name, what, endpoint, prompts, answer.drawn(sheet), answered)


def _judge(study: Study) -> Iterator[Asked]:
    if study.is_data_only or not study.evaluate.prompts:
        return
    known = {**study.bases, study.teacher.name: study.teacher, "teacher": study.teacher}
    prompts = items.load_prompts(study.evaluate.prompts).prompts("chat")
    students = len(study.students)
    if study.train:
        students = len(ladder.rungs(list(study.bases), list(study.imitated), study.train))
    for name, spec in study.judges.items():
        if not isinstance(spec, ModelJudgeSpec | ToneJudgeSpec) or spec.model is None:
            continue
        endpoint = (known[spec.model] if isinstance(spec.model, str) else spec.model).endpoint
        if endpoint:
            # The completions are not there yet: each is counted as long as it may become.
            longest = study.evaluate.prompts.sampling.max_tokens * BYTES_PER_TOKEN
            rounds = _rounds(name, spec, len(study.bases), students, longest)
            each = rounds.orders * sum(
                rounds.shown + sum(_bytes(message.content) for message in prompt.messages)
                for prompt in prompts
            )
            each += sum(rounds.canaries)
            requests = rounds.many * (rounds.orders * len(prompts) + len(rounds.canaries))
            price, tokens_out = price_of(endpoint), requests * spec.sampling.max_tokens
            yield Asked(
                stage="judge",
                model=name,
                what=rounds.what,
                requests=requests,
                tokens_in=rounds.many * each // BYTES_PER_TOKEN,
                tokens_out=tokens_out,
                dollars=upper_bound(price, rounds.many * each, requests, tokens_out) if price else None,
                sure=False,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rounds:
    """How often a judge goes through the prompts, and what it is shown."""

    what: str
    many: int
    """Pairs of contestants, or contestants."""
    orders: int
    """How often each prompt is put in one round."""
    shown: int
    """Bytes of a request beside its prompt."""
    canaries: list[int]
    """Bytes of the canaries of a round."""


def _rounds(
    name: str, spec: ModelJudgeSpec | ToneJudgeSpec, bases: int, students: int, longest: int
) -> _Rounds:
    others = bases + students + 1
    if isinstance(spec, ToneJudgeSpec):
        text = _bytes(judge_words.instructions("tone", spec.prompt, f"judges.{name}"))
        return _Rounds(
            what=f"the tone of {others} contestants",
            many=others,
            orders=1,
            shown=text + longest,
            canaries=[text + _bytes(one.question + one.answer) for one in judge_words.tone_canaries()],
        )
    text = _bytes(judge_words.instructions(spec.answers, spec.prompt, f"judges.{name}"))
    pairs, both = others + students * spec.against_base, spec.orders == "both"
    return _Rounds(
        what=f"{pairs} pairs of contestants, {'both orders' if both else 'one order'}",
        many=pairs,
        orders=2 if both else 1,
        shown=text + 2 * longest,
        canaries=[text + _bytes(one.question + one.first + one.second) for one in judge_words.canaries()],
    )


def _asked(
    stage: str,
    model: str,
    what: str,
    endpoint: EndpointSpec,
    prompts: Iterable[Prompt],
    sampling: Sampling,
    answered: Answered,
) -> Asked:
    remote = RemoteModel(name=model, endpoint=endpoint, journal=Path(), cap=None)
    requests = known = size = 0
    dollars = 0.0
    for prompt in prompts:
        words = _bytes(prompt.text) + sum(_bytes(message.content) for message in prompt.messages)
        for request in remote.requests([prompt], sampling):
            requests += 1
            if answered(request.key):
                known += 1
            else:
                dollars += request.bound
                size += words
    return Asked(
        stage=stage,
        model=model,
        what=what,
        requests=requests,
        answered=known,
        tokens_in=size // BYTES_PER_TOKEN,
        tokens_out=(requests - known) * sampling.max_tokens,
        dollars=dollars if price_of(endpoint) else None,
    )


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
