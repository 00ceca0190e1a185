"""The sections of a study file that name models and imitation data: who is asked, what, and what is made of it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

SUFFIXES = {"k": 10**3, "M": 10**6, "G": 10**9}


def parse_tokens(value: object) -> object:
    """Return `"0.3M"` as 300000; what is no text is returned as it came, for pydantic to judge.

    Raises:
        ValueError: A text is no number of tokens.
    """
    if not isinstance(value, str):
        return value
    if match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kMG]?)", value.strip()):
        return round(float(match[1]) * SUFFIXES.get(match[2], 1))
    raise ValueError("a number of tokens is wanted, such as 300000, 300k, 0.3M or 1G")


Tokens = Annotated[int, BeforeValidator(parse_tokens), Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]
Money = Annotated[float, Field(ge=0)]
"""US dollars."""
Revision = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
"""A commit of a data set on the hub: 40 hex digits, so that it can never change."""
Stops = tuple[Annotated[str, Field(min_length=1)], ...]


class Closed(BaseModel):
    """A section of the study file: frozen, and every unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _yes_is_no_number(cls, found: object) -> object:
        """Refuse yes and no where a number is meant: pydantic would read them as 1 and 0."""
        for name, value in found.items() if isinstance(found, dict) else ():
            meant = set(_types(cls.model_fields[name].annotation)) if name in cls.model_fields else set()
            if {int, float} & meant and not {bool, Any} & meant and _holds_bool(value):
                raise ValueError(f"`{name}` is a number, or holds numbers; found {value!r}, a yes or no")
        return found

    def _unused(self, *names: str) -> str:
        """Return the first of some fields that is not as it is by default, or an empty text."""
        default = type(self).model_fields
        return next((name for name in names if getattr(self, name) != default[name].default), "")


def _types(annotation: Any) -> Iterator[Any]:
    """Yield the types of which an annotation is made, themselves made of none."""
    parts = get_args(annotation)
    for part in parts:
        yield from _types(part)
    if not parts:
        yield annotation


def _holds_bool(value: object) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds_bool, value))
    if isinstance(value, dict):
        return any(map(_holds_bool, value.values()))
    return isinstance(value, bool)


class PriceSpec(Closed):
    """What an endpoint charges, in US dollars per million tokens."""

    input: Money
    output: Money


class EndpointSpec(Closed):
    """A model behind an OpenAI-compatible endpoint."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$")]
    """The base URL, such as https://api.openai.com/v1; no user name, password or query."""
    model: Annotated[str, Field(min_length=1)]
    """The model's name there; it is sent as it is."""
    key: Variable | None = None
    """The environment variable that holds the key. The key itself never stands in a study file."""
    api: Literal["chat", "completions"] = "chat"
    """`completions` puts a plain text; a conversation is then written out as `User: ...`, `Assistant:`."""
    concurrency: Count = 16
    """Requests in flight at once."""
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    timeout: Annotated[float, Field(gt=0)] = 120.0
    """Seconds until a request without an answer is given up and tried again."""
    tries: Count = 6
    """How often one request is tried in one run before it counts as failed."""
    price: PriceSpec | None = None
    """By default the price that genai-prices knows for this model."""
    batch: bool = False
    """Use the provider's Batch API: half the price, an answer within a day."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    send_seed: bool = False
    """Send a seed, which differs by sample; not every provider knows the field."""
    extra: dict[Name, Any] = {}
    """Further fields of every request, such as top_p or reasoning_effort; they are part of its key."""
    may_fail: Share = 0.0
    """The share of requests that may stay without an answer, and are asked again on the next run; above it a stage ends
    with an error after asking all."""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        """Return it without a slash at its end: with and without, it is the same endpoint."""
        try:
            parts = urlsplit(url)
            parts.hostname and parts.hostname.encode("idna")
            whole = bool(parts.hostname) and parts.port != 0
        except ValueError:
            whole = False
        if not whole:
            raise ValueError("an address is wanted, such as https://api.openai.com/v1")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _extra_is_extra(self) -> Self:
        own = {"model", "messages", "prompt", "stop", "n", "best_of", "stream", "seed", "temperature"}
        if taken := sorted((own | {"max_tokens", "max_completion_tokens"}) & set(self.extra)):
            raise ValueError(f"`extra` may not hold {taken}: Veneer sets these itself")
        return self


class ModelSpec(Closed):
    """A model: a checkpoint on disk, an endpoint, or recorded completions."""

    checkpoint: Path | None = None
    """A folder that transformers' `from_pretrained` loads. `hub:ORG/NAME@REVISION` names one on the hub, here and
    wherever a folder may stand; `veneer fetch` brings it."""
    endpoint: EndpointSpec | None = None
    """An OpenAI-compatible server."""
    replay: Path | None = None
    """A JSONL file (plain or .gz) of recorded completions."""
    prompt_field: str = "prompt_id"
    """Recordings: the field that holds the prompt's id."""
    text_field: str = "text"
    """Recordings: the field that holds the completion."""
    pretraining: Path | None = None
    """JSONL with `text`: documents like those the base was pretrained on, for replay in training."""
    maker: str = ""
    """Who made it. How a judge treats models of its own maker is told apart in the report."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(where is not None for where in (self.checkpoint, self.endpoint, self.replay)) != 1:
            raise ValueError("name exactly one of `checkpoint`, `endpoint` and `replay`")
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
    max_tokens: Count = 256
    stop: Stops = ()
    seed: Seed = 0


class HubSpec(Closed):
    """A data set on the Hugging Face hub, at one revision."""

    name: Annotated[str, Field(min_length=1)]
    revision: Revision
    config: str | None = None
    split: str = "train"


class SynthesisSpec(Closed):
    """Pairs that the teacher makes up after examples, as the paper's NQ-synthetic (section 3.1)."""

    seeds: Path
    """JSONL with `question` and `answer` (or `answers`): true pairs to go by."""
    pairs: Count
    """How many pairs must stand, duplicates dropped."""
    prompt: Path | None = None
    """The request, with {examples} and {count}; by default the built-in one for questions in NQ's manner."""
    shots: Count = 5
    """Seed pairs drawn at random into each request."""
    pairs_per_request: Count = 10
    sampling: SamplingSpec = SamplingSpec(temperature=1.0, max_tokens=512)
    fruitless_requests: Count = 50
    """So many requests in a row without a new pair end the synthesis with an error."""


