"""What a server's reply means: an answer, something to try again, or a failure; some end the run at once."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from veneer.errors import ModelError
from veneer.models.journal import Answer
from veneer.models.limits import retry_after
from veneer.models.wire import Reply
from veneer.records import Stop
from veneer.study_data import EndpointSpec

TRY_AGAIN = frozenset({408, 409, 425, 429})
ENDED = frozenset({"stop", "eos", "eos_token", "stop_sequence"})
CUT = frozenset({"length", "max_tokens"})
WITHHELD = frozenset({"safety", "recitation", "blocklist", "prohibited_content", "spii"})
"""What Gemini says where others say `content_filter`."""
NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
FILTERED = ("content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation")
QUOTED = 300
"""Characters of a server's words that are quoted."""
MOST_TOKENS = 10**12
"""A larger count is no count; the journal could not hold every integer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """No answer yet: to be tried again."""

    reason: str
    after: float | None = None
    """Seconds that the server wants to be left alone, and everybody with it."""
    busy: bool = False
    """Whether it was turned away for the number of requests, whatever it asks."""
    charged: bool = False
    """Whether the attempt may have been paid for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """No answer in this run: the server will not have this request."""

    reason: str


def read(reply: Reply, endpoint: EndpointSpec) -> Answer | Retry | Failure:
    """Return what a reply means; an answer's cost is left open.

    Raises:
        ModelError: No request can succeed: the key is refused, the model unknown, the account empty.
    """
    body = _parsed(reply.body)
    if reply.status == 200:
        return _answer(body, reply, endpoint)
    code, said = _error(body, reply, endpoint)
    if reply.status == 401:
        raise ModelError(
            f"{endpoint.url} refuses the key (status 401: {said}). "
            f"Look at {'the environment variable ' + endpoint.key if endpoint.key else '`key` in the endpoint'}."
        )
    if code == "model_not_found" or (reply.status == 404 and "model" in said.lower()):
        raise ModelError(f"{endpoint.url} does not know the model {endpoint.model!r} ({said}). Mend `model`.")
    if reply.status == 404:
        raise ModelError(
            f"{endpoint.url} has no such address (404: {said}). Mend `url`: it often ends in /v1."
        )
    if code in NO_MONEY or reply.status == 402:
        raise ModelError(f"{endpoint.url}: the account cannot pay ({said}). What was answered is kept.")
    if reply.status in (400, 403) and (
        _is_flagged(body) or any(word in code or word in said for word in FILTERED)
    ):
        return Answer(
            text="",
            stop=Stop.REFUSED,
            detail=said,
            tokens_in=0,
            tokens_out=0,
            model=endpoint.model,
            cost=None,
            # Azure charges for what its filter stopped: https://learn.microsoft.com/azure/ai-services/openai/ under
            # "manage costs", where the same is said of 408.
            counted=False,
        )
    if reply.status in TRY_AGAIN or reply.status >= 500:
        pause = retry_after(reply.headers, now=time.time()) if reply.status in (429, 503) else None
        return Retry(
            reason=f"status {reply.status}: {said}",
            after=pause,
            busy=reply.status == 429 or pause is not None,
            charged=reply.status == 408,
        )
    if reply.status == 403:
        # One request that is forbidden is not a key that is: if all are, the asking ends for want of answers.
        return Failure(reason=f"status 403, said of a key or of a request that is not allowed: {said}")
    return Failure(reason=f"status {reply.status}: {said}")


def _answer(body: Any, reply: Reply, endpoint: EndpointSpec) -> Answer | Retry | Failure:
    """Return what a reply of status 200 holds; whatever is not whole is tried again, never taken for text.

    A reply that does not say why it ended is not whole, be it of chat or of plain completions: it may have been cut
    anywhere. There are old servers of plain completions that never say it; they cannot be used.
    """
    if not isinstance(body, Mapping):
        return Retry(reason="the reply is no JSON object", charged=True)
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        said = f", but an error: {_error(body, reply, endpoint)[1]}" if body.get("error") else ""
        return Retry(reason=f"the reply has no choices{said}", charged=True)
    choice = choices[0]
    message = choice.get("message") if endpoint.api == "chat" else choice
    if not isinstance(message, Mapping):
        return Retry(reason="the reply has no message", charged=True)
    text = message.get("content" if endpoint.api == "chat" else "text")
    reason, refusal = choice.get("finish_reason"), message.get("refusal")
    end = reason.lower() if isinstance(reason, str) else ""
    usage = body.get("usage") if isinstance(body.get("usage"), Mapping) else {}
    assert isinstance(usage, Mapping)
    version = f"{body.get('model') or endpoint.model} {body.get('system_fingerprint') or ''}".strip()
    if end.startswith("content_filter") or end in WITHHELD or (isinstance(refusal, str) and refusal):
        stop, detail = Stop.REFUSED, str(refusal or reason)
    elif end in CUT and text is None:
        stop, detail = Stop.LENGTH, ""  # A model that thinks aloud was cut before its first word.
    elif not isinstance(text, str):
        return Retry(
            reason=clean(f"the reply has no text (finish_reason {reason!r})", endpoint), charged=True
        )
    elif end in CUT:
        stop, detail = Stop.LENGTH, ""
    elif end in ENDED:
        stop, detail = Stop.END, ""
    else:
        why = "does not say why it ended (no finish_reason)" if reason is None else f"ended with {reason!r}"
        return Retry(reason=clean(f"the reply {why}", endpoint), charged=True)
    try:
        (text or "").encode("utf-8")
    except UnicodeEncodeError:
        return Retry(reason="the text holds half of a character", charged=True)
    tokens_in, tokens_out = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    return Answer(
        text=(text or "").strip() if endpoint.api == "chat" else text or "",
        stop=stop,
        detail=clean(detail, endpoint),
        tokens_in=tokens_in or 0,
        tokens_out=tokens_out or 0,
        model=clean(version, endpoint),
        cost=None,
        # An answer took something in, and a text was put out, whatever a server says.
        counted=bool(tokens_in) and tokens_out is not None and bool(tokens_out or not text),
    )


def clean(text: str, endpoint: EndpointSpec) -> str:
    """Return a server's words without the key, should it say it back, and without half characters."""
    whole = text.encode("utf-8", "replace").decode()
    if endpoint.key is None:
        return whole
    key = os.environ.get(endpoint.key, "").strip()
    return whole.replace(key, "[key]") if key else whole


def _is_flagged(body: Any) -> bool:
    """Return whether an error says that moderation stopped the request, in OpenRouter's shape."""
    error = body.get("error") if isinstance(body, Mapping) else None
    more = error.get("metadata") if isinstance(error, Mapping) else None
    return isinstance(more, Mapping) and "flagged_input" in more


def _count(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value <= MOST_TOKENS else None


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _error(body: Any, reply: Reply, endpoint: EndpointSpec) -> tuple[str, str]:
    """Return an error's code and words, from the shapes that servers use."""
    error = body.get("error", body) if isinstance(body, Mapping) else None
    if isinstance(error, Mapping):
        code = str(error.get("code") or error.get("type") or "")
        said = str(error.get("message") or error.get("detail") or error)
    else:
        code, said = "", str(error) if error else reply.body.decode("utf-8", "replace")
    # Cleaned before it is cut, or half a key could be left at the cut.
    return code, " ".join(clean(said, endpoint).split())[:QUOTED]
