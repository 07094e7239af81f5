"""One page for each student: name, points, verdict, reason and hint of every exercise; no input, no value."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from dlcvgrade.problems import Problem
from dlcvgrade.results import wording
from dlcvgrade.results.class_report import class_report_page
from dlcvgrade.results.pages import MOST_NOTES, render
from dlcvgrade.results.reading import Result
from dlcvgrade.results.writing import file_name, write_files

STUDENTS = "students"
"""Folder of the students' pages: the class report beside it is for teachers, and no student's id can take its name."""


def feedback_page(result: Result) -> str:
    """Return a student's page as HTML."""
    by_notebook = groupby(result.exercises, key=lambda exercise: exercise.notebook)
    return render(
        "feedback.html",
        result=result,
        notebooks=[(name, list(exercises)) for name, exercises in by_notebook],
        undecided=wording.undecided(result),
        hidden=wording.HIDDEN,
        most=MOST_NOTES,
    )


def page_path(result: Result) -> str:
    """Return where a student's page lies below the folder of all pages."""
    return f"{STUDENTS}/{file_name(result.student, result.key)}.html"


def write_feedback(results: Iterable[Result], problems: Iterable[Problem], out: Path) -> int:
    """Write ``students/NAME.html`` for each result and the class report as ``index.html``; return how many pages.

    Args:
        results: Of one stage, with different keys; at least one.
        problems: Files that hold no result, for the class report.
        out: The folder; made if it is not there.

    Raises:
        CourseProblems: If ``out`` is a file; then nothing is written.
    """
    results = list(results)
    links = {result.key: page_path(result) for result in results}
    files = {links[result.key]: feedback_page(result) for result in results}
    files["index.html"] = class_report_page(results, list(problems), links)
    write_files(out, files)
    return len(results)
