"""The one writer to a course's gradebook: takes results, has nbgrader write them down, leaves autograded notebooks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import nbgrader.api
from nbgrader.api import Assignment, BaseCell, Grade, Notebook, Student, SubmittedAssignment
from nbgrader.api import SubmittedNotebook as Written
from nbgrader.apps.api import NbGraderAPI
from nbgrader.utils import parse_utc
from sqlalchemy import select

from dlcvgrade.course import Course
from dlcvgrade.judge.batch import Examiner
from dlcvgrade.judge.bench import supplied
from dlcvgrade.judge.bookkeeping import CHECK, STAMP, JudgeNotebook, worth_in
from dlcvgrade.judge.intake import IntakeFailed, read_time
from dlcvgrade.judge.judged import stamp_of
from dlcvgrade.judge.submissions import Submission
from dlcvgrade.problems import NbgraderFailed
from dlcvgrade.session import failed, knows_stage, open_course

Scores = dict[str, dict[str, float | None]]
"""Student to grade id to the points that the judge gave."""


@contextmanager
def one_engine() -> Iterator[None]:
    """Have nbgrader keep one engine for each gradebook.

    By itself it makes one for every step of every notebook, and each compiles the same queries anew.
    """
    before = nbgrader.api.create_engine
    nbgrader.api.create_engine = cache(before)
    try:
        yield
    finally:
        nbgrader.api.create_engine = before


class Recorder:
    """Writes results of a stage into the gradebook of its course, used as a context.

    Args:
        course: The course.
        examiner: Who makes the results.
        api: nbgrader for the course; ``open_course`` if None.
    """

    def __init__(self, course: Course, examiner: Examiner, api: NbGraderAPI | None = None) -> None:
        self._api = api or open_course(course)
        self._examiner, self._stage = examiner, examiner.material.stage
        self._folders = self._api.coursedir
        self._engine = ExitStack()
        self._scores: Scores = {}
        self._times: dict[str, datetime | None] = {}

    def knows_stage(self) -> bool:
        """Return whether the stage has been generated in the gradebook; raises what ``session.knows_stage`` does."""
        return knows_stage(self._api, self._stage)

    def __enter__(self) -> Recorder:
        """Open the books and read what is in them already.

        Raises:
            NbgraderFailed: If the gradebook has other exercises than the course, or nbgrader does not use the judge.
        """
        self._engine.enter_context(one_engine())
        try:
            self._start()
        except BaseException:
            self._engine.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._engine.close()

    def _start(self) -> None:
        if JudgeNotebook not in self._api.config.Autograde.get("autograde_preprocessors", []):
            raise NbgraderFailed("nbgrader_config.py does not call dlcvgrade.settings.configure; nothing was graded")
        material = self._examiner.material
        ours = {name: {i: float(material.exercises[i].total) for i in ids} for name, ids in material.ids.items() if ids}
        with self._api.gradebook as gradebook:
            theirs = {name: worth for name, worth in worth_in(gradebook, self._stage).items() if worth}
            if ours != theirs:
                again = f"run dlcvgrade build, then nbgrader generate_assignment {self._stage} --force"
                raise NbgraderFailed(f"the exercises of {self._stage} in the gradebook are not the course's; {again}")
            self._read(gradebook)

    def _read(self, gradebook: Any) -> None:
        submissions = (
            select(Student.id, SubmittedAssignment.timestamp)
            .join(SubmittedAssignment, SubmittedAssignment.student_id == Student.id)
            .join(Assignment, Assignment.id == SubmittedAssignment.assignment_id)
            .where(Assignment.name == self._stage)
        )
        self._times = {row[0]: row[1] for row in gradebook.db.execute(submissions)}
        grades = (
            select(Student.id, BaseCell.name, Grade.auto_score)
            .join(SubmittedAssignment, SubmittedAssignment.student_id == Student.id)
            .join(Assignment, Assignment.id == SubmittedAssignment.assignment_id)
            .join(Written, Written.assignment_id == SubmittedAssignment.id)
            .join(Notebook, Notebook.id == Written.notebook_id)
            .join(Grade, Grade.notebook_id == Written.id)
            .join(BaseCell, BaseCell.id == Grade.cell_id)
            .where(Assignment.name == self._stage, BaseCell.name.startswith(CHECK, autoescape=True))
        )
        for student, cell, score in gradebook.db.execute(grades):
            self._scores.setdefault(student, {})[cell] = score

    def is_recorded(self, submission: Submission, result: Mapping[str, Any]) -> bool:
        """Return whether gradebook and autograded notebooks say what a result says."""
        student = submission.student
        scores = {CHECK + entry["exercise"].partition("/")[2]: entry["points"] for entry in result["exercises"]}
        if self._scores.get(student) != scores or not self._has_time(submission):
            return False
        home = Path(self._folders.format_path(self._folders.autograded_directory, student, self._stage))
        stamp = stamp_of(result)
        return all(_stamp_in(home / f"{name}.ipynb") == stamp for name in submission.notebooks)

    def _has_time(self, submission: Submission) -> bool:
        """Return whether the gradebook has the time at which a submission was handed in, if that is known."""
        try:
            told = read_time(submission.folder)
            return not told or parse_utc(told) == self._times.get(submission.student)
        except (OSError, IntakeFailed):
            return False

    def record(self, submission: Submission, result: Mapping[str, Any]) -> str | None:
        """Write a result down.

        Args:
            submission: What it was made from.
            result: As ``Graded.as_json`` has it.

        Returns:
            Why it could not be written, in one line; None if it was.
        """
        with supplied(self._examiner, submission, result):
            failure = failed(self._api.autograde, self._stage, submission.student)
            if failure is None or len(submission.notebooks) == 1:
                return failure
            # One notebook that cannot be written down takes the others with it, so each gets a turn of its own.
            failures = [self._record_one(submission.student, name) for name in sorted(submission.notebooks)]
        return next((failure for failure in failures if failure is not None), None)

    def _record_one(self, student: str, notebook: str) -> str | None:
        before, self._folders.notebook_id = self._folders.notebook_id, notebook
        try:
            return failed(self._api.autograde, self._stage, student)
        finally:
            self._folders.notebook_id = before

    def penalties(self) -> dict[str, float]:
        """Return student to points lost for being late, as the gradebook has them."""
        query = (
            select(Student.id, Written.late_submission_penalty)
            .join(SubmittedAssignment, SubmittedAssignment.student_id == Student.id)
            .join(Assignment, Assignment.id == SubmittedAssignment.assignment_id)
            .join(Written, Written.assignment_id == SubmittedAssignment.id)
            .where(Assignment.name == self._stage)
        )
        lost: dict[str, float] = {}
        with self._api.gradebook as gradebook:
            for student, penalty in gradebook.db.execute(query):
                lost[student] = lost.get(student, 0.0) + (penalty or 0.0)
        return lost


def _stamp_in(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())["metadata"][STAMP]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
