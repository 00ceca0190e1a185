"""What a reader must know of people's votes: how many count, what is left out and why, what was asked apart."""

from typing import Any

from veneer import store
from veneer.store import Artefact

SUMMARY = "summary.json"
"""Written by the stage `rate` beside people's comparisons."""
APART = {"style": "better written", "correctness": "more correct"}


def notes_of(people: Artefact) -> list[str]:
    """Return in sentences what is to be known of people's votes.

    Args:
        people: The artefact of their comparisons.
    """
    told = store.read_json(people.path / SUMMARY)
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
    return notes + [sentence for pair in told["pairs"] for sentence in _apart(pair)]


def _apart(pair: dict[str, Any]) -> list[str]:
    return [
        f"Asked apart, people called {pair['challenger']} {what} than {pair['opponent']} {said['win']:,} times, as "
        f"good {said['tie']:,} times, not {said['loss']:,} times; {said['none']:,} times they could not judge."
        for question, what in APART.items()
        if (said := pair.get(question))
    ]
