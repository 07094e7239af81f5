"""What a student wrote: the code of a submission without what was released."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dlcvgrade.judge.submissions import Release, Submission, Unreadable, read_work
from dlcvgrade.markers import scan
from dlcvgrade.problems import Problem
from dlcvgrade.results.plain import plain


@dataclass(frozen=True)
class Cell:
    """A cell that a student wrote or filled in.

    Attributes:
        notebook: Its notebook.
        code: Its text.
    """

    notebook: str
    code: str


@dataclass(frozen=True)
class HandedIn:
    """The code of one student.

    Attributes:
        student: The student's id.
        cells: In order.
        is_earlier: Whether it comes from an earlier class, which is compared with but not among itself.
    """

    student: str
    cells: Sequence[Cell]
    is_earlier: bool = False

    @property
    def code(self) -> str:
        """All cells as one text, each ended by an empty line."""
        return "".join(f"{cell.code}\n\n" for cell in self.cells)

    def spans(self) -> Iterator[tuple[Cell, int, int]]:
        """Yield each cell with the places in ``code`` where its text begins and ends."""
        start = 0
        for cell in self.cells:
            yield cell, start, start + len(cell.code)
            start += len(cell.code) + 2


def read_code(
    submission: Submission, releases: Mapping[str, Release], *, is_earlier: bool = False
) -> tuple[HandedIn, list[Problem]]:
    """Return the code of a submission, and a problem for each notebook that cannot be read.

    Args:
        submission: What was handed in.
        releases: Notebook name to its release.
        is_earlier: Whether it comes from an earlier class.
    """
    cells, problems = [], []
    for name, path in submission.notebooks.items():
        release = releases.get(name)
        if release is None:
            continue
        try:
            work = read_work(path, release)
        except (Unreadable, OSError) as error:
            why = error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
            problems.append(Problem(plain(str(path)), f"{why}; it is not compared"))
            continue
        cells += [Cell(name, code) for code in work.cells if code.strip() and code.strip() not in work.released]
    return HandedIn(submission.student, cells, is_earlier), problems


def released_code(releases: Mapping[str, Release]) -> list[str]:
    """Return what every student begins with: the stubs of all exercises, and all other cells."""
    texts: list[str] = []
    for release in releases.values():
        texts += [_stub(cell.source) for cell in release.known.values() if cell.cell_type == "code"]
        texts += sorted(release.released)
    return texts


def _stub(source: str) -> str:
    """Return a cell as nbgrader releases it: an error stands in the place of each solution."""
    lines = source.split("\n")
    for region in reversed(scan(source)[0]):
        begin = lines[region.first - 1]
        indent = begin[: len(begin) - len(begin.lstrip())]
        lines[region.first - 1 : region.last + 2] = [
            f"{indent}# YOUR CODE HERE",
            f"{indent}raise NotImplementedError()",
        ]
    return "\n".join(lines)
