"""The dry run: every file is read, every prompt built, every model, key and extra looked for, and nothing is made."""

import importlib.util
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from veneer import absent
from veneer.amounts import prefixes
from veneer.benchmarks import items, sandbox
from veneer.collect import queries, synthesis
from veneer.disk import read_rows
from veneer.errors import VeneerError
from veneer.evaluate import answer
from veneer.evaluate.answer import Sheet
from veneer.forecast import unready
from veneer.models.render import encode, render_prompt
from veneer.planning import Training
from veneer.records import Message
from veneer.study import Study
from veneer.study_data import ModelSpec, SourceSpec
from veneer.study_train import TokensSpec, TrainSpec
from veneer.train import preflight
from veneer.train.ladder import amount_name
from veneer.train.learner import dress

PROBE = (
    Message(role="user", content="What is the capital of France?"),
    Message(role="assistant", content="The capital of France is Paris."),
)
"""What a tokenizer is tried with before there is imitation data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A mistake that was found."""

    where: str
    message: str
    """What was found and what to do."""
    stops: bool = True
    """Whether it would stop the run, or make it measure a fault of the set-up."""


def findings(study: Study, prepared: Mapping[str, Path], training: Training | None) -> list[Finding]:
    """Return what is wrong with a study, as far as can be told before anything is made.

    Args:
        study: With items for every task.
        prepared: The imitation data of each source that is there already.
        training: What its training takes; None where nothing is trained.
    """
    found = [Finding(where="keys", message=reason) for reason in unready(study)]
    found += _files(study)
    found += _extras(study)
    sheets = [] if found else answer.sheets(study.evaluate, 1, scored=True)
    for name, spec in _checkpoints(study).items():
        found += _checkpoint(name, spec, study.train if name in study.bases else None, sheets)
    if study.train and study.collect:
        found += _too_little(study, study.train, prepared)
    if training:
        found += _room(training)
    return found


def _files(study: Study) -> Iterator[Finding]:
    """Read every file of questions, and try the sandbox where programs are run."""
    for name, source in (study.collect.sources if study.collect else {}).items():
        if source.queries or source.benchmark:
            yield from _tried(f"collect.sources.{name}", queries.of, source, study.evaluate.benchmarks)
        elif source.synthesis:
            yield from _tried(f"collect.sources.{name}", synthesis.expected, source.synthesis)
    if study.evaluate.prompts:
        yield from _tried("evaluate.prompts", items.load_prompts, study.evaluate.prompts)
    for name, spec in study.evaluate.benchmarks.items():
        where = f"evaluate.benchmarks.{name}"
        wrong = list(_tried(where, items.load, name, spec))
        yield from wrong
        if not wrong and any(item.program for item in items.load(name, spec).items) and sandbox.why_not():
            yield Finding(where=where, message=sandbox.why_not())


def _tried(where: str, read: Callable[..., Any], *arguments: Any) -> Iterator[Finding]:
    try:
        read(*arguments)
    except VeneerError as error:
        yield Finding(where=where, message=str(error))


def _extras(study: Study) -> Iterator[Finding]:
    """Look for the packages that only some studies need."""
    sources = study.collect.sources.values() if study.collect else ()
    recipe, hardware = (study.train.recipe, study.train.hardware) if study.train else (None, None)
    hub = any(one.hub or any(each.hub for each in one.recorded) for one in sources)
    toxic = any(
        spec.grading == "toxicity" and spec.toxicity.classifier == "profanity-check"
        for spec in study.evaluate.benchmarks.values()
    )
    wanted = {
        "datasets": ("hub", hub, "a source on the hub"),
        "profanity_check": ("toxicity", toxic, "the grading `toxicity`"),
        "starlette": ("rate", "people" in study.raters, "`rate.people`"),
        "vllm": ("vllm", study.evaluate.engine == "vllm", "`evaluate.engine: vllm`"),
        "sentence_transformers": ("embeddings", study.analyze.embeddings is not None, "`analyze.embeddings`"),
        "bitsandbytes": ("", bool(recipe and recipe.method == "qlora"), "`train.recipe.method: qlora`"),
    }
    wanted |= dict.fromkeys(hardware.trackers if hardware else (), ("", True, "`train.hardware.trackers`"))
    for package, (extra, needed, why) in wanted.items():
        if needed and not importlib.util.find_spec(package):
            name = f"'veneer[{extra}]'" if extra else package
            yield Finding(where="packages", message=f"{why} needs `{package}`: pip install {name}")


def _checkpoints(study: Study) -> dict[str, ModelSpec]:
    every = {**study.judges_own, study.teacher.name: study.teacher, **study.students, **study.bases}
    return {name: spec for name, spec in every.items() if spec.checkpoint}


