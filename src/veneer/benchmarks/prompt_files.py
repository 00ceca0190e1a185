"""Prompts for style and preference from any file or hub data set: made into a file of items once, then read as that."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from veneer import disk, lease, rows
from veneer.disk import Row
from veneer.errors import DataError
from veneer.study import PromptsSpec

KEPT = ("references", "choices", "checks", "cluster")
"""Fields of a row that are kept beside its id and question, where it has them."""


def resolve(spec: PromptsSpec, folder: Path) -> PromptsSpec:
    """Return the section with a JSONL file of items in place of whatever it names.

    A JSONL file stays as it is. JSON, Parquet and hub data sets are written to `<folder>/prompts-<digest>.jsonl`, once;
    where no row has an id, the rows are numbered.

    Args:
        spec: The section.
        folder: Where files of items are kept.

    Raises:
        DataError: The file or data set cannot be read, or a row has no question.
    """
    if not spec.hub and spec.items.name.endswith((".jsonl", ".jsonl.gz")):
        return spec
    named = spec.hub.model_dump(mode="json") if spec.hub else disk.digest(spec.items)
    key = hashlib.sha256(disk.canonical([named, spec.id_field, spec.question_field]).encode()).hexdigest()
    path = folder / f"prompts-{key[:12]}.jsonl"
    if not path.exists():
        with lease.held(path.with_name(f".{path.name}.lease"), patience=-1):
            source = rows.of_hub(spec.hub) if spec.hub else rows.of_file(spec.items)
            disk.write_rows(path, list(_items(source, spec)))
    update = {"items": path, "hub": None, "id_field": "id", "question_field": "question"}
    return spec.model_copy(update=update)


def _items(source: Iterator[rows.Raw], spec: PromptsSpec) -> Iterator[Row]:
    numbered: bool | None = None
    for number, (where, row) in enumerate(source, 1):
        if not isinstance(row, dict):
            raise DataError(f"{where}: found {str(row)[:80]!r}; an object is wanted.")
        if numbered is None:
            numbered = spec.id_field not in row
        question = row.get(spec.question_field)
        if not isinstance(question, str) or not question.strip():
            raise DataError(
                f"{where}, field {spec.question_field}: found {question!r}; a text is wanted. The fields are "
                f"{sorted(map(str, row))}: name the right one as `question_field`."
            )
        kept = {name: row[name] for name in KEPT if row.get(name) is not None}
        yield {"id": str(number) if numbered else row.get(spec.id_field), "question": question, **kept}
