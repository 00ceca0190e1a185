"""Writes a study's index: where every completion and grade lies, what came of it, and all words, for `veneer view`.

The index is one SQLite file. A *unit* is an item of a benchmark in one form; units are numbered in the study's order.
What contestants wrote is not copied: the index says where in the artefacts it stands. It holds
- `meta`: what the pages say of the study, as JSON;
- `units`: each unit's place, question, references and choices;
- `arrays`: by contestant, one number a unit (outcomes, marks) or a completion (where it and its grade begin);
- `verdicts`: what judges and raters said of the prompts for style;
- `texts`: the words of a unit, a column for the question and one for each contestant (full-text search, FTS5).
"""

import heapq
import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from veneer import disk, style
from veneer.benchmarks.benchmark import Benchmark
from veneer.benchmarks.items import PROMPTS
from veneer.records import Contestant, Outcome, Stop, to_row

VERSION = 1
COMPLETIONS, GRADES, COMPARISONS = "completions.jsonl", "grades.jsonl", "comparisons.jsonl"
OUTCOMES = ("", *Outcome)
"""An outcome's number in the arrays is its place here; 0 is a completion without a grade."""
TOLD = 500
"""Units between two calls that tell how far the work is."""
SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE units (unit INTEGER PRIMARY KEY, benchmark TEXT NOT NULL, form TEXT NOT NULL, item TEXT NOT NULL,
    question TEXT NOT NULL, refs TEXT NOT NULL, choices TEXT NOT NULL, UNIQUE (benchmark, form, item));
CREATE TABLE arrays (contestant TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (contestant, name));
CREATE TABLE verdicts (item TEXT NOT NULL, by TEXT NOT NULL, first TEXT NOT NULL, second TEXT NOT NULL,
    verdict TEXT NOT NULL, reason TEXT NOT NULL);
"""

Ints = np.ndarray[Any, np.dtype[np.integer[Any]]]
Place = tuple[str, str, str]
"""A unit by its benchmark, form and item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What an index is made from."""

    key: str
    """Told apart from the index of other artefacts by it."""
    said: Mapping[str, Any]
    """What the pages say of the study: its `name`, `question` and `teacher`."""
    contestants: Sequence[Contestant]
    """Those who have answered."""
    answered: Mapping[str, Path]
    """Folders of artefacts, by contestant."""
    graded: Mapping[str, Path]
    compared: Mapping[str, Path]
    """By judge."""
    benchmarks: Sequence[Benchmark]
    """The prompts for style among them, last."""
    weigh: Callable[[], "Weighed"]
    """Says what is known of items beside their answers; called once, since it takes long."""
    report: Path | None
    """The folder of the report; None where it is not made yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What is known of items beside their answers."""

    supported: Mapping[str, Mapping[tuple[str, str], bool]] = field(default_factory=dict)
    """By student, then benchmark and item; what is not told is not there."""
    left_out: frozenset[tuple[str, str]] = frozenset()
    """Items that stand in no score, by benchmark and item."""
    confident: frozenset[tuple[str, str]] = frozenset()
    """Contestants and prompts of the report's confident and wrong answers."""


def path_of(folder: Path, sources: Sources) -> Path:
    """Return where the index of these sources lies."""
    return folder / f"index-{sources.key[:12]}.sqlite"


def make(folder: Path, sources: Sources, tell: Callable[[int, int], None]) -> Path:
    """Return the index of these sources, made if need be; those of other artefacts are removed.

    Args:
        folder: Where indexes of the study lie.
        sources: What it is made from.
        tell: Is told how many units are done, of how many.
    """
    path = path_of(folder, sources)
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    writing = folder / f".{path.name}.{os.getpid()}"
    try:
        _write(writing, sources, tell)
        disk.sync(writing)
        os.replace(writing, path)
    finally:
        writing.unlink(missing_ok=True)
    for other in folder.glob("index-*.sqlite"):
        if other != path:
            other.unlink(missing_ok=True)
    return path


