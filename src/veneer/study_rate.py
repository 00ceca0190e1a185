"""The section of a study file on raters: simulated ones, and people with what they are asked, checked and paid by."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from veneer.study_data import Closed, Count, Money, Name, Seed

PLATFORMS = ("link", "invitations", "prolific", "connect", "sona", "mturk")
"""What may stand as `rate.people.platform.kind`."""


class SimulatedSpec(Closed):
    """Simulated raters: named simulated wherever they appear."""

    raters: Count = 3
    style_attention: Annotated[float, Field(ge=0)] = 1.0
    """How strongly a better-styled completion is preferred (logits per unit of style appeal)."""
    fact_attention: Annotated[float, Field(ge=0)] = 1.0
    """How strongly a right answer is preferred to a wrong one (logits)."""
    tie: Annotated[float, Field(ge=0)] = 0.5
    """Preferences weaker than this many logits, after noise, are called equal."""
    seed: Seed = 0


class AskSpec(Closed):
    """What a rater is asked about each pair, beside which completion is better overall."""

    style: bool = False
    """Which one is better written, whatever its content."""
    correctness: bool = False
    """Which one is more correct, with a field for the source that was looked up."""
    reason: bool = False
    """A free reason, which may stay empty."""


class ExcludeSpec(Closed):
    """Whose votes are left out, fixed before the first vote; they are kept, and reported with the reason."""

    failed_attention: Count | None = 2
    """So many attention checks answered otherwise than asked."""
    failed_gold: Count | None = 3
    """So many gold pairs judged against their known answer."""
    faster_than: Annotated[float, Field(gt=0)] | None = 3.0
    """A median time per pair below so many seconds, after five pairs."""
    same_side: Annotated[int, Field(ge=5)] | None = None
    """So many votes in a row for the same side (ties and `cannot judge` end a row)."""


class PlatformSpec(Closed):
    """Where raters come from, and where they go when they have finished."""

    kind: Literal["link", "invitations", "prolific", "connect", "sona", "mturk"] = "link"
    """`link`: whoever has the raters' link; `invitations`: one link a person, made on the owner's page."""
    code: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    """The completion code, shown on the last page."""
    url: Annotated[str, Field(pattern=r"^https://[^\s\"'<>\\]+$")] | None = None
    """Where the last page leads; `{person}` and `{session}` stand for what the platform called them."""


class PaySpec(Closed):
    """What a rater is paid for the whole task; the owner's page makes an estimate of it."""

    each: Money
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"


class PeopleSpec(Closed):
    """People who compare completions blind, on a page that `veneer rate` serves."""

    contestants: tuple[Name, ...] = ()
    """Who is compared: bases and students; all of them where none is named."""
    against: Annotated[tuple[Literal["teacher", "base"], ...], Field(min_length=1)] = ("teacher",)
    """With whom: the teacher, and a student's base."""
    ceiling: bool = False
    """Whether the teacher's second sample meets its first: what raters say where nothing but chance differs."""
    prompts: Count | None = None
    """So many of the prompts, drawn at random; all of them by default."""
    ratings: Count = 3
    """Ratings of each prompt and pair (3 in the paper)."""
    per_rater: Count = 30
    """Pairs for each rater; a rater never sees a prompt twice."""
    timeout: Annotated[float, Field(gt=0)] = 30.0
    """Minutes after which a pair that was not rated returns to the pool."""
    ask: AskSpec = AskSpec()
    title: Annotated[str, Field(min_length=1, max_length=120)] = "Which answer is better?"
    consent: Path | None = None
    """What a rater agrees to, in Markdown; a short text by default."""
    instructions: Path | None = None
    """In Markdown; a short text by default."""
    training: Path | None = None
    """JSONL: id, prompt, first, second, answer (first, second or tie) and why. Shown before the work, with the answer
    explained; it counts for nothing."""
    checks: Path | None = None
    """JSONL: id, kind (attention or gold), prompt, first, second, answer. They look like any other pair."""
    check_every: Annotated[int, Field(ge=2)] = 10
    """One check among so many pairs, as far as there are checks."""
    exclude: ExcludeSpec = ExcludeSpec()
    platform: PlatformSpec = PlatformSpec()
    pay: PaySpec | None = None
    seed: Seed = 0
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]+$")] = "127.0.0.1"
    """The address on which the page is served."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8765
    """0 takes any free one."""
    url: Annotated[str, Field(pattern=r"^https?://[^\s\"'<>?#\\]+$")] | None = None
    """How raters reach the page from outside, through a proxy that speaks https: https://rate.example.org."""
    newcomers: Count = 60
    """How many new raters one network address may bring in a minute."""

    @model_validator(mode="after")
    def _can_end(self) -> Self:
        platform = self.platform
        if platform.kind in ("prolific", "connect") and not (platform.code or platform.url):
            raise ValueError(
                f"platform {platform.kind!r} needs `code` or `url`: without one nobody who rates can be paid"
            )
        if platform.kind == "sona" and not platform.url:
            raise ValueError("platform 'sona' needs `url`, the credit link of your SONA site, with {person}")
        if platform.kind == "mturk" and not (self.url or "").startswith("https://"):
            raise ValueError("platform 'mturk' shows the page in a frame and needs an https `url`")
        if len(set(self.against)) < len(self.against):
            raise ValueError("`against` names somebody twice")
        return self


class RateSpec(Closed):
    """Who compares completions blind."""

    simulated: SimulatedSpec | None = None
    """Raters by rule, who stand in for nobody."""
    people: PeopleSpec | None = None

    @model_validator(mode="after")
    def _somebody_rates(self) -> Self:
        if not self.simulated and not self.people:
            raise ValueError("name `simulated` raters, `people`, or both")
        return self
