"""What the report says in words: the headline, the five answers and the verdict, all numbers out of report.json."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from veneer.report import pick
from veneer.report.pick import Data, Row
from veneer.report.shown import Piece, Sentence, Shown, count, every, plain, read, tokens, without_figures
from veneer.stats import Estimate

CLOSED = "How much of the gap between base and teacher did imitation close?"
MANY, FEW = 6, 3
"""So many students are named one by one; of more, this many."""
VERDICTS = ("supported", "contradicted", "undecided")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One of the five questions, answered."""

    anchor: str
    """The page's section that shows it in full."""
    question: str
    short: Sentence
    """One sentence, for the terminal and the page's top."""
    more: tuple[Sentence, ...] = ()
    """What the page adds."""


def verdict(answers: Mapping[str, Any], wrong: int | None = None) -> str:
    """Return the terminal's closing text: headline, claims, the five questions, notes.

    Args:
        answers: The content of report.json.
        wrong: How many confident and wrong answers the report lists in full, where that is known.
    """
    data = read(answers)
    lines = [f"{data['study']['name']}: {plain(setting(data))}", ""]
    lines += [line for sentence in headline(data) for line in _wrapped(plain(sentence), "")]
    lines += ["", plain(tally(data))]
    for row in data["claims"]:
        lines += _wrapped(row["claim"], f"  {row['number']} {row['verdict']:<12} ")
    lines += ["", "The five questions"]
    for number, answer in enumerate(five_answers(data, wrong), 1):
        lines += _wrapped(plain(answer.short), f"  {number} ")
    if data["study"]["notes"]:
        lines += ["", "Notes"]
        lines += [line for note in data["study"]["notes"] for line in _wrapped(note, "  - ")]
    return "\n".join(lines)


def _wrapped(text: str, opening: str) -> list[str]:
    return textwrap.wrap(
        text,
        width=79,
        initial_indent=opening,
        subsequent_indent=" " * len(opening),
        break_long_words=False,
        break_on_hyphens=False,
    )


def setting(data: Data) -> Sentence:
    """Return what was studied, in one phrase."""
    study = data["study"]
    students = [row for row in data["contestants"] if row["role"] == "student"]
    kinds = [("bases", study["bases"]), ("sources", study["sources"]), ("amounts", study["amounts"])]
    parts: list[Piece] = [count(len(students)), f" {_plural('student', students)} of {study['teacher']}"]
    parts.append(", an audit of models that existed" if pick.is_audit(data) else "")
    for name, values in [*kinds, ("training seeds", study["seeds"])]:
        if values:
            parts += [", ", count(len(values)), f" {_plural(name.removesuffix('s'), values)}"]
    return (*parts, ".")


def _plural(word: str, things: Sequence[Any]) -> str:
    return word if len(things) == 1 else f"{word}s"


def headline(data: Data) -> list[Sentence]:
    """Return the study's result: what may be said of all bases, then the strongest base's two numbers."""
    rows = pick.at_largest(data, data["veneer"], pick.main_source(data))
    if not rows:
        return [("No student has a style gap and a capability gap to compare.",)]
    opening: Sentence = ()
    if not pick.is_audit(data):
        opening = ("With ", tokens(rows[-1]["amount"]), f" tokens of {rows[-1]['source']} imitation, ")
    closers = list(rows) if pick.is_audit(data) else rows[-1:]
    if len(closers) > MANY:
        opening = ("Of ", count(len(closers)), " students the nearest in style are these: ")
        closers = _nearest(closers)
    names = [named if pick.is_audit(data) else f"the {named} student" for named in _who(data, closers)]
    style = _listing(
        [(n, row["style_gap_closed"]) for n, row in zip(names, closers, strict=True)], " closed "
    )
    gap = _listing(
        [(n, row["capability_gap_closed"]) for n, row in zip(names, closers, strict=True)], " closed "
    )
    is_told = any(_is_estimate(row["capability_gap_closed"]) for row in closers)
    return [
        (lead(data, rows),),
        *([] if is_told else _on_all_items(data, closers)),
        (*opening, *style, " of the style gap.")
        if any(_is_estimate(row["style_gap_closed"]) for row in closers)
        else ("The style gap closed: ", *style, "."),
        ("On what the imitation data does not support, ", *gap, f" of the capability gap{_fell(closers)}.")
        if is_told
        else ("The capability gap on what the imitation data does not support: ", *gap, "."),
    ]


