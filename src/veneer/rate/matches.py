"""What people are to compare: every prompt and pair, with the texts that are shown.

An artefact named `ballots` holds
- `prompts.jsonl`: `{prompt_id, text}`, in the study's order; several turns are written out as one text.
- `texts.jsonl`: `{contestant, prompt_id, text, digest}`: every completion that may be shown.
- `matches.jsonl`: `{prompt_id, challenger, opponent}`: what is rated so many times.
- `skipped.jsonl`: `{prompt_id, challenger, opponent, reason}`: what cannot be shown, since a completion failed.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from veneer.benchmarks import items
from veneer.disk import read_rows, write_rows
from veneer.errors import DataError, StudyError
from veneer.rate.ballots import AGAIN, teacher
from veneer.records import Completion, Contestant, Prompt, Role, Stop, from_row, to_row
from veneer.store import Artefact, Order
from veneer.study_rate import PeopleSpec

VERSION = 1
NAME = "ballots"
PROMPTS, TEXTS, MATCHES, SKIPPED = "prompts.jsonl", "texts.jsonl", "matches.jsonl", "skipped.jsonl"
ASKED, ANSWERED = "prompts.jsonl", "completions.jsonl"
"""Files of the stage `answer`."""

Pairing = tuple[str, str]
"""Challenger and opponent, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Two contestants who are to be compared on one prompt."""

    prompt_id: str
    challenger: str
    opponent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One completion as it may be shown."""

    contestant: str
    """A name; the teacher's second sample stands under its own (`<teacher>-again`)."""
    prompt_id: str
    text: str
    digest: str
    """The SHA-256 of the text: a vote counts for the text that was seen, and for no later one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballots:
    """All that people are to compare."""

    key: str
    """The artefact's."""
    prompts: Mapping[str, str]
    """A prompt's id to its text."""
    texts: Mapping[tuple[str, str], Text]
    """(contestant, prompt's id) to what it wrote."""
    matches: tuple[Match, ...]


def orders(
    spec: PeopleSpec, answered: Mapping[str, Artefact], contestants: Sequence[Contestant]
) -> list[Order]:
    """Return the one order of what people are to compare.

    Args:
        spec: Who is compared, with whom, on how many prompts.
        answered: The contestants' answers, by name.
        contestants: Everybody, the teacher among them.

    Raises:
        StudyError: The section names a contestant that the study has not.
    """
    pairs = pairings(spec, contestants)
    names = sorted({name.removesuffix(AGAIN) for pair in pairs for name in pair})
    return [
        Order(
            stage="rate",
            name=NAME,
            version=VERSION,
            config={
                "pairs": [list(pair) for pair in pairs],
                "prompts": spec.prompts,
                "seed": spec.seed,
                "teacher": teacher(contestants),
            },
            inputs={f"answered {name}": answered[name].key for name in names},
            make=partial(
                _make, spec, pairs, {name: answered[name].path for name in names}, teacher(contestants)
            ),
        )
    ]


def pairings(spec: PeopleSpec, contestants: Sequence[Contestant]) -> list[Pairing]:
    """Return who meets whom: bases and students the teacher, and students their base, as the section says.

    Raises:
        StudyError: The section names a contestant that the study has not.
    """
    able = {one.name: one for one in contestants if one.role is not Role.TEACHER}
    if unknown := [name for name in spec.contestants if name not in able]:
        raise StudyError(
            f"rate.people.contestants: {unknown[0]!r} is no base or student of this study; they are {list(able)}."
        )
    chosen = [able[name] for name in spec.contestants] or list(able.values())
    master = teacher(contestants)
    pairs: list[Pairing] = []
    if "teacher" in spec.against:
        pairs += [(one.name, master) for one in chosen]
    if "base" in spec.against:
        pairs += [(one.name, one.base) for one in chosen if one.role is Role.STUDENT]
    if spec.ceiling:
        pairs.append((master + AGAIN, master))
    if not pairs:
        raise StudyError(
            "rate.people: nobody is compared with anybody; name students, or `against: [teacher]`."
        )
    return pairs


