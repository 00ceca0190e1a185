"""The study file: every decision and every default, read once, checked, frozen."""

import os
import re
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from veneer.errors import StudyError
from veneer.explain import explain
from veneer.study_benchmarks import BenchmarkSpec
from veneer.study_data import (
    Closed,
    CollectSpec,
    HubSpec,
    ModelSpec,
    Money,
    Name,
    PrepareSpec,
    SamplingSpec,
    Seed,
    Share,
    StudentSpec,
    TeacherSpec,
)
from veneer.study_judges import JudgeSpec, ModelJudgeSpec, ToneJudgeSpec
from veneer.study_rate import RateSpec
from veneer.study_train import TrainSpec

DEFAULT_PROMPTS = Path(__file__).parent / "prompts" / "evaluation_prompts.jsonl"
"""255 prompts of Veneer's own, in seven categories; the answers to 106 of them can be checked."""


class PromptsSpec(Closed):
    """The prompts on which style and preference are measured, asked as chat; `default` names Veneer's own."""

    items: Path = DEFAULT_PROMPTS
    """JSONL, JSON or Parquet with `id` and `question`; `references`, `choices` or `checks` make an answer checkable. By
    default the 255 prompts that come with Veneer."""
    hub: HubSpec | None = None
    """A data set on the hub instead; rows without ids are numbered."""
    id_field: str = "id"
    question_field: str = "question"
    sampling: SamplingSpec = SamplingSpec(temperature=0.7)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.hub and self.items != DEFAULT_PROMPTS:
            raise ValueError("name `items` or `hub`, not both")
        return self


def _prompts(value: object) -> object:
    """Return the section that `default` stands for."""
    if isinstance(value, str) and value != "default":
        raise ValueError("`default`, or a section with `items`, is wanted")
    return {} if value == "default" else value


class EvaluateSpec(Closed):
    """What every contestant is asked."""

    benchmarks: dict[Name, BenchmarkSpec] = {}
    bundle: Path | None = None
    """A folder that holds the data of lm-eval's tasks; without one they come from the hub."""
    prompts: Annotated[PromptsSpec | None, BeforeValidator(_prompts)] = None
    """`default` for those that come with Veneer, or a section."""
    batch_size: Annotated[int, Field(gt=0)] = 64
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of checkpoints: bf16 is faster where the machine has it, and near-ties may fall the other way."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """What writes the completions of checkpoints: vllm is an extra that needs a GPU."""


class PricesSpec(Closed):
    """What the next student costs, so that steps can be compared for the same money."""

    million_tokens: Money
    """US dollars for a million tokens of imitation data."""
    gpu_hour: Money
    """US dollars for an hour of the machine that trains."""
    tflops: Annotated[float, Field(gt=0)]
    """What that machine reaches in training, in 10^12 operations a second."""


class AnalyzeSpec(Closed):
    """How the numbers are made."""

    resamples: Annotated[int, Field(ge=100)] = 2000
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    seed: Seed = 0
    support_threshold: Share = 0.5
    """An item is supported when an example that holds its reference covers this share of its words' weight."""
    embeddings: Path | None = None
    """A folder with a sentence-transformers model, by which support is told by meaning too; it needs an extra."""
    prices: PricesSpec | None = None
    """With them, leverage is told in GPU-hours and money as well."""
    little: Share = 0.1
    """Closing at most this share of a gap is closing little of it."""
    much: Share = 0.3
    """Closing more than this share is closing much of it."""
    indistinguishable: Share = 0.05
    """A win rate whose whole interval lies within this of one half is called indistinguishable."""
    target_width: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """How wide a win rate's interval may be: how many more ratings that takes is told."""


