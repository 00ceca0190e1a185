"""Artefacts on disk: written once, whole or not at all, named by what they were made from."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from veneer import absent, lacking, lease
from veneer.disk import canonical, digest, read_json, sync, write_json
from veneer.errors import StoreError, VeneerError
from veneer.lease import Busy
from veneer.needs import ONE_CORE, Needs

META = "artefact.json"
ASKING = Path("requests/.asking.lease")
"""In a study's folder: the lease of whoever asks endpoints. The journal has one user, however many runs share the
folder: SQLite keeps what two processes see of one file in step on one machine, not on two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be made: everything that could change the result, and the function that makes it."""

    stage: str
    name: str
    """Readable; the key is what tells artefacts apart."""
    version: int
    """Raised whenever the stage's code would give another result."""
    config: Mapping[str, Any]
    """JSON-ready settings. No paths: files enter by their digest, under `inputs`."""
    inputs: Mapping[str, str]
    """Role to key (of an artefact) or digest (of a file or folder)."""
    make: Callable[[Path], None]
    """Writes the result into the folder it is given, which may be half-filled by an interrupted call."""
    line: str = ""
    """Orders of one line are made one after another, in their order, since each leaves something that makes the next
    cheaper. It changes no result and is no part of the key."""
    needs: Needs = ONE_CORE
    """What making it takes of a machine; no part of the key."""

    @property
    def key(self) -> str:
        """The fingerprint of the order: equal orders give equal artefacts."""
        return hashlib.sha256(canonical(self._identity()).encode()).hexdigest()

    @property
    def label(self) -> str:
        """The artefact's folder, below the store's root."""
        return f"{self.stage}/{self.name}-{self.key[:12]}"

    def _identity(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "version": self.version,
            "config": dict(self.config),
            "inputs": dict(self.inputs),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """A finished result."""

    stage: str
    name: str
    key: str
    """The order's; where requests have no answer, of those too, so that what is made of it is made anew with them."""
    path: Path
    lacks: str = ""
    """How many requests have no answer, and why; empty where all have theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The only memory: a folder of artefacts."""

    root: Path

    def find(self, order: Order) -> Artefact | None:
        """Return the order's artefact if it is finished.

        Raises:
            StoreError: The artefact lies there but is damaged.
        """
        path = self.root / order.label
        if not path.exists():
            return None
        _check(path, order.key)
        key = order.key
        if failed := lacking.names(path):
            key = hashlib.sha256(canonical([key, failed]).encode()).hexdigest()
        return Artefact(stage=order.stage, name=order.name, key=key, path=path, lacks=lacking.said(path))

    def build(self, order: Order) -> Artefact:
        """Return the artefact of exactly this order, making it if need be; waits while another run makes it."""
        while (made := self.attempt(order)) is Busy.BUSY:
            pass
        return made

    def attempt(self, order: Order) -> Artefact | Busy:
        """Return the artefact of exactly this order, making it if need be, unless another run is at it.

        The order's `make` writes into a folder that is renamed into place when it returns. After an interruption
        the same half-filled folder is handed over again. Two runs never make one artefact at once, nor two of one
        line, nor do two ask endpoints: who does holds a lease.
        """
        final = self.root / order.label
        partial = final.with_name(final.name + ".partial")
        if (found := self.find(order)) is not None:
            return found
        with self._leased(order) as ours:
            if not ours:
                return Busy.BUSY
            if (found := self.find(order)) is not None:
                return found
            partial.mkdir(parents=True, exist_ok=True)
            order.make(partial)
            lease.sure(self._leases(order))
            _seal(partial, order)
            lease.sure(self._leases(order))
            os.replace(partial, final)
            sync(final.parent)
        found = self.find(order)
        assert found is not None, "it was made"
        return found

    def renew(self, order: Order, known: Artefact) -> Artefact | Busy:
        """Return the order's artefact after asking again what has no answer in it, unless another run is at it.

        Its `make` gets a copy of the artefact. The new one takes its place if anything was answered. If asking fails
        altogether, the old one stays, and `lacks` says why. Where another run has renewed what was `known`, nothing
        is asked.
        """
        final = self.root / order.label
        fresh, old = (final.with_name(f".{final.name}.{end}") for end in ("fresh", "old"))
        with self._leased(order) as ours:
            if not ours:
                return Busy.BUSY
            found = self.find(order)
            assert found is not None, "only what is made can be renewed"
            if found != known:
                return found
            for left in (fresh, old):
                shutil.rmtree(left, ignore_errors=True)
            shutil.copytree(final, fresh)
            try:
                order.make(fresh)
            except VeneerError as error:
                shutil.rmtree(fresh)
                return replace(found, lacks=f"{found.lacks}; asking again failed: {error}")
            if lacking.names(fresh) == lacking.names(final):
                shutil.rmtree(fresh)
                return found
            lease.sure(self._leases(order))
            _seal(fresh, order)
            lease.sure(self._leases(order))
            final.rename(old)
            fresh.rename(final)
            sync(final.parent)
            shutil.rmtree(old)
            found = self.find(order)
        assert found is not None, "it was made"
        return found

    def holder(self, order: Order) -> lease.Holder | None:
        """Return who is making the order's artefact this moment; None if nobody is."""
        return lease.holder(self._leases(order)[-1])

    def awaited(self, order: Order) -> lease.Holder | None:
        """Return who of another run keeps the order from being made this moment; None if nobody does."""
        return next(filter(None, map(lease.other, self._leases(order))), None)

    @contextmanager
    def _leased(self, order: Order) -> Iterator[bool]:
        """Hold the right to make an artefact and what its line shares, and yield whether it was to be had.

        Raises:
            StoreError: The disk is full.
        """
        with ExitStack() as stack:
            try:
                first, *others = self._leases(order)
                ours = stack.enter_context(lease.held(first, lease.PATIENCE))
                if ours:
                    # Whoever held the others had this one too, and has it no more: it is gone.
                    for path in others:
                        path.unlink(missing_ok=True)
                yield ours and all(stack.enter_context(lease.held(path, lease.PATIENCE)) for path in others)
            except OSError as error:
                if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                    raise
                raise StoreError(
                    f"{self.root}: no room is left ({error}). Make room and run again: what had finished is kept."
                ) from error

    def _leases(self, order: Order) -> list[Path]:
        own = (self.root / order.label).with_name(f".{order.name}-{order.key[:12]}.lease")
        shared = [own.with_name(f".{order.line}.line.lease")] if order.line else []
        # First: who holds the order's own lease without it would keep it from the run that could make it.
        return [*([self.root.parent / ASKING] if order.needs.home else []), *shared, own]

    def is_begun(self, order: Order) -> bool:
        """Return whether the order's artefact is half-made."""
        path = self.root / order.label
        # Who slept until another had made it may leave half of one beside it.
        return not path.exists() and path.with_name(path.name + ".partial").exists()


def _seal(folder: Path, order: Order) -> None:
    """Write the artefact's record: what it was made from, and its files with sizes and digests."""
    (folder / META).unlink(missing_ok=True)
    for left in folder.rglob(".*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    files = {
        str(file.relative_to(folder)): {"bytes": file.stat().st_size, "sha256": digest(file)}
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    for file in files:
        sync(folder / file)
    made_from = {
        "stage": order.stage,
        "version": order.version,
        "config": order.config,
        "inputs": order.inputs,
    }
    write_json(folder / META, {"key": order.key, "name": order.name, **made_from, "files": files})


def _check(path: Path, key: str) -> None:
    """Raise unless the folder is a finished artefact whose files all have the recorded sizes."""
    advice = f"Delete {path} and run again: it will be made anew."
    try:
        meta = read_json(path / META)
    except (OSError, json.JSONDecodeError) as error:
        raise StoreError(f"{path}: damaged: {META} cannot be read ({error}). {advice}") from error
    if not isinstance(meta, dict) or meta.get("key") != key or "files" not in meta:
        raise StoreError(f"{path}: damaged: {META} is not the record of {key}. {advice}")
    gone = absent.of(path)
    for name, recorded in meta["files"].items():
        if name in gone:
            continue
        file = path / name
        size = file.stat().st_size if file.is_file() else None
        if size != recorded["bytes"]:
            found = "is missing" if size is None else f"has {size} bytes"
            raise StoreError(f"{file}: damaged: it {found}; {recorded['bytes']} bytes were written. {advice}")


def publish(made: Path, place: Path) -> None:
    """Put a copy of an artefact where people look for it, unless it lies there already."""

    def lies_there() -> bool:
        return place.exists() and digest(place) == digest(made)

    if lies_there():
        return  # Whoever may only read needs no lease.
    with lease.held(place.with_name(f".{place.name}.lease"), patience=-1):
        if lies_there():
            return
        fresh = place.with_name(f".{place.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(made, fresh)
        shutil.rmtree(place, ignore_errors=True)
        fresh.rename(place)
