"""The raters' page of a study: finds what people are to compare, and serves it."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from veneer import pipeline
from veneer.analyze.agreement import krippendorff_alpha
from veneer.benchmarks import items
from veneer.errors import StudyError
from veneer.rate import matches, votes
from veneer.stats import Undefined
from veneer.store import Artefact, Order, Store
from veneer.study import Study, load

RESAMPLES = 500
"""For the interval on the owner's page; the report makes its own."""


def serve(study_file: Path, say: Callable[[str], None]) -> None:
    """Serve the page on which people compare a study's completions, until interrupted.

    Args:
        study_file: The study.
        say: Is told the links, and what is missing.

    Raises:
        StudyError: The study asks no people, or its answers are not there yet, or the page cannot be served.
        VeneerError: As the files of the study say.
    """
    try:
        from veneer.rate import serve as web
    except ImportError as error:
        raise StudyError(
            f"The raters' page needs the package {error.name}: pip install 'veneer[rate]'"
        ) from error
    study, store = load(study_file), pipeline.store_of(study_file)
    found = ballots(study, store)
    assert study.rate is not None
    assert study.rate.people is not None
    web.serve(study.rate.people, matches.read(found), votes.path_of(store.root.parent), agreement, say)


def ballots(study: Study, store: Store) -> Artefact:
    """Return what people are to compare, which `run` makes once everybody has answered.

    Raises:
        StudyError: The study asks no people, or its answers are not there yet.
    """
    if "people" not in study.raters:
        raise StudyError(
            f"{study.name}: asks no people; say under `rate.people` how (`veneer new` shows it)."
        )
    found = store.find(_order(pipeline.with_items(study, store.root.parent), store))
    if found is None:
        raise StudyError(
            f"{study.name}: the completions to compare are not there yet. Run `veneer run STUDY --until rate` first."
        )
    return found


def forecast(study: Study, store: Store) -> str:
    """Return in a line how many ratings people are asked for, and what they would cost.

    Args:
        study: One that asks people, its tasks made into items.
        store: Where its artefacts lie.
    """
    assert study.rate is not None
    assert study.rate.people is not None
    assert study.evaluate.prompts is not None
    spec = study.rate.people
    prompts = len(items.load_prompts(study.evaluate.prompts).items)
    prompts = min(prompts, spec.prompts or prompts)
    pairs = len(_order(study, store).config["pairs"])
    total = pairs * prompts * spec.ratings
    # Nobody sees a prompt twice, so that every pair of one prompt needs raters of its own.
    raters = max(-(-total // spec.per_rater), pairs * spec.ratings)
    said = (
        f"  people    {pairs} pairs x {prompts} prompts x {spec.ratings} ratings = {total:,} ratings: {raters:,} "
        f"raters of {spec.per_rater} pairs each"
    )
    return said + (f", {raters * spec.pay.each:,.2f} {spec.pay.currency}" if spec.pay else "")


def _order(study: Study, store: Store) -> Order:
    """Return the order of what people are to compare, making nothing."""
    wanted: list[Order] = []

    def look(stage: str, orders: Sequence[Order]) -> pipeline.Made:
        wanted.extend(order for order in orders if (stage, order.name) == ("rate", matches.NAME))
        return {order.name: pipeline.to_come(order, store) for order in orders}

    for _ in pipeline.stages(study, store.root.parent, look):
        if wanted:
            break
    return wanted[0]


def agreement(verdicts: Sequence[tuple[tuple[str, str, str], str]]) -> str:
    """Return in a sentence how far raters agree: Krippendorff's alpha over matches that several have rated.

    Args:
        verdicts: What was rated, and how.
    """
    units: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for unit, verdict in verdicts:
        units[unit].append(verdict)
    alpha = krippendorff_alpha(
        list(units.values()),
        level=0.95,
        resamples=RESAMPLES,
        rng=np.random.default_rng(0),
        clusters=[prompt for prompt, _, _ in units],
    )
    if isinstance(alpha, Undefined):
        return f"Agreement so far cannot be told: {alpha.reason}."
    return (
        f"Agreement so far (Krippendorff's alpha; 1 is perfect, 0 is chance): {alpha.value:.2f} "
        f"[{alpha.low:.2f}, {alpha.high:.2f}], over {alpha.n} prompts."
    )
