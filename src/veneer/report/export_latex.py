r"""A table of the page as LaTeX: a `tabular` with booktabs' rules, to be put into a paper with `\input`."""

from collections.abc import Sequence

from veneer.report.shown import Bare, visible
from veneer.report.tables import Cell, Table

SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",
    "]": "{]}",
    "\u2212": "$-$",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "–": "--",
    "…": r"\ldots{}",
    "⟦": r"$\langle$",
    "⟧": r"$\rangle$",
    "\u202f": r"\,",
    "\u00a0": "~",
    "\n": " ",
    "\t": " ",
}
"""Square brackets too: at the beginning of a row they would be the argument of the row end before."""


def latex(table: Table) -> str:
    r"""Return a table as LaTeX; what is Undefined has a mark, and its reason stands below.

    The document needs `\usepackage{booktabs}` and, for marks outside Latin scripts, an engine that reads Unicode.
    """
    width = len(table.columns)
    reasons: list[str] = []
    lines = [
        f"% {one_line(table.caption)}. Needs \\usepackage{{booktabs}}.",
        rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
        r"\toprule",
        _row([escaped(column) for column in table.columns]),
    ]
    for group in table.groups:
        lines.append(r"\midrule")
        if group.title:
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escaped(group.title)}}}}} \\")
        lines += [_row([_cell(cell, reasons) for cell in row]) for row in group.rows]
    lines.append(r"\bottomrule")
    for number, reason in enumerate(reasons, 1):
        note = rf"\footnotesize $^{{{number}}}$ {escaped(reason)}"
        lines.append(rf"\multicolumn{{{width}}}{{l}}{{{note}}} \\")
    return "\n".join([*lines, r"\end{tabular}", ""])


def escaped(text: str) -> str:
    r"""Return a text that LaTeX sets as it is; what hides in it is spelled out.

    >>> print(escaped("50 % of $x_1 & [y]"))
    50 \% of \$x\_1 \& {[}y{]}
    """
    return "".join(SIGNS.get(sign, sign) for sign in visible(text))


def _cell(cell: Cell, reasons: list[str]) -> str:
    if isinstance(cell, str):
        return escaped(cell)
    if isinstance(cell, Bare):
        return escaped(cell.text)
    if isinstance(cell, tuple):
        return "; ".join(_cell(one, reasons) for one in cell)
    if cell.reason:
        if cell.reason not in reasons:
            reasons.append(cell.reason)
        return rf"Undefined$^{{{reasons.index(cell.reason) + 1}}}$"
    return escaped(f"{cell.value} {cell.interval}".replace(" %", "\u202f%", 1))


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def one_line(text: str) -> str:
    """Return a text as one line, with what hides in it spelled out."""
    return " ".join(visible(text).split())