Format = Literal["sharegpt", "hc3", "alpaca", "messages", "pairs"]


class RecordedSpec(Closed):
    """One file, or hub data set, of conversations that were collected elsewhere."""

    format: Format
    """sharegpt, hc3 (one row a question, several answers), alpaca, messages (OpenAI's), pairs (query and answer)."""
    path: Path | None = None
    """JSON, JSONL (plain or .gz) or Parquet."""
    hub: HubSpec | None = None
    query_field: str = "query"
    """pairs: the field that holds the query."""
    answer_field: str = "answer"
    """pairs: the field that holds the answer."""
    id_field: str = "id"
    """The field that holds the row's id, where rows have one."""
    licence: str = ""
    """For the data card."""
    origin: str = ""
    """For the data card: where it comes from, and which revision."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.hub is None):
            raise ValueError("name exactly one of `path` and `hub`")
        if self.format != "pairs" and (name := self._unused("query_field", "answer_field")):
            raise ValueError(f"`{name}` belongs to the format `pairs`; {self.format!r} has its own fields")
        return self


class SourceSpec(Closed):
    """One source of imitation data: queries for the teacher, or conversations that were recorded."""

    kind: Literal["broad", "local"]
    """Whether it is meant to cover everything, or one task."""
    task: Name | None = None
    """Local sources: the benchmark that it imitates."""
    queries: Path | None = None
    """JSONL (plain or .gz), CSV or Parquet with an id and a query."""
    hub: HubSpec | None = None
    """A hub data set with a query in each row."""
    benchmark: Name | None = None
    """The training split (`train`) of this benchmark of the study: its questions are the queries."""
    synthesis: SynthesisSpec | None = None
    """Pairs that the teacher makes up after seeds."""
    recorded: tuple[RecordedSpec, ...] = ()
    """Conversations that exist already; the teacher is not asked."""
    id_field: str = "id"
    query_field: str = "query"
    """queries and hub: the field that holds the query, or the document."""
    instruction: str = "{query}"
    """What is asked about each query or document; {query} stands for it."""
    limit: Count | None = None
    """Take only so many queries, the first ones."""
    licence: str = ""
    """For the data card: the licence of the queries, or of the seeds; a recording states its own."""

    @model_validator(mode="after")
    def _is_one_source(self) -> Self:
        if (self.kind == "local") != (self.task is not None):
            raise ValueError("`task` belongs to local sources, and every local source needs one")
        given = {
            "queries": self.queries,
            "hub": self.hub,
            "benchmark": self.benchmark,
            "synthesis": self.synthesis,
            "recorded": self.recorded or None,
        }
        named = [name for name, value in given.items() if value is not None]
        if len(named) != 1:
            raise ValueError(f"name exactly one of {', '.join(given)}; found {named or 'none'}")
        if "{query}" not in self.instruction:
            raise ValueError("`instruction` must hold {query}, where the query or document goes")
        if self.recorded and (
            name := self._unused("id_field", "query_field", "instruction", "limit", "licence")
        ):
            raise ValueError(f"`{name}` is about queries that the teacher is asked; `recorded` has its own")
        if self.synthesis and (name := self._unused("id_field", "query_field", "instruction", "limit")):
            raise ValueError(f"`{name}` is about given queries; with `synthesis` the teacher makes them up")
        if self.benchmark and self._unused("query_field"):
            raise ValueError("`query_field` does nothing with `benchmark`, whose queries stand in `question`")
        return self


class CollectSpec(Closed):
    """What the teacher is asked."""

    sources: Annotated[dict[Name, SourceSpec], Field(min_length=1)]
    sampling: SamplingSpec = SamplingSpec(temperature=0.7)
    samples: Count = 1
    """Completions a query; the first is imitated, the others show how far the teacher differs from itself."""


class FilterSpec(Closed):
    """Which rows are fit to be imitated. Failed, refused, cut, empty and broken answers never are."""

    languages: tuple[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")], ...] = ()
    """ISO 639-1 codes that are kept; empty keeps all."""
    min_answer_words: Count = 1
    max_answer_words: Count | None = None
    refusals: bool = True
    """False drops answers in which the teacher declines to answer."""
    boilerplate: bool = False
    """False drops answers that are an interface's words (error messages, buttons) and not a model's."""
    blocked: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Words or phrases that no turn may hold, whatever their case."""

    @model_validator(mode="after")
    def _some_length_is_left(self) -> Self:
        if self.max_answer_words is not None and self.max_answer_words < self.min_answer_words:
            raise ValueError(
                f"`max_answer_words` is {self.max_answer_words} and `min_answer_words` {self.min_answer_words}: no "
                "answer could be kept"
            )
        return self


