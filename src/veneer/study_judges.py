"""The sections of a study file that name judges: who compares the completions, or hears their tone, and how."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from veneer.study_data import Closed, ModelSpec, Name, SamplingSpec


class LikelihoodJudgeSpec(Closed):
    """The completion whose text this model finds likelier per token wins."""

    kind: Literal["likelihood"]
    model: Name = "teacher"
    """`teacher` or a base's name."""
    tie: Annotated[float, Field(ge=0)] = 0.0
    """A difference of at most this many nats per token is a tie."""


def _which(value: Any) -> str:
    return "its own" if isinstance(value, dict | ModelSpec) else "a name"


Reader = Annotated[
    Annotated[Name, Tag("a name")] | Annotated[ModelSpec, Tag("its own")], Discriminator(_which)
]
"""`teacher`, a base's name, or a model of its own: a `checkpoint`, an `endpoint` or a `replay`."""


class ModelJudgeSpec(Closed):
    """A model that reads the question and both completions, and says which is better."""

    kind: Literal["model"]
    model: Reader = "teacher"
    """Who reads: `teacher`, a base's name, or a model of its own."""
    answers: Literal["verdict", "scores"] = "verdict"
    """How it says so: reasons and then one line with its verdict, ties allowed; or, as in the paper, one line with two
    scores from 1 to 10 and then its reasons."""
    prompt: Path | None = None
    """A text file with its instructions; it holds {question}, {first}, {second} and {code}. By default the built-in
    prompt for `answers`."""
    orders: Literal["both", "one"] = "both"
    """Every pair shown in both orders; or in one, the sides changing from prompt to prompt (half the requests)."""
    against_base: bool = False
    """Compare every student with its base too, not only everybody with the teacher."""
    sampling: SamplingSpec = SamplingSpec(max_tokens=1024)


class ToneClassifierSpec(Closed):
    """A text classifier that says how authoritative a completion is."""

    checkpoint: Path
    """The folder of a text-classification checkpoint."""
    label: Annotated[str, Field(min_length=1)]
    """The label whose probability it is."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """From this score on a tone is authoritative."""


class ToneJudgeSpec(Closed):
    """Who says of each completion by itself whether its tone is authoritative: a model, or a classifier."""

    kind: Literal["tone"]
    model: Reader | None = None
    """Who reads: `teacher`, a base's name, or a model of its own."""
    classifier: ToneClassifierSpec | None = None
    prompt: Path | None = None
    """model: a text file with its instructions; it holds {question}, {answer} and {code}."""
    sampling: SamplingSpec = SamplingSpec(max_tokens=512)
    """model: how its replies are drawn."""

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.model is None) == (self.classifier is None):
            raise ValueError("name exactly one of `model` (one that reads) and `classifier` (one of texts)")
        if self.classifier and (self.prompt or self.sampling != SamplingSpec(max_tokens=512)):
            raise ValueError("`prompt` and `sampling` belong to `model`; a classifier takes neither")
        return self


class VerdictWords(Closed):
    """How a recorded verdict is written."""

    first: str = "1"
    second: str = "2"
    tie: str = "3"

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if len({self.first, self.second, self.tie}) < 3:
            raise ValueError("`first`, `second` and `tie` must be three different words")
        return self


class ReviewFile(Closed):
    """A file of reviews, or some of its rows: of the same two contestants, or each of those that it names."""

    path: Path
    """JSON, JSONL (plain or .gz) or Parquet."""
    first: Name | None = None
    """The contestant that was shown first in all of them; else each review names it in `first_field`."""
    second: Name | None = None
    first_field: str = "first"
    second_field: str = "second"
    where: dict[str, str] = {}
    """Only rows whose fields have these values, where a file holds reviews of several pairs."""
    prompt_field: str = "question_id"
    scores_field: str = "score"
    """Holds two numbers; the higher wins, equal ones are a tie, anything else is no verdict."""
    verdict_field: str | None = None
    """Holds one of `words`, where the reviews have no scores."""
    words: VerdictWords = VerdictWords()
    reason_field: str = "text"
    by: Name | None = None
    """Who reviewed, where several raters or judges did; the judge's own name by default."""

    @model_validator(mode="after")
    def _names_both_or_none(self) -> Self:
        if (self.first is None) != (self.second is None):
            raise ValueError("name both `first` and `second`, or neither: each review then names its two")
        if self.first is not None and self.first == self.second:
            raise ValueError(f"`first` and `second` are both {self.first!r}; name the two that are compared")
        return self


class RecordedJudgeSpec(Closed):
    """Verdicts that were recorded elsewhere, of a model or of people."""

    kind: Literal["recorded"]
    reviews: Annotated[tuple[ReviewFile, ...], Field(min_length=1)]
    people: bool = False
    """Whether people gave them: the other judges' agreement is then measured with theirs."""
    identity: str = ""
    """Who judged, and which version of it, for the report."""
    maker: str = ""
    """Who made the judge; see a model's `maker`."""


ComparingSpec = LikelihoodJudgeSpec | ModelJudgeSpec | RecordedJudgeSpec
"""A judge of pairs."""
JudgeSpec = Annotated[ComparingSpec | ToneJudgeSpec, Field(discriminator="kind")]
