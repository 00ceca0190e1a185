"""Keeps out what should not come in: forms from elsewhere, too large or too many."""

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.requests import Request

LARGEST_FORM = 64 * 1024
MOST_FIELDS = 20
FORM = "application/x-www-form-urlencoded"
KEPT_BUCKETS = 50_000


class Refused(Exception):  # noqa: N818 (what is told to a visitor, not a fault of the program)
    """A request is turned away.

    Args:
        status: The HTTP status.
        said: One or two sentences for the one who sent it.
    """

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status, self.said = status, said


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form; of a field given twice the last.

    Raises:
        Refused: It is too large, has too many fields, or is no form.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != FORM:
        raise Refused(415, "This page takes its own form and nothing else.")
    whole = b""
    async for chunk in request.stream():
        whole += chunk
        if len(whole) > LARGEST_FORM:
            raise Refused(413, "That was too long. Please go back and shorten what you wrote.")
    try:
        fields = parse_qsl(
            whole.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS
        )
    except ValueError as error:
        raise Refused(400, "This form is not one of ours.") from error
    return {name: value.replace("\x00", "") for name, value in fields}


def mark(key: str, whose: str) -> str:
    """Return what a form carries to prove that it comes from a page shown to the same person."""
    return hmac.new(key.encode(), whose.encode(), hashlib.sha256).hexdigest()


def check_mark(fields: Mapping[str, str], key: str, whose: str) -> None:
    """Raise unless a form carries its mark.

    Raises:
        Refused: It does not: it was made elsewhere, or for somebody else.
    """
    if not hmac.compare_digest(fields.get("mark", "").encode(), mark(key, whose).encode()):
        raise Refused(
            403, "This form does not belong to your visit. Please reload the page and answer again."
        )


@dataclass(slots=True, kw_only=True)
class Limit:
    """So many requests at once and so many a second, of each who asks."""

    burst: float
    per_second: float
    clock: Callable[[], float] = time.monotonic
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def check(self, who: str) -> None:
        """Count one request.

        Raises:
            Refused: It is one too many.
        """
        now = self.clock()
        left, at = self._left.pop(who, (self.burst, now))
        left = min(self.burst, left + (now - at) * self.per_second)
        if left < 1:
            self._left[who] = (left, now)
            raise Refused(429, "That was too much at once. Please wait a minute and reload the page.")
        # The latest stand last, so that what is forgotten, should there be too many, has been quiet for longest.
        self._left[who] = (left - 1, now)
        if len(self._left) > KEPT_BUCKETS:
            del self._left[next(iter(self._left))]