class NearSpec(Closed):
    """Near-duplicates: MinHash finds candidates, exact Jaccard similarity of word n-grams decides."""

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
    of: Literal["conversation", "query"] = "conversation"
    words: Count = 5
    """The n of the word n-grams."""
    seed: Seed = 0


class OverlapSpec(Closed):
    """Overlap with benchmarks and prompts. A query that is an item word for word always overlaps."""

    ngrams: tuple[Count, ...] = (8, 13)
    """Shared word n-grams that are looked for and reported."""
    ngram: Count | None = 13
    """Sharing an n-gram of this many words is overlap; one of `ngrams`, or null."""
    bleu: Annotated[float, Field(gt=0, le=100)] | None = None
    """A query with more BLEU than this against an item is overlap (the paper: 20); null leaves BLEU out."""
    goes: Literal["example", "item", "neither"] = "example"
    """What is left out where they overlap: the example from the data, or the item from all scores."""

    @model_validator(mode="after")
    def _is_looked_for(self) -> Self:
        if self.ngram is not None and self.ngram not in self.ngrams:
            raise ValueError(f"`ngram` is {self.ngram}, which is not among `ngrams` {list(self.ngrams)}")
        return self


class MixtureSpec(Closed):
    """A source made of others."""

    weights: Annotated[dict[Name, Annotated[float, Field(gt=0)]], Field(min_length=1)]
    """Shares of tokens by source; they need not add up to 1."""


class PrepareSpec(Closed):
    """How the answers become imitation data."""

    tokenizer: Path | None = None
    """The counting tokenizer, so that every base sees the same examples; the first base's by default."""
    seed: Seed = 0
    """Shuffles the examples before they are cut into amounts."""
    block: Count = 2048
    """Tokens of the longest example; longer conversations are split between turns."""
    filters: FilterSpec = FilterSpec()
    near_duplicates: NearSpec | None = NearSpec()
    """null keeps all but exact duplicates."""
    overlap: OverlapSpec = OverlapSpec()
    mixtures: dict[Name, MixtureSpec] = {}
    """Each is trained on as one source. Its parts are trained on alone only if `train.sources` names them."""
