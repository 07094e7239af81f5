"""CSV that a spreadsheet shows as it is: no cell of it is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from dlcvgrade.results.plain import plain

Cell = str | float | None
STARTS = tuple("=+-@\t\r\n\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}＠－")
"""What a cell begins with that some spreadsheet takes for a formula, or for white space before one."""


def safe_cell(value: Cell) -> str | int | float:
    """Return a cell for the csv module: a number as a number, an empty cell for None, a text that is no formula.

    >>> safe_cell("=1+1"), safe_cell(-2.0), safe_cell(None), safe_cell("ada")
    ("'=1+1", -2, '', 'ada')
    """
    if value is None:
        return ""
    if isinstance(value, str):
        is_formula = value.startswith(STARTS) or value.lstrip().startswith(STARTS)
        return ("'" if is_formula else "") + plain(value)
    short = round(value, 6)
    return int(short) if short.is_integer() else short


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Return a table as CSV with commas, quoted where needed, lines ended by a line feed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([safe_cell(name) for name in header])
    writer.writerows([safe_cell(cell) for cell in row] for row in rows)
    return text.getvalue()
