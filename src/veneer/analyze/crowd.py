"""What people said beside their verdict: how many votes count, what is left out, and what was asked apart."""

from collections.abc import Sequence
from typing import Any

from veneer import disk
from veneer.analyze import preference, reading
from veneer.analyze.measure import Rung
from veneer.analyze.reading import Places
from veneer.analyze.votes import votes_of
from veneer.store import Artefact
from veneer.study import AnalyzeSpec

SUMMARY = "summary.json"
"""Written by the stage `rate` beside people's comparisons."""
APART = ("style", "correctness")
"""What people may be asked beside which completion is better, each in a file of its own."""


def notes_of(people: Artefact) -> list[str]:
    """Return in sentences what is to be known of people's votes.

    Args:
        people: The artefact of their comparisons.
    """
    told = disk.read_json(people.path / SUMMARY)
    notes = [
        f"{told['raters']:,} people cast {told['votes']:,} votes, of which {told['counted']:,} count; "
        f"{told['matches_with_all_ratings']:,} of {told['matches']:,} prompts and pairs have all their ratings."
    ]
    if told["excluded"]:
        reasons = "; ".join(f"{many:,}: {why}" for why, many in told["excluded"].items())
        notes.append(f"Votes of people that are left out ({reasons}).")
    if looks := told["owner_looked_at_running_win_rates"]:
        times = "time" if looks == 1 else "times"
        notes.append(f"The owner looked at running win rates {looks} {times} while people rated.")
    if skipped := told["skipped_matches"]:
        notes.append(
            f"{skipped:,} prompts and pairs could not be put before people, since a completion failed."
        )
    return notes


def apart_rows(
    people: Artefact, out: Places, opponents: Sequence[str], rungs: Sequence[Rung], spec: AnalyzeSpec
) -> list[dict[str, Any]]:
    """Return the report's `asked_apart`: win rates of people's votes on style and on correctness, if asked.

    Args:
        people: The artefact of their comparisons.
        out: Prompts that are left out.
        opponents: The teacher and the bases, the teacher first.
        rungs: The students.
        spec: Resamples, level and seed.
    """
    rows = []
    for question in APART:
        votes = votes_of(reading.comparisons(people, out, f"{question}.jsonl"), opponents)
        found = preference.preferences_of("people", "people", votes, {}, opponents, rungs, spec, controls={})
        told = preference.rows_of(found, opponents[1:], opponents[0], rungs, spec)
        rows += [{"question": question, **row} for row in told]
    return rows