def read(made: Artefact) -> Ballots:
    """Return what an artefact of this stage holds."""
    texts = (from_row(Text, row, where) for where, row in read_rows(made.path / TEXTS))
    return Ballots(
        key=made.key,
        prompts={row["prompt_id"]: row["text"] for _, row in read_rows(made.path / PROMPTS)},
        texts={(one.contestant, one.prompt_id): one for one in texts},
        matches=tuple(from_row(Match, row, where) for where, row in read_rows(made.path / MATCHES)),
    )


def _make(
    spec: PeopleSpec, pairs: Sequence[Pairing], answered: Mapping[str, Path], master: str, folder: Path
) -> None:
    asked = _asked(answered[next(iter(answered))])
    ids = _drawn(list(asked), spec.prompts, rng=np.random.default_rng([spec.seed, len(asked)]))
    found: dict[tuple[str, str], Text | str] = {}
    for name, path in answered.items():
        found |= _texts(path, name, master)
    matches, skipped = [], []
    for prompt_id in ids:
        for challenger, opponent in pairs:
            match = Match(prompt_id=prompt_id, challenger=challenger, opponent=opponent)
            sides = {name: found.get((name, prompt_id), "not answered") for name in (challenger, opponent)}
            reasons = [f"{name}: {one}" for name, one in sides.items() if isinstance(one, str)]
            if reasons:
                skipped.append({**to_row(match), "reason": "; ".join(reasons)})
            else:
                matches.append(match)
    shown = {(name, one.prompt_id) for one in matches for name in (one.challenger, one.opponent)}
    write_rows(folder / PROMPTS, ({"prompt_id": one, "text": asked[one]} for one in ids))
    write_rows(
        folder / TEXTS,
        (to_row(one) for place, one in found.items() if place in shown and not isinstance(one, str)),
    )
    write_rows(folder / MATCHES, map(to_row, matches))
    write_rows(folder / SKIPPED, skipped)


def _drawn(ids: list[str], many: int | None, *, rng: np.random.Generator) -> list[str]:
    """Return so many ids, drawn at random and left in their order; all of them for None."""
    if many is None or many >= len(ids):
        return ids
    return [ids[place] for place in sorted(rng.choice(len(ids), size=many, replace=False).tolist())]


def _asked(folder: Path) -> dict[str, str]:
    """Return every prompt's text, by id."""
    prompts = (from_row(Prompt, row, where) for where, row in read_rows(folder / ASKED))
    return {one.prompt_id: _written_out(one) for one in prompts}


def _written_out(prompt: Prompt) -> str:
    if not prompt.messages:
        return prompt.text
    if len(prompt.messages) == 1:
        return prompt.messages[0].content
    return "\n\n".join(f"**{turn.role.capitalize()}:** {turn.content}" for turn in prompt.messages)


def _texts(folder: Path, name: str, master: str) -> dict[tuple[str, str], Text | str]:
    """Return what a contestant wrote on each prompt, or why nothing can be shown."""
    found: dict[tuple[str, str], Text | str] = {}
    for where, row in read_rows(folder / ANSWERED):
        if row.get("benchmark") != items.PROMPTS:
            continue
        if not isinstance(row.get("completion"), dict):
            raise DataError(
                f"{where}, field completion: found {row.get('completion')!r}; an object is wanted."
            )
        one = from_row(Completion, row["completion"], where)
        if one.sample > 1 or (one.sample == 1 and name != master):
            continue
        who = name + AGAIN if one.sample == 1 else name
        if one.stop is Stop.FAILED:
            found[who, one.prompt_id] = "its completion failed"
        else:
            digest = hashlib.sha256(one.text.encode()).hexdigest()
            found[who, one.prompt_id] = Text(
                contestant=who, prompt_id=one.prompt_id, text=one.text, digest=digest
            )
    return found
