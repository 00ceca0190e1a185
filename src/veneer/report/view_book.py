"""Reads an index and what it points to: which items fit a state, and what was asked and written there."""

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from veneer.errors import StoreError
from veneer.records import Completion, Contestant, Grade, Role, from_row
from veneer.report.view_index import COMPLETIONS, GRADES, OUTCOMES, Ints
from veneer.report.view_pick import Mask, Trio, needles, patterns
from veneer.report.view_state import Lost, State

MOST_FILES, MOST_SEARCHES = 200, 20
"""Files that are kept open, and searches whose finds are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """An item in one form."""

    number: int
    benchmark: str
    form: str
    item: str
    question: str
    references: tuple[str, ...]
    choices: tuple[str, ...]

    @property
    def at(self) -> str:
        """Its place, as an address has it."""
        return f"{self.benchmark}/{self.form}/{self.item}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What one contestant wrote to an item, and what came of it."""

    contestant: Contestant
    completion: Completion | None
    """None where it was not asked."""
    grade: Grade | None
    samples: int
    """How many completions of the item there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """What one contestant's first answer to an item comes to."""

    contestant: Contestant
    said: str | None
    """What was read as its answer, or else the whole text; None where it was not asked."""
    strict: str
    """Outcomes; empty where there is no grade."""
    lenient: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a judge or rater said."""

    by: str
    first: str
    second: str
    verdict: str
    reason: str


@dataclass(slots=True, kw_only=True)
class Book:
    """An opened index. It is read by one thread."""

    base: sqlite3.Connection
    answered: Mapping[str, Path]
    graded: Mapping[str, Path]
    said: Mapping[str, Any]
    contestants: Mapping[str, Contestant]
    kinds: Sequence[tuple[str, str]]
    """Benchmarks and forms, in order."""
    sizes: Mapping[tuple[str, str], int]
    """Units of each."""
    units: int
    _arrays: dict[tuple[str, str], Ints] = field(default_factory=dict)
    _files: dict[Path, BinaryIO] = field(default_factory=dict)
    _searches: dict[str, Mask] = field(default_factory=dict)
    """What the last searches found: who looks at one item of them looks at the next."""

    @property
    def students(self) -> list[str]:
        """The students' names."""
        return [name for name, one in self.contestants.items() if one.role is Role.STUDENT]

    @property
    def has_support(self) -> bool:
        """Whether it is told for some item whether a student's data supports it."""
        return any((self.array(name, "supported") >= 0).any() for name in self.students)

    def trio(self, state: State) -> Trio:
        """Return whom a state's filters compare."""
        student = state.student or self._usual()
        bases = [name for name, one in self.contestants.items() if one.role is Role.BASE]
        base = self.contestants[student].base if student else next(iter(bases), "")
        teachers = [name for name, one in self.contestants.items() if one.role is Role.TEACHER]
        return Trio(
            base=base if base in self.contestants else "", student=student, teacher=next(iter(teachers), "")
        )

    def _usual(self) -> str:
        """Return the student that headlines speak of: the strongest base's, of the first source, at the largest amount.

        Where amounts are not known, as in an audit, it is the first.
        """
        own = [self.contestants[name] for name in self.students]
        most = max((one.amount for one in own), default=0)
        full = [one for one in own if one.amount == most and (not one.replay or not most)]
        best = full[-1].base if most and full else ""
        return next((one.name for one in full or own if best in ("", one.base)), "")

    def shown(self, state: State) -> list[str]:
        """Return the contestants that a state shows."""
        trio = self.trio(state)
        usual = [name for name in (trio.base, trio.student, trio.teacher) if name]
        return [name for name in self.contestants if name in state.show] or usual

    def array(self, contestant: str, name: str) -> Ints:
        """Return one of a contestant's arrays; zeros for a contestant without a name, who is nobody."""
        if (contestant, name) not in self._arrays:
            found = self.base.execute(
                "SELECT kind, content FROM arrays WHERE contestant = ? AND name = ?", (contestant, name)
            ).fetchone()
            array = np.frombuffer(found[1], np.dtype(found[0])) if found else np.zeros(self.units, np.int8)
            self._arrays[contestant, name] = array
        return self._arrays[contestant, name]

    def select(self, state: State) -> Ints:
        """Return the units that fit a state, in order.

        Raises:
            Lost: Nothing can be searched for by what is searched for.
        """
        trio = self.trio(state)
        found: Mask = np.ones(self.units, np.bool_)
        start = 0
        for benchmark, form in self.kinds:
            stop = start + self.sizes[benchmark, form]
            if state.benchmark not in ("", benchmark) or state.form not in ("", form):
                found[start:stop] = False
            start = stop
        if state.support == "out":
            found &= self.array("", "left_out") == 1
        elif state.support:
            found &= self.array(trio.student, "supported") == (state.support == "yes")
        if state.pattern:
            found &= patterns(trio, state.grading or "lenient", self.array)[state.pattern]
        if state.q:
            found &= self._holding(state)
        return np.flatnonzero(found)

    def counts(self, state: State, benchmark: str, form: str) -> dict[str, int]:
        """Return how many items of a benchmark in a form fit each pattern."""
        trio, start = self.trio(state), 0
        for kind in self.kinds:
            if kind == (benchmark, form):
                break
            start += self.sizes[kind]
        part = slice(start, start + self.sizes[benchmark, form])
        grading = state.grading or "lenient"
        found = patterns(trio, grading, self.array)
        return {name: int(mask[part].sum()) for name, mask in found.items()}

    def _holding(self, state: State) -> Mask:
        wanted = " AND ".join(needle.match for needle in needles(state.q))
        if not wanted:
            raise Lost(f"q={state.q}: no word to search for.")
        shown = self.shown(state)
        if len(shown) < len(self.contestants):
            columns = [f"c{number}" for number, name in enumerate(self.contestants) if name in shown]
            wanted = f"{{question {' '.join(columns)}}} : ({wanted})"
        if wanted not in self._searches:
            while len(self._searches) >= MOST_SEARCHES:
                del self._searches[next(iter(self._searches))]
            rows = self.base.execute("SELECT rowid FROM texts WHERE texts MATCH ?", (wanted,))
            self._searches[wanted] = found = np.zeros(self.units, np.bool_)
            found[[unit for (unit,) in rows]] = True
        return self._searches[wanted]

    def read_units(self, numbers: Sequence[int]) -> list[Unit]:
        """Return units by their numbers, in this order."""
        marks = ", ".join("?" * len(numbers))
        rows = self.base.execute(f"SELECT * FROM units WHERE unit IN ({marks})", tuple(numbers))  # noqa: S608
        found = {row[0]: _unit(row) for row in rows}
        return [found[number] for number in numbers]

    def at(self, place: tuple[str, str, str]) -> Unit:
        """Return the unit of a place.

        Raises:
            Lost: There is none.
        """
        found = self.base.execute(
            "SELECT * FROM units WHERE benchmark = ? AND form = ? AND item = ?", place
        ).fetchone()
        if found is None:
            raise Lost(f"{'/'.join(place)}: no such item in this study.")
        return _unit(found)

    def writing(self, contestant: str, unit: Unit, sample: int) -> Writing:
        """Return what a contestant wrote to an item.

        Raises:
            StoreError: The artefact is not the one that the index was made of.
        """
        starts = self.array(contestant, "starts")
        first, end = int(starts[unit.number]), int(starts[unit.number + 1])
        who = self.contestants[contestant]
        if first + sample >= end:
            return Writing(contestant=who, completion=None, grade=None, samples=end - first)
        row = self._row(
            self.answered[contestant] / COMPLETIONS, self.array(contestant, "completions")[first + sample]
        )
        grade = None
        if (place := self.array(contestant, "grades")[first + sample]) >= 0:
            path = self.graded[contestant] / GRADES
            grade = from_row(Grade, self._row(path, place), str(path))
        completion = from_row(Completion, row["completion"], contestant)
        if (row["benchmark"], row["form"], completion.prompt_id) != (unit.benchmark, unit.form, unit.item):
            raise _changed(self.answered[contestant])
        return Writing(contestant=who, completion=completion, grade=grade, samples=end - first)

    def brief(self, contestant: str, unit: Unit) -> Brief:
        """Return what came of a contestant's first answer to an item, and what was read or written.

        Raises:
            StoreError: The artefact is not the one that the index was made of.
        """
        starts = self.array(contestant, "starts")
        if (first := int(starts[unit.number])) == int(starts[unit.number + 1]):
            return Brief(contestant=self.contestants[contestant], said=None, strict="", lenient="")
        said = ""
        if (place := self.array(contestant, "grades")[first]) >= 0:
            said = str(self._row(self.graded[contestant] / GRADES, place)["answer"])
        if not said:
            row = self._row(
                self.answered[contestant] / COMPLETIONS, self.array(contestant, "completions")[first]
            )
            said = row["completion"]["text"].strip()
        return Brief(
            contestant=self.contestants[contestant],
            said=said,
            strict=OUTCOMES[self.array(contestant, "strict")[unit.number]],
            lenient=OUTCOMES[self.array(contestant, "lenient")[unit.number]],
        )

    def _row(self, path: Path, place: int) -> Mapping[str, Any]:
        """Return the row that begins at a place of a file, which stays open: many of its rows will be asked for."""
        try:
            if path not in self._files:
                while len(self._files) >= MOST_FILES:
                    self._files.pop(next(iter(self._files))).close()
                self._files[path] = path.open("rb")
            self._files[path].seek(int(place))
            row = json.loads(self._files[path].readline())
        except (OSError, ValueError) as error:
            raise _changed(path) from error
        if not isinstance(row, dict):
            raise _changed(path)
        return row

    def close(self) -> None:
        """Close the index and all files."""
        self.base.close()
        for file in self._files.values():
            file.close()

    def verdicts(self, item: str, shown: Sequence[str]) -> list[Said]:
        """Return what was said of completions of a prompt for style by the contestants shown."""
        rows = self.base.execute(
            "SELECT by, first, second, verdict, reason FROM verdicts WHERE item = ? ORDER BY rowid", (item,)
        )
        return [
            Said(by=by, first=first, second=second, verdict=verdict, reason=reason)
            for by, first, second, verdict, reason in rows
            if first in shown and second in shown
        ]


