"""What is wrong with a course's files, told in one line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that stops a build or a release.

    Attributes:
        file: The file, relative to the course's root.
        what: What is wrong, and what was expected.
        cell: Number of the cell, counted from 1, if the problem lies in one.
        line: Number of the line in the file, counted from 1, if known.
    """

    file: str
    what: str
    cell: int | None = None
    line: int | None = None

    def __str__(self) -> str:
        """Return ``file: cell N (line L): what``, without the parts that are unknown."""
        place = [] if self.cell is None else [f"cell {self.cell}"]
        if self.line is not None:
            place.append(f"(line {self.line})" if place else f"line {self.line}")
        return ": ".join(part for part in (self.file, " ".join(place), self.what) if part)


class CourseProblems(Exception):
    """All problems found in a course, at once; nothing has been written.

    Attributes:
        problems: What was found, in the order of files and lines; at least one.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class NbgraderFailed(Exception):
    """nbgrader reported a failure; the message says what was called and why it failed."""
