"""What a model is: something that answers prompts, and sometimes one whose probabilities can be read."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from veneer.needs import Needs, weights_of
from veneer.records import Completion, Prompt, Stop
from veneer.study_data import EndpointSpec

FP32 = 4
"""Bytes of a weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """Where a model is to be had, and the fingerprint of what lies there: enough for a cell to open it."""

    name: str
    kind: Literal["checkpoint", "endpoint", "replay"]
    path: Path
    """The checkpoint's folder, the recordings' file, or the journal of what endpoints were asked."""
    digest: str
    """Stands for the model in every cache key: SHA-256 of the checkpoint folder, of the recordings, or of everything
    about an endpoint that shapes its answers."""
    prompt_field: str = "prompt_id"
    text_field: str = "text"
    endpoint: EndpointSpec | None = None
    spend_cap: float | None = None
    """US dollars that all endpoints of the study may cost together."""

    @property
    def needs(self) -> Needs:
        """What a cell takes that asks this model."""
        if self.kind == "checkpoint":
            return Needs(gpus=1, memory=FP32 * weights_of(self.path))
        return Needs(home=self.kind == "endpoint")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How completions are drawn."""

    temperature: float
    """0 is greedy."""
    max_tokens: int
    stop: tuple[str, ...] = ()
    """Strings that end a completion; they are not part of its text."""
    samples: int = 1
    """Completions per prompt."""
    seed: int = 0
    cut: bool = False
    """Whether a prompt that leaves no room for `max_tokens` loses its first tokens, as in lm-eval; else it fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """A request for the probability of `continuation` after `prompt`."""

    prompt: Prompt
    continuation: str
    exact: bool = False
    """Whether it follows a plain prompt as it is, with no space between; and whether a text longer than the window
    loses its first tokens, as in lm-eval, instead of being refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLikelihood:
    """The log-probability (nats) of a continuation, summed over its tokens."""

    value: float
    tokens: int
    greedy: bool
    """Whether every token of it was the likeliest."""
    cut: int = 0
    """First tokens of the prompt that the model did not see, for want of room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far the fast way of reading likelihoods is from the plain one, on some of the requests."""

    fast: bool
    """Whether there is a fast way: what texts share is read once."""
    why_not: str
    """Why there is none; empty if there is."""
    checked: int
    """Requests that were read both ways."""
    largest: float
    """The largest difference of a log-likelihood (nats)."""
    plain: tuple[float, ...]
    """What the plain way gives for each request; empty where there is no fast one."""


def cut(completion: Completion, stop: Sequence[str]) -> Completion:
    """Return a completion up to the first of these stop strings: not everybody who answers knows them."""
    met = [(completion.text.index(one), one) for one in stop if one in completion.text]
    if not met:
        return completion
    end, string = min(met)
    return replace(completion, text=completion.text[:end], stop=Stop.END, detail=string)


class Model(Protocol):
    """Anything that answers prompts."""

    @property
    def name(self) -> str:
        """The name by which completions are signed."""
        ...

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Completion]:
        """Answer every prompt, in order, samples of one prompt together; an error never poses as an answer."""
        ...


@runtime_checkable
class ScoringModel(Model, Protocol):
    """A model whose probabilities can be read."""

    def loglikelihoods(self, requests: Sequence[Continuation]) -> list[LogLikelihood]:
        """Return one log-likelihood per request, in order."""
        ...

    def agreement(self, requests: Sequence[Continuation], found: Sequence[LogLikelihood]) -> Agreement:
        """Return how far `found` is from what the plain way gives; nothing is read where that is the way it was."""
        ...


@runtime_checkable
class StreamingModel(Model, Protocol):
    """A model that keeps no answer itself, and gives each as soon as it has ended."""

    def stream(
        self, prompts: Sequence[Prompt], sampling: Sampling, known: Collection[tuple[str, int]]
    ) -> Iterator[Completion]:
        """Answer every prompt, in any order, but for the samples (prompt's id and number) that are known already."""
        ...
