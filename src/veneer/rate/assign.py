"""Who sees what next, and on which side: pure decisions, balanced over prompts, pairs, raters and sides."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from veneer.rate.matches import Match

Counts = npt.NDArray[np.int64]
Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """All matches, with the numbers of their prompts and pairs: three parallel sequences."""

    matches: tuple[Match, ...]
    prompt_of: Counts
    pair_of: Counts
    prompts: int
    pairs: int


def work_of(matches: Sequence[Match]) -> Work:
    """Return the matches, numbered."""
    prompts = {prompt: place for place, prompt in enumerate(dict.fromkeys(one.prompt_id for one in matches))}
    kinds = dict.fromkeys((one.challenger, one.opponent) for one in matches)
    pairs = {pair: place for place, pair in enumerate(kinds)}
    return Work(
        matches=tuple(matches),
        prompt_of=np.array([prompts[one.prompt_id] for one in matches], dtype=np.int64),
        pair_of=np.array([pairs[one.challenger, one.opponent] for one in matches], dtype=np.int64),
        prompts=len(prompts),
        pairs=len(pairs),
    )


def choose(
    work: Work, load: Counts, seen: Marks, given: Counts, ratings: int, *, rng: np.random.Generator
) -> int | None:
    """Return the number of the match that a rater should see next; None where nothing is left for this rater.

    Of the matches on prompts that the rater has not seen, and that lack ratings, those with the fewest; of these, those
    of the pair that the rater has met least; of these, one at random.

    Args:
        work: All matches.
        load: Of each match, the ratings that it has or that somebody is about to give.
        seen: Of each prompt, whether this rater has seen it.
        given: Of each pair, how often this rater has met it.
        ratings: How many ratings each match is to have.
        rng: Breaks ties.
    """
    open_ones = np.flatnonzero((load < ratings) & ~seen[work.prompt_of])
    if not open_ones.size:
        return None
    rank = load[open_ones] * (given.max(initial=0) + 1) + given[work.pair_of[open_ones]]
    best = open_ones[rank == rank.min()]
    return int(best[rng.integers(best.size)])


def leads(rater_balance: int, match_balance: int, *, rng: np.random.Generator) -> bool:
    """Return whether the challenger is shown first.

    Each of two stands first as often as second, but for one time, before each rater and pair; where that is even, over
    the raters of the match; where that is even too, by lot.

    Args:
        rater_balance: How often more the challenger stood first than second, before this rater and in this pair.
        match_balance: The same over all raters of this match.
        rng: Casts the lot.
    """
    balance = rater_balance or match_balance
    return balance < 0 if balance else bool(rng.integers(2))


def plan_checks(pairs: int, every: int, checks: int, *, rng: np.random.Generator) -> dict[int, int]:
    """Return at which places of a rater's sequence a check stands, and which one.

    One check in each run of `every` pairs, at a random place of the run, as long as there are checks; never at the very
    beginning. No check is met twice.

    Args:
        pairs: How many pairs the rater sees beside the checks.
        every: One check among so many pairs.
        checks: How many checks there are.
        rng: Draws the places and the checks.

    Returns:
        Place (0 is the first, checks counted too) to the number of the check.
    """
    many = min(checks, pairs // every)
    drawn = rng.permutation(checks)[:many].tolist() if many else []
    return {run * (every + 1) + int(rng.integers(1, every + 1)): check for run, check in enumerate(drawn)}
