"""The page's tables and figures as files that other programs read."""

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.report import export, export_latex, figures
from veneer.report.shown import read
from veneer.report.tables import table

Row = dict[str, Any]


@pytest.fixture(scope="module")
def exported(study_report: Path) -> Path:
    return study_report


def test_every_table_is_there_as_csv_and_latex(exported: Path, study: Row) -> None:
    csvs = {path.stem for path in (exported / "tables" / "page").glob("*.csv")}
    assert csvs == {path.stem for path in (exported / "tables" / "page").glob("*.tex")}
    assert {"veneer", "knowledge", "gaps-1", "gaps-2", "style-1", "judges", "contestants"} - csvs <= {
        "judges"
    }


def test_every_figure_is_there_as_svg_and_pdf_with_its_data(exported: Path) -> None:
    folder = exported / "figures"
    stems = {kind: {path.stem for path in folder.glob(f"*.{kind}")} for kind in ("svg", "pdf", "csv")}
    assert stems["svg"] == stems["pdf"] == stems["csv"]
    assert all(path.read_bytes().startswith(b"%PDF-") for path in folder.glob("*.pdf"))


def test_no_file_tells_when_it_was_made(exported: Path) -> None:
    for path in (exported / "figures").glob("*.pdf"):
        assert b"CreationDate" not in path.read_bytes()


def test_a_figure_drawn_again_has_the_same_bytes(audit: Row) -> None:
    once, again = (figures.plane(read(audit)) for _ in range(2))
    assert (once.svg, once.pdf) == (again.svg, again.pdf)


def test_latex_rows_have_as_many_cells_as_columns_and_braces_close(exported: Path) -> None:
    for path in (exported / "tables" / "page").glob("*.tex"):
        text = path.read_text(encoding="utf-8")
        (columns,) = re.findall(r"\\begin\{tabular\}\{(l?r*)\}", text)
        for line in text.splitlines():
            if line.endswith(r"\\") and not line.startswith(r"\multicolumn"):
                assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1, (path, line)
            bare = re.sub(r"\\[{}]", "", line)
            assert bare.count("{") == bare.count("}"), (path, line)


def test_what_is_undefined_keeps_its_reason_in_latex(exported: Path) -> None:
    text = (exported / "tables" / "page" / "gaps-1.tex").read_text(encoding="utf-8")
    assert "Undefined$^{1}$" in text
    assert r"\footnotesize $^{1}$" in text


def test_a_tables_csv_holds_numbers_with_their_intervals(exported: Path) -> None:
    text = (exported / "tables" / "page" / "veneer.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert float(rows[0]["style gap closed_low"]) <= float(rows[0]["style gap closed_value"])


def test_columns_of_one_name_stay_apart() -> None:
    given = table("t", ("who", "tied", "tied"), [("", [("a", "1", "2")])])
    assert list(export.rows_of(given)) == [{"who": "a", "tied": "1", "tied 2": "2"}]


@given(st.text())
def test_no_text_leaves_latex_open(text: str) -> None:
    found = export_latex.escaped(text)
    bare = re.sub(r"\\[\\{}$&#_%]", "", found)
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"[&#%\n]", bare)
    assert bare.count("$") % 2 == 0
