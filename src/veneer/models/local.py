"""A model that lies on disk as a Hugging Face checkpoint: it answers, and its probabilities can be read."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from veneer.errors import ModelError
from veneer.models import engine, prefix
from veneer.models.decode import Ending, Row, Written, decode, uniforms
from veneer.models.model import Agreement, Continuation, LogLikelihood, ModelRef, Sampling
from veneer.models.render import Tokenizer, encode, render, render_prompt
from veneer.records import Completion, Message, Prompt, Stop

TOGETHER = {"cpu": 512, "cuda": 4096}
"""Tokens of branches that scoring reads at once: enough to fill the device, few enough for attention to stay cheap."""


@dataclass(frozen=True, kw_only=True)
class LocalModel:
    """A checkpoint in memory.

    Results depend on the whole list of prompts or requests and on the batch size: rows are sorted by length and
    batched, and another batch can change the last bits of a sum.
    """

    name: str
    tokenizer: Tokenizer
    network: Any
    batch_size: int
    engine: Any = None
    """vLLM's, where it writes the completions."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Completion]:
        """Answer every prompt, in order, samples of one prompt together.

        Special tokens are left out of the text. A reply in a conversation has no white space around it; a plain
        continuation is kept as it is. A prompt that leaves no room in the context window fails, with no text.
        """
        asked = [(place, sample) for place in range(len(prompts)) for sample in range(sampling.samples)]
        found = dict(self._answered(prompts, sampling, asked))
        yield from (found[key] for key in asked)

    def stream(
        self, prompts: Sequence[Prompt], sampling: Sampling, known: Collection[tuple[str, int]]
    ) -> Iterator[Completion]:
        """Answer every prompt as `generate` does, each as soon as it has ended, but for the samples that are known."""
        asked = [
            (place, sample)
            for place, prompt in enumerate(prompts)
            for sample in range(sampling.samples)
            if (prompt.prompt_id, sample) not in known
        ]
        yield from (completion for _, completion in self._answered(prompts, sampling, asked))

    def _answered(
        self, prompts: Sequence[Prompt], sampling: Sampling, asked: Sequence[tuple[int, int]]
    ) -> Iterator[tuple[tuple[int, int], Completion]]:
        """Yield a completion of each prompt (by its place) and sample that is asked, as they end."""
        rendered = [render_prompt(self.tokenizer, prompt) for prompt in prompts]
        tokens = encode(self.tokenizer, prompts, rendered)
        rows = {
            (place, sample): self._row(prompts[place], sample, tokens[place], sampling)
            for place, sample in asked
        }
        for key in [key for key, row in rows.items() if row.limit == 0]:
            yield key, self._completion(prompts[key[0]], rendered[key[0]], rows[key], None, key[1])
        for key, written in self._decode({key: row for key, row in rows.items() if row.limit > 0}, sampling):
            yield key, self._completion(prompts[key[0]], rendered[key[0]], rows[key], written, key[1])

    def loglikelihoods(self, requests: Sequence[Continuation]) -> list[LogLikelihood]:
        """Return one log-likelihood per request, in order.

        After a plain prompt the continuation is parted from it by a space, unless the prompt ends in white space or
        the request says `exact`. After a conversation it is the assistant's whole reply, so its end token counts. The
        continuation's tokens are those after the longest common beginning of the tokens of the prompt and of the prompt
        with its continuation.

        What the requests share is read once, where the architecture allows it (`prefix.why_not`).

        Raises:
            ModelError: A request that is not `exact` is longer than the context window.
        """
        asks, cuts = self._asks(requests)
        found = (
            prefix.plain(self.network, asks, batch_size=self.batch_size)
            if self.no_sharing
            else prefix.score(self.network, asks, together=TOGETHER.get(self.network.device.type, 512))
        )
        return [replace(one, cut=cut) for one, cut in zip(found, cuts, strict=True)]

    def agreement(self, requests: Sequence[Continuation], found: Sequence[LogLikelihood]) -> Agreement:
        """Return how far `found` is from what reading every request whole and alone gives."""
        if self.no_sharing:
            return Agreement(fast=False, why_not=self.no_sharing, checked=0, largest=0.0, plain=())
        asks, _ = self._asks(requests)
        again = prefix.plain(self.network, asks, batch_size=1)
        apart = [abs(one.value - other.value) for one, other in zip(found, again, strict=True)]
        known = [one for one in apart if math.isfinite(one)]
        plain = tuple(one.value for one in again)
        largest = max(known, default=0.0)
        return Agreement(fast=True, why_not="", checked=len(known), largest=largest, plain=plain)

    @cached_property
    def no_sharing(self) -> str:
        """Why what requests share cannot be read once; empty if it can."""
        return prefix.why_not(self.network)

    @cached_property
    def window(self) -> int | None:
        """How many tokens the model can see; None if its configuration sets no limit."""
        config = self.network.config.get_text_config()
        limit: int | None = getattr(config, "max_position_embeddings", getattr(config, "max_seq_len", None))
        return limit

    @cached_property
    def end_tokens(self) -> frozenset[int]:
        """Tokens that end a completion: the tokenizer's and those of the generation settings."""
        own = getattr(self.network.generation_config, "eos_token_id", None)
        ends = own if isinstance(own, list) else [own]
        return frozenset(token for token in (*ends, self.tokenizer.eos_token_id) if token is not None)

    def _row(self, prompt: Prompt, sample: int, tokens: list[int], sampling: Sampling) -> Row:
        if sampling.cut and self.window is not None:
            tokens = tokens[-max(self.window - sampling.max_tokens, 1) :]
        room = sampling.max_tokens if self.window is None else self.window - len(tokens)
        limit = max(0, min(sampling.max_tokens, room)) if tokens else 0
        draws = uniforms(sampling.seed, prompt.prompt_id, sample, limit if sampling.temperature else 0)
        return Row(tokens=tokens, limit=limit, uniforms=draws)

    def _decode(
        self, rows: dict[tuple[int, int], Row], sampling: Sampling
    ) -> Iterator[tuple[tuple[int, int], Written]]:
        keys = list(rows)
        ends = self.end_tokens | self._special(sampling.stop)
        ending = Ending(tokens=ends, string_met=self._stop_finder(sampling.stop))
        asked, temperature = list(rows.values()), sampling.temperature
        if self.engine is not None:
            found = engine.decode(
                self.engine, asked, temperature=temperature, stop=sampling.stop, ending=ending
            )
        else:
            found = decode(
                self.network,
                asked,
                slots=self.batch_size,
                temperature=temperature,
                ending=ending,
                shares=not self.no_sharing,
            )
        return ((keys[number], written) for number, written in found)

    def _completion(
        self, prompt: Prompt, rendered: str, row: Row, written: Written | None, sample: int
    ) -> Completion:
        text, stop, detail, spent = "", Stop.FAILED, self._no_room(row), 0
        if written is not None and written.stop is Stop.FAILED:
            detail = f"after {len(written.tokens)} tokens the model's probabilities were not numbers (NaN)"
        elif written is not None:
            ended = written.stop is Stop.END and not written.met
            text = self._text(written.tokens[:-1] if ended else written.tokens)
            text = text[: text.index(written.met)] if written.met else text
            text = text.strip() if prompt.messages else text
            stop, detail, spent = written.stop, written.met, len(written.tokens)
            if stop is Stop.LENGTH and self.window is not None and len(row.tokens) + spent == self.window:
                detail = f"the context window of {self.window} tokens was full"
        return Completion(
            prompt_id=prompt.prompt_id,
            sample=sample,
            model=self.name,
            rendered=rendered,
            text=text,
            stop=stop,
            detail=detail,
            tokens_in=len(row.tokens),
            tokens_out=spent,
        )

    def _no_room(self, row: Row) -> str:
        if not row.tokens:
            return "the prompt has no tokens"
        return f"the prompt has {len(row.tokens)} tokens and the context window {self.window}"

    def _text(self, tokens: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def _special(self, strings: tuple[str, ...]) -> frozenset[int]:
        """Return the special tokens among some stop strings: they never stand in the text."""
        added = self.tokenizer.added_tokens_decoder.items()
        return frozenset(token for token, one in added if one.special and one.content in strings)

    def _stop_finder(self, strings: tuple[str, ...]) -> Callable[[list[int]], str]:
        """Return the function that finds the first stop string in what was written so far.

        Decoding all tokens at every step would be slow, so it is done only after a token whose own text holds the last
        character of a stop string, or only part of a character.
        """
        if not strings:
            return lambda tokens: ""
        last = {string[-1] for string in strings}
        spaced = any(character.isspace() for character in last)
        known: dict[int, bool] = {}

        def find(tokens: list[int]) -> str:
            token = tokens[-1]
            if token not in known:
                piece = self._text([token])
                # Decoders may add or drop the space between two tokens: such a stop string is looked for always.
                known[token] = spaced or "\ufffd" in piece or any(character in piece for character in last)
            if not known[token]:
                return ""
            text = self._text(tokens)
            met = [(text.index(string), string) for string in strings if string in text]
            return min(met)[1] if met else ""

        return find

    def _asks(self, requests: Sequence[Continuation]) -> tuple[list[prefix.Ask], list[int]]:
        """Return the requests as tokens, and how many first tokens each has lost."""
        # The choices of a question have their prompt in common, and tokenizing takes time.
        alike = {_place(request.prompt): request.prompt for request in requests}
        before = {place: render_prompt(self.tokenizer, prompt) for place, prompt in alike.items()}
        heads = dict(zip(alike, encode(self.tokenizer, [*alike.values()], [*before.values()]), strict=True))
        wholes = [self._whole(request, before[_place(request.prompt)]) for request in requests]
        coded = encode(self.tokenizer, [request.prompt for request in requests], wholes)
        asks, cuts = [], []
        for request, whole in zip(requests, coded, strict=True):
            prompt = request.prompt
            tokens, start = self._parted(prompt, heads[_place(prompt)], whole)
            if self.window is not None and len(tokens) > self.window and not request.exact:
                raise ModelError(
                    f"{self.name}: prompt {prompt.prompt_id!r} and its continuation have {len(tokens)} tokens, and the "
                    f"context window has {self.window}. Shorten the prompt or its shots, or take another model."
                )
            # The last token is not read, only looked for; the first has nothing before it, so it has no probability.
            cut = 0 if self.window is None else max(len(tokens) - self.window - 1, 0)
            asks.append(prefix.Ask(tokens=tuple(tokens[cut:]), start=max(start - cut, 1)))
            cuts.append(cut)
        return asks, cuts

    def _whole(self, request: Continuation, before: str) -> str:
        """Return a prompt and its continuation as the model sees them; `before` is the prompt alone."""
        prompt, text = request.prompt, request.continuation
        if prompt.messages:
            reply = Message(role="assistant", content=text)
            return render(self.tokenizer, (*prompt.messages, reply), generate=False)
        parted = request.exact or not prompt.text or prompt.text[-1].isspace() or text[:1].isspace()
        return before + ("" if parted else " ") + text

    def _parted(self, prompt: Prompt, head: list[int], tokens: list[int]) -> tuple[list[int], int]:
        """Return the tokens of prompt and continuation, and how many of them are the prompt's.

        Args:
            prompt: The prompt.
            head: Its tokens alone.
            tokens: Those of both, written as one.
        """
        start = prefix.common(head, tokens)
        if prompt.messages:
            # What a template writes after the end token is not the model's.
            ends = [place for place in range(start, len(tokens)) if tokens[place] in self.end_tokens]
            tokens = tokens[: ends[-1] + 1] if ends else tokens
        return tokens, start


def _place(prompt: Prompt) -> tuple[str, tuple[Message, ...]]:
    return prompt.text, prompt.messages


def load(
    ref: ModelRef,
    *,
    batch_size: int = 64,
    precision: Literal["fp32", "bf16"] = "fp32",
    by: Literal["transformers", "vllm"] = "transformers",
) -> LocalModel:
    """Load a checkpoint folder, from disk alone and without running code that it brings.

    Raises:
        ModelError: The folder is not a checkpoint of a causal language model with its tokenizer, or lacks weights.
    """
    # Said outright: left open, transformers may ask at the terminal whether to run a checkpoint's code.
    alone = {"local_files_only": True, "trust_remote_code": False}
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    try:
        tokenizer = AutoTokenizer.from_pretrained(ref.path, **alone)
        network, loading = AutoModelForCausalLM.from_pretrained(
            ref.path, dtype=dtype, output_loading_info=True, **alone
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"{ref.name}: {ref.path} cannot be loaded as a causal language model with its tokenizer: {error}. "
            "A folder as written by transformers' `save_pretrained` is wanted (config.json, model.safetensors, "
            "tokenizer.json); no code that it brings is run."
        ) from error
    if missing := sorted(loading["missing_keys"]):
        raise ModelError(
            f"{ref.name}: {ref.path} lacks {len(missing)} weights ({', '.join(missing[:3])}), which would be random, "
            "and so would its answers. Save the whole model with `save_pretrained`."
        )
    return LocalModel(
        name=ref.name,
        tokenizer=tokenizer,
        network=network.to(_device()).eval().requires_grad_(False),
        batch_size=batch_size,
        engine=engine.load(ref.name, ref.path, precision) if by == "vllm" else None,
    )


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