def _on_all_items(data: Data, rows: Sequence[Row]) -> list[Sentence]:
    """Return the gaps closed on all items, benchmark by benchmark: what is known where support is not."""
    found: list[Sentence] = []
    for benchmark in pick.benchmarks(data, *pick.CAPABILITIES):
        gaps = [
            (pick.who(data, row), pick.gap_row(data, row["student"], benchmark["name"], "all"))
            for row in rows
        ]
        pairs = [(who, gap["gap_closed"]) for who, gap in gaps if gap]
        of = f" of the gap to {data['study']['teacher']}"
        if any(_is_estimate(closed) for _, closed in pairs):
            found.append((f"On all items of {benchmark['name']}, ", *_listing(pairs, " closed "), f"{of}."))
        elif pairs:
            found.append(
                (f"The share{of} closed on all items of {benchmark['name']}: ", *_listing(pairs), ".")
            )
    return found


def _nearest(rows: Sequence[Row]) -> list[Row]:
    """Return the few that closed most of the style gap; the first few where nothing is known of any."""

    def closed(row: Row) -> float:
        number = row["style_gap_closed"].number
        return -number.value if isinstance(number, Estimate) else float("inf")

    return sorted(rows, key=closed)[:FEW]


def _who(data: Data, rows: Sequence[Row]) -> list[str]:
    return [pick.who(data, row) for row in rows]


def _fell(rows: Sequence[Row]) -> str:
    """Return what a share below zero means, where all of these lie below it."""
    gaps = [row["capability_gap_closed"].number for row in rows]
    fell = all(isinstance(gap, Estimate) and gap.high < 0 for gap in gaps)
    return ": it fell behind its base" if fell and len(gaps) == 1 else ""


