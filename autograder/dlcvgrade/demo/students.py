"""The small class of the demo: what each of its students does to the released notebooks."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nbformat import NotebookNode

from dlcvgrade.demo.bugs import BUGS
from dlcvgrade.markers import without_markers

Solutions = Mapping[str, str]
"""Grade id of a solution cell to its solved source, markers included."""

_REGION = re.compile(r"^(?P<indent>[ ]*)### BEGIN SOLUTION\n.*?^[ ]*### END SOLUTION", re.MULTILINE | re.DOTALL)
_NOISE = (
    "import sys",
    "import warnings",
    "from tqdm import tqdm",
    'warnings.warn("this student\'s code warns")',
    "tqdm(total=1, file=sys.stderr).close()",
    'print("still going", file=sys.stderr)',
)


@dataclass(frozen=True)
class Student:
    """One student of the demo.

    Attributes:
        name: A neutral id that says what to expect.
        work: Turns a released notebook into what is handed in; changes it in place.
        outcome: What the grades must look like: ``all``, ``none`` or ``some`` of the points.
        trains: Whether the student hands in trained weights where a file is asked for.
        hours_late: Hours after the due date; negative is in time.
    """

    name: str
    work: Callable[[NotebookNode, Solutions], None]
    outcome: str
    trains: bool = False
    hours_late: float = -24


def _fill(notebook: NotebookNode, solutions: Solutions, share: float = 1.0) -> None:
    cells = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    for cell in cells[: round(share * len(cells))]:
        cell.source = without_markers(solutions[cell.metadata["nbgrader"]["grade_id"]])


def _correct(notebook: NotebookNode, solutions: Solutions) -> None:
    _fill(notebook, solutions)
    for cell in notebook.cells:
        if cell.id.startswith("answer-"):
            cell.source = "It follows from the formula above."


def _untouched(notebook: NotebookNode, solutions: Solutions) -> None:
    """Hand the notebook in as it was released."""


def _half_done(notebook: NotebookNode, solutions: Solutions) -> None:
    _fill(notebook, solutions, share=0.5)


def _with_bug(functions: Mapping[str, str]) -> Callable[[NotebookNode, Solutions], None]:
    def work(notebook: NotebookNode, solutions: Solutions) -> None:
        _fill(notebook, solutions)
        for cell in notebook.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if name in functions:
                cell.source = functions[name]

    return work


def _rewritten(notebook: NotebookNode, solutions: Solutions, body: Callable[[str, str], str]) -> None:
    """Put ``body(indent, region)`` where the solution region is."""
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if name in solutions:
            cell.source = _REGION.sub(lambda match: body(match["indent"], match.group()), solutions[name])


def _noisy(notebook: NotebookNode, solutions: Solutions) -> None:
    def body(indent: str, region: str) -> str:
        return "\n".join([*(indent + line for line in _NOISE), without_markers(region)])

    _rewritten(notebook, solutions, body)


def _raises(notebook: NotebookNode, solutions: Solutions) -> None:
    _rewritten(notebook, solutions, lambda indent, region: f'{indent}raise ValueError("this does not work yet")')


def _edits_tests(notebook: NotebookNode, solutions: Solutions) -> None:
    for cell in notebook.cells:
        entry = cell.metadata.get("nbgrader", {})
        if entry.get("grade"):
            cell.source = str(float(entry["points"]))


def _deletes_tests(notebook: NotebookNode, solutions: Solutions) -> None:
    _fill(notebook, solutions)
    notebook.cells = [cell for cell in notebook.cells if not cell.metadata.get("nbgrader", {}).get("grade")]


def _colab(notebook: NotebookNode, solutions: Solutions) -> None:
    _fill(notebook, solutions)
    notebook.metadata = type(notebook.metadata)(
        {
            "colab": {"provenance": []},
            "kernelspec": {"name": "python3", "display_name": "Python 3"},
            "language_info": {"name": "python"},
        }
    )
    notebook.nbformat_minor = 0
    for number, cell in enumerate(notebook.cells):
        cell.metadata = type(cell.metadata)({"id": f"colab{number:07d}"})
        del cell["id"]


STUDENTS = (
    Student("correct", _correct, "all", trains=True),
    Student("untouched", _untouched, "none"),
    Student("half-done", _half_done, "some"),
    Student("noisy-on-stderr", _noisy, "all", trains=True),
    Student("raises", _raises, "none"),
    Student("edits-tests", _edits_tests, "none"),
    Student("deletes-tests", _deletes_tests, "all", trains=True),
    Student("colab", _colab, "all", trains=True),
    Student("late", _correct, "all", trains=True, hours_late=30),
)


def students_of(stage: str) -> tuple[Student, ...]:
    """Return the class of a stage: those who are the same in all, and those with the stage's own bugs.

    Args:
        stage: Such as ``a1``.
    """
    bugs = BUGS.get(stage, {})
    return STUDENTS + tuple(Student(name, _with_bug(bug), "some", trains=True) for name, bug in bugs.items())


def handed_in(student: Student, released: NotebookNode, solutions: Solutions) -> NotebookNode:
    """Return the notebook that a student hands in.

    Args:
        student: The student.
        released: The notebook of the release; not modified.
        solutions: The solved cells.
    """
    notebook = copy.deepcopy(released)
    student.work(notebook, solutions)
    return notebook