def _write(path: Path, sources: Sources, tell: Callable[[int, int], None]) -> None:
    path.unlink(missing_ok=True)
    units: dict[Place, int] = {}
    with closing(sqlite3.connect(path, isolation_level=None)) as base:
        # A file that is not whole is never read: nothing needs to survive a crash.
        base.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -200000;" + SCHEMA
        )
        base.execute("BEGIN")
        base.executemany("INSERT INTO units VALUES (?, ?, ?, ?, ?, ?, ?)", _units(sources.benchmarks, units))
        outcomes = {one.name: _grades(sources.graded.get(one.name), units) for one in sources.contestants}
        ledgers = _read(base, sources, units, outcomes, tell)
        for name, ledger in ledgers.items():
            _keep(base, name, {**ledger.arrays(outcomes[name]), **outcomes[name].arrays})
        _weigh(base, sources, units)
        base.executemany("INSERT INTO verdicts VALUES (?, ?, ?, ?, ?, ?)", _verdicts(sources.compared))
        said = {**sources.said, "contestants": [to_row(one) for one in sources.contestants]}
        said["units"] = len(units)
        base.executemany(
            "INSERT INTO meta VALUES (?, ?)", [(name, json.dumps(value)) for name, value in said.items()]
        )
        base.execute("COMMIT")


def _units(benchmarks: Sequence[Benchmark], units: dict[Place, int]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of `units`, in the order in which answers lie in artefacts, and number them."""
    for benchmark in benchmarks:
        for form in sorted(benchmark.forms):
            for item in benchmark.items:
                units[benchmark.name, form, item.item_id] = number = len(units)
                references, choices = json.dumps(item.references), json.dumps(item.choices)
                yield number, benchmark.name, form, item.item_id, item.question, references, choices


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcomes:
    """What became of one contestant's completions."""

    arrays: Mapping[str, Ints]
    """`lenient` and `strict`: the number of the outcome of each unit's first completion; `refused`: 0 or 1."""
    places: Mapping[tuple[int, int], int]
    """Where the grade of a unit's sample begins."""


def _grades(folder: Path | None, units: Mapping[Place, int]) -> _Outcomes:
    arrays = {name: np.zeros(len(units), np.uint8) for name in ("lenient", "strict", "refused")}
    places: dict[tuple[int, int], int] = {}
    for place, row in _rows(folder / GRADES) if folder else ():
        unit = units[row["benchmark"], row["form"], row["prompt_id"]]
        places[unit, row["sample"]] = place
        if row["sample"] == 0:
            arrays["lenient"][unit] = OUTCOMES.index(row["lenient"])
            arrays["strict"][unit] = OUTCOMES.index(row["strict"])
            arrays["refused"][unit] = row["refused"]
    return _Outcomes(arrays=arrays, places=places)


@dataclass(slots=True)
class _Ledger:
    """What is noted of one contestant while its completions go by, unit by unit."""

    fluent: Ints
    counts: Ints
    """Completions of each unit."""
    keys: list[tuple[int, int]] = field(default_factory=list)
    """Unit and sample of each completion."""
    places: list[int] = field(default_factory=list)
    """Where each completion begins."""

    def arrays(self, outcomes: _Outcomes) -> dict[str, Ints]:
        return {
            "fluent": self.fluent,
            "starts": np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64),
            "completions": np.array(self.places, np.int64),
            "grades": np.array([outcomes.places.get(key, -1) for key in self.keys], np.int64),
        }