class Study(Closed):
    """One question asked end to end."""

    name: Name
    question: str = ""
    spend_cap: Money | None = None
    """US dollars that all endpoints of the study may cost together; a run stops before it would pass them."""
    bases: dict[Name, ModelSpec] = {}
    """Weakest first. None are needed where nothing is trained or measured."""
    teacher: TeacherSpec
    students: dict[Name, StudentSpec] = {}
    """Audits: students that exist already."""
    collect: CollectSpec | None = None
    prepare: PrepareSpec = PrepareSpec()
    train: TrainSpec | None = None
    evaluate: EvaluateSpec = EvaluateSpec()
    judges: dict[Name, JudgeSpec] = {}
    rate: RateSpec | None = None
    analyze: AnalyzeSpec = AnalyzeSpec()

    @property
    def is_data_only(self) -> bool:
        """Whether the study ends with imitation data: nothing is trained, nobody is measured."""
        return self.train is None and not self.students

    @property
    def raters(self) -> list[str]:
        """Which kinds of raters compare completions: `simulated`, `people`, both or none."""
        kinds = ("simulated", "people")
        return [kind for kind in kinds if self.rate and getattr(self.rate, kind)]

    @property
    def imitated(self) -> dict[str, tuple[str, str | None]]:
        """The sources and mixtures that imitation data is prepared of, in the study's order: kind and task of each."""
        if not self.collect:
            return {}
        mixtures = self.prepare.mixtures
        parts = {part for mixture in mixtures.values() for part in mixture.weights}
        every = [*(name for name in self.collect.sources if name not in parts), *mixtures]
        chosen = self.train.sources if self.train and self.train.sources else every
        kinds = {name: (str(one.kind), one.task) for name, one in self.collect.sources.items()}
        kinds |= dict.fromkeys(mixtures, ("broad", None))
        return {name: kinds[name] for name in kinds if name in chosen}

    @property
    def tone(self) -> str | None:
        """The name of the judge of tone, if there is one."""
        return next((name for name, judge in self.judges.items() if judge.kind == "tone"), None)

    @property
    def judges_own(self) -> dict[str, ModelSpec]:
        """The models that only judges have, by the judge's name."""
        reading = (ModelJudgeSpec, ToneJudgeSpec)
        found = {name: judge.model for name, judge in self.judges.items() if isinstance(judge, reading)}
        return {name: model for name, model in found.items() if isinstance(model, ModelSpec)}

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.train and self.students:
            raise ValueError("a study either makes its students (`train`) or names them (`students`)")
        if self.is_data_only and not self.collect:
            raise ValueError(
                "name students (`students`), how to make them (`train`), or data to collect (`collect`)"
            )
        if not self.bases and not self.is_data_only:
            raise ValueError("`bases` is empty; students are measured against the base they were made from")
        if self.train and not self.collect:
            raise ValueError("`train` needs imitation data: name its sources under `collect`")
        again = f"{self.teacher.name}-again"
        names = [*self.bases, *self.students, self.teacher.name, again]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two contestants are called {doubled[0]!r}")
        self._sources_are_known()
        self._can_train()
        self._judges_are_known()
        for name, student in self.students.items():
            if student.base not in self.bases:
                raise ValueError(
                    f"students.{name}.base is {student.base!r}; the bases are {list(self.bases)}"
                )
        return self

    def _sources_are_known(self) -> None:
        sources = self.collect.sources if self.collect else {}
        benchmarks = self.evaluate.benchmarks
        for name, source in sources.items():
            if source.task and source.task not in benchmarks and not self.is_data_only:
                raise ValueError(
                    f"collect.sources.{name}.task is {source.task!r}; the benchmarks are {list(benchmarks)}"
                )
            if source.benchmark and (
                source.benchmark not in benchmarks or not benchmarks[source.benchmark].train
            ):
                having = [one for one, spec in benchmarks.items() if spec.train]
                raise ValueError(
                    f"collect.sources.{name}.benchmark is {source.benchmark!r}; benchmarks with a training "
                    f"split (`train`) are {having}"
                )
        for name, mixture in self.prepare.mixtures.items():
            if name in sources:
                raise ValueError(f"prepare.mixtures.{name}: a source has this name already")
            if unknown := sorted(set(mixture.weights) - set(sources)):
                raise ValueError(
                    f"prepare.mixtures.{name}: unknown source {unknown[0]!r}; the sources are {list(sources)}"
                )
        known = [*sources, *self.prepare.mixtures]
        for name in (self.train.sources if self.train else None) or ():
            if name not in known:
                raise ValueError(f"train.sources: unknown source {name!r}; known are {known}")

    def _can_train(self) -> None:
        if not self.train or not self.collect:
            return
        for name, base in self.bases.items():
            if not base.checkpoint:
                raise ValueError(
                    f"bases.{name} is no checkpoint; `train` needs its weights: name a `checkpoint`"
                )
        pairs = [f"{base}-{source}" for base in self.bases for source in self.imitated]
        if doubled := sorted({pair for pair in pairs if pairs.count(pair) > 1}):
            raise ValueError(f"two students would be called {doubled[0]!r}: rename a base or a source")

    def _judges_are_known(self) -> None:
        for name, whose in (("simulated", "simulated raters"), ("people", "people who rate")):
            if name in self.judges:
                raise ValueError(f"no judge may be called `{name}`: that is the name of {whose}")
        if self.rate and self.rate.people and not self.evaluate.prompts:
            raise ValueError("`rate.people` compares completions of `evaluate.prompts`, and there are none")
        models = ["teacher", self.teacher.name, *self.bases]
        for name, judge in self.judges.items():
            if judge.kind != "recorded" and isinstance(judge.model, str) and judge.model not in models:
                raise ValueError(f"judges.{name}.model is {judge.model!r}; the models are {models}")
            if judge.kind in ("model", "tone") and not self.evaluate.prompts:
                raise ValueError(f"judges.{name} reads completions of `evaluate.prompts`, and there are none")
            if judge.kind == "tone" and name != self.tone:
                raise ValueError(
                    f"judges.{name}: `{self.tone}` judges tone already; a study has one such judge"
                )


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, with a key given twice as an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise StudyError(f"line {node.start_mark.line + 1}: the key {key!r} is given twice.")
        return super().construct_mapping(node, deep)


