"""Ballots: who is compared with whom on which prompt, and who is shown first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from veneer.records import Contestant, Role

AGAIN = "-again"
"""Ends the name under which the teacher's second sample stands against its first: the ceiling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """Two contestants' completions of one prompt, in the order in which they are shown."""

    prompt_id: str
    first: str
    second: str


def challengers(contestants: Sequence[Contestant]) -> list[str]:
    """Return who is compared with the teacher: every base and student, and the teacher's second sample."""
    others = [contestant.name for contestant in contestants if contestant.role is not Role.TEACHER]
    return [*others, teacher(contestants) + AGAIN]


def teacher(contestants: Sequence[Contestant]) -> str:
    """Return the teacher's name."""
    return next(contestant.name for contestant in contestants if contestant.role is Role.TEACHER)


def pair(
    challenger: str, opponent: str, prompt_ids: Sequence[str], *, rng: np.random.Generator
) -> list[Ballot]:
    """Return one ballot per prompt: each of the two is shown first on half of the prompts, drawn at random.

    Of an odd number of prompts a random one of the two gets the one more.
    """
    count = len(prompt_ids)
    leads = (np.arange(count) + rng.integers(2)) % 2 == 0
    rng.shuffle(leads)
    return [
        Ballot(prompt_id=prompt_id, first=challenger, second=opponent)
        if lead
        else Ballot(prompt_id=prompt_id, first=opponent, second=challenger)
        for prompt_id, lead in zip(prompt_ids, leads.tolist(), strict=True)
    ]
