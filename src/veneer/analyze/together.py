"""Judge and people together: people's win rate over all prompts that the judge saw, though they rated only some."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veneer.analyze.measure import FEWEST, Measured, Rung, pooled_by_source
from veneer.analyze.preference import WIN_RATE, WORTH, groups
from veneer.analyze.reading import Replies
from veneer.analyze.votes import NONE, Votes, members, rater_shift, with_raters
from veneer.stats import Draws, Floats, Undefined, resample, rng_of, share_of, to_json
from veneer.study import AnalyzeSpec

NO_JUDGE = "no judge compared the same contestants"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ratings:
    """What people and a judge said of the same contestants: prompts by contestants."""

    names: tuple[str, ...]
    people: Floats
    """The mean of people's votes on a prompt; NaN where they gave none."""
    judge: Floats
    """The judge's; NaN where it did not see the prompt. No verdict is half a win: it still is what the judge said."""
    votes: Floats
    """How many votes of people with a verdict."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joined:
    """People's win rate of one contestant or student, alone and with the judge's help."""

    rated: int
    """Prompts that both rated."""
    judged: int
    """Prompts that the judge alone saw."""
    weight: float
    """Of the judge's verdicts (power tuning), from 0 to 1."""
    alone: Draws | Undefined
    together: Draws | Undefined
    more_alone: int | None
    """So many more ratings bring the interval to the target width; None where none would."""
    more_together: int | None


def power_weight(people: Floats, judge: Floats, elsewhere: Floats) -> float:
    """Return the weight of the judge that makes the variance least: PPI++'s power tuning, clipped to [0, 1].

    Cov(people, judge) / ((1 + n/N) Var(judge)), the variance over all N + n prompts (Angelopoulos, Duchi and Zrnic
    2023, *PPI++: efficient prediction-powered inference*, for a mean). 0 is people alone.

    Args:
        people: Of the n prompts that both rated.
        judge: Of the same prompts.
        elsewhere: Of the N prompts that the judge alone saw.
    """
    spread = float(np.concatenate([judge, elsewhere]).var(ddof=1))
    if spread == 0:
        return 0.0
    shared = float(np.cov(people, judge, ddof=0)[0, 1])
    return min(max(shared / ((1 + len(people) / len(elsewhere)) * spread), 0.0), 1.0)


def put_to(judge: Votes, replies: Replies) -> Votes:
    """Return a judge's votes but those that lack a verdict since a completion could not be had.

    Such prompts are put before nobody: taken for a judge's indecision they would be found only among those that people
    did not rate, and draw the estimate towards one half.
    """
    had = np.array(
        [
            [prompt in replies.get(one, {}) and prompt in replies.get(other, {}) for prompt in judge.prompts]
            for one, other in judge.pairs
        ],
        dtype=bool,
    ).reshape(len(judge.pairs), len(judge.prompts))
    kept = (judge.result != NONE) | had[judge.pair, judge.prompt]
    return replace(
        judge,
        prompt=judge.prompt[kept],
        pair=judge.pair[kept],
        rater=judge.rater[kept],
        result=judge.result[kept],
        place=judge.place[kept],
    )


