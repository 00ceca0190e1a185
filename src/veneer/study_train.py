"""The study file's `train` section: the ladder of students, how each is trained, and on what."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from veneer.study_data import Closed, Count, Name, Seed, Tokens, parse_tokens

STEP_TOKENS, BATCH_EXAMPLES = 65_536, 32
"""What a step learns from where the study does not say: 32 blocks of 2,048 tokens, as in the paper, or 32 examples."""
WARMUP_SHARE = 0.1
"""The warm-up where the study does not say: this share of the smallest amount, and at least one step."""

MaybeTokens = Annotated[Annotated[int, Field(ge=0)] | None, BeforeValidator(parse_tokens)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class LoraSpec(Closed):
    """Low-rank adapters (Hu et al. 2021), trained beside frozen weights and merged into them at the end."""

    rank: Count = 16
    alpha: Annotated[float, Field(gt=0)] = 32.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: tuple[str, ...] = ()
    """Names of the layers that get adapters; by default every linear layer but the output."""


class TokensSpec(Closed):
    """What the tokenizer gets before training; the embeddings grow with it."""

    add: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Special tokens; new ones begin as the mean of all embeddings."""
    pad: str | None = None
    """The padding token, where the tokenizer has none or pads with its stop token; new or known."""
    stop: str | None = None
    """The token that ends a turn, where the chat template writes another than the tokenizer's `eos_token`."""
    chat_template: Path | None = None
    """A Jinja chat template in place of the tokenizer's own."""


class RecipeSpec(Closed):
    """How one student is trained; the same for every rung."""

    method: Literal["full", "lora", "qlora"] = "full"
    """full: all weights. lora: adapters. qlora: adapters beside weights in 4 bits; it needs bitsandbytes and a GPU."""
    lora: LoraSpec = LoraSpec()
    tokens: TokensSpec = TokensSpec()
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    """adafactor scales each update by the size of the weights, as the paper did."""
    epochs: Annotated[int, Field(gt=0)] = 1
    match: Literal["tokens", "steps"] = "tokens"
    """steps: every amount takes as many optimizer steps as the largest; smaller ones go round their data more often."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    schedule: Literal["stable", "linear", "cosine", "constant"] = "stable"
    """stable: constant after the warm-up, then in a straight line to 0 over the last `decay_share`."""
    decay_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """stable: share of a student's steps over which the rate falls."""
    warmup_tokens: MaybeTokens = None
    """The same number of tokens for every amount, so that amount and learning rate are not confounded; by default a
    tenth of the smallest amount, with packing at least one step, and none where the smallest amount has no room for
    it."""
    packing: bool = True
    """Conversations share a block of `max_length` tokens, none of them seeing another. False: one a row, padded."""
    step_tokens: Annotated[Count | None, BeforeValidator(parse_tokens)] = None
    """With packing: tokens of the blocks that one optimizer step learns from; 65,536 by default."""
    batch_examples: Count | None = None
    """Without packing: conversations that one optimizer step learns from; 32 by default."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    """adamw: how slowly its averages of the gradient and of the gradient's square move."""
    clip: Annotated[float, Field(gt=0)] = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 is autocast over the master weights."""
    weights: Literal["fp32", "bf16"] = "fp32"
    """Master weights. In bf16 they take half the memory, and small updates are lost to rounding."""
    max_length: Count = 2048
    """Tokens of a row, with packing of a block; a base that has fewer positions has as many as it has."""
    left_out_share: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Examples of which one exchange is longer than a row are left out. More than this share of an amount's tokens is
    an error: the student would not have learned its amount."""
    holdout_tokens: MaybeTokens = 20_000
    """The loss is measured on the source's last examples, as few as have so many tokens; an amount that reaches into
    them has no held-out loss."""

    def rows_per_step(self, longest: int) -> int:
        """Return the blocks, or without packing the conversations, of one optimizer step.

        Args:
            longest: Tokens that a block may have: `max_length`, or fewer where the base has fewer positions. A step
                learns from as many tokens either way.
        """
        if not self.packing:
            return self.batch_examples or BATCH_EXAMPLES
        return max(1, (self.step_tokens or STEP_TOKENS) // longest)

    @property
    def tokens_per_step(self) -> int:
        """With packing, the tokens of the blocks of one optimizer step; 0 without, where it is not known."""
        return self.rows_per_step(self.max_length) * self.max_length if self.packing else 0

    @model_validator(mode="after")
    def _settings_do_something(self) -> Self:
        if self.packing and self.batch_examples is not None:
            raise ValueError("`batch_examples` belongs to `packing: false`; with packing, name `step_tokens`")
        if not self.packing and self.step_tokens is not None:
            raise ValueError("`step_tokens` belongs to packing; with `packing: false`, name `batch_examples`")
        if self.step_tokens is not None and self.step_tokens % self.max_length:
            raise ValueError(
                f"`step_tokens` is {self.step_tokens}, which is no multiple of `max_length` {self.max_length}"
            )
        if self.match == "steps" and self.epochs != 1:
            raise ValueError("`epochs` belongs to `match: tokens`; with `match: steps` the steps decide")
        belong = {
            "lora": (self.method != "full", "`method: lora` and `method: qlora`"),
            "betas": (self.optimizer == "adamw", "`optimizer: adamw`"),
            "decay_share": (self.schedule == "stable", "`schedule: stable`"),
        }
        for name, (does, where) in belong.items():
            if not does and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"`{name}` belongs to {where}; elsewhere it does nothing, so leave it out")
        return self


