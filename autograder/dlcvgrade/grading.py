"""Grade submissions through nbgrader, one at a time, and say per exercise who got what and why.

Points are read from the gradebook, reasons from the reports that the judge left in the autograded notebooks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbgrader.api import MissingEntry
from nbgrader.apps.api import NbGraderAPI

from dlcvgrade.judge.bookkeeping import REPORT
from dlcvgrade.notebooks import read_notebook
from dlcvgrade.session import failed


@dataclass(frozen=True)
class ExerciseResult:
    """What a student got for one exercise.

    Attributes:
        exercise: Such as ``a1/knn_two_loops``.
        notebook: Such as ``knn``.
        points: Points earned, between 0 and ``possible``; None if they are undecided.
        possible: Points it is worth.
        verdict: One of the verdicts of the design; ``pass`` if all is right.
        reason: Why, in one line; empty for ``pass``.
    """

    exercise: str
    notebook: str
    points: float | None
    possible: float
    verdict: str
    reason: str


@dataclass(frozen=True)
class SubmissionResult:
    """What a student got for a stage.

    Attributes:
        student: The student's id.
        stage: Such as ``a1``.
        exercises: One result per exercise, in the order of the notebooks.
        penalty: Points lost for being late.
        seconds: How long grading took.
        failures: Notebook to why nbgrader could not grade it; empty if all went well.
    """

    student: str
    stage: str
    exercises: tuple[ExerciseResult, ...]
    penalty: float
    seconds: float
    failures: Mapping[str, str]

    @property
    def points(self) -> float:
        """Points earned, lateness not counted."""
        return sum(result.points or 0.0 for result in self.exercises)

    @property
    def possible(self) -> float:
        """Points that the exercises are worth."""
        return sum(result.possible for result in self.exercises)


@contextmanager
def _only_notebook(api: NbGraderAPI, notebook: str) -> Iterator[None]:
    before = api.coursedir.notebook_id
    api.coursedir.notebook_id = notebook
    try:
        yield
    finally:
        api.coursedir.notebook_id = before


def _autograde(api: NbGraderAPI, stage: str, student: str, notebooks: Sequence[str]) -> dict[str, str]:
    """Run nbgrader on one submission and return notebook to reason for those that it could not grade."""
    if not failed(api.autograde, stage, student):
        return {}
    # One notebook that cannot be graded takes the student's others with it, so they get a turn of their own.
    failures = {}
    for notebook in notebooks:
        with _only_notebook(api, notebook):
            failure = failed(api.autograde, stage, student)
        if failure:
            failures[notebook] = failure
    return failures


def _report_in(cell: NotebookNode, exercise: str) -> Mapping[str, Any] | None:
    for output in reversed(cell.get("outputs", [])):
        report = output.get("data", {}).get(REPORT)
        if isinstance(report, dict) and report.get("hidden") and report.get("exercise") == exercise:
            return report
    return None


def verdict_of(cell: NotebookNode | None, exercise: str) -> tuple[str, str]:
    """Return (verdict, reason) from a judged grade cell.

    Args:
        cell: The cell; None if it is not in the notebook.
        exercise: The exercise that it grades.
    """
    if cell is None:
        return "missing", "the cell that grades it is gone"
    report = _report_in(cell, exercise)
    if report is None:
        return "not_run", "the judge left no report"
    if report["verdict"] == "pass":
        return "pass", ""
    # What a wrong answer looks like says more than that it is wrong; an error or a forbidden step speaks for itself.
    telling = report.get("diagnosis") if report["verdict"] == "wrong" else None
    return str(report["verdict"]), str(telling or report.get("reason") or "")


def _autograded(api: NbGraderAPI, stage: str, student: str, notebook: str) -> NotebookNode | None:
    folder = api.coursedir.format_path(api.coursedir.autograded_directory, student, stage)
    path = Path(folder) / f"{notebook}.ipynb"
    return read_notebook(path.read_bytes()) if path.is_file() else None


def _grade_ids(notebook: NotebookNode) -> dict[str, NotebookNode]:
    return {
        cell.metadata["nbgrader"]["grade_id"]: cell
        for cell in notebook.cells
        if cell.metadata.get("nbgrader", {}).get("grade")
    }


def _exercises_of(api: NbGraderAPI, stage: str, notebook: str) -> list[str]:
    """Return the grade ids of a notebook's checks in the order of its source."""
    folder = api.coursedir.format_path(api.coursedir.source_directory, ".", stage)
    return list(_grade_ids(read_notebook((Path(folder) / f"{notebook}.ipynb").read_bytes())))


def _results(api: NbGraderAPI, stage: str, student: str, notebook: str, failure: str | None) -> list[ExerciseResult]:
    folder = api.coursedir.format_path(api.coursedir.submitted_directory, student, stage)
    is_handed_in = (Path(folder) / f"{notebook}.ipynb").is_file()
    graded = _autograded(api, stage, student, notebook)
    cells = {} if graded is None else _grade_ids(graded)
    results = []
    with api.gradebook as gradebook:
        for name in _exercises_of(api, stage, notebook):
            exercise = f"{stage}/{name.removeprefix('check-')}"
            possible = float(gradebook.find_grade_cell(name, notebook, stage).max_score)
            points: float | None
            if failure is not None:
                points, verdict, reason = None, "could_not_check", failure
            elif not is_handed_in:
                points, verdict, reason = 0.0, "missing", f"{notebook}.ipynb was not handed in"
            else:
                verdict, reason = verdict_of(cells.get(name), exercise)
                try:
                    points = float(gradebook.find_grade(name, notebook, stage, student).score)
                except MissingEntry:
                    points = None
                if verdict == "could_not_check":
                    points = None
            results.append(ExerciseResult(exercise, notebook, points, possible, verdict, reason))
    return results


def grade_submission(api: NbGraderAPI, stage: str, student: str) -> SubmissionResult:
    """Grade what one student handed in for a stage.

    Args:
        api: nbgrader, from ``open_api``; the stage's assignment has been generated.
        stage: Such as ``a1``.
        student: The student's id, the name of a folder in ``submitted``.

    Returns:
        The result. Nothing that a submission does raises here; what could not be graded says so.
    """
    start = time.perf_counter()
    with api.gradebook as gradebook:
        notebooks = [notebook.name for notebook in gradebook.find_assignment(stage).notebooks]
    failures = _autograde(api, stage, student, notebooks)
    exercises = [
        result for notebook in notebooks for result in _results(api, stage, student, notebook, failures.get(notebook))
    ]
    with api.gradebook as gradebook:
        try:
            penalty = float(gradebook.find_submission(stage, student).late_submission_penalty or 0.0)
        except MissingEntry:
            penalty = 0.0
    return SubmissionResult(student, stage, tuple(exercises), penalty, time.perf_counter() - start, failures)


def grade_stage(
    api: NbGraderAPI,
    stage: str,
    students: Sequence[str] | None = None,
    on_result: Callable[[SubmissionResult], None] = lambda result: None,
) -> list[SubmissionResult]:
    """Grade a stage, student by student; one student's failure is nobody else's.

    Args:
        api: nbgrader, from ``open_api``.
        stage: Such as ``a1``.
        students: Whom to grade; everybody who handed in if None.
        on_result: Called after each submission.

    Returns:
        One result per student, in the order of ``students``, or sorted by id.
    """
    results = []
    for student in sorted(api.get_submitted_students(stage)) if students is None else students:
        result = grade_submission(api, stage, student)
        on_result(result)
        results.append(result)
    return results
