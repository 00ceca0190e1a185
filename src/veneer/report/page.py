"""Stage 9, report: the order for one self-contained page, its figures and its data."""

import shutil
from functools import partial
from pathlib import Path

from veneer import disk
from veneer.store import Artefact, Order

VERSION = 15
ANSWERS = "answers.json"
WRONG = "confident_wrong.jsonl"
TEMPLATES = Path(__file__).with_name("templates")


def order(analyzed: Artefact) -> Order:
    """Return the order for the report on what analyze found.

    The artefact holds `index.html`, `verdict.txt` (the same in a screenful of words), `report.json`, its lists as
    `tables/*.csv`, the page's tables as `tables/page/*.csv` and `*.tex`, `figures/*.svg` and `*.pdf` with each figure's
    data as CSV, `model-cards/*.md`, and `confident_wrong.jsonl` where there are such answers.
    """
    return Order(
        stage="report",
        name="report",
        version=VERSION,
        config={},
        inputs={"analysis": analyzed.key, "templates": disk.digest(TEMPLATES)},
        make=partial(_make, analyzed=analyzed.path),
    )


def _make(folder: Path, analyzed: Path) -> None:
    # The drawing and templating libraries take a second to load, which a finished study's second run must not pay.
    from veneer.report import export, figures, model_cards, render, sentences, sheets
    from veneer.report.shown import read

    answers = disk.read_json(analyzed / ANSWERS)
    data = read(answers)
    listed = analyzed / WRONG
    wrong = [row for _, row in disk.read_rows(listed)] if listed.exists() else []
    drawn = figures.every_figure(data)
    shutil.copyfile(analyzed / ANSWERS, folder / "report.json")
    if wrong:
        shutil.copyfile(listed, folder / WRONG)
    sheets.write(data, folder / "tables")
    export.write_tables(render.every_table(data), folder / "tables" / "page")
    export.write_figures(drawn, folder / "figures")
    model_cards.write(data, folder / "model-cards")
    disk.write_text(folder / "verdict.txt", sentences.verdict(answers, len(wrong)) + "\n")
    disk.write_text(folder / "index.html", render.page(data, drawn, wrong))
