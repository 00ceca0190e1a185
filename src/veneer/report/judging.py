"""The tables that say how far the judges can be believed."""

from veneer.report import pick
from veneer.report.pick import Data, Row
from veneer.report.shown import whole
from veneer.report.tables import Table, table


def judges(data: Data) -> Table:
    """Return what is known of each judge: one column a bent, each with the share that would be none."""
    rows = data.get("judges", [])
    lines = [
        (
            pick.judge_name(row),
            whole(row["comparisons"]),
            *(row[key] for key in ("no_verdict", "flips", "first_position", "longer", "lists", "own_family")),
            row["own_family_by_raters"],
        )
        for row in rows
    ]
    columns = (
        "judge", "comparisons", "no verdict", "flips when swapped", "to the first shown (half: no bias)",
        "to the longer", "to the one with a list", "to its own family", "and by raters of the same pairs",
    )  # fmt: skip
    return table(
        "What is known of each judge: of its comparisons with a winner, the share that went",
        columns,
        [("", lines)],
    )


def agreement(data: Data) -> Table:
    """Return how far each two judges agree, and raters among themselves."""
    lines = [
        (
            f"{row['judge']} with {row['with']}",
            whole(row["pairs"]),
            whole(row["alone"]),
            *(row[key] for key in ("same", "kappa", "alpha")),
        )
        for row in data.get("agreement", [])
    ]
    columns = (
        "who", "pairs judged by both", "by the first alone", "the same word", "Cohen's kappa",
        "Krippendorff's alpha",
    )  # fmt: skip
    return table("How far judges and raters agree", columns, [("", lines)])


def identities(data: Data) -> list[str]:
    """Return who each judge is, in words, and what the canaries said of it."""
    return [said for row in data.get("judges", []) if (said := _identity(row))]


def _identity(row: Row) -> str:
    parts = [row["identity"]] if row["identity"] else []
    if row["served"]:
        parts.append("answered as " + ", ".join(sorted(row["served"])))
    if row["raters"] > 1:
        parts.append(f"{row['raters']} raters")
    if row["lacking"]:
        parts.append(f"{row['lacking']:,} comparisons were not put to it, since a completion is missing")
    canaries = row["canaries"]
    if canaries["asked"]:
        changed = ", ".join(canaries["changed"])
        parts.append(
            f"{canaries['right']} of {canaries['asked']} canaries decided right, "
            + (f"not alike each time: {changed}" if changed else "alike each time")
        )
    return f"{row['judge']}: {'; '.join(parts)}." if parts else ""
