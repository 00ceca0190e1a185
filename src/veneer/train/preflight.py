"""Preflight: would this model be broken by its own set-up? Looked at before training and on what training wrote."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from veneer.errors import ModelError, PreflightError
from veneer.models.encode import tokens_of, turn_end, turn_start
from veneer.models.render import encode_rendered, render
from veneer.records import Message

PROBES = 8
"""How many conversations are looked at."""

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


def look(tokenizer: Any, conversations: Sequence[Conversation], vocabulary: int) -> list[Finding]:
    """Return what every check finds about a tokenizer and its template.

    Args:
        tokenizer: The model's.
        conversations: What it is to be trained on; the first few are looked at.
        vocabulary: How many tokens the model has an embedding for.
    """
    patient = Patient(tokenizer=tokenizer, conversations=conversations[:PROBES], vocabulary=vocabulary)
    first = _finding("the template renders", _renders, patient)
    if not first.passed:
        return [first]
    return [first, *(_finding(name, check, patient) for name, check in CHECKS.items())]


def look_at_checkpoint(folder: Path, conversations: Sequence[Conversation]) -> list[Finding]:
    """Return what every check finds about a finished checkpoint, loaded as anybody would load it."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    found = look(tokenizer, conversations, model.get_input_embeddings().num_embeddings)
    broken = sorted(
        name for name, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())
    )
    found.append(
        _verdict(
            "the weights are numbers",
            f"not so in {', '.join(broken[:3])}; lower train.recipe.learning_rate." if broken else "",
        )
    )
    stops = stop_ids(model.generation_config)
    wrong = (
        f"generation stops at the tokens {sorted(stops)}, and training ends a turn with {tokenizer.eos_token_id}; "
        "name that one in generation_config.json."
    )
    found.append(
        _verdict("generation stops where training does", "" if tokenizer.eos_token_id in stops else wrong)
    )
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


def _renders(patient: Patient) -> str:
    for conversation in patient.conversations:
        render(patient.tokenizer, conversation, generate=False)
        render(patient.tokenizer, conversation[:-1], generate=True)
    return ""


def _has_stop(patient: Patient) -> str:
    if patient.tokenizer.eos_token_id is None:
        return "the tokenizer has no `eos_token`: no answer could end. Set it to the token that ends a turn."
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
            start = len(encode_rendered(patient.tokenizer, before))
            turn_end(patient.tokenizer, conversation, place, whole, start)
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


def _fits_vocabulary(patient: Patient) -> str:
    if len(patient.tokenizer) > patient.vocabulary:
        return (
            f"the tokenizer knows {len(patient.tokenizer)} tokens and the model has embeddings for "
            f"{patient.vocabulary}. Resize the model's embeddings, or use the tokenizer that it was made with."
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
    "the beginning stands once": _begins_once,
    "every token has an embedding": _fits_vocabulary,
}
BEARABLE = frozenset({"there is a padding token"})
"""Checks that may fail: training here and answering here mind padding themselves."""