def _read(
    base: sqlite3.Connection,
    sources: Sources,
    units: Mapping[Place, int],
    outcomes: Mapping[str, _Outcomes],
    tell: Callable[[int, int], None],
) -> dict[str, _Ledger]:
    """Read all completions once, all contestants side by side, and put their words into the index of texts."""
    names = [one.name for one in sources.contestants]
    columns = "".join(f", c{number}" for number in range(len(names)))
    base.execute(
        f"CREATE VIRTUAL TABLE texts USING fts5(question{columns}, content='', columnsize=0, "
        "tokenize='unicode61 remove_diacritics 2')"
    )
    insert = f"INSERT INTO texts (rowid, question{columns}) VALUES (?, ?{', ?' * len(names)})"  # noqa: S608
    size = len(units)
    ledgers = {name: _Ledger(np.zeros(size, np.uint8), np.zeros(size, np.int64)) for name in names}
    asked = [
        "\n".join([question, *json.loads(references), *json.loads(choices)])
        for question, references, choices in base.execute(
            "SELECT question, refs, choices FROM units ORDER BY unit"
        )
    ]
    readers = [_completions(number, sources.answered[name], units) for number, name in enumerate(names)]
    for unit, found in groupby(heapq.merge(*readers, key=itemgetter(0, 1)), key=itemgetter(0)):
        words = [""] * len(names)
        for _, number, place, row in found:
            name, completion = names[number], row["completion"]
            ledger = ledgers[name]
            ledger.keys.append((unit, completion["sample"]))
            ledger.places.append(place)
            ledger.counts[unit] += 1
            words[number] += completion["text"] + "\n"
            if completion["sample"] == 0:
                ledger.fluent[unit] = _fluent(row, unit, outcomes[name])
        base.execute(insert, (unit, asked[unit], *words))
        if unit % TOLD == 0:
            tell(unit, size)
    base.execute("INSERT INTO texts (texts) VALUES ('optimize')")
    tell(size, size)
    return ledgers


def _fluent(row: Mapping[str, Any], unit: int, outcomes: _Outcomes) -> bool:
    """Return whether a wrong answer sounds sure: it ends by itself, and neither declines nor hedges."""
    completion = row["completion"]
    wrong = outcomes.arrays["lenient"][unit] == OUTCOMES.index(Outcome.WRONG)
    sure = completion["stop"] == Stop.END and not outcomes.arrays["refused"][unit]
    return bool(wrong and sure and row["form"] != "choose" and not style.hedged(completion["text"]))


def _completions(
    number: int, folder: Path, units: Mapping[Place, int]
) -> Iterator[tuple[int, int, int, dict[str, Any]]]:
    """Yield (unit, contestant's number, where the row begins, row); artefacts have units in their order."""
    before = -1
    for place, row in _rows(folder / COMPLETIONS):
        unit = units[row["benchmark"], row["form"], row["completion"]["prompt_id"]]
        assert unit >= before, "answers lie in the study's order"
        before = unit
        yield unit, number, place, row


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield where each row of a JSONL file begins (in bytes), and the row."""
    place = 0
    with path.open("rb") as lines:
        for line in lines:
            yield place, json.loads(line)
            place += len(line)


def _weigh(base: sqlite3.Connection, sources: Sources, units: Mapping[Place, int]) -> None:
    weighed = sources.weigh()
    confident = defaultdict(set)
    for name, prompt in weighed.confident:
        confident[name].add(prompt)
    for one in sources.contestants:
        # -1: not told.
        known = weighed.supported.get(one.name, {})
        supported = [int(known.get((benchmark, item), -1)) for benchmark, _, item in units]
        wrong = [benchmark == PROMPTS and item in confident[one.name] for benchmark, _, item in units]
        arrays = {"supported": np.array(supported, np.int8), "confident": np.array(wrong, np.uint8)}
        _keep(base, one.name, arrays)
    out = [(benchmark, item) in weighed.left_out for benchmark, _, item in units]
    _keep(base, "", {"left_out": np.array(out, np.uint8)})


def _keep(base: sqlite3.Connection, contestant: str, arrays: Mapping[str, Ints]) -> None:
    rows = [(contestant, name, array.dtype.str, array.tobytes()) for name, array in arrays.items()]
    base.executemany("INSERT INTO arrays VALUES (?, ?, ?, ?)", rows)


def _verdicts(compared: Mapping[str, Path]) -> Iterator[tuple[str, ...]]:
    for judge, folder in compared.items():
        for _, row in _rows(folder / COMPARISONS):
            by = judge if row["by"] == judge else f"{judge}: {row['by']}"
            yield row["prompt_id"], by, row["first"], row["second"], row["verdict"], row["reason"]
