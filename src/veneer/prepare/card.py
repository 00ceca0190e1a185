"""The data card: what a source's imitation data is, for a reviewer, as JSON and as one page."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2

from veneer.amounts import prefixes
from veneer.disk import read_json, read_rows, write_json, write_text
from veneer.errors import StudyError

TEMPLATES = Path(__file__).parent / "templates"


def write(
    name: str, prepared: Path, said: Mapping[str, Mapping[str, str]], amounts: Sequence[int], folder: Path
) -> None:
    """Write `card.json` and `card.html`.

    Args:
        name: The source's.
        prepared: The folder of its examples and its profile.
        said: The licence and origin that the study states, by the name of each feed.
        amounts: Tokens of imitation data, growing.
        folder: Where the card goes.

    Raises:
        StudyError: There is too little data for the largest amount.
    """
    profile = read_json(prepared / "profile.json")
    tokens = [row["tokens"] for _, row in read_rows(prepared / "examples.jsonl")]
    found = prefixes(tokens, amounts)
    if found is None:
        raise StudyError(_too_little(name, profile, max(amounts)))
    feeds = [{**feed, **said[feed["name"]]} for feed in profile["feeds"]]
    card = {**profile, "feeds": feeds, "amounts": [asdict(prefix) for prefix in found]}
    assert card["kept"] + card["dropped"] == card["read"], "a row was lost"
    write_json(folder / "card.json", card)
    write_text(folder / "card.html", page(card))


def page(card: dict[str, Any]) -> str:
    """Return the card as one page that needs nothing else; every text of it is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("card.html.jinja").render(card=card)


def _too_little(name: str, profile: dict[str, Any], most: int) -> str:
    dropped = ", ".join(f"{count:,} {kind}" for kind, count in profile["reasons"].items())
    ran_out = f"; its part {profile['ran_out']!r} ran out first" if profile["ran_out"] else ""
    return (
        f"{name}: train.amounts asks for {most:,} tokens of it, and it has {profile['tokens']:,}, in "
        f"{profile['examples']:,} examples ({'dropped: ' + dropped if dropped else 'none were dropped'}{ran_out}). "
        "Collect more, or lower the largest amount."
    )
