"""Win rates at equal length and at equal style, fitted on a judge's own comparisons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veneer.analyze.measure import FEWEST
from veneer.analyze.votes import LOSS, NO_VERDICT, NONE, WIN, Ints, Votes
from veneer.stats import Draws, Floats, Undefined

FEATURES: Mapping[str, Mapping[str, str]] = {
    "length": {"log_words": "length"},
    "style": {
        "log_words": "length",
        "log_headers": "headers",
        "log_list_items": "lists",
        "log_bold": "bold",
        "log_code_blocks": "code",
        "appeal": "style score",
    },
}
"""What is held equal, by control: style features (see `veneer.style`) and their plain names."""
WORTH = np.array([1.0, 0.5, 0.0])
PRIOR_STRENGTH, PRIOR_SLOPE = 4.0, 3.0
"""Standard deviations, in logits, of the normal priors on a pair's intercept and on the slope per standard deviation
of a difference. They weigh as much as a comparison or two, and keep finite what a study says too little of."""
SAME = 1e-9
STEPS, FARTHEST, CLOSE = 200, 2.0, 1e-8
PLACE = "place"
BOTH_SIDES = 5
"""On so many prompts at least the contestant must not lose, and not win; its style must be ahead of the opponent's, and
behind it. And on so many its verdict must not be what the fit foretells, or nothing is left to tell its taste by."""
FORETOLD = 0.25
"""A verdict is foretold where it lies so near to the fitted probability of a win."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """What a judge's comparisons say once style is held equal."""

    values: Floats
    """By pair: the win rate that is expected at equal style, in either place."""
    draws: Floats
    """Resamples by pairs."""
    n: Ints
    """By pair: prompts with a verdict."""
    counts: Floats
    """By pair: verdicts."""
    missing: Mapping[int, str]
    """Pairs that have no such rate, and why."""
    slopes: Mapping[str, Draws | Undefined]
    """What the judge rewards: logits per standard deviation of a feature's difference. The key `place` holds those of
    being shown first. What comparisons do not tell is not here."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rows:
    """The comparisons that are fitted, and how they are summed."""

    prompt: Ints
    pair: Ints
    score: Floats
    x: Floats
    """Comparisons by columns: differences in standard deviations, and the place."""
    prompts: int
    pairs: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sums:
    """Gradient and negative Hessian of the log-likelihood, summed over prompts or resamples (the first axis)."""

    strength: Floats
    slope: Floats
    strength_2: Floats
    """Of the intercepts, which meet in no comparison: a diagonal."""
    both: Floats
    slope_2: Floats

    def drawn(self, weights: Floats) -> "_Sums":
        parts = (self.strength, self.slope, self.strength_2, self.both, self.slope_2)
        new = [np.tensordot(weights, part, axes=1) for part in parts]
        return _Sums(strength=new[0], slope=new[1], strength_2=new[2], both=new[3], slope_2=new[4])


def fit(votes: Votes, differences: Floats, names: Sequence[str], weights: Floats) -> Fit:
    """Return the win rates at equal style.

    The model is Bradley and Terry's (1952) with covariates: the log-odds that the contestant is preferred are an
    intercept for its pair, a slope for each style difference, and one for the place in which it is shown (as Chatbot
    Arena's style control, Li et al. 2024; Dubois et al. 2024 do the same for length). Slopes are the judge's, shared
    by all of its pairs. Every pair has its own intercept, so slopes are learnt only from how style varies between the
    prompts of a pair, never from that one contestant is both longer and better throughout. A tie is half a win and
    half a loss (quasi-likelihood, Wedderburn 1974): the model is of the win rate itself, however ties come about.

    Prompts are resampled, each resample refitted by a Newton step from the fit on all comparisons.

    Args:
        votes: The judge's.
        differences: Comparisons by features, contestant minus opponent; NaN where the style is not known.
        names: Of the features, in words.
        weights: How often each prompt is drawn in each resample.
    """
    known = (votes.result != NONE) & ~np.isnan(differences).any(axis=1)
    prompt, pair = votes.prompt[known], votes.pair[known]
    size = (len(votes.prompts), len(votes.pairs))
    columns = np.column_stack([differences[known], votes.place[known]])
    scale, told = _spread(columns, prompt, pair, size)
    rows = _Rows(
        prompt=prompt,
        pair=pair,
        score=WORTH[votes.result[known]],
        x=columns[:, told] / scale[told],
        prompts=size[0],
        pairs=size[1],
    )
    strength, slope = _fitted(rows)
    moved = _step(_sums(rows, strength, slope).drawn(weights), strength, slope)
    drawn_strength, drawn_slope = strength + moved[0], slope + moved[1]
    style = int(told[:-1].sum())
    place = slope[style:].sum(), drawn_slope[:, style:].sum(axis=1, keepdims=True)
    seen = np.zeros(size)
    seen[prompt, pair] = 1
    advantage = np.full(len(known), np.nan)
    advantage[known] = rows.x[:, :style] @ slope[:style]
    named = [name for name, one in zip([*names, PLACE], told, strict=True) if one]
    return Fit(
        values=_even(strength, place[0]),
        draws=_even(drawn_strength, place[1]),
        n=seen.sum(axis=0).astype(np.intp),
        counts=np.bincount(pair, minlength=size[1]).astype(float),
        missing=_missing(votes, differences, [*(np.asarray(names)[~told[:-1]])], told[:-1], advantage),
        slopes=_slopes(named, rows, strength, slope, drawn_slope),
    )


def _slopes(
    named: Sequence[str], rows: _Rows, strength: Floats, slope: Floats, drawn: Floats
) -> dict[str, Draws | Undefined]:
    """Return what the judge rewards; Undefined where one rule foretells all it says (always the first, always a tie).

    Then a slope is as steep as the prior lets it be, and refitting resamples does not move it: that is not certainty.
    Short of that, where taste foretells nearly all verdicts, a step from the whole fit moves too little: no slope is
    surer than the curvature of the posterior lets it be.
    """
    n = len(np.unique(rows.prompt))
    off = np.abs(rows.score - _logistic(strength[rows.pair] + rows.x @ slope))
    if len(np.unique(rows.prompt[off > FORETOLD])) >= BOTH_SIDES:
        whole = _sums(rows, strength, slope).drawn(np.ones((1, rows.prompts)))
        known = np.diag(np.linalg.inv(_curvature(whole)[0]))
        wider = np.sqrt(np.maximum(known / np.maximum(drawn.var(axis=0), 1e-12), 1.0))
        return {
            name: Draws(value=float(slope[at]), draws=slope[at] + wider[at] * (drawn[:, at] - slope[at]), n=n)
            for at, name in enumerate(named)
        }
    reason = (
        f"its verdicts follow one rule on all but fewer than {BOTH_SIDES} prompts: too few to tell taste by"
    )
    return dict.fromkeys(named, Undefined(reason=reason, n=n))


def _spread(
    columns: Floats, prompt: Ints, pair: Ints, size: tuple[int, int]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return each column's standard deviation within pairs, and whether it varies there on enough prompts."""
    counts = np.maximum(np.bincount(pair, minlength=size[1]), 1)
    means = np.array([np.bincount(pair, weights=one, minlength=size[1]) / counts for one in columns.T])
    apart = columns - means.T[pair]
    told = np.array([len(np.unique(prompt[np.abs(one) > SAME])) >= FEWEST for one in apart.T])
    scale = np.sqrt((apart**2).sum(axis=0) / max(len(apart), 1))
    scale[-1] = 1.0  # The place is no style: its slope is that of first against second.
    return scale, told


def _fitted(rows: _Rows) -> tuple[Floats, Floats]:
    """Return the pairs' intercepts and the slopes with the highest posterior density."""
    strength, slope = np.zeros(rows.pairs), np.zeros(rows.x.shape[1])
    for _ in range(STEPS):
        total = _sums(rows, strength, slope).drawn(np.ones((1, rows.prompts)))
        moved = _step(total, strength, slope)
        # A Newton step from far away can overshoot: none goes further than the likelihood is nearly quadratic.
        largest = max(float(np.abs(part).max(initial=0.0)) for part in moved)
        shorten = min(1.0, FARTHEST / largest) if largest else 1.0
        strength, slope = strength + shorten * moved[0][0], slope + shorten * moved[1][0]
        if largest < CLOSE:
            return strength, slope
    raise AssertionError("Newton's steps on a strictly concave posterior did not settle")


def _sums(rows: _Rows, strength: Floats, slope: Floats) -> _Sums:
    """Return the sums of every prompt at these parameters."""
    mean = _logistic(strength[rows.pair] + rows.x @ slope)
    off, weight = rows.score - mean, mean * (1 - mean)
    cell, cells = rows.prompt * rows.pairs + rows.pair, rows.prompts * rows.pairs
    many = rows.x.shape[1]

    def by_pair(values: Floats) -> Floats:
        found: Floats = np.bincount(cell, weights=values, minlength=cells).astype(float)
        return found.reshape(rows.prompts, rows.pairs)

    def by_prompt(values: Floats) -> Floats:
        return np.bincount(rows.prompt, weights=values, minlength=rows.prompts).astype(float)

    slope_2 = np.zeros((rows.prompts, many, many))
    for one in range(many):
        for other in range(one, many):
            slope_2[:, one, other] = slope_2[:, other, one] = by_prompt(
                weight * rows.x[:, one] * rows.x[:, other]
            )
    both = np.zeros((rows.prompts, rows.pairs, many))
    slopes = np.zeros((rows.prompts, many))
    for one in range(many):
        both[:, :, one] = by_pair(weight * rows.x[:, one])
        slopes[:, one] = by_prompt(off * rows.x[:, one])
    return _Sums(strength=by_pair(off), slope=slopes, strength_2=by_pair(weight), both=both, slope_2=slope_2)


def _step(sums: _Sums, strength: Floats, slope: Floats) -> tuple[Floats, Floats]:
    """Return Newton's step on the log-posterior of every resample (the first axis)."""
    strong = sums.strength - strength / PRIOR_STRENGTH**2
    steep = sums.slope - slope / PRIOR_SLOPE**2
    own = sums.strength_2 + 1 / PRIOR_STRENGTH**2
    share = sums.both / own[:, :, None]
    rest = _curvature(sums)
    right = steep - (share * strong[:, :, None]).sum(axis=1)
    by_slope = np.linalg.solve(rest, right[:, :, None])[:, :, 0]
    return strong / own - (share @ by_slope[:, :, None])[:, :, 0], by_slope


def _curvature(sums: _Sums) -> Floats:
    """Return the negative Hessian of the slopes, the intercepts profiled out: its inverse is their variance."""
    share = sums.both / (sums.strength_2 + 1 / PRIOR_STRENGTH**2)[:, :, None]
    prior = np.eye(sums.slope.shape[1]) / PRIOR_SLOPE**2
    rest: Floats = sums.slope_2 + prior - np.swapaxes(share, 1, 2) @ sums.both
    return rest


def _logistic(x: Floats) -> Floats:
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def _even(strength: Floats, place: Any) -> Floats:
    """Return the win rate at no difference in style, half of the time in each place."""
    found: Floats = (_logistic(strength + place / 2) + _logistic(strength - place / 2)) / 2
    return found


def _missing(
    votes: Votes, differences: Floats, untold: Sequence[str], told: NDArray[np.bool_], advantage: Floats
) -> dict[int, str]:
    """Return why pairs have no rate at equal style."""
    found = {}
    given, unknown = votes.result != NONE, np.isnan(differences).any(axis=1)

    def prompts(rows: NDArray[np.bool_]) -> int:
        return len(np.unique(votes.prompt[rows]))

    for pair in range(len(votes.pairs)):
        mine = given & (votes.pair == pair)
        apart = np.abs(differences[:, ~told]) > SAME
        same = [name for name, one in zip(untold, apart.T, strict=True) if prompts(mine & one) >= FEWEST]
        if not mine.any():
            found[pair] = NO_VERDICT
        elif many := prompts(mine & unknown):
            found[pair] = f"on {many} of its prompts the style of a completion is not known"
        elif min(prompts(mine & (votes.result != LOSS)), prompts(mine & (votes.result != WIN))) < BOTH_SIDES:
            found[pair] = (
                f"it won, or lost, on all but fewer than {BOTH_SIDES} prompts: too few to tell what style had to do "
                "with it"
            )
        elif same:
            found[pair] = f"no contestant's difference in {same[0]} varies, so that its worth cannot be told"
        elif min(prompts(mine & (advantage >= 0)), prompts(mine & (advantage <= 0))) < BOTH_SIDES:
            found[pair] = (
                f"its style is ahead of the opponent's, or behind it, on all but fewer than {BOTH_SIDES} prompts: "
                "what equal style would bring was not seen"
            )
    return found
