"""The list of students that Canvas or Moodle exports: results say ids, and these systems want their own numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dlcvgrade.problems import CourseProblems, Problem
from dlcvgrade.results.plain import plain

Person = Mapping[str, str]
"""A row of the roster: column to cell."""

KEYS = {
    "canvas": ("SIS Login ID", "SIS User ID", "ID"),
    "moodle": ("Identifier", "Username", "ID number", "Email address"),
}
"""System to the columns that may hold a student's id; that of an email address is the part before the @ as well."""


@dataclass(frozen=True)
class Roster:
    """Students as the other system knows them.

    Attributes:
        name: Name of the file, for messages.
        columns: The columns in which ids were looked for.
        people: Id, in lower case, to row; None where two rows have it.
    """

    name: str
    columns: tuple[str, ...]
    people: Mapping[str, Person | None]

    def find(self, student: str) -> Person | None:
        """Return the student's row; None if there is none, or more than one."""
        return self.people.get(student.casefold())

    def missing(self, student: str) -> str:
        """Return what is wrong with a student that has no row of its own."""
        rows = "two rows" if student.casefold() in self.people else "no row"
        return f"{student} has {rows} in {self.name}; expected one by {' or '.join(self.columns)}"


def read_roster(path: Path, system: str) -> Roster:
    """Read the CSV that Canvas' gradebook or Moodle's grading worksheet exports.

    Raises:
        CourseProblems: If the file is no such table, or the system takes none.
    """
    wanted = KEYS.get(system)
    if wanted is None:
        raise CourseProblems([Problem("--roster", f"is of no use to {system}; expected {' or '.join(KEYS)} with it")])
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""), strict=True))
    except (ValueError, csv.Error):
        raise CourseProblems(
            [Problem(plain(str(path)), "is no CSV in UTF-8; expected the system's own export")]
        ) from None
    columns = tuple(name for name in wanted if rows and name in rows[0])
    if not columns:
        told = f"has no column and row with a student's id; expected {', '.join(wanted)}"
        raise CourseProblems([Problem(plain(str(path)), told)])
    people: dict[str, Person | None] = {}
    for row in rows:
        person = {name: cell for name, cell in row.items() if isinstance(name, str) and isinstance(cell, str)}
        cells = {person.get(name, "").strip() for name in columns}
        names = {name.casefold() for cell in cells for name in (cell, cell.partition("@")[0]) if name}
        people |= {name: None if name in people else person for name in names}
    return Roster(plain(path.name), columns, people)
