"""What a run will ask of endpoints and what that will cost, told before a cent is spent."""

from collections.abc import Iterator
from dataclasses import dataclass

from veneer.benchmarks import items
from veneer.collect import queries
from veneer.evaluate import answer, judge_words
from veneer.models.prices import price_of
from veneer.records import Role
from veneer.study import Study
from veneer.study_data import EndpointSpec, SourceSpec
from veneer.study_judges import ModelJudgeSpec
from veneer.train import ladder

CHARACTERS_PER_TOKEN = 4
"""Of English prose, by OpenAI's rule of thumb; for the forecast alone, never for the cap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one endpoint will be asked in one stage for one purpose."""

    stage: str
    model: str
    what: str
    requests: int
    tokens_in: int
    """About so many: characters over four."""
    tokens_out: int
    """At most so many: the limit of every request."""
    dollars: float | None
    """At most so much; None where no price is known."""


def forecast(study: Study) -> list[Asked]:
    """Return what all endpoints of a study will be asked, stage by stage; what is answered already is counted too.

    Raises:
        DataError: A file of queries or items is malformed.
    """
    return [*_collect(study), *_answer(study), *_judge(study)]


def _collect(study: Study) -> Iterator[Asked]:
    endpoint = study.teacher.endpoint
    if not endpoint or not study.collect:
        return
    for name, source in study.collect.sources.items():
        if source.recorded:
            continue
        requests, characters, limit = _of_source(study, source)
        yield _asked("collect", study.teacher.name, name, requests, characters, limit, endpoint)


def _of_source(study: Study, source: SourceSpec) -> tuple[int, int, int]:
    """Return how many requests a source needs, their characters, and the token limit of each."""
    assert study.collect is not None
    if source.synthesis:
        # If every pair parses and is new; duplicates make it more, and the cap holds whatever it is.
        spec = source.synthesis
        requests = -(-spec.pairs // spec.pairs_per_request)
        each = 600 + 80 * spec.shots
        return requests, requests * each, spec.sampling.max_tokens
    if source.hub:
        return source.limit or 0, 0, study.collect.sampling.max_tokens
    asked = queries.of(source, study.evaluate.benchmarks)
    samples = study.collect.samples
    characters = sum(len(query.text) for query in asked) * samples
    return len(asked) * samples, characters, study.collect.sampling.max_tokens


def _answer(study: Study) -> Iterator[Asked]:
    if study.is_data_only:
        return
    contestants = [
        *((name, Role.BASE, spec.endpoint) for name, spec in study.bases.items()),
        *((name, Role.STUDENT, spec.endpoint) for name, spec in study.students.items()),
        (study.teacher.name, Role.TEACHER, study.teacher.endpoint),
    ]
    for name, role, endpoint in contestants:
        if endpoint:
            for sheet in answer.sheets(study.evaluate, answer.samples_of(role), scored=False):
                prompts = sheet.benchmark.prompts(sheet.form)
                characters = sheet.samples * sum(
                    len(prompt.text) + sum(len(message.content) for message in prompt.messages)
                    for prompt in prompts
                )
                yield _asked(
                    "answer",
                    name,
                    f"{sheet.benchmark.name} ({sheet.form})",
                    len(prompts) * sheet.samples,
                    characters,
                    sheet.benchmark.max_tokens[sheet.form],
                    endpoint,
                )


def _judge(study: Study) -> Iterator[Asked]:
    if study.is_data_only or not study.evaluate.prompts:
        return
    known = {**study.bases, study.teacher.name: study.teacher, "teacher": study.teacher}
    prompts = items.load_prompts(study.evaluate.prompts).prompts("chat")
    students = len(study.students)
    if study.train:
        students = len(ladder.rungs(list(study.bases), list(study.imitated), study.train))
    for name, spec in study.judges.items():
        if not isinstance(spec, ModelJudgeSpec):
            continue
        endpoint = (known[spec.model] if isinstance(spec.model, str) else spec.model).endpoint
        if endpoint:
            pairs = len(study.bases) + students + 1 + students * spec.against_base
            text = judge_words.instructions(spec.answers, spec.prompt, f"judges.{name}")
            canaries = judge_words.canaries()
            # The completions are not there yet: each is counted as long as it may become.
            longest = 2 * study.evaluate.prompts.sampling.max_tokens * CHARACTERS_PER_TOKEN
            orders = 2 if spec.orders == "both" else 1
            each = orders * sum(
                len(text) + longest + sum(len(message.content) for message in prompt.messages)
                for prompt in prompts
            )
            each += sum(len(text) + len(one.question + one.first + one.second) for one in canaries)
            yield _asked(
                "judge",
                name,
                f"{pairs} pairs of contestants, {'both orders' if orders == 2 else 'one order'}",
                pairs * (orders * len(prompts) + len(canaries)),
                pairs * each,
                spec.sampling.max_tokens,
                endpoint,
            )


def _asked(
    stage: str, model: str, what: str, requests: int, characters: int, limit: int, endpoint: EndpointSpec
) -> Asked:
    price = price_of(endpoint)
    tokens_in, tokens_out = characters // CHARACTERS_PER_TOKEN, requests * limit
    return Asked(
        stage=stage,
        model=model,
        what=what,
        requests=requests,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        dollars=tokens_in * price.input + tokens_out * price.output if price else None,
    )
