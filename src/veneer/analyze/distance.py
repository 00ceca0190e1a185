"""How well a contestant's style can be told from the teacher's: a classifier two-sample test, cross-validated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veneer.stats import Floats

FOLDS, REPEATS = 5, 4
STEPS, TOLERANCE = 25, 1e-6
TRIALS, CELLS = 200, 5_000_000
"""Resamples in which the classifiers are trained anew; fewer where prompts are many, to bound the work."""

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Told:
    """What classifiers that had not seen a prompt say of the two completions of it: log-odds, repeats by prompts."""

    teachers: Floats
    """That the teacher's completion is the teacher's."""
    theirs: Floats
    """That the contestant's completion is the teacher's."""
    trained: tuple[Floats, Floats]
    """The same two, resamples by repeats by prompts, of classifiers trained on the resampled prompts."""

    @property
    def mistaken(self) -> Floats:
        """The mean log-odds, by prompt, that the contestant's completion is the teacher's."""
        return np.asarray(self.theirs.mean(axis=0))


def folds(prompts: int, *, rng: np.random.Generator) -> list[list[Places]]:
    """Return the test prompts of each fold of each repeat; both completions of a prompt lie in the same fold."""
    return [
        [np.sort(part) for part in np.array_split(rng.permutation(prompts), min(FOLDS, prompts))]
        for _ in range(REPEATS)
    ]


def tell_apart(teacher: Floats, theirs: Floats, parts: Sequence[Sequence[Places]], weights: Floats) -> Told:
    """Return the out-of-fold log-odds of both sides' completions (Lopez-Paz and Oquab 2017).

    The classifier is a logistic regression on features standardised within its training prompts, with a ridge
    penalty of one pseudo-observation a feature, which keeps it sound where features outnumber prompts.

    Args:
        teacher: The teacher's features, prompts by features.
        theirs: The contestant's, in the same order.
        parts: Test prompts by repeat and fold (see `folds`).
        weights: How often each prompt is drawn in each resample.
    """
    size = len(teacher)
    trials = weights[: min(TRIALS, max(20, CELLS // size**2))]
    told = [np.empty((len(parts), size)) for _ in range(2)]
    trained = [np.empty((len(trials), len(parts), size)) for _ in range(2)]
    for repeat, tests in enumerate(parts):
        for test in tests:
            train = np.setdiff1d(np.arange(size), test)
            both = np.concatenate([teacher[train], theirs[train]])
            centre, scale = both.mean(axis=0), both.std(axis=0)
            scale[scale < 1e-12] = 1.0
            fitted, moves = _fit((both - centre) / scale)
            # To first order, a training prompt drawn w times moves the fit by (w - 1) of its own pull.
            refitted = fitted + (trials[:, train] - 1) @ moves
            for side, features in enumerate((teacher, theirs)):
                seen = (features[test] - centre) / scale
                told[side][repeat, test] = seen @ fitted
                trained[side][:, repeat, test] = refitted @ seen.T
    return Told(teachers=told[0], theirs=told[1], trained=(trained[0], trained[1]))


def _fit(features: Floats) -> tuple[Floats, Floats]:
    """Return ridge logistic weights, and how each training prompt pulls them; the first half is the teacher's.

    Newton's method; with balanced classes and centred features the intercept is left out.
    """
    half = len(features) // 2
    sign = np.repeat([1.0, -1.0], half)
    signed = features * sign[:, None]
    penalty = float(features.shape[1])
    fitted = np.zeros(features.shape[1])
    for _ in range(STEPS):
        wrong = 1 / (1 + np.exp(np.clip(signed @ fitted, -30, 30)))
        bend = (features * (wrong * (1 - wrong))[:, None]).T @ features
        bend[np.diag_indices_from(bend)] += penalty
        step = np.linalg.solve(bend, signed.T @ wrong - penalty * fitted)
        fitted += step
        if np.abs(step).max() < TOLERANCE:
            break
    pulls = signed * wrong[:, None]
    return fitted, np.linalg.solve(bend, (pulls[:half] + pulls[half:]).T).T


def distances(told: Sequence[Told], weights: Floats) -> tuple[Floats, Floats]:
    """Return each contestant's distance 2 AUC - 1, and its draws (resamples by contestants).

    0: the classifier cannot tell the two; 1: it always can. Cross-validation can fall a little below 0. Prompts are
    resampled with the classifiers as they are, and the draws are then spread by how much more the distance varies
    when classifiers are trained on the resampled prompts too (see `_spread`): without that, intervals cover 0.8 to 0.9
    instead of 0.95.

    Args:
        told: Of each contestant.
        weights: How often each prompt is drawn in each resample.
    """
    values, draws = [], []
    for one in told:
        ahead = _ahead(one.teachers, one.theirs)
        value = 2 * float(ahead.mean()) - 1
        drawn = 2 * ((weights @ ahead) * weights).sum(axis=1) / weights.shape[1] ** 2 - 1
        values.append(value)
        draws.append(value + (drawn - value) * _spread(one, value, drawn, weights))
    return np.array(values), np.stack(draws, axis=1)


def _ahead(teachers: Floats, theirs: Floats) -> Any:
    """Return how often (over repeats) the teacher's completion of prompt i ranks before theirs of prompt j."""
    above = teachers[:, :, None] > theirs[:, None, :]
    level = teachers[:, :, None] == theirs[:, None, :]
    return (above + 0.5 * level).mean(axis=0)


