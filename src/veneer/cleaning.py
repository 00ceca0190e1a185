"""Finds what a store holds that no study refers to, and removes it.

It looks at what Veneer can make again: artefacts and half-made ones, the shared steps of training, data cards, items of
lm-eval's tasks, and the pages' indexes. The journal of requests, the votes, logs and the report are left alone.
"""

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from veneer import belongings, lease, pipeline, viewing
from veneer.errors import StoreError, StudyError
from veneer.prepare.make import CARD
from veneer.report import view_index
from veneer.store import Order, Store
from veneer.study import Study, load

_ITEMS = re.compile(r".+-[0-9a-f]{12}(\.jsonl)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A file or folder that nothing refers to."""

    path: Path
    size: int
    """In bytes."""


def leftovers(study_files: Sequence[Path]) -> list[Leftover]:
    """Return what in the stores of these studies none of them refers to, by path.

    Studies whose files differ by their ending alone share a store: name all that use it. What one study names of
    another's, such as a student as its base, stays too.

    Raises:
        StoreError: A run works there.
        VeneerError: A study cannot be read, or an artefact that it refers to is damaged.
    """
    roots: set[Path] = set()
    kept: set[Path] = set()
    for file in study_files:
        study, store = load(file), pipeline.store_of(file)
        roots.add(store.root)
        kept.update(_kept(study, store))
        for named in belongings.of(study).paths.values():
            kept.update((named.resolve(), *named.resolve().parents))
    for root in roots:
        _refuse_at_work(root)
    found = [path for root in roots for path in _there(root) if path not in kept]
    return [Leftover(path=path, size=_size(path)) for path in sorted(found)]


def remove(study_files: Sequence[Path], found: Iterable[Leftover]) -> None:
    """Remove what was found and is still left over; a folder that is half gone is no artefact any more.

    Raises:
        StoreError: A run has begun to work there since.
        VeneerError: As `leftovers` does.
    """
    still = {one.path for one in leftovers(study_files)}
    for one in found:
        if one.path not in still:
            continue
        if one.path.is_dir() and not one.path.is_symlink():
            gone = one.path.with_name(f".{one.path.name.removeprefix('.').removesuffix('.old')}.old")
            one.path.rename(gone)
            shutil.rmtree(gone)
        else:
            one.path.unlink()


def _kept(study: Study, store: Store) -> Iterator[Path]:
    """Yield everything that a study refers to, made or still to be made."""
    place = store.root.parent
    study = pipeline.with_items(study, place)
    items = [spec.items for spec in study.evaluate.benchmarks.values()]
    items += [study.evaluate.prompts.items] if study.evaluate.prompts else []
    for path in items:
        if path and path.is_relative_to(place / "benchmarks"):
            yield place / "benchmarks" / path.relative_to(place / "benchmarks").parts[0]
    orders: list[Order] = []

    def look(stage: str, asked: Sequence[Order]) -> pipeline.Made:
        orders.extend(asked)
        return {order.name: store.find(order) or pipeline.to_come(order, store) for order in asked}

    for _ in pipeline.stages(study, place, look):
        pass
    for order in orders:
        yield store.root / order.label
        yield store.root / f"{order.label}.partial"
        if order.line:
            yield place / "trunks" / order.line
        if order.name.endswith(CARD):
            yield place / "cards" / order.name.removesuffix(CARD)
    with suppress(StudyError):  # Nobody has answered yet: there is no index.
        yield view_index.path_of(place / viewing.FOLDER, viewing.find(study, store))


def _there(root: Path) -> Iterator[Path]:
    """Yield all that could be a leftover."""
    place = root.parent
    for path in root.glob("*/*"):
        # Besides folders only leases lie here, and what breaking one may leave.
        if path.is_dir() or (path.name.startswith(".") and path.suffix != ".lease"):
            yield path
    yield from (path for path in place.glob("trunks/*") if path.is_dir())
    yield from (path for path in place.glob("cards/*") if path.is_dir())
    for path in place.glob("benchmarks/*"):
        if _ITEMS.fullmatch(path.name) and (path.name.startswith("prompts-") or path.is_dir()):
            yield path
    yield from place.glob(f"{viewing.FOLDER}/*index-*.sqlite*")


def _refuse_at_work(root: Path) -> None:
    # All at once: what a machine that died holds is known to be free only when it was looked at for a while.
    with ThreadPoolExecutor(32) as pool:
        for who in filter(None, pool.map(_at_work, root.glob("*/*.lease"))):
            raise StoreError(
                f"{root}: a run works here: {who}. Let it end, or end it; what a machine that died holds is free after "
                f"{lease.LEASE:.0f} s."
            )


def _at_work(path: Path) -> lease.Holder | None:
    """Return who holds a lease; it is removed where nobody does."""
    with lease.held(path, patience=0) as free:
        return None if free else lease.holder(path)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())
