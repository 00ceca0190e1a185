"""The study file: every decision and every default, read once, checked, frozen."""

import os
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from veneer.errors import StudyError
from veneer.explain import explain

SUFFIXES = {"k": 10**3, "M": 10**6, "G": 10**9}


def parse_tokens(value: object) -> object:
    """Return `"0.3M"` as 300000; anything else is returned as it came, for pydantic to judge."""
    if isinstance(value, str) and (match := re.fullmatch(r"([0-9.]+)([kMG])", value.strip())):
        return round(float(match[1]) * SUFFIXES[match[2]])
    return value


Tokens = Annotated[int, BeforeValidator(parse_tokens), Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0)]
Stops = tuple[Annotated[str, Field(min_length=1)], ...]


class Closed(BaseModel):
    """A section of the study file: frozen, and every unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class ModelSpec(Closed):
    """A model: a checkpoint on disk, or recorded completions."""

    checkpoint: Path | None = None
    """A folder that transformers' `from_pretrained` loads."""
    replay: Path | None = None
    """A JSONL file (plain or .gz) of recorded completions."""
    prompt_field: str = "prompt_id"
    """Recordings: the field that holds the prompt's id."""
    text_field: str = "text"
    """Recordings: the field that holds the completion."""
    pretraining: Path | None = None
    """JSONL with `text`: documents like those the base was pretrained on, for replay in training."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.checkpoint is None) == (self.replay is None):
            raise ValueError("name exactly one of `checkpoint` and `replay`")
        return self


class TeacherSpec(ModelSpec):
    """The model that is imitated."""

    name: Name = "teacher"


class StudentSpec(ModelSpec):
    """A student that exists already (audits)."""

    base: Name
    """The base it was made from: a name under `bases`."""
    source: Name = "unknown"
    """What it was trained on, in one word."""


class SamplingSpec(Closed):
    """How completions are drawn."""

    temperature: Annotated[float, Field(ge=0)] = 0.0
    max_tokens: Annotated[int, Field(gt=0)] = 256
    stop: Stops = ()
    seed: Seed = 0


class SourceSpec(Closed):
    """One source of imitation data."""

    queries: Path
    """JSONL with `id` and `query`."""
    kind: Literal["broad", "local"]
    """Whether it is meant to cover everything, or one task."""
    task: Name | None = None
    """Local sources: the benchmark that it imitates."""

    @model_validator(mode="after")
    def _local_names_its_task(self) -> Self:
        if (self.kind == "local") != (self.task is not None):
            raise ValueError("`task` belongs to local sources, and every local source needs one")
        return self


class CollectSpec(Closed):
    """What the teacher is asked."""

    sources: Annotated[dict[Name, SourceSpec], Field(min_length=1)]
    sampling: SamplingSpec = SamplingSpec(temperature=0.7)


class PrepareSpec(Closed):
    """How the answers become imitation data."""

    tokenizer: Path | None = None
    """The counting tokenizer, so that every base sees the same examples; the first base's by default."""
    seed: Seed = 0
    """Shuffles the examples before they are cut into amounts."""
    min_answer_words: Annotated[int, Field(ge=1)] = 1


class RecipeSpec(Closed):
    """How one student is trained; the same for every rung."""

    epochs: Annotated[int, Field(gt=0)] = 1
    learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_tokens: Annotated[int, BeforeValidator(parse_tokens), Field(ge=0)] = 0
    """The same number of tokens for every amount, so that amount and learning rate are not confounded."""
    batch_examples: Annotated[int, Field(gt=0)] = 32
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip: Annotated[float, Field(gt=0)] = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 is autocast over fp32 master weights."""
    max_length: Annotated[int, Field(gt=0)] = 2048


class ReplaySpec(Closed):
    """Mixing the base's own pretraining text in: the paper's open question on regressions."""

    share: Annotated[float, Field(gt=0, lt=1)]
    """Share of each batch's rows."""
    amounts: Annotated[tuple[Tokens, ...], Field(min_length=1)]
    """The amounts at which a replay twin is trained beside the plain student."""