class HardwareSpec(Closed):
    """How the work is laid on the machine. None of it is part of what a student is: nothing here changes a result
    but for the order of sums, so that changing it after running out of memory retrains nothing that is finished.
    """

    micro_tokens: Count = 4096
    """A step is gone through in pieces of at most so many tokens."""
    gradient_checkpointing: bool = False
    """Less memory, about a third more time."""
    processes: Count = 1
    """Processes of one student's training on this machine, one a GPU (DDP)."""
    accelerate: Path | None = None
    """A config file of `accelerate`, for FSDP, DeepSpeed or several machines, in place of `processes`."""
    threads: Count = 1
    """CPU threads of one training."""
    save_minutes: Annotated[float, Field(gt=0)] = 10.0
    """How often a training is saved, to go on from after an interruption."""
    trackers: tuple[Literal["wandb", "mlflow", "trackio", "tensorboard"], ...] = ()
    """Where losses are sent beside the study's own log."""

    @model_validator(mode="after")
    def _one_way_to_spread(self) -> Self:
        if self.accelerate and self.processes > 1:
            raise ValueError(
                "`processes` stands in the config file that `accelerate` names; name one of them"
            )
        return self


class ReplaySpec(Closed):
    """Mixing the base's own pretraining text in: the paper's open question on regressions."""

    share: Annotated[float, Field(gt=0, lt=1)]
    """Share of each batch's rows."""
    amounts: Annotated[tuple[Tokens, ...], Field(min_length=1)]
    """The amounts at which a replay twin is trained beside the plain student."""


class TrainSpec(Closed):
    """The ladder of students: bases x sources x amounts x seeds."""

    amounts: Annotated[tuple[Tokens, ...], Field(min_length=1)]
    sources: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    """Sources and mixtures to train on; by default all mixtures and every source that is part of none."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    ladder: Literal["trunk", "separate"] | None = None
    """trunk: the amounts of a source share the steps before their decay, which are taken once. separate: every student
    is trained alone. By default trunk where the recipe allows it; the students are the same."""
    recipe: RecipeSpec = RecipeSpec()
    hardware: HardwareSpec = HardwareSpec()
    replay: ReplaySpec | None = None

    @property
    def shares_trunk(self) -> bool:
        """Whether the amounts of a source share a trunk."""
        return self.ladder != "separate" and not self._why_no_trunk()

    @property
    def warmup_tokens(self) -> int:
        """Tokens of the warm-up, the same for every amount."""
        given, step = self.recipe.warmup_tokens, self.recipe.tokens_per_step
        if given is not None:
            return given
        found = max(round(WARMUP_SHARE * self.amounts[0]), step)
        return found if found < self._room else 0

    @property
    def _room(self) -> float:
        """Tokens of the smallest amount before which the warm-up must be done."""
        falls = self.recipe.decay_share if self.recipe.schedule == "stable" else 0
        return (1 - falls) * self.amounts[0]

    def _why_no_trunk(self) -> str:
        if self.recipe.schedule != "stable":
            return f"`schedule: {self.recipe.schedule}` knows from the first step where it ends"
        if self.recipe.epochs != 1:
            return "with several `epochs` the amounts differ from the second pass on"
        if self.recipe.match == "steps":
            return "with `match: steps` the amounts differ from the second pass on"
        return ""

    @model_validator(mode="after")
    def _grid_is_possible(self) -> Self:
        if list(self.amounts) != sorted(set(self.amounts)):
            raise ValueError("`amounts` must grow strictly, since each is a prefix of the next")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("`seeds` holds the same seed twice")
        if self.replay and not set(self.replay.amounts) <= set(self.amounts):
            raise ValueError("`replay.amounts` must be among `amounts`")
        if self.ladder == "trunk" and (why := self._why_no_trunk()):
            raise ValueError(f"`ladder: trunk` is not possible: {why}")
        if self.recipe.schedule == "stable" and self.warmup_tokens >= self._room:
            raise ValueError(
                f"`recipe.warmup_tokens` is {self.warmup_tokens}, and the smallest amount's rate falls from token "
                f"{self._room:.0f} on: it would never reach the peak, and amounts would differ in their learning rate"
            )
        if 0 < 2 * self.warmup_tokens <= self.recipe.tokens_per_step:
            raise ValueError(
                f"`recipe.warmup_tokens` is {self.warmup_tokens}, and one optimizer step learns from "
                f"{self.recipe.tokens_per_step}: no step would have a lower rate. Name at least that many, lower "
                "`step_tokens`, or name 0"
            )
        return self