def _checkpoint(
    name: str, spec: ModelSpec, train: TrainSpec | None, sheets: list[Sheet]
) -> Iterator[Finding]:
    """Look at a checkpoint: its config, weights, tokenizer and template, and whether prompts fit its window."""
    assert spec.checkpoint is not None
    folder = spec.checkpoint
    if absent.of(folder):
        yield Finding(
            where=name,
            message="its weights were left out of the export that it came in: what it has answered is there, and it "
            "can be asked nothing new.",
            stops=False,
        )
    elif missing := _missing_weights(folder):
        yield Finding(where=name, message=missing)
    try:
        config = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        ).get_text_config()
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        said = " ".join(str(error).split())[:160]
        yield Finding(
            where=name,
            message=f"{folder}: its config or its tokenizer cannot be read ({said}). Put both there whole, as "
            "`save_pretrained` writes them.",
        )
        return
    new = dress(tokenizer, train.recipe.tokens if train else TokensSpec())
    window = getattr(config, "max_position_embeddings", None)
    chats = any(sheet.form == "chat" for sheet in sheets) or train
    if chats and not tokenizer.chat_template:
        yield Finding(
            where=name,
            message="its tokenizer brings no chat template: it is asked, and trained, in Veneer's own. Right for a "
            "base that never chatted; for any other, put its template into chat_template.jinja beside the tokenizer.",
            stops=False,
        )
    if train:
        # Embeddings grow with the recipe's own tokens.
        grown = max(tokenizer.get_vocab().values()) + 1 if new else 0
        vocabulary = max(config.vocab_size, grown)
        for one in preflight.look(tokenizer, [PROBE], vocabulary):
            if not one.passed:
                yield Finding(where=name, message=f"{one.check}? {one.message}", stops=one.fatal)
        if window and train.recipe.packing and train.recipe.max_length > window:
            yield Finding(
                where=name,
                message=f"train.recipe.max_length is {train.recipe.max_length:,}, and it has {window:,} positions: "
                f"its rows have {window:,} tokens.",
                stops=False,
            )
    if window:
        yield from _too_long(name, tokenizer, sheets, window)


def _missing_weights(folder: Path) -> str:
    """Return which weights are not there; nothing if all are."""
    wanted = "Put the weights beside config.json before the run; a plan does without."
    for index in folder.glob("*.index.json"):
        try:
            files = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            return f"{index}: cannot be read ({error!r}). {wanted}"
        if missing := sorted(file for file in files if not (folder / file).exists()):
            return f"{folder}: lacks {missing[0]} ({len(missing)} of {len(files)} files of weights). {wanted}"
        return ""
    if any(folder.glob("*.safetensors")) or any(folder.glob("*.bin")):
        return ""
    return f"{folder}: holds no weights. {wanted}"


def _too_long(name: str, tokenizer: Any, sheets: Iterable[Sheet], window: int) -> Iterator[Finding]:
    """Build every prompt; say where prompt and completion together are longer than a model's window."""
    for sheet in sheets:
        room = window - (0 if sheet.form == "choose" else answer.drawn(sheet).max_tokens)
        try:
            built = [
                (prompt, render_prompt(tokenizer, prompt)) for prompt in sheet.benchmark.prompts(sheet.form)
            ]
        except VeneerError as error:
            yield Finding(where=name, message=f"{sheet.benchmark.name} ({sheet.form}): {error}")
            continue
        # No token is less than a byte: what has fewer bytes than there is room needs no tokenizer.
        long = [(prompt, text) for prompt, text in built if len(text.encode("utf-8", "replace")) >= room]
        tokens = encode(tokenizer, [prompt for prompt, _ in long], [text for _, text in long])
        if many := sum(len(ids) > room for ids in tokens):
            yield Finding(
                where=name,
                message=f"{sheet.benchmark.name} ({sheet.form}): {many:,} of {len(built):,} prompts leave no room for "
                f"the completion in a window of {window:,} tokens, the longest has {max(map(len, tokens)):,}: their "
                "beginnings are cut. Name fewer shots or max_tokens, or a model with a longer window.",
                stops=False,
            )


def _too_little(study: Study, train: TrainSpec, prepared: Mapping[str, Path]) -> Iterator[Finding]:
    """Say which sources cannot have the largest amount: counted where data is there, else by the most there can be."""
    assert study.collect is not None
    largest = train.amounts[-1]
    for name in study.imitated:
        if name in prepared:
            tokens = [row["tokens"] for _, row in read_rows(prepared[name] / "examples.jsonl")]
            if prefixes(tokens, train.amounts) is None:
                yield _lacks(name, f"has {sum(tokens):,} tokens", largest)
        elif (source := study.collect.sources.get(name)) and (most := _most(study, source)) < largest:
            yield _lacks(
                name, f"can have {most:,.0f} tokens at most, if every answer is as long as it may be", largest
            )


def _lacks(name: str, has: str, largest: int) -> Finding:
    return Finding(
        where=f"collect.sources.{name}",
        message=f"{has}, and train.amounts asks for {amount_name(largest)}. Name more queries, a higher max_tokens, or "
        "a smaller amount.",
    )


def _most(study: Study, source: SourceSpec) -> float:
    """Return the most tokens that a source can have; infinity where that is not known."""
    if not study.collect or not (source.queries or source.benchmark):
        return float("inf")
    try:
        asked = queries.of(source, study.evaluate.benchmarks)
    except VeneerError:
        return float("inf")  # It is a finding already.
    # A token of a query is a byte at least; a template may add a few dozen.
    return sum(
        len(query.text.encode("utf-8", "replace")) + study.collect.sampling.max_tokens + 64 for query in asked
    )


def _room(training: Training) -> Iterator[Finding]:
    """Say what does not fit the devices' memory, or the disk."""
    for plan in training.bases:
        if not training.fits(plan):
            yield Finding(
                where=plan.base,
                message=f"a device holds {training.held(plan):,.0f} GB in its training, and {training.machine.name} "
                f"has {training.machine.memory_gb:,.0f}: lower train.hardware.micro_tokens, set "
                "gradient_checkpointing, share the weights out (train.hardware.accelerate with FSDP), or take "
                "optimizer: adafactor or method: lora.",
            )
    if training.disk > training.free:
        yield Finding(
            where="disk",
            message=f"students and saved states take {training.disk / 1e9:,.0f} GB, and {training.free / 1e9:,.0f} are "
            "free: make room, or put the study file on a larger disk.",
        )