def _spread(one: Told, value: float, drawn: Floats, weights: Floats) -> float:
    """Return the factor by which training widens the draws.

    Resampling prompts with fixed classifiers misses the variance of training; training on resampled prompts shows too
    much of it (duplicates in a resample make an unstable fit less stable still): about twice as much where the two can
    hardly be told apart, and ever more the farther apart they are. Of what training adds, the share
    (1 - distance squared) / 2 is taken, which was calibrated by simulation (`benchmarks/answer_truth.py`).
    """
    trials = len(one.trained[0])
    full = 2 * _auc(*one.trained, weights[:trials]) - 1
    fixed = float(np.std(drawn[:trials]))
    # Where every resample of fixed classifiers tells the two apart without fault, there is nothing to widen.
    if fixed <= 1e-9:
        return 1.0
    added = float(np.var(full)) / fixed**2 - 1
    return float(max(1.0, 1 + added * (1 - value**2) / 2) ** 0.5)


def _auc(teachers: Floats, theirs: Floats, weights: Floats) -> Floats:
    """Return, for each resample, how often the teacher's completion ranks before theirs: ties half, repeats averaged.

    Ranks are sorted and not compared pair by pair, which would be most of an analysis' work.
    """
    resamples, repeats, size = teachers.shape
    drawn = np.repeat(weights, repeats, axis=0)
    both = np.concatenate([theirs.reshape(-1, size), teachers.reshape(-1, size)], axis=1)
    order = np.argsort(both, axis=1)
    ranked = np.take_along_axis(both, order, axis=1)
    if (ranked[:, 1:] == ranked[:, :-1]).any():
        # A stable sort leaves equal ones as they stand: theirs first, and then the teacher's, so that ties count half.
        first = _below(np.argsort(both, axis=1, kind="stable"), drawn)
        turned = np.roll(both, size, axis=1)
        last = _below((np.argsort(turned, axis=1, kind="stable") + size) % (2 * size), drawn)
        found = (first + last) / 2
    else:
        found = _below(order, drawn)
    averaged: Floats = found.reshape(resamples, repeats).mean(axis=1)
    return averaged


def _below(order: NDArray[np.intp], weights: Floats) -> Floats:
    """Return the weighted share of pairs in which theirs (the first half of what was sorted) comes first."""
    size = weights.shape[1]
    weight = np.take_along_axis(np.tile(weights, 2), order, axis=1)
    below = np.cumsum(np.where(order < size, weight, 0.0), axis=1)
    share: Floats = np.where(order < size, 0.0, weight * below).sum(axis=1) / size**2
    return share