def open_book(path: Path, answered: Mapping[str, Path], graded: Mapping[str, Path]) -> Book:
    """Open an index, which is changed by nobody.

    Args:
        path: The file.
        answered: Folders of artefacts, by contestant.
        graded: Likewise.
    """
    base = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)
    base.execute("PRAGMA mmap_size = 4000000000")
    said = {name: json.loads(value) for name, value in base.execute("SELECT name, value FROM meta")}
    kinds = Counter(
        {
            (benchmark, form): many
            for benchmark, form, many in base.execute(
                "SELECT benchmark, form, count(*) FROM units GROUP BY benchmark, form ORDER BY min(unit)"
            )
        }
    )
    contestants = [from_row(Contestant, row, str(path)) for row in said.pop("contestants")]
    return Book(
        base=base,
        answered=answered,
        graded=graded,
        said=said,
        contestants={one.name: one for one in contestants},
        kinds=list(kinds),
        sizes=kinds,
        units=said.pop("units"),
    )


def _unit(row: Sequence[Any]) -> Unit:
    return Unit(
        number=row[0],
        benchmark=row[1],
        form=row[2],
        item=row[3],
        question=row[4],
        references=tuple(json.loads(row[5])),
        choices=tuple(json.loads(row[6])),
    )


def _changed(path: Path) -> StoreError:
    return StoreError(f"{path}: has changed since the index was made. Start `veneer view` again.")
