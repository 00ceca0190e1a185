"""Feeds: where the rows of a prepared source come from, answers of the teacher and recordings alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veneer.disk import digest
from veneer.prepare import readers
from veneer.prepare.readers import Candidate, Malformed
from veneer.store import Artefact
from veneer.study_data import MixtureSpec, RecordedSpec, SourceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One run of rows: a collected artefact, or one recorded file or hub data set."""

    source: str
    """The study's source that it belongs to."""
    label: str
    """Its own name: the source's, or with the file's where a source has several."""
    licence: str
    origin: str
    collected: Artefact | None = None
    recorded: RecordedSpec | None = None

    def rows(self) -> Iterator[Candidate | Malformed]:
        """Yield every row, in order.

        Raises:
            DataError: As the readers do.
        """
        if self.collected:
            yield from readers.collected(self.collected.path)
        elif self.recorded:
            yield from readers.recorded(self.recorded)

    def identity(self) -> dict[str, Any]:
        """Return what the rows depend on, apart from the fingerprints of files."""
        spec = self.recorded
        read = spec.model_dump(mode="json", exclude={"path", "licence", "origin"}) if spec else None
        return {"source": self.source, "label": self.label, "recorded": read}

    def said(self) -> dict[str, str]:
        """Return what the study says of the rows, for the card; it changes none of them."""
        return {"licence": self.licence, "origin": self.origin}

    def fingerprint(self) -> str:
        """Return the key or digest of what the rows are read from; a hub data set's revision."""
        if self.collected:
            return self.collected.key
        assert self.recorded is not None
        if self.recorded.path:
            return digest(self.recorded.path)
        assert self.recorded.hub is not None
        return self.recorded.hub.revision


def feeds_of(
    name: str,
    sources: Mapping[str, SourceSpec],
    mixture: MixtureSpec | None,
    collected: Mapping[str, Artefact],
) -> list[Feed]:
    """Return the feeds of a source or mixture, in the study's order.

    Args:
        name: The source's or the mixture's name.
        sources: The study's sources.
        mixture: Its spec, if the name is a mixture's.
        collected: What the teacher said, by source.
    """
    parts = [part for part in sources if part in mixture.weights] if mixture else [name]
    return [feed for part in parts for feed in _of_source(part, sources[part], collected.get(part))]


def _of_source(name: str, spec: SourceSpec, collected: Artefact | None) -> list[Feed]:
    if not spec.recorded:
        # The study states no licence of the answers: it hangs on the teacher's terms.
        licence = f"{spec.licence} (of the queries)" if spec.licence else ""
        origin = f"the teacher's answers to {_asked(spec)}"
        return [Feed(source=name, label=name, licence=licence, origin=origin, collected=collected)]
    labels = _labels(name, spec.recorded)
    return [
        Feed(source=name, label=label, licence=one.licence, origin=_origin(one), recorded=one)
        for label, one in zip(labels, spec.recorded, strict=True)
    ]


def _labels(name: str, recorded: Sequence[RecordedSpec]) -> list[str]:
    if len(recorded) == 1:
        return [name]
    found: list[str] = []
    for one in recorded:
        stem = one.path.name.split(".")[0] if one.path else Path(one.hub.name if one.hub else "").name
        label = first = f"{name}/{stem}"
        number = 2
        while label in found:
            label, number = f"{first}-{number}", number + 1
        found.append(label)
    return found


def _asked(spec: SourceSpec) -> str:
    """Return what the teacher was asked, in words."""
    if spec.synthesis:
        return f"questions that it made up after {spec.synthesis.seeds.name}"
    if spec.benchmark:
        return f"the training questions of {spec.benchmark}"
    return f"{spec.hub.name}@{spec.hub.revision}" if spec.hub else spec.queries.name if spec.queries else ""


def _origin(spec: RecordedSpec) -> str:
    hub = f"{spec.hub.name}@{spec.hub.revision}" if spec.hub else ""
    return "; ".join(part for part in (spec.origin, hub) if part)
