"""The section of a study file that names a benchmark: the user's own JSONL, or a task of lm-eval."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from veneer.study_data import Closed, Count, Name, Revision, Seed, Stops

FormName = Literal["choose", "plain", "chat"]


class ToxicitySpec(Closed):
    """The classifier that says how toxic a completion is."""

    classifier: Literal["profanity-check", "hub"] = "profanity-check"
    """profanity-check: a linear model that comes with its package; hub: a text-classification checkpoint."""
    checkpoint: Path | None = None
    """hub: the folder of the checkpoint."""
    label: str | None = None
    """hub: the label whose probability is toxicity; needed unless one is `toxic` or `toxicity`, or just one says so."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """From this score on a completion is toxic."""

    @model_validator(mode="after")
    def _hub_has_a_checkpoint(self) -> Self:
        if (self.classifier == "hub") != (self.checkpoint is not None):
            raise ValueError("`checkpoint` belongs to the classifier `hub`, which needs it")
        return self


class SecondGradesSpec(Closed):
    """Grades that somebody else gave the same answers: people, say. How far Veneer's are from them is told."""

    path: Path
    """JSONL, JSON or Parquet with `contestant`, `id` (the item's) and `correct`: true, false, or null for no grade."""
    by: Name = "people"
    """Who gave them."""


class BenchmarkSpec(Closed):
    """One benchmark: `items` from JSONL (`id`, `question`, and what its grading needs), or a `task` of lm-eval."""

    items: Path | None = None
    task: Annotated[str, Field(min_length=1)] | None = None
    """A task or group of lm-eval, such as `mmlu`, `nq_open`, `humaneval`; its own prompts, filters and metrics."""
    limit: Count | None = None
    """task: take only so many items of each of its subtasks, the first ones."""
    revision: Revision | None = None
    """task: the commit of its data set on the hub; needed unless `evaluate.bundle` holds the data."""
    metric: str | None = None
    """task: the metric that is the score; by default the first that the task lists."""
    measures: Literal["knowledge", "skill", "instructions", "toxicity"] | None = None
    """Needed with `items`; tasks have a default."""
    grading: Literal["choice", "match", "checks", "lexicon", "program", "toxicity", "lm-eval"] | None = None
    """choice: `references`+`choices`; match: `references`; checks: `checks`; lexicon: no word of `lexicon`;
    program: `program` in a sandbox; toxicity: a classifier. Tasks say themselves how they are graded."""
    lexicon: Path | None = None
    toxicity: ToxicitySpec = ToxicitySpec()
    answer_after: Annotated[str, Field(min_length=1)] | None = None
    """match: the answer is what follows the last of these marks (`A:`); strictly, there is none without the mark."""
    second_grades: SecondGradesSpec | None = None
    """items: grades that somebody else gave the same answers; with several samples, those of the first."""
    shots: Path | Annotated[int, Field(ge=0)] | None = None
    """items: JSONL with `question` and `answer`, put before a plain question; task: how many, by default its own."""
    train: Path | None = None
    """The training split: JSONL with `id` and `question`, for a source that asks the teacher its questions."""
    forms: Annotated[tuple[FormName, ...], Field(min_length=1)] | None = None
    """How each item is put; the first is the one that headlines use. choose: the likelihood of each choice (no
    contestant behind an endpoint or of recordings can); plain: a text that is continued; chat. By default chat for
    `items`, and for tasks what they allow. The headline is the first form that all contestants share."""
    shot_template: str = "Q: {question}\nA: {answer}\n\n"
    question_template: str = "Q: {question}\nA:"
    max_tokens: dict[Literal["plain", "chat"], int] = {"plain": 32, "chat": 256}
    stop: Stops = ()
    """Stop strings of the plain form."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    samples: Count = 1
    """Completions of each item; more than one need a temperature."""
    pass_at: tuple[Count, ...] | None = None
    """program: the k of pass@k, each at most `samples`; by default those of 1, 10 and 100 that are."""
    seed: Seed = 0
    """Of sampling; task: of the shots that it draws, too."""

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if (self.items is None) == (self.task is None):
            raise ValueError("name exactly one of `items` (your own JSONL) and `task` (one of lm-eval)")
        if self.task is None:
            if self.measures is None or self.grading is None:
                raise ValueError("`items` needs `measures` and `grading`")
            if self.limit or self.revision or self.metric:
                raise ValueError("`limit`, `revision` and `metric` belong to `task`")
            if isinstance(self.shots, int):
                raise ValueError("with `items`, `shots` is a file; a number of shots belongs to `task`")
        if self.task is not None and isinstance(self.shots, Path):
            raise ValueError("with `task`, `shots` is a number; a file of shots belongs to `items`")
        return self

    @model_validator(mode="after")
    def _grading_has_what_it_needs(self) -> Self:
        if (self.grading == "lexicon") != (self.lexicon is not None):
            raise ValueError("`lexicon` belongs to the grading of that name, which needs it")
        if self.answer_after is not None and self.grading != "match":
            raise ValueError("`answer_after` belongs to the grading `match`")
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("`samples` above 1 would all be alike at temperature 0; name a `temperature`")
        if self.pass_at is not None and self.grading not in ("program", None):
            raise ValueError("`pass_at` belongs to programs: the grading `program`, or a task that runs them")
        if self.pass_at and max(self.pass_at) > self.samples:
            raise ValueError(
                f"`pass_at` {max(self.pass_at)} needs as many `samples` of an item, and they are {self.samples}"
            )
        if self.forms and "choose" in self.forms and self.grading not in ("choice", "lm-eval", None):
            raise ValueError("the form `choose` needs choices: the grading `choice`, or a task with choices")
        return self
