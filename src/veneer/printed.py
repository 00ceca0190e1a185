"""What `plan` and `status` print of a study."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from veneer import pipeline
from veneer.analyze.require import Checked, Decision, Term
from veneer.stats import Undefined
from veneer.study import Study

if TYPE_CHECKING:
    from veneer.forecast import Asked


def grid(study: Study) -> Iterator[str]:
    """Yield the lines that say what a study is made of."""
    yield f"{study.name}: {study.question}" if study.question else study.name
    yield f"  bases     {', '.join(study.bases) or 'none'}"
    yield f"  teacher   {study.teacher.name}"
    if study.train and study.collect:
        amounts, seeds = study.train.amounts, study.train.seeds
        students = len(study.bases) * len(study.imitated) * len(amounts) * len(seeds)
        yield f"  sources   {', '.join(study.imitated)}"
        yield f"  amounts   {', '.join(f'{amount:,}' for amount in amounts)} tokens"
        yield f"  seeds     {', '.join(map(str, seeds))}"
        yield f"  students  {students} (bases x sources x amounts x seeds)"
        if replay := study.train.replay:
            twins = students // len(amounts) * len(replay.amounts)
            yield f"            and {twins} with {replay.share:.0%} of pretraining text mixed in"
    elif study.students:
        yield f"  students  {', '.join(study.students)} (they exist already)"
    else:
        yield f"  sources   {', '.join(study.imitated)} (imitation data alone: nothing is trained)"
    forms = [
        f"{name} ({', '.join(spec.forms or ('chat',))})" for name, spec in study.evaluate.benchmarks.items()
    ]
    yield f"  benchmarks  {', '.join(forms) or 'none'}"
    raters = {"simulated": "simulated raters", "people": "people"}
    judges = [*study.judges, *(raters[kind] for kind in study.raters)]
    yield f"  judges    {', '.join(judges) or 'none'}"


def asked(study: Study, journal: Path) -> list["Asked"]:
    """Return what endpoints will be asked; nothing where the study has none."""
    models = [*study.bases.values(), *study.students.values(), study.teacher, *study.judges_own.values()]
    if not any(spec.endpoint for spec in models):
        return []
    # Reads the benchmarks' files; most studies ask no endpoint.
    from veneer.forecast import forecast

    return forecast(study, journal)


def left(asked: list["Asked"]) -> dict[str, float]:
    """Return how many requests each stage has left; infinity where that is not known."""
    found: dict[str, float] = {}
    for one in asked:
        count = math.inf if one.requests is None else one.requests - one.answered
        found[one.stage] = found.get(one.stage, 0) + count
    return found


def bill(asked: list["Asked"]) -> Table:
    """Return the table of what endpoints will be asked and what it may cost."""
    table = Table(
        "stage", "model", "asked", "requests", "answered", "tokens in (about)", "tokens out (at most)",
        "$ (at most)", box=None, pad_edge=False,
    )  # fmt: skip
    for one in asked:
        guess = "" if one.sure else "~"
        counts = [
            "unknown" if count is None else f"{guess}{count:,}"
            for count in (one.requests, one.tokens_in, one.tokens_out)
        ]
        price = "unknown" if one.dollars is None else f"{guess}{one.dollars:,.2f}"
        table.add_row(one.stage, one.model, one.what, counts[0], f"{one.answered:,}", *counts[1:], price)
    return table


def total(asked: list["Asked"], cap: float | None, paid: float) -> str:
    """Return the line that says what all of it may cost together."""
    known = sum(one.dollars for one in asked if one.sure and one.dollars is not None)
    guessed = sum(one.dollars for one in asked if not one.sure and one.dollars is not None)
    said = [f"at most ${known:,.2f}"]
    if guessed:
        said.append(f"~${guessed:,.2f} (a guess: what will be asked is not known yet)")
    if any(one.dollars is None for one in asked):
        said.append("what is unknown")
    limit = "no spend_cap is set" if cap is None else f"spend_cap: ${cap:,.2f}"
    return (
        f"  left to pay: {' and '.join(said)}; paid: ${paid:,.2f}; {limit}\n"
        "  Tokens and dollars are of requests without an answer. Attempts that break off may cost more: only "
        "spend_cap is a bound."
    )


def states(states: list[pipeline.StageState]) -> Table:
    """Return the table of how far each stage has come."""
    table = Table("stage", "cells", "done", "begun", "to do", box=None, pad_edge=False)
    for state in states:
        left = state.cells - state.done - state.begun
        table.add_row(state.stage, str(state.cells), str(state.done), str(state.begun), str(left))
    return table


def holders(states: list[pipeline.StageState]) -> Iterator[str]:
    """Yield a line for each cell that a run is making this moment: who makes it, and when that was last heard."""
    for state in states:
        for name, one in state.holders:
            yield f"{state.stage}: {name} is being made by {one}"


def checks(found: Sequence[Checked]) -> Iterator[str]:
    """Yield a line for each requirement: what the study says of it, and the number that says it."""
    for one in found:
        number, requirement = one.number, one.requirement
        of = str(requirement.left)
        if isinstance(requirement.right, Term):
            of += f" - {requirement.right}"
        if isinstance(number, Undefined):
            said = f"{of} is undefined: {number.reason}"
        else:
            said = f"{of} = {number.value:.4g} [{number.low:.4g}, {number.high:.4g}], n = {number.n}"
        yield f"{one.decision:<9}  {requirement.text}  ({said})"


def status_of(found: Sequence[Checked]) -> int:
    """Return the exit status: 1 if a requirement is not met, else 3 if one is undecided, else 0."""
    decisions = {one.decision for one in found}
    return 1 if Decision.NOT_MET in decisions else 3 if Decision.UNDECIDED in decisions else 0