class TrainSpec(Closed):
    """The ladder of students: bases x sources x amounts x seeds."""

    amounts: Annotated[tuple[Tokens, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    recipe: RecipeSpec = RecipeSpec()
    replay: ReplaySpec | None = None

    @model_validator(mode="after")
    def _grid_is_possible(self) -> Self:
        if list(self.amounts) != sorted(set(self.amounts)):
            raise ValueError("`amounts` must grow strictly, since each is a prefix of the next")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("`seeds` holds the same seed twice")
        if self.replay and not set(self.replay.amounts) <= set(self.amounts):
            raise ValueError("`replay.amounts` must be among `amounts`")
        return self


class BenchmarkSpec(Closed):
    """One benchmark from JSONL: `id`, `question`, and what its grading needs."""

    items: Path
    measures: Literal["knowledge", "skill", "instructions", "toxicity"]
    grading: Literal["choice", "match", "checks", "lexicon"]
    """choice: `references`+`choices`; match: `references`; checks: `checks`; lexicon: no word of `lexicon`."""
    lexicon: Path | None = None
    shots: Path | None = None
    """JSONL with `question` and `answer`, put before a plain question."""
    forms: Annotated[tuple[Literal["plain", "chat"], ...], Field(min_length=1)] = ("chat",)
    """How each item is put; the first is the one that headlines use."""
    shot_template: str = "Q: {question}\nA: {answer}\n\n"
    question_template: str = "Q: {question}\nA:"
    max_tokens: dict[Literal["plain", "chat"], int] = {"plain": 32, "chat": 256}
    stop: Stops = ()
    """Stop strings of the plain form."""
    temperature: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _grading_has_what_it_needs(self) -> Self:
        if (self.grading == "lexicon") != (self.lexicon is not None):
            raise ValueError("`lexicon` belongs to the grading of that name, which needs it")
        return self


class PromptsSpec(Closed):
    """The prompts on which style and preference are measured, asked as chat."""

    items: Path
    """JSONL with `id` and `question`; `references`, `choices` or `checks` make an answer checkable."""
    id_field: str = "id"
    question_field: str = "question"
    sampling: SamplingSpec = SamplingSpec(temperature=0.7)


class EvaluateSpec(Closed):
    """What every contestant is asked."""

    benchmarks: dict[Name, BenchmarkSpec] = {}
    prompts: PromptsSpec | None = None
    batch_size: Annotated[int, Field(gt=0)] = 64


class LikelihoodJudgeSpec(Closed):
    """The completion whose text this model finds likelier per token wins."""

    kind: Literal["likelihood"]
    model: Name = "teacher"
    """`teacher` or a base's name."""
    tie: Annotated[float, Field(ge=0)] = 0.0
    """A difference of at most this many nats per token is a tie."""


class RecordedJudgeSpec(Closed):
    """Verdicts that were recorded elsewhere: JSONL reviews with two scores."""

    kind: Literal["recorded"]
    reviews: Annotated[tuple["ReviewFile", ...], Field(min_length=1)]


class ReviewFile(Closed):
    """One file of reviews of the same two contestants."""

    path: Path
    first: Name
    second: Name
    prompt_field: str = "question_id"
    scores_field: str = "score"
    """Holds two numbers; the higher wins, equal ones are a tie, anything else is no verdict."""
    reason_field: str = "text"


class RatersSpec(Closed):
    """Simulated raters: named simulated wherever they appear."""

    raters: Annotated[int, Field(gt=0)] = 3
    style_attention: Annotated[float, Field(ge=0)] = 1.0
    """How strongly a better-styled completion is preferred (logits per unit of style appeal)."""
    fact_attention: Annotated[float, Field(ge=0)] = 1.0
    """How strongly a right answer is preferred to a wrong one (logits)."""
    tie: Annotated[float, Field(ge=0)] = 0.5
    """Preferences weaker than this many logits, after noise, are called equal."""
    seed: Seed = 0


class AnalyzeSpec(Closed):
    """How the numbers are made."""

    resamples: Annotated[int, Field(ge=100)] = 2000
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    seed: Seed = 0
    support_threshold: Share = 0.5
    """An item is supported when an example that holds its reference covers this share of its words' weight."""
    little: Share = 0.1
    """Closing at most this share of a gap is closing little of it."""
    much: Share = 0.3
    """Closing more than this share is closing much of it."""


class Study(Closed):
    """One question asked end to end."""

    name: Name
    question: str = ""
    bases: Annotated[dict[Name, ModelSpec], Field(min_length=1)]
    """Weakest first."""
    teacher: TeacherSpec
    students: dict[Name, StudentSpec] = {}
    """Audits: students that exist already."""
    collect: CollectSpec | None = None
    prepare: PrepareSpec = PrepareSpec()
    train: TrainSpec | None = None
    evaluate: EvaluateSpec = EvaluateSpec()
    judges: dict[Name, Annotated[LikelihoodJudgeSpec | RecordedJudgeSpec, Field(discriminator="kind")]] = {}
    rate: RatersSpec | None = None
    analyze: AnalyzeSpec = AnalyzeSpec()

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if (self.train is None) == (not self.students):
            raise ValueError("a study either makes its students (`train`) or names them (`students`)")
        if self.train and not self.collect:
            raise ValueError("`train` needs imitation data: name its sources under `collect`")
        again = f"{self.teacher.name}-again"
        names = [*self.bases, *self.students, self.teacher.name, again]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two contestants are called {doubled[0]!r}")
        self._can_train()
        self._judges_are_known()
        for name, student in self.students.items():
            if student.base not in self.bases:
                raise ValueError(
                    f"students.{name}.base is {student.base!r}; the bases are {list(self.bases)}"
                )
        for name, source in (self.collect.sources if self.collect else {}).items():
            if source.task and source.task not in self.evaluate.benchmarks:
                raise ValueError(
                    f"collect.sources.{name}.task is {source.task!r}; "
                    f"the benchmarks are {list(self.evaluate.benchmarks)}"
                )
        return self

    def _can_train(self) -> None:
        if not self.train or not self.collect:
            return
        for name, base in self.bases.items():
            if not base.checkpoint:
                raise ValueError(f"bases.{name} exists as recordings only; `train` needs its `checkpoint`")
        pairs = [f"{base}-{source}" for base in self.bases for source in self.collect.sources]
        if doubled := sorted({pair for pair in pairs if pairs.count(pair) > 1}):
            raise ValueError(f"two students would be called {doubled[0]!r}: rename a base or a source")

    def _judges_are_known(self) -> None:
        if "simulated" in self.judges:
            raise ValueError("no judge may be called `simulated`: that is the name of simulated raters")
        models = ["teacher", self.teacher.name, *self.bases]
        for name, judge in self.judges.items():
            if judge.kind == "likelihood" and judge.model not in models:
                raise ValueError(f"judges.{name}.model is {judge.model!r}; the models are {models}")


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, with a key given twice as an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise StudyError(f"line {node.start_mark.line + 1}: the key {key!r} is given twice.")
        return super().construct_mapping(node, deep)


def load(path: Path) -> Study:
    """Read, check and freeze a study file; its paths come back absolute, environment variables filled in.

    Raises:
        StudyError: The file is missing, not YAML, or not a possible study; the message names the key,
            what was found and what is allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(
            f"{path}: cannot be read ({error}). Name a study file, as made by `veneer new`."
        ) from error
    try:
        raw = yaml.load(text, _Loader)  # noqa: S506 (a subclass of the safe loader)
    except yaml.YAMLError as error:
        raise StudyError(f"{path}: not valid YAML: {error}") from error
    except StudyError as error:
        raise StudyError(f"{path}, {error}") from error
    if not isinstance(raw, dict):
        raise StudyError(f"{path}: a study file is a mapping with `name`, `bases`, `teacher` and so on.")
    try:
        study = Study.model_validate(raw)
    except ValidationError as error:
        raise StudyError(explain(path, error, Study.model_json_schema())) from error
    return Study.model_validate(_with_paths(study.model_dump(), path.resolve().parent, path))


def _with_paths(value: Any, folder: Path, where: Path) -> Any:
    if isinstance(value, dict):
        return {key: _with_paths(item, folder, where) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_with_paths(item, folder, where) for item in value)
    if not isinstance(value, Path):
        return value
    for name in re.findall(r"\$\{(\w+)\}", str(value)):
        if name not in os.environ:
            raise StudyError(
                f"{where}: the path {value} uses ${{{name}}}, which is not set. Set it and run again."
            )
    full = folder / re.sub(r"\$\{(\w+)\}", lambda match: os.environ[match[1]], str(value))
    if not full.exists():
        raise StudyError(f"{where}: {value} does not exist (looked for {full}).")
    return full
