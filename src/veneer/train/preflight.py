"""Preflight: would this model be broken by its own set-up? Looked at before training and on what training wrote."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from veneer.errors import ModelError, PreflightError
from veneer.models.encode import tokens_of, turn_end, turn_start
from veneer.models.render import encode_rendered, render
from veneer.records import Message

PROBES = 8
"""How many conversations are looked at; among them is the first of each shape."""

Conversation = Sequence[Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found."""

    check: str
    passed: bool
    fatal: bool
    """Whether training or scoring would measure the fault; False where it passed."""
    message: str
    """What was found and how to mend it; empty where it passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What is looked at."""

    tokenizer: Any
    conversations: Sequence[Conversation]
    vocabulary: int
    """How many tokens the model has an embedding for."""
    head: int | None
    """How many tokens its output layer can give a chance to; None if that is not known."""


def probes(conversations: Sequence[Conversation]) -> list[Conversation]:
    """Return what is looked at: the first conversation of each shape, so that no role is missed, then the first."""
    shapes: dict[tuple[str, bool], int] = {}
    for place, conversation in enumerate(conversations):
        shapes.setdefault((conversation[0].role, len(_assistant_turns(conversation)) > 1), place)
    chosen = dict.fromkeys([*shapes.values(), *range(min(PROBES, len(conversations)))])
    return [conversations[place] for place in sorted(list(chosen)[:PROBES])]


def look(
    tokenizer: Any, conversations: Sequence[Conversation], vocabulary: int, *, head: int | None = None
) -> list[Finding]:
    """Return what every check finds about a tokenizer and its template.

    Args:
        tokenizer: The model's.
        conversations: What it is to be trained on; a few are looked at.
        vocabulary: How many tokens the model has an embedding for.
        head: How many tokens the model's output layer can give a chance to, if that is known.
    """
    patient = Patient(
        tokenizer=tokenizer, conversations=probes(conversations), vocabulary=vocabulary, head=head
    )
    first = _finding("the template renders", _renders, patient)
    if not first.passed:
        return [first]
    return [first, *(_finding(name, check, patient) for name, check in CHECKS.items())]


