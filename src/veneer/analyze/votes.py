"""A judge's verdicts as votes on pairs, each told from the side of the one who met the opponent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veneer.analyze.measure import Measured, Rung, Sheet, Values, measured
from veneer.records import Comparison, Verdict
from veneer.stats import Draws, Floats

Ints = NDArray[np.intp]
RESULTS = ("win", "tie", "loss", "none")
WIN, TIE, LOSS, NONE = range(4)
NO_VERDICT = "no comparison had a verdict"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Votes:
    """All verdicts of one judge, a row a comparison."""

    prompts: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    """Contestant and opponent; a pair of opponents (the teacher and a base) is told once, from the weaker side."""
    raters: tuple[str, ...]
    prompt: Ints
    pair: Ints
    rater: Ints
    result: Ints
    """The place in `RESULTS`, from the contestant's side."""
    place: Floats
    """One half where the contestant was shown first, minus one half where second."""

    def against(self, opponent: str) -> list[int]:
        """Return the pairs in which somebody met an opponent."""
        return [place for place, (_, other) in enumerate(self.pairs) if other == opponent]

    def tally(self, pairs: Sequence[int]) -> Floats:
        """Return how often each result was given: prompts by pairs by results."""
        size = (len(self.prompts), len(self.pairs), len(RESULTS))
        flat = np.ravel_multi_index((self.prompt, self.pair, self.result), size)
        counts: Floats = np.bincount(flat, minlength=int(np.prod(size))).reshape(size).astype(float)
        return counts[:, list(pairs)]


def votes_of(comparisons: Sequence[Comparison], opponents: Sequence[str]) -> Votes:
    """Return the votes on every pair of which one is an opponent.

    Args:
        comparisons: All of a judge's verdicts.
        opponents: The teacher and the bases, the strongest first.
    """
    rank = {name: place for place, name in enumerate(opponents)}
    prompts = {prompt: row for row, prompt in enumerate(dict.fromkeys(c.prompt_id for c in comparisons))}
    pairs: dict[tuple[str, str], int] = {}
    raters: dict[str, int] = {}
    rows: list[tuple[int, int, int, int]] = []
    place: list[float] = []
    for one in comparisons:
        ahead = rank.get(one.first, len(rank)) < rank.get(one.second, len(rank))
        contestant, opponent = (one.second, one.first) if ahead else (one.first, one.second)
        if opponent in rank and contestant != opponent:
            pair = pairs.setdefault((contestant, opponent), len(pairs))
            rater = raters.setdefault(one.by, len(raters))
            rows.append((prompts[one.prompt_id], pair, rater, _result(one.verdict, ahead=ahead)))
            place.append(-0.5 if ahead else 0.5)
    columns = np.array(rows, dtype=np.intp).reshape(-1, 4).T
    return Votes(
        prompts=tuple(prompts),
        pairs=tuple(pairs),
        raters=tuple(raters),
        prompt=columns[0],
        pair=columns[1],
        rater=columns[2],
        result=columns[3],
        place=np.array(place),
    )


def _result(verdict: Verdict, *, ahead: bool) -> int:
    """Return the result for the contestant; `ahead`: the opponent was shown first."""
    first, second = (LOSS, WIN) if ahead else (WIN, LOSS)
    return {Verdict.FIRST: first, Verdict.SECOND: second, Verdict.TIE: TIE, Verdict.NONE: NONE}[verdict]


def majority(tally: Floats) -> Floats:
    """Return the tally with one result a prompt and pair: the commonest verdict, and a tie where none is.

    The paper's majority vote of three ratings, which leaves open what three different ones are.
    """
    given = tally[:, :, :NONE]
    most = given.max(axis=2, keepdims=True)
    best = (given == most) & (most > 0)
    alone = best.sum(axis=2) == 1
    found = np.where(alone[:, :, None], best, False).astype(float)
    found[:, :, TIE] += (~alone) & (most[:, :, 0] > 0)
    none = (most[:, :, 0] == 0) & (tally[:, :, NONE] > 0)
    return np.concatenate([found, none[:, :, None]], axis=2)


def rates(names: Sequence[str], tally: Floats, worth: Sequence[float], weights: Floats) -> Measured:
    """Return the mean worth of the comparisons with a verdict, prompts resampled.

    Args:
        names: Of the contestants, as the tally's pairs stand.
        tally: Prompts by pairs by results.
        worth: Of a win, a tie and a loss.
        weights: How often each prompt is drawn in each resample.
    """
    given = tally[:, :, :NONE]
    counts = given.sum(axis=2)
    missing = {name: NO_VERDICT for name, total in zip(names, counts.sum(axis=0), strict=True) if not total}
    sums = given @ np.asarray(worth)
    return measured([Sheet(names=tuple(names), sums=sums, counts=counts, weights=weights, missing=missing)])


def rater_shift(votes: Votes, pairs: Sequence[int], worth: Sequence[float]) -> float:
    """Return the standard deviation by which a mean of votes varies with who the raters are, beyond their votes.

    Prompts are resampled elsewhere; raters are a second, crossed cluster, so the variance over raters is added and
    that of single votes, which both hold, taken off (Cameron, Gelbach and Miller 2011, *Robust inference with
    multiway clustering*). Student's t over the normal quantile widens what is seen between raters, at
    their effective number (Carter, Schnepel and Steigerwald 2017), so that few raters give a wide interval.

    Returns:
        0 where there is one rater: how another would have voted cannot be seen.
    """
    mine = np.isin(votes.pair, list(pairs)) & (votes.result != NONE)
    rater, values = votes.rater[mine], np.asarray(worth)[votes.result[mine]]
    total = len(values)
    sizes = np.bincount(rater, minlength=len(votes.raters)).astype(float)
    if np.count_nonzero(sizes) < 2:
        return 0.0
    from scipy import special  # Imported here for the reason given in `stats.p_value`.

    residual = values - values.mean()
    between = np.bincount(rater, weights=residual, minlength=len(sizes))
    many = np.count_nonzero(sizes)
    seen = many / (many - 1) * float(between @ between) / total**2
    single = total / (total - 1) * float(residual @ residual) / total**2
    freedom = max(float(total**2 / (sizes @ sizes)) - 1, 0.5)
    wider = float(special.stdtrit(freedom, 0.975) / special.ndtri(0.975))
    return float(max(wider**2 * seen - single, 0.0) ** 0.5)


def with_raters(values: Values, shifts: Mapping[str, float], *, rng: np.random.Generator) -> Values:
    """Return the values with the raters' share of the variance put into their draws.

    Args:
        values: By contestant or student.
        shifts: What `rater_shift` found for each.
        rng: Of the shifts. Equal generators keep two numbers of the same contestants paired.
    """
    resamples = max((len(value.draws) for value in values.values() if isinstance(value, Draws)), default=0)
    found = {}
    for name, value in values.items():
        noise = rng.standard_normal(resamples)
        if isinstance(value, Draws) and shifts.get(name):
            value = Draws(value=value.value, draws=value.draws + shifts[name] * noise, n=value.n)  # noqa: PLW2901
        found[name] = value
    return found


def members(rungs: Sequence[Rung], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return who stands behind each name: a student's training seeds, others by themselves."""
    seeds = {seed for rung in rungs for seed in rung.seeds}
    found = {name: (name,) for name in names if name not in seeds}
    return found | {rung.student: rung.seeds for rung in rungs if set(rung.seeds) <= set(names)}
