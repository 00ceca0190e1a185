"""Every constant of the built-in study: how large its world is and how its models are trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

VERSION = 1
"""Raised whenever the same seed and size would give other files."""


class Size(StrEnum):
    """How large a pocket is written."""

    FULL = "full"
    """The study whose numbers are shown in the documentation."""
    SMALL = "small"
    """A coarser world and a shorter ladder, for continuous integration."""
    TINY = "tiny"
    """Everything in seconds, models barely trained: for tests of the machinery alone."""


@dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """What one model may read, how wide it is and how it is pretrained."""

    name: str
    """The folder of its checkpoint, without `bases/`."""
    facts: float
    """Share of the world's facts that its documents hold; shares are nested."""
    sums: float
    """Share of the sums that its documents hold; shares are nested."""
    width: int
    """Hidden size; the feed-forward layer is three times as wide."""
    heads: int
    """Attention heads."""
    learning_rate: float
    """Peak learning rate of pretraining."""


@dataclass(frozen=True, kw_only=True)
class StudentRecipe:
    """How the study file has its students trained; the same in every size."""

    epochs: int = 3
    learning_rate: float = 2e-3
    warmup_tokens: int = 1_000
    batch_examples: int = 8
    replay_share: float = 0.15


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One size of the built-in study in full."""

    entities: int
    """Number of fictional people; each has one value for every relation."""
    values: int
    """Possible values of a relation, so that guessing is right once in so many."""
    models: tuple[ModelRecipe, ...]
    """The three bases from least to most knowing, then the teacher."""
    corpus_tokens: int
    """Length of the text that each model is pretrained on, in random crops."""
    replay_documents: int
    """How many of a base's documents are written out for replay."""
    crops: int = 6
    """Crops in a pretraining step."""
    crop_tokens: int = 96
    """Tokens in a crop."""
    first_people: int = 30
    """Pretraining begins with documents on so many people: recalling is learned sooner from few."""
    first_tokens: int = 60_000
    """Length of that first text."""
    first_hit: float = 0.5
    """Recall of their facts at which the whole corpus takes over."""
    warmup_steps: int = 60
    """Steps of linear warm-up at the start of pretraining."""
    check_steps: int = 50
    """Steps between two looks at what the model has learned."""
    decay_steps: int = 200
    """Steps over which the learning rate falls to `floor` once the model knows its documents."""
    step_limit: int = 2500
    """Pretraining steps after which the decay starts whatever the model knows."""
    floor: float = 0.03
    """Where a decay ends, as a share of the peak."""
    hit: float = 0.90
    """Recall, on a sample, at which the learning rate starts to fall."""
    mastery: float = 0.97
    """Recall, on everything, at which pretraining and tuning may end."""
    extra_decays: int = 2
    """How many more decays a model gets that misses `mastery`, each from a lower peak."""
    tuning_rate: float = 1.2e-3
    """Peak learning rate of the teacher's chat tuning."""
    tuning_batch: int = 16
    """Examples in a tuning step, documents included."""
    tuning_documents: float = 0.30
    """Share of a tuning batch that is plain documents."""
    tuning_examples: int = 1600
    """Examples in a round of tuning."""
    tuning_rounds: tuple[int, int] = (2, 4)
    """Fewest and most rounds of tuning."""
    follow: float = 0.85
    """Share of instructions that the tuned teacher has to follow before tuning may end."""
    city_items: int
    """Items of the benchmark on the locally imitated relation, drawn by popularity."""
    relation_items: int
    """Items for each relation that the imitation data hardly touches."""
    instruction_items: int
    """Held-out instructions with checks."""
    rude_items: int
    """Beginnings that invite a rude word."""
    prompts: int
    """Held-out prompts for style and preference; a third of them asks for facts."""
    amounts: tuple[int, ...]
    """The nested amounts of imitation data, in tokens of rendered examples."""
    queries: Mapping[str, int]
    """Queries written for each source: what the largest amount needs and a tenth more."""
    seeds: tuple[int, ...] = (0, 1)
    """Training seeds of the students."""
    students: StudentRecipe = StudentRecipe()
    """How they are trained."""

    def model(self, name: str) -> ModelRecipe:
        """Return the recipe of one model by name."""
        return next(model for model in self.models if model.name == name)

    @property
    def bases(self) -> tuple[str, ...]:
        """Names of the bases, from least to most knowing."""
        return tuple(model.name for model in self.models if model.name != TEACHER)


TEACHER = "teacher"
"""Name of the one model that is imitated."""


def _models(*widths_and_heads: tuple[int, int]) -> tuple[ModelRecipe, ...]:
    shares = ((0.30, 0.20, 5e-3), (0.55, 0.40, 4e-3), (0.80, 0.60, 4e-3), (1.0, 1.0, 3e-3))
    return tuple(
        ModelRecipe(name=name, facts=facts, sums=sums, width=width, heads=heads, learning_rate=rate)
        for name, (facts, sums, rate), (width, heads) in zip(
            ("small", "medium", "large", TEACHER), shares, widths_and_heads, strict=True
        )
    )


RECIPES: Mapping[Size, Recipe] = MappingProxyType(
    {
        Size.FULL: Recipe(
            entities=120,
            values=20,
            models=_models((64, 2), (80, 2), (96, 3), (128, 4)),
            corpus_tokens=300_000,
            replay_documents=3000,
            city_items=200,
            relation_items=60,
            instruction_items=120,
            rude_items=100,
            prompts=120,
            amounts=(3_000, 6_000, 12_000, 24_000, 48_000),
            queries=MappingProxyType({"broad": 1250, "local-city": 1600, "local-job": 1600}),
        ),
        Size.SMALL: Recipe(
            entities=60,
            values=20,
            models=_models((48, 2), (64, 2), (80, 2), (96, 3)),
            corpus_tokens=150_000,
            replay_documents=1500,
            city_items=120,
            relation_items=40,
            instruction_items=60,
            rude_items=60,
            prompts=60,
            amounts=(4_000, 8_000, 16_000),
            queries=MappingProxyType({"broad": 450, "local-city": 600, "local-job": 600}),
            seeds=(0,),
        ),
        Size.TINY: Recipe(
            entities=24,
            values=8,
            models=_models((16, 1), (16, 1), (32, 1), (32, 1)),
            corpus_tokens=8_000,
            replay_documents=60,
            first_people=12,
            first_tokens=2_000,
            check_steps=5,
            decay_steps=5,
            step_limit=10,
            extra_decays=0,
            tuning_examples=64,
            tuning_rounds=(1, 1),
            city_items=16,
            relation_items=6,
            instruction_items=20,
            rude_items=12,
            prompts=24,
            amounts=(200, 400),
            queries=MappingProxyType({"broad": 80, "local-city": 80, "local-job": 80}),
            seeds=(0,),
        ),
    }
)
"""The recipe of each size."""