def look_at_checkpoint(
    folder: Path,
    conversations: Sequence[Conversation],
    *,
    expected: Sequence[Sequence[int]] | None = None,
) -> list[Finding]:
    """Return what every check finds about a finished checkpoint, loaded as anybody would load it.

    Args:
        folder: The checkpoint.
        conversations: What it was trained on; a few are looked at.
        expected: The tokens of the first conversations, in order, as the tokenizer that trained it renders them
            (`veneer.models.encode.tokens_of`). Without them nothing is found about their agreement.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model, loading = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        wrong = (
            f"transformers cannot load it: {error} Save the model and its tokenizer whole with `save_pretrained`; the "
            "embeddings and the output layer must be as long as config.json says."
        )
        return [_verdict("the checkpoint loads", wrong)]
    output = model.get_output_embeddings()
    head = None if output is None else int(output.weight.shape[0])
    found = [_verdict("the checkpoint loads", "")]
    found += look(tokenizer, conversations, model.get_input_embeddings().num_embeddings, head=head)
    found += [
        _verdict("the checkpoint holds every weight", _missing(loading["missing_keys"])),
        _verdict("the weights are numbers", _no_numbers(model)),
        _verdict("generation stops where training does", _stops_elsewhere(model, tokenizer)),
        _verdict("generation pads with no stop token", _pads_with_stop(model, tokenizer)),
    ]
    if expected is not None:
        differs = _differs(tokenizer, conversations, expected)
        found.append(_verdict("the checkpoint renders as training did", differs))
    return found


def refuse(findings: Sequence[Finding], who: str) -> None:
    """Raise if a finding is fatal.

    Raises:
        PreflightError: With everything fatal that was found.
    """
    if fatal := [finding for finding in findings if finding.fatal]:
        lines = [f"  {finding.check}? {finding.message}" for finding in fatal]
        raise PreflightError(f"{who}: training would measure a fault of the set-up:\n" + "\n".join(lines))


def stop_ids(generation: Any) -> set[int]:
    """Return the token ids at which generation stops, as a generation config has them: one, several or none."""
    ids = generation.eos_token_id
    if ids is None:
        return set()
    return set(ids) if isinstance(ids, list | tuple) else {ids}


def _finding(name: str, check: Callable[[Patient], str], patient: Patient) -> Finding:
    try:
        return _verdict(name, check(patient))
    except (PreflightError, ModelError) as error:
        return _verdict(name, str(error))


def _verdict(name: str, message: str) -> Finding:
    return Finding(
        check=name, passed=not message, fatal=bool(message) and name not in BEARABLE, message=message
    )


def _missing(names: set[str]) -> str:
    if not names:
        return ""
    return (
        f"{', '.join(sorted(names)[:3])} ({len(names)} in all) are missing, and transformers puts random numbers in "
        "their place. Save the whole model with `save_pretrained`, adapters merged; if the output layer is missing, "
        "`tie_word_embeddings` in config.json must say what the model does."
    )


def _no_numbers(model: Any) -> str:
    broken = sorted(
        name for name, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())
    )
    return f"not so in {', '.join(broken[:3])}; lower train.recipe.learning_rate." if broken else ""


def _stops_elsewhere(model: Any, tokenizer: Any) -> str:
    stops = stop_ids(model.generation_config)
    if tokenizer.eos_token_id in stops:
        return ""
    return (
        f"generation stops at the tokens {sorted(stops)}, and training ends a turn with {tokenizer.eos_token_id}; "
        "name that one in generation_config.json."
    )


def _pads_with_stop(model: Any, tokenizer: Any) -> str:
    pad = model.generation_config.pad_token_id
    if pad is None or pad not in stop_ids(model.generation_config):
        return ""
    own = tokenizer.pad_token_id
    better = "another" if own in stop_ids(model.generation_config) else f"the tokenizer's ({own})"
    return (
        f"generation_config.json pads with token {pad}, which is a stop token: whoever drops padding from an answer "
        f"cannot tell whether it ended. Set its `pad_token_id` to {better}, or to none."
    )


def _differs(tokenizer: Any, conversations: Sequence[Conversation], expected: Sequence[Sequence[int]]) -> str:
    """Return where the saved tokenizer and template give other tokens than those that were trained on."""
    for number, (conversation, trained) in enumerate(zip(conversations, expected, strict=False), 1):
        try:
            saved = tokens_of(tokenizer, conversation)
        except ModelError as error:
            return str(error)
        if saved == list(trained):
            continue
        pairs = enumerate(zip(saved, trained, strict=False))
        start = next((at for at, (one, other) in pairs if one != other), min(len(saved), len(trained)))
        was, now = list(trained[start : start + 8]), saved[start : start + 8]
        return (
            f"from token {start + 1} of conversation {number} on, training saw {tokenizer.decode(was)!r} ({was}), and "
            f"the saved tokenizer writes {tokenizer.decode(now)!r} ({now}). Save the tokenizer that trained, its chat "
            "template included, beside the weights."
        )
    return ""


def _renders(patient: Patient) -> str:
    if not patient.conversations:
        return "there is no conversation to look at. Give it what it is to be trained on."
    for conversation in patient.conversations:
        render(patient.tokenizer, conversation, generate=False)
        render(patient.tokenizer, conversation[:-1], generate=True)
    return ""


def _has_stop(patient: Patient) -> str:
    tokenizer = patient.tokenizer
    if tokenizer.eos_token_id is None:
        return "the tokenizer has no `eos_token`: no answer could end. Set it to the token that ends a turn."
    # A word outside the vocabulary becomes the unknown token: every unknown word would then be a stop.
    if (meant := tokenizer.convert_ids_to_tokens(tokenizer.eos_token_id)) != tokenizer.eos_token:
        return (
            f"the tokenizer's `eos_token` is {tokenizer.eos_token!r}, which it does not know and reads as {meant!r}. "
            "Set it to a token of the vocabulary: the one that ends a turn."
        )
    return ""


def _has_pad(patient: Patient) -> str:
    if patient.tokenizer.pad_token_id is None:
        return (
            "the tokenizer has no `pad_token`; other programs will choose one, often the stop token. Set one."
        )
    return ""


def _stop_is_not_pad(patient: Patient) -> str:
    tokenizer = patient.tokenizer
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id == tokenizer.pad_token_id:
        return (
            f"stop token and padding are both {tokenizer.eos_token!r}: whatever masks padding masks the stop, and the "
            "student never learns to end. Give the tokenizer a `pad_token` of its own; any unused token will do."
        )
    return ""


def _begins_as_generation(patient: Patient) -> str:
    for conversation in patient.conversations:
        whole = tokens_of(patient.tokenizer, conversation)
        for place in _assistant_turns(conversation):
            turn_start(patient.tokenizer, conversation, place, whole)
    return ""


def _ends_with_stop(patient: Patient) -> str:
    for conversation in patient.conversations:
        whole = tokens_of(patient.tokenizer, conversation)
        for place in _assistant_turns(conversation):
            before = render(patient.tokenizer, conversation[:place], generate=True)
            ids = encode_rendered(patient.tokenizer, before)
            if whole[: len(ids)] != ids:
                # Where the turn begins is unknown, and another check says why: what is behind it cannot be told.
                continue
            turn_end(patient.tokenizer, conversation, place, whole, len(ids))
            if wrong := _stops_early(patient.tokenizer, conversation, place, before):
                return wrong
    return ""


def _stops_early(tokenizer: Any, conversation: Conversation, place: int, before: str) -> str:
    """Return what is wrong if the turn's last stop token stands before the end of the assistant's words.

    `turn_end` takes the last stop token for the turn's end, and an answer may hold that token itself.
    """
    words = conversation[place].content.strip()
    turn = render(tokenizer, conversation[: place + 1], generate=False).removeprefix(before)
    # A template may write the words otherwise than they are; then there is nothing to look behind.
    if words not in turn or tokenizer.eos_token in turn[turn.index(words) + len(words) :]:
        return ""
    return (
        f"the stop token {tokenizer.eos_token!r} stands before the end of the assistant's words and not behind them: "
        "what comes after it lies outside the loss, and the model would learn to stop too early. Mend the chat "
        "template to write the stop token behind the words."
    )


def _opens_the_answer(patient: Patient) -> str:
    tokenizer = patient.tokenizer
    for conversation in patient.conversations:
        for place in _assistant_turns(conversation):
            before = render(tokenizer, conversation[:place], generate=True).rstrip()
            if tokenizer.eos_token and before.endswith(tokenizer.eos_token):
                return (
                    f"the generation render ends with the stop token: {before[-60:]!r}. The model is asked to answer "
                    "after the end, and would learn to write the opening of its own turn, if there is one. Mend the "
                    "chat template: with `add_generation_prompt` it must write what opens the assistant's turn."
                )
    return ""


def _begins_once(patient: Patient) -> str:
    bos = patient.tokenizer.bos_token_id
    for conversation in patient.conversations:
        if bos is not None and tokens_of(patient.tokenizer, conversation)[:2] == [bos, bos]:
            return (
                f"a conversation begins with {patient.tokenizer.bos_token!r} twice. Let the chat template write it "
                "once; nothing is added to what the template writes."
            )
    return ""


def _begins_once_elsewhere(patient: Patient) -> str:
    tokenizer = patient.tokenizer
    bos = tokenizer.bos_token_id
    for conversation in patient.conversations:
        rendered = render(tokenizer, conversation, generate=False)
        own = encode_rendered(tokenizer, rendered)[:2]
        if bos is not None and own != [bos, bos] and tokenizer(rendered)["input_ids"][:2] == [bos, bos]:
            return (
                f"the chat template writes {tokenizer.bos_token!r} and the tokenizer adds another: Veneer adds none, "
                "but other programs that tokenize the rendering will double it. Let them tokenize it with "
                "`add_special_tokens=False`; or load the tokenizer with `add_bos_token=False` and save it, if plain "
                "text is to begin without it too."
            )
    return ""


def _fits_vocabulary(patient: Patient) -> str:
    # Ids may have gaps, so the highest counts and not how many there are.
    token, highest = max(patient.tokenizer.get_vocab().items(), key=lambda item: item[1])
    mend = "Resize the model's embeddings and its output layer, or use the tokenizer that it was made with."
    if highest >= patient.vocabulary:
        return (
            f"the tokenizer's token {token!r} has the id {highest}, and the model has embeddings for "
            f"{patient.vocabulary} tokens. {mend}"
        )
    if patient.head is not None and highest >= patient.head:
        return (
            f"the tokenizer's token {token!r} has the id {highest}, and the model's output layer has "
            f"{patient.head} tokens, though there are {patient.vocabulary} embeddings: the two are not tied. {mend}"
        )
    return ""


def _assistant_turns(conversation: Conversation) -> list[int]:
    return [place for place, message in enumerate(conversation) if message.role == "assistant"]


CHECKS: dict[str, Callable[[Patient], str]] = {
    "there is a stop token": _has_stop,
    "there is a padding token": _has_pad,
    "the stop token is not the padding": _stop_is_not_pad,
    "training begins as generation does": _begins_as_generation,
    "a turn ends with the stop token, inside the loss": _ends_with_stop,
    "the assistant is asked before the end": _opens_the_answer,
    "the beginning stands once": _begins_once,
    "the beginning stands once elsewhere": _begins_once_elsewhere,
    "every token has an embedding": _fits_vocabulary,
}
BEARABLE = frozenset(
    {
        "there is a padding token",
        "the beginning stands once elsewhere",
        "generation pads with no stop token",
    }
)
"""Checks that may fail: training here and answering here pad and begin by themselves, so neither measures the fault."""