def lead(data: Data, rows: Sequence[Row]) -> str:
    """Return what the veneers' intervals allow to be said, and no more."""
    shares = {pick.who(data, row): row["veneer"].number for row in rows}
    more = [name for name, number in shares.items() if isinstance(number, Estimate) and number.low > 0]
    less = [name for name, number in shares.items() if isinstance(number, Estimate) and number.high < 0]
    measured = [name for name, number in shares.items() if isinstance(number, Estimate)]
    if not measured:
        return f"Whether style or substance moved more is Undefined: {without_figures(rows[-1]['veneer'].reason)}."
    open_ = [name for name in shares if name not in more + less]
    if not more and not less:
        return (
            f"Undecided: the intervals do not tell whether style or substance moved more for {_names(open_)}."
        )
    parts = []
    if more:
        parts.append(f"more style than substance for {_names(more)}")
    if less:
        parts.append(f"more substance than style for {_names(less)}")
    if open_:
        parts.append(f"undecided for {_names(open_)}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def tally(data: Data) -> Sentence:
    """Return how many claims came out in which way."""
    met = Counter(row["verdict"] for row in data["claims"])
    parts: list[Piece] = ["The paper's claims: "]
    for place, name in enumerate(VERDICTS):
        parts += [", " if place else "", count(met[name]), f" {name}"]
    return (*parts, ".")


def five_answers(data: Data, wrong: int | None) -> list[Answer]:
    """Return the five questions of the house with their answers in first form."""
    return [_closed(data), _preferred(data), _bought(data), _sure(data), _wrong(data, wrong)]


def _closed(data: Data) -> Answer:
    rows = pick.at_largest(data, data["veneer"], pick.main_source(data))
    if not rows:
        return Answer(anchor="gap", question=CLOSED, short=("Nothing was measured.",))
    pairs = [(pick.who(data, row), row["capability_gap_closed"]) for row in rows]
    told: list[tuple[str, list[tuple[str, Shown]]]] = [("On items that the data does not support", pairs)]
    for source in pick.sources(data, "local"):
        for items in ("supported", "unsupported", "all"):
            name = f"{items} items" if items != "all" else "all items"
            where = f"by {source['name']} imitation on {source['task']}, {name}"
            told.append((where, _task_gaps(data, source, items)))
    told = [(where, numbers) for where, numbers in told if numbers]
    best = [(where, numbers if pick.is_audit(data) else numbers[-1:]) for where, numbers in told[:2]]
    short = [piece for place, (where, numbers) in enumerate(best) for piece in _clause(place, where, numbers)]
    more = [(f"{where[0].upper()}{where[1:]}: ", *_listing(numbers), ".") for where, numbers in told]
    return Answer(anchor="gap", question=CLOSED, short=(*short, "."), more=tuple(more))


def _clause(place: int, where: str, numbers: Sequence[tuple[str, Shown]]) -> Sentence:
    return ("; " if place else "", f"{where}: ", *_listing(numbers))


def _task_gaps(data: Data, source: Row, items: str) -> list[tuple[str, Shown]]:
    """Return what a local source's students closed of the gap on the task that they imitate."""
    students = pick.at_largest(data, data["veneer"], source["name"])
    found = [(row["base"], pick.gap_row(data, row["student"], source["task"], items)) for row in students]
    return [(base, row["gap_closed"]) for base, row in found if row]


def _preferred(data: Data) -> Answer:
    teacher = data["study"]["teacher"]
    sentences: list[Sentence] = []
    for judge in data["study"]["judges"]:
        rows = [
            row for row in data["preference"] if row["judge"] == judge["name"] and row["opponent"] == teacher
        ]
        students = pick.at_largest(data, [r for r in rows if r["role"] == "student"], pick.main_source(data))
        best = students if pick.is_audit(data) else students[-1:]
        bases = [row for row in rows if row["role"] == "base" and row["base"] in {r["base"] for r in best}]
        if not best:
            continue
        named = [(pick.label(data, row), row["win_rate"]) for row in best]
        named += [(f"the base {row['contestant']}", row["win_rate"]) for row in bases]
        sentences.append((f"Win rate against {teacher} by {pick.judge_name(judge)}: ", *_listing(named), "."))
        if any(_is_estimate(row["style_controlled"]) for row in best):
            equal = [(pick.label(data, row), row["style_controlled"]) for row in best]
            sentences.append(("The same at equal style: ", *_listing(equal), "."))
        names = {row["contestant"]: pick.label(data, row) for row in best}
        rises = pick.find(data.get("rise", []), judge=judge["name"], opponent=teacher)
        told = [
            (names[row["student"]], row["style_share"])
            for row in rises
            if row["student"] in names and _is_estimate(row["style_share"])
        ]
        if told:
            sentences.append(
                ("Of the rise above its base's win rate, style explains: ", *_listing(told), ".")
            )
    if not sentences:
        sentences = [("Preference: no judge compared a student with the teacher.",)]
    return Answer(
        anchor="preference",
        question="How much of what is preferred is style, and is there substance under it?",
        short=sentences[0],
        more=tuple(sentences[1:]),
    )


def _bought(data: Data) -> Answer:
    sentences: list[Sentence] = []
    for source in data["study"]["sources"]:
        wanted = [source["task"]] if source["kind"] == "local" else _untaught(data)
        for measure in wanted:
            form = pick.headline_form(data, measure)
            found = pick.find(data["leverage"], measure=measure, form=form, source=source["name"], replay=0.0)
            sentences += [
                (
                    f"On {measure}, twice the {row['source']} data buys ",
                    row["per_doubling"],
                    ", the next base ",
                    row["per_base_step"],
                    ".",
                )
                for row in found
            ]
    sentences += [_next(row) for row in data.get("next_step", [])]
    if not sentences:
        sentences = [("Data against base: Undefined (there is no ladder of amounts and bases to tell).",)]
    return Answer(
        anchor="leverage",
        question="What would twice the data buy, and what a better base?",
        short=sentences[0],
        more=tuple(sentences[1:]),
    )


def _next(row: Row) -> Sentence:
    """Return what to do next, or what the study can't choose between."""
    known = [option for option in row["options"] if _is_estimate(option["buys"])]
    what = row["measure"].replace("preference:", "the win rate by ")
    listed: list[Piece] = []
    for option in known:
        listed += [f"{', ' if listed else ''}{option['step']} buys ", option["buys"]]
    if row["best"]:
        return (
            f"Next, to raise {what}: {row['best']}. In points, ",
            *listed,
            "; the best is ahead by ",
            row["ahead"],
            ".",
        )
    if not known:
        return (f"What to do next to raise {what} this study can't tell: it compares no two steps.",)
    return (f"What to do next to raise {what} this study can't tell: in points, ", *listed, ".")


def _untaught(data: Data) -> list[str]:
    """Return the benchmarks of capability that no local source imitates; all of them if it imitates each."""
    capable = [row["name"] for row in pick.benchmarks(data, *pick.CAPABILITIES)]
    tasks = {source["task"] for source in data["study"]["sources"]}
    return [name for name in capable if name not in tasks] or capable


def _sure(data: Data) -> Answer:
    numbers = [shown for key in data if key not in ("claims", "study") for shown in every(data[key])]
    missing = [shown for shown in numbers if shown.reason]
    undecided = [str(row["number"]) for row in data["claims"] if row["verdict"] == "undecided"]
    seeds = data["study"]["seeds"]
    sentences: list[Sentence] = [
        (
            f"Undecided: {'claims ' + ', '.join(undecided) if undecided else 'no claim'}; ",
            count(len(missing)),
            " of ",
            count(len(numbers)),
            " numbers are Undefined.",
        )
    ]
    if len(seeds) == 1:
        sentences.append(
            ("One training seed: the intervals hold for these students, not for another training.",)
        )
    elif seeds:
        sentences.append(
            (count(len(seeds)), " training seeds; their spread is part of each student's interval.")
        )
    sentences += _open_claims(data)
    return Answer(
        anchor="sure",
        question="How sure is each answer, and what can this study not decide?",
        short=sentences[0],
        more=tuple(sentences[1:]),
    )


def _open_claims(data: Data) -> list[Sentence]:
    """Return why claims are undecided, those with the same reason together."""
    by_note: dict[str, list[str]] = {}
    for row in data["claims"]:
        if row["verdict"] == "undecided" and row["note"]:
            by_note.setdefault(row["note"], []).append(str(row["number"]))
    return [
        (f"{_plural('Claim', own)} {_names(own)} {'is' if len(own) == 1 else 'are'} undecided. {note}",)
        for note, own in by_note.items()
    ]


def _wrong(data: Data, wrong: int | None) -> Answer:
    question = "Where is the student confident and wrong?"
    rows = pick.at_largest(data, data.get("confident_wrong", []), pick.main_source(data))
    best = rows if pick.is_audit(data) else rows[-1:]
    if not best:
        nothing = "Undefined (no student answered all prompts, or none that can be checked did the teacher get right)."
        return Answer(anchor="wrong", question=question, short=(nothing,))
    listed: Sentence = ("All of them stand in full in the report.",)
    if wrong is not None:
        listed = ("In full in the report: ", count(wrong), ".")
    shares = _listing([(pick.label(data, row), row["share"]) for row in best])
    opening = "Confident and wrong, of the prompts that the teacher answers right: "
    return Answer(anchor="wrong", question=question, short=(opening, *shares, ". ", *listed))


def _is_estimate(shown: Shown) -> bool:
    return isinstance(shown.number, Estimate)


def _listing(pairs: Sequence[tuple[str, Shown]], link: str = " ") -> Sentence:
    """Return names with their numbers; those that are Undefined for one reason are named together."""
    blank: dict[str, list[str]] = {}
    for name, shown in pairs:
        if shown.reason:
            blank.setdefault(without_figures(shown.reason), []).append(name)
    undefined = "; ".join(f"Undefined for {_names(names)} ({reason})" for reason, names in blank.items())
    known = [(name, shown) for name, shown in pairs if not shown.reason]
    pieces: list[Piece] = []
    for place, (name, shown) in enumerate(known):
        comma = "" if not place else " and " if place == len(known) - 1 else ", "
        pieces += [f"{comma}{name}{link}", shown]
    if not undefined or not pieces:
        return tuple(pieces) or (undefined,)
    # Where a sentence goes on after its numbers, what has none comes first.
    return (f"{undefined}; ", *pieces) if link.strip() else (*pieces, f"; {undefined}")


def _names(names: Sequence[str]) -> str:
    if len(names) > MANY:
        names = [*names[:FEW], f"{len(names) - FEW} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
