"""What the tests of rating share: a small set of ballots, and raters who answer at once."""

import hashlib
from collections.abc import Sequence
from typing import Any

from veneer.rate.matches import Ballots, Match, Text
from veneer.study_rate import ExcludeSpec, PeopleSpec

LENIENT = ExcludeSpec(failed_attention=None, failed_gold=None, faster_than=None)


def people(**given: Any) -> PeopleSpec:
    """A section on people that excludes nobody unless told."""
    return PeopleSpec(**{"exclude": LENIENT, **given})


def ballots(
    prompts: int, challengers: Sequence[str] = ("small", "pupil"), opponent: str = "master"
) -> Ballots:
    """Everybody against the teacher on so many prompts."""
    ids = [f"p{number}" for number in range(prompts)]
    names = [*challengers, opponent]
    texts = {
        (name, one): Text(
            contestant=name,
            prompt_id=one,
            text=f"{one} as told by somebody: {hashlib.sha256(name.encode()).hexdigest()[:6]}",
            digest=hashlib.sha256(f"{name} {one}".encode()).hexdigest(),
        )
        for name in names
        for one in ids
    }
    return Ballots(
        key="key",
        prompts={one: f"Please tell of {one}." for one in ids},
        texts=texts,
        matches=tuple(
            Match(prompt_id=one, challenger=name, opponent=opponent) for one in ids for name in challengers
        ),
    )