Fetch = Callable[[str, str], Path]
"""Brings a model from the hub, by its name and revision, and returns its folder."""


def load(path: Path, fetch: Fetch | None = None) -> Study:
    """Read, check and freeze a study file; its paths come back absolute, environment variables filled in.

    Args:
        path: The study file.
        fetch: Brings what a path of the form `hub:ORG/NAME@REVISION` names; without it such a path is an error.

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
    return Study.model_validate(_with_paths(study.model_dump(), path, fetch))


def _with_paths(value: Any, where: Path, fetch: Fetch | None) -> Any:
    if isinstance(value, dict):
        return {key: _with_paths(item, where, fetch) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_with_paths(item, where, fetch) for item in value)
    if not isinstance(value, Path):
        return value
    if str(value).startswith("hub:"):
        return _of_hub(str(value), where, fetch)
    for name in re.findall(r"\$\{(\w+)\}", str(value)):
        if name not in os.environ:
            raise StudyError(
                f"{where}: the path {value} uses ${{{name}}}, which is not set. Set it and run again."
            )
    full = where.resolve().parent / re.sub(r"\$\{(\w+)\}", lambda match: os.environ[match[1]], str(value))
    if not full.exists():
        raise StudyError(f"{where}: {value} does not exist (looked for {full}).")
    return full


def _of_hub(value: str, where: Path, fetch: Fetch | None) -> Path:
    match = re.fullmatch(r"hub:([\w.-]+/[\w.-]+)@([0-9a-f]{40})", value)
    if not match:
        raise StudyError(
            f"{where}: {value}: a model on the hub is named as hub:ORG/NAME@REVISION, the revision a commit of 40 hex "
            "digits, so that it can never change."
        )
    if not fetch:
        raise StudyError(
            f"{where}: {value} is on the hub. `veneer fetch {where} DIR` brings it, with all else that the study "
            "names, into a folder: run the study file there."
        )
    return fetch(match[1], match[2])