def ratings_of(people: Votes, judge: Votes | None, opponent: str) -> Ratings:
    """Return what was said of those who met an opponent; a prompt that people rated without a verdict is left out."""
    names = [people.pairs[pair][0] for pair in people.against(opponent)]
    tally = people.tally(people.against(opponent))
    given, none = tally[:, :, :NONE].sum(axis=2), tally[:, :, NONE]
    worth = tally[:, :, :NONE] @ np.asarray(WORTH[WIN_RATE])
    prompts = list(dict.fromkeys([*people.prompts, *(judge.prompts if judge else ())]))
    shape = (len(prompts), len(names))
    row = {prompt: place for place, prompt in enumerate(prompts)}
    mine = [row[prompt] for prompt in people.prompts]
    votes, said, seen = np.zeros(shape), np.full(shape, np.nan), np.full(shape, np.nan)
    votes[mine] = given
    said[mine] = np.where(given > 0, worth / np.maximum(given, 1), np.nan)
    if judge:
        theirs = [row[prompt] for prompt in judge.prompts]
        for column, name in enumerate(names):
            if (name, opponent) in judge.pairs:
                own = judge.tally([judge.pairs.index((name, opponent))])[:, 0]
                total = own.sum(axis=1)
                mean = (own @ np.array([*WORTH[WIN_RATE], 0.5])) / np.maximum(total, 1)
                seen[theirs, column] = np.where(total > 0, mean, np.nan)
    undecided = np.zeros(shape, dtype=bool)
    undecided[mine] = (none > 0) & (given == 0)
    seen[undecided] = np.nan
    return Ratings(names=tuple(names), people=said, judge=seen, votes=votes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimated:
    """People's win rates by one of the two ways, seeds apart."""

    table: Measured
    by_rated: Floats
    """The part of the draws that more rated prompts would make smaller: resamples by contestants."""
    weights: Sequence[float]
    """Of the judge, by contestant."""


def alone(ratings: Ratings, drawn: Floats) -> Estimated:
    """Return people's win rates from their own ratings; `drawn`: how often each of their prompts is drawn."""
    people = ratings.people[: drawn.shape[1]]
    rated = ~np.isnan(people)
    values, draws = _means(np.nan_to_num(people), rated, drawn)
    table = _measured(ratings, values, draws, rated, {})
    return Estimated(table=table, by_rated=draws, weights=[0.0] * len(ratings.names))


def with_judge(ratings: Ratings, drawn: Floats) -> Estimated:
    """Return people's win rates over all prompts that the judge saw, by prediction-powered inference.

    The judge's mean over the prompts that it alone saw, corrected by how far people and judge lie apart where both
    rated (Angelopoulos et al. 2023, *Prediction-powered inference*; PPI++). It is valid however wrong the judge is, as
    long as the rated prompts are like the others: drawn at random.
    """
    rated, seen = ~np.isnan(ratings.people), ~np.isnan(ratings.judge)
    both, only = rated & seen, seen & ~rated
    weights, missing = [], {}
    for column, name in enumerate(ratings.names):
        b, o = both[:, column], only[:, column]
        if not seen[:, column].any():
            missing[name] = NO_JUDGE
        elif o.sum() < FEWEST:
            missing[name] = (
                f"the judge saw {int(o.sum())} prompts that people did not rate; fewer than {FEWEST} are no help"
            )
        helps = min(b.sum(), o.sum()) >= FEWEST
        people, judge = ratings.people[:, column], ratings.judge[:, column]
        weights.append(power_weight(people[b], judge[b], judge[o]) if helps else 0.0)
    judged = np.nan_to_num(ratings.judge) * weights
    here, drawn_here = _means(np.nan_to_num(ratings.people) - judged, both, drawn)
    there, drawn_there = _means(judged, only, drawn)
    table = _measured(ratings, here + there, drawn_here + drawn_there, both, missing)
    return Estimated(table=table, by_rated=drawn_here, weights=weights)


def _means(values: Floats, kept: NDArray[np.bool_], drawn: Floats) -> tuple[Floats, Floats]:
    """Return the mean of the kept prompts, and its draws; a resample that draws none of them keeps the mean."""
    sums, counts = np.where(kept, values, 0.0), kept.astype(float)
    mean = sums.sum(axis=0) / np.maximum(counts.sum(axis=0), 1)
    bottom = drawn @ counts
    return mean, np.where(bottom > 0, drawn @ sums / np.maximum(bottom, 1), mean)


def _measured(
    ratings: Ratings, values: Floats, draws: Floats, kept: NDArray[np.bool_], missing: Mapping[str, str]
) -> Measured:
    return Measured(
        names=ratings.names,
        values=values,
        draws=draws,
        counts=np.maximum((ratings.votes[: len(kept)] * kept).sum(axis=0), 1.0),
        n=tuple(kept.sum(axis=0).tolist()),
        missing=missing,
    )


def joined_of(
    people: tuple[str, Votes],
    judge: tuple[str, Votes] | None,
    opponent: str,
    rungs: Sequence[Rung],
    spec: AnalyzeSpec,
) -> dict[str, Joined]:
    """Return people's win rate against an opponent, alone and with the judge, of everybody who met it.

    Prompts are the units, each counts once, and they are resampled; raters and training seeds widen as in
    `preference`.

    Args:
        people: Their name and votes.
        judge: Its name and votes; None where there is none.
        opponent: Whom the contestants met.
        rungs: The students.
        spec: Resamples, seed, level and target width.
    """
    ratings = ratings_of(people[1], judge[1] if judge else None, opponent)
    place = ("together", people[0], opponent)
    # What people say alone does not depend on the judge: its prompts stand behind theirs, and theirs are drawn first.
    drawn = [
        resample(many, spec.resamples, rng=rng_of(spec.seed, *place))
        for many in (len(people[1].prompts), len(ratings.people))
    ]
    met = [rung for rung in rungs if set(rung.seeds) <= set(ratings.names)]
    behind = members(met, ratings.names)
    pairs = dict(zip(ratings.names, people[1].against(opponent), strict=True))
    shifts = {
        who: rater_shift(people[1], [pairs[one] for one in own], WORTH[WIN_RATE])
        for who, own in behind.items()
    }
    ways = [alone(ratings, drawn[0]), with_judge(ratings, drawn[1])]
    pooled = [
        with_raters(
            pooled_by_source(way.table, met, rng=rng_of(spec.seed, *place, "pooled")),
            shifts,
            rng=rng_of(spec.seed, *place, "raters"),
        )
        for way in ways
    ]
    return {
        who: _joined(
            ratings,
            [ratings.names.index(one) for one in own],
            [(values[who], way) for values, way in zip(pooled, ways, strict=True)],
            spec,
        )
        for who, own in behind.items()
    }


def _joined(
    ratings: Ratings,
    columns: Sequence[int],
    ways: Sequence[tuple[Draws | Undefined, Estimated]],
    spec: AnalyzeSpec,
) -> Joined:
    """Return what is told of one contestant or student: its columns, and its win rate by each way."""
    mine = list(columns)
    rated, seen = ~np.isnan(ratings.people[:, mine]), ~np.isnan(ratings.judge[:, mine])
    votes = float(ratings.votes[:, mine].sum() / max(rated.any(axis=1).sum(), 1))
    needs = [more_ratings(number, way.by_rated[:, mine].mean(axis=1), votes, spec) for number, way in ways]
    return Joined(
        rated=int((rated & seen).any(axis=1).sum()),
        judged=int((seen & ~rated).any(axis=1).sum()),
        weight=float(np.mean([ways[1][1].weights[column] for column in mine])),
        alone=ways[0][0],
        together=ways[1][0],
        more_alone=needs[0],
        more_together=needs[1],
    )


def more_ratings(number: Draws | Undefined, by_rated: Floats, votes: float, spec: AnalyzeSpec) -> int | None:
    """Return how many more ratings, on new prompts, bring a win rate's interval down to the study's target width.

    The variance over rated prompts falls as their number grows; what comes of the judge's own sample of prompts, of
    the raters and of training seeds stays.

    Args:
        number: The win rate.
        by_rated: The part of its draws that is of rated prompts.
        votes: A rated prompt's, on average.
        spec: Level and target width.

    Returns:
        0 where the interval is as narrow already; None where more ratings of this kind cannot make it so.
    """
    known = share_of(number, spec.level)
    if isinstance(known, Undefined) or isinstance(number, Undefined):
        return None
    width = known.high - known.low
    if width <= spec.target_width:
        return 0
    whole, part = float(number.draws.var()), float(by_rated.var())
    wanted = whole * (spec.target_width / width) ** 2 - max(whole - part, 0.0)
    return math.ceil(number.n * (part / wanted - 1) * votes) if wanted > 0 else None


def rows_of(
    cast: Mapping[str, Votes],
    people: Sequence[str],
    opponents: Sequence[str],
    rungs: Sequence[Rung],
    replies: Replies,
    spec: AnalyzeSpec,
) -> list[dict[str, Any]]:
    """Return the report's `together`: people's win rates, alone and with each judge that compared the same.

    Args:
        cast: All votes, by judge.
        people: Those of `cast` who are people.
        opponents: The teacher and the bases, the teacher first.
        rungs: The students.
        replies: The completions that could be had.
        spec: Resamples, seed, level and target width.
    """
    rows = []
    seen = {name: votes if name in people else put_to(votes, replies) for name, votes in cast.items()}
    for name in people:
        pairs = set(cast[name].pairs)
        judges: list[str | None] = [one for one in cast if one not in people and pairs & set(cast[one].pairs)]
        for judge in judges or [None]:
            for opponent in opponents:
                if not cast[name].against(opponent):
                    continue
                own = (judge, seen[judge]) if judge else None
                found = joined_of((name, cast[name]), own, opponent, rungs, spec)
                rows += [
                    {
                        "people": name,
                        "judge": judge,
                        "contestant": who,
                        **what,
                        "opponent": opponent,
                        "rated": found[who].rated,
                        "judged": found[who].judged,
                        "weight": found[who].weight,
                        "alone": to_json(share_of(found[who].alone, spec.level)),
                        "together": to_json(share_of(found[who].together, spec.level)),
                        "more_ratings_alone": found[who].more_alone,
                        "more_ratings_together": found[who].more_together,
                    }
                    for who, _, what in groups(opponents[1:], opponents[0], rungs)
                    if who in found
                ]
    return rows
