"""The page's tables and figures as files: tables as CSV and LaTeX, figures as SVG and PDF with their data."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from veneer import disk
from veneer.report import sheets
from veneer.report.export_latex import latex
from veneer.report.marks import Drawing
from veneer.report.shown import Bare
from veneer.report.tables import Cell, Table


def write_tables(tables: Mapping[str, Any], folder: Path) -> None:
    """Write every table of the page that has rows as `NAME.csv` and `NAME.tex`.

    Args:
        tables: By name, a table or a list of them, as `render.every_table` returns them; those of a list are numbered.
        folder: Where they go.
    """
    for name, table in _named(tables):
        sheets.write_sheet(folder / f"{name}.csv", list(rows_of(table)))
        disk.write_text(folder / f"{name}.tex", latex(table))


def write_figures(drawings: Mapping[str, Sequence[Drawing]], folder: Path) -> None:
    """Write every figure as SVG and PDF, and its data as CSV."""
    for drawn in (drawn for section in drawings.values() for drawn in section):
        disk.write_text(folder / f"{drawn.name}.svg", drawn.svg)
        sheets.write_sheet(folder / f"{drawn.name}.csv", drawn.rows)
        (folder / f"{drawn.name}.pdf").write_bytes(drawn.pdf)


def rows_of(table: Table) -> Iterator[dict[str, Any]]:
    """Yield a table's rows by column; columns of one name are numbered, and so are the seeds within a cell."""
    seen: dict[str, int] = {}
    columns = []
    for column in table.columns:
        seen[column] = seen.get(column, 0) + 1
        columns.append(column if seen[column] == 1 else f"{column} {seen[column]}")
    for group in table.groups:
        for row in group.rows:
            cells = {column: _plain(cell) for column, cell in zip(columns, row, strict=False)}
            yield {"group": group.title, **cells} if group.title else cells


def _plain(cell: Cell) -> Any:
    if isinstance(cell, Bare):
        return cell.value
    if isinstance(cell, tuple):
        return {str(number): one for number, one in enumerate(cell, 1)}
    return cell


def _named(tables: Mapping[str, Any]) -> Iterator[tuple[str, Table]]:
    for name, found in tables.items():
        several = found if isinstance(found, list) else [found]
        for number, table in enumerate(several, 1):
            if table.length:
                yield (f"{name}-{number}" if len(several) > 1 else name), table
