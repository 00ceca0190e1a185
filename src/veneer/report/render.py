"""The page as one HTML text: what stands where, and what is said of each figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from veneer.report import breakdown, judging, markup, pick, preferred, second, sentences, tables
from veneer.report.marks import Drawing
from veneer.report.page import TEMPLATES
from veneer.report.pick import Data, Row
from veneer.report.shown import MINUS, Bare, count, percent, whole, without_figures
from veneer.report.wrong import examples

SIGNS = {"supported": "●", "contradicted": "✕", "undecided": "○"}
PLANE = (
    "One mark a student, with both intervals: colour is the base, shape the source, size the amount of imitation "
    "data, hollow marks were trained with replay of pretraining text. On the dashed diagonal a student gains as much "
    "substance as style; the further below it, the more veneer. Intervals that leave the frame are cut."
)
STRIP = "One mark a student, with its interval: colour is the base, shape the source."
SCORES = (
    "Score (lenient grading) against tokens of imitation data, a mark for each training seed, the line through their "
    "mean. Dashed: the base. Dotted: the teacher. Hollow: with replay."
)
BASES = (
    "Score (lenient grading) over the bases, weakest first: without imitation, and at the largest amount of each "
    "source, a mark for each training seed. Dotted: the teacher."
)
SECOND = "The same answers by strict and lenient grading and by whoever else graded them, with intervals."
GAPS = (
    "At the largest amount, with intervals. Filled: items that the student's own data supports, or all items where "
    "support is not told. Hollow: items that it does not support. Left of the solid line: behind the base. "
    "Intervals that leave the frame are cut."
)
GAPS_OF_AUDIT = (
    "One mark a student, with its interval: colour is the base, shape the source. Left of the solid line: behind the "
    "base. Intervals that leave the frame are cut."
)
SUPPORT = (
    "Gain over the base at the largest amount, with bands: colour is the base, dashed lines are local imitation. "
    "Further right, the imitation data comes nearer to the item's question. A line that rises shows gain where there "
    "is support."
)
PREFERENCE = (
    "Each student's win rate against the teacher over its style gap closed; dashed lines are the bases. Marks that "
    "rise from left to right mean that what sounds like the teacher is preferred."
)
RATINGS = (
    "How often completions are rated equal to the teacher's or better, over tokens of imitation data: colour and shape "
    "are the base."
)
EQUAL = (
    "Win rates as they are (filled) and as they would be if both completions had the same length, headers, lists, bold "
    "type, code and style score (hollow), with intervals. What lies between the two is style. Right of the line: "
    "preferred to the opponent."
)
LEVERAGE = (
    "The change that a doubling of imitation data and a step to the next base bring, with intervals. In the table, "
    "base over data is what a base of twice the size buys more than twice the data, which takes as long to train."
)
ANCHORS = frozenset(
    "headline veneer gap scores gap-closed format preference style leverage sure undefined wrong claims method "
    "contestants".split()
)
"""Where a claim's part may point to."""


def page(data: Data, drawings: Mapping[str, Sequence[Drawing]], wrong: Sequence[Row]) -> str:
    """Return `index.html`.

    Args:
        data: The content of report.json, as `shown.read` returns it.
        drawings: The figures, by section.
        wrong: The confident and wrong answers in full.
    """
    reasons = tables.reasons(data)
    shown = examples(data, wrong)
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            study=data["study"],
            claims=data["claims"],
            audit=pick.is_audit(data),
            level=percent(data["study"]["level"]),
            resamples=whole(data["study"]["resamples"]),
            setting=sentences.setting(data),
            headline=sentences.headline(data),
            tally=sentences.tally(data),
            answers=sentences.five_answers(data, len(wrong)),
            drawings=drawings,
            tables=every_table(data),
            reasons=reasons,
            notes={words: number for number, reason in enumerate(reasons, 1) for words in reason.wordings},
            wrong=shown,
            wrongs=count(len(wrong)),
            judges=judging.identities(data),
            anchors=ANCHORS,
            unmarked=_unmarked(data),
            headline_caption=PLANE
            if any(not row["capability_gap_closed"].reason for row in data["veneer"])
            else STRIP,
            score_caption=SCORES,
            base_caption=BASES,
            second_caption=SECOND,
            gap_caption=GAPS_OF_AUDIT if pick.is_audit(data) else GAPS,
            support_caption=SUPPORT,
            preference_caption=PREFERENCE,
            rating_caption=RATINGS,
            equal_caption=EQUAL,
            leverage_caption=LEVERAGE,
        )
    )


def every_table(data: Data) -> dict[str, Any]:
    """Return the tables of the page by name: a table, or a list of them."""
    names, bases = pick.source_names(data), data["study"]["bases"]
    ranked = [name for name in (pick.main_source(data), *names) if name]
    sources = [""] if pick.is_audit(data) else list(dict.fromkeys(ranked))
    return {
        "veneer": tables.veneers(data, largest=True),
        "veneer_all": tables.veneers(data, largest=False),
        "knowledge": tables.knowledge(data),
        "gaps": [tables.gaps(data, name) for name in names],
        "gaps_by_amount": [tables.gaps_by_amount(data, name) for name in names if not pick.is_audit(data)],
        "support": tables.support(data),
        "nearness": breakdown.nearness(data),
        "support_differences": breakdown.differences(data),
        "contaminated": breakdown.contaminated(data),
        "subjects": [breakdown.subjects(data, row) for row in data["study"]["benchmarks"]],
        "formats": tables.formats(data),
        "gains": breakdown.gains(data, largest=True),
        "gains_all": breakdown.gains(data, largest=False),
        "second_grades": second.grades(data),
        "second_gaps": second.gaps(data),
        "scores": [tables.scores(data, row) for row in data["study"]["benchmarks"]],
        "samples": [tables.samples(data, row) for row in data["study"]["benchmarks"]],
        "preference": [preferred.rates(data, judge, largest=True) for judge in data["study"]["judges"]],
        "preference_all": [preferred.rates(data, judge, largest=False) for judge in data["study"]["judges"]],
        "preference_ways": [preferred.ways(data, judge) for judge in data["study"]["judges"]],
        "asked_apart": preferred.apart(data),
        "asked_apart_ways": preferred.apart_ways(data),
        "rises": preferred.rises(data),
        "taste": preferred.taste(data),
        "together": preferred.together(data),
        "judges": judging.judges(data),
        "agreement": judging.agreement(data),
        "style": [tables.style(data, base, name) for name in sources for base in reversed(bases)],
        "style_gaps": tables.style_gaps(data),
        "leverage": tables.leverage(data, headline=True),
        "leverage_all": tables.leverage(data, headline=False),
        "steps": tables.steps(data),
        "wrong": tables.wrong(data),
        "contestants": tables.contestants(data),
    }


def _unmarked(data: Data) -> str:
    """Return why the headline figure has no mark; for where it has none."""
    reasons = list(dict.fromkeys(without_figures(row["style_gap_closed"].reason) for row in data["veneer"]))
    why = f" ({'; '.join(reasons)})" if reasons else ""
    return f"There is no figure to draw: no student's style gap closed could be measured{why}."


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=markup.text,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["say"] = markup.say
    environment.filters["cell"] = markup.cell
    environment.globals["badge"] = _badge
    environment.globals["threshold"] = _threshold
    return environment


def _threshold(number: float) -> Bare:
    return Bare(value=number, text=f"{number:g}".replace("-", MINUS))


def _badge(verdict: str) -> Markup:
    return Markup('<span class="verdict {}"><span aria-hidden="true">{}</span> {}</span>').format(
        verdict, SIGNS[verdict], verdict
    )
