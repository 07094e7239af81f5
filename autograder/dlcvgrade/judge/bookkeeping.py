"""nbgrader as the bookkeeper: its autograde runs the judge where it would have run the student's notebook itself.

Two classes take the places of nbgrader's own, in ``dlcvgrade.settings``: ``JudgeNotebook`` those of Execute and
SaveAutoGrades, ``SubmissionExporter`` that of the exporter. No kernel is started and nothing that a notebook shows is
believed: the judge reads the file in ``submitted``, and what it says goes into the gradebook and into the outputs of
the cells that grade. Manual grading, late penalties, feedback and export are nbgrader's own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader import utils
from nbgrader.api import Assignment, Gradebook, GradeCell, Notebook
from nbgrader.converters.base import NbGraderException
from nbgrader.preprocessors import AssignLatePenalties, SaveAutoGrades
from sqlalchemy import select
from traitlets import Bool, Float, Unicode, default

from dlcvgrade.judge.intake import guard
from dlcvgrade.judge.sandbox import Isolation, isolation
from dlcvgrade.notebooks import KERNEL, make_cell, make_notebook

if TYPE_CHECKING:
    from dlcvgrade.judge.judged import Judged

UNSAFE_VARIABLE = "DLCVGRADE_UNSAFE"
CHECK = "check-"
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}
STAMP = "dlcvgrade"
"""Key in an autograded notebook's metadata: which result it was made from."""
NO_SANDBOX = (
    f"no sandbox: {{why}}. {UNSAFE_VARIABLE}=1, or c.JudgeNotebook.unsafe = True in nbgrader_config.py, "
    "grades without one"
)
NOT_READ = "**What was handed in as {name} could not be read as a notebook.** The file that was handed in is unchanged."


Worth = Mapping[str, Mapping[str, float]]
"""Notebook name to exercise id to points."""


def worth_in(gradebook: Gradebook, stage: str) -> dict[str, dict[str, float]]:
    """Return what the exercises of a stage are worth, as a gradebook has them."""
    query = (
        select(Notebook.name, GradeCell.name, GradeCell.max_score)
        .join(Assignment, Assignment.id == Notebook.assignment_id)
        .outerjoin(GradeCell, GradeCell.notebook_id == Notebook.id)
        .where(Assignment.name == stage)
    )
    worth: dict[str, dict[str, float]] = {}
    for notebook, cell, points in gradebook.db.execute(query):
        exercises = worth.setdefault(notebook, {})
        if cell is not None and cell.startswith(CHECK):
            exercises[f"{stage}/{cell.removeprefix(CHECK)}"] = float(points)
    return worth


class JudgingFailed(NbGraderException):  # type: ignore[misc]
    """Nobody can be graded as things are; the message says why, in one line."""


class JudgeNotebook(SaveAutoGrades):  # type: ignore[misc]
    """The step of nbgrader's autograding that has a notebook judged and writes down the points."""

    specs = Unicode("", help="Folder with the hidden cases").tag(config=True)
    unsafe = Bool(help="Grade without a sandbox if there is none").tag(config=True)
    budget = Float(180.0, help="Seconds that all exercises of a submission may take").tag(config=True)

    @default("unsafe")
    def _unsafe_default(self) -> bool:
        return os.environ.get(UNSAFE_VARIABLE) == "1"

    def find_isolation(self) -> Isolation:
        """Return what student code will run in.

        Raises:
            JudgingFailed: If there is no sandbox, and nobody said that none is needed.
        """
        found = isolation()
        if found.level == "none" and not self.unsafe:
            raise JudgingFailed(NO_SANDBOX.format(why=found.why))
        return found

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Judge a notebook, write the points into the gradebook and the reports into the notebook.

        Args:
            nb: The sanitized submission; modified in place.
            resources: nbgrader's record of the assignment, student, notebook and gradebook.

        Raises:
            JudgingFailed: If there is no sandbox, or the hidden cases or the source of the notebook are missing.
        """
        facts = resources["nbgrader"]
        student = facts["student"]
        self._stage = facts["assignment"]
        # nbgrader's ways lead through several gradebooks; this one is closed before its own step opens the next.
        with Gradebook(facts["db_url"]) as gradebook:
            worth = worth_in(gradebook, self._stage)
        result = self._result(student, facts["notebook"], worth)
        self._judged = self._judged_in(result, facts["notebook"], worth)
        for note in self._judged.notes:
            self.log.warning("%s: %s", student, note)
        nb, resources = super().preprocess(nb, resources)
        # Of the student's own metadata nothing stays: pages are made by it, too early for any filter.
        kernel = nb.metadata.get("kernelspec", KERNEL)  # the release's, by now
        nb.metadata = NotebookNode(kernelspec=kernel, language_info=dict(LANGUAGE), **{STAMP: self._judged.stamp})
        for name in worth:
            if not os.path.lexists(self._submitted(student) / f"{name}.ipynb"):
                self._record_without(name, result, worth, resources)
        return nb, resources

    def _submitted(self, student: str) -> Path:
        folders = self.parent.parent.coursedir
        return Path(folders.format_path(folders.submitted_directory, student, self._stage))

    def _result(self, student: str, notebook: str, worth: Worth) -> Mapping[str, Any]:
        # The judge imports torch, which nbgrader's other commands need not wait for.
        from dlcvgrade.judge.bench import HandedInAnew, bench_for, supplied_result
        from dlcvgrade.judge.limits import Limits
        from dlcvgrade.judge.submissions import in_folder
        from dlcvkit.checking import SpecsNotFound, UnknownExercise

        folders = self.parent.parent.coursedir
        source = Path(folders.format_path(folders.source_directory, ".", self._stage))
        home = self._submitted(student)
        submission = in_folder(student, home, worth, is_linked=home.is_symlink() or home.parent.is_symlink())
        try:
            result = supplied_result(self._stage, student)
            if result is None:
                limits = Limits(submission_seconds=self.budget)
                ids = {name: list(worth[name]) for name in worth}
                bench = bench_for(self._stage, ids, source, Path(self.specs), self.find_isolation(), limits)
                result = bench.judge(submission, notebook)
        except HandedInAnew as error:
            raise JudgingFailed(str(error)) from None
        except (SpecsNotFound, UnknownExercise) as error:
            raise JudgingFailed(f"{self._stage} cannot be graded: {error}") from None
        except FileNotFoundError as error:
            raise JudgingFailed(f"{error.filename} does not exist; run dlcvgrade build {self._stage}") from None
        return result

    def _judged_in(self, result: Mapping[str, Any], notebook: str, worth: Worth) -> Judged:
        from dlcvgrade.judge.judged import judged_from

        return judged_from(result, notebook, worth.get(notebook, {}))

    def _record_without(self, notebook: str, result: Mapping[str, Any], worth: Worth, resources: Any) -> None:
        """Write down what a notebook that was not handed in earns all the same: a saved answer is a file of its own.

        nbgrader has put 0 there before, and never comes to the penalty for lateness.
        """
        judged = self._judged_in(result, notebook, worth)
        facts = {**resources["nbgrader"], "notebook": notebook}
        with Gradebook(facts["db_url"]) as gradebook:
            for exercise in judged.entries:
                cell = CHECK + exercise.partition("/")[2]
                grade = gradebook.find_grade(cell, notebook, self._stage, facts["student"])
                self._set_points(grade, judged.points(exercise))
            gradebook.db.commit()
        AssignLatePenalties(parent=self.parent).preprocess(make_notebook([]), {**resources, "nbgrader": facts})

    def _exercise(self, cell: NotebookNode) -> str | None:
        """Return the exercise that a cell grades; None if it grades none that the judge knows."""
        name = cell.metadata["nbgrader"]["grade_id"] if utils.is_grade(cell) else ""
        exercise = f"{self._stage}/{name.removeprefix(CHECK)}"
        return exercise if name.startswith(CHECK) and exercise in self._judged.entries else None

    def preprocess_cell(self, cell: NotebookNode, resources: Any, cell_index: int) -> tuple[NotebookNode, Any]:
        """Put the report into a cell that grades and clear any other, then write down its points and comment."""
        if cell.cell_type == "code":
            exercise = self._exercise(cell)
            cell.outputs = [] if exercise is None else [self._judged.output(exercise)]
            cell.execution_count = None
        cell, resources = super().preprocess_cell(cell, resources, cell_index)
        return cell, resources

    def _add_score(self, cell: NotebookNode, resources: Any) -> None:
        exercise = self._exercise(cell)
        if exercise is None and (utils.is_solution(cell) or cell.cell_type != "code"):
            super()._add_score(cell, resources)  # graded by hand
            return
        name = cell.metadata["nbgrader"]["grade_id"]
        grade = self.gradebook.find_grade(name, self.notebook_id, self.assignment_id, self.student_id)
        # nbgrader would pay in full for a cell without outputs; what nobody judged is for a person to decide.
        self._set_points(grade, None if exercise is None else self._judged.points(exercise))
        self.gradebook.db.commit()

    def _set_points(self, grade: Any, points: float | None) -> None:
        grade.auto_score = points
        grade.needs_manual_grade = points is None or grade.manual_score is not None


class SubmissionExporter(NotebookExporter):  # type: ignore[misc]
    """nbgrader's exporter for a class whose files may hold anything: what is no notebook costs nobody else's grade."""

    def __init__(self, config: Any = None, **kw: Any) -> None:
        start: Any = super().__init__
        start(config=config, **kw)
        try:  # here, so that nbgrader stops before it has touched a submission
            JudgeNotebook(parent=self).find_isolation()
        except JudgingFailed as error:
            self.log.error("%s", error)
            raise
        guard(self.parent)

    def from_filename(self, filename: str, resources: Any = None, **kw: Any) -> tuple[Any, Any]:
        """Convert a notebook; one that cannot be read is replaced by an empty one that says so.

        The judge looks at the same file by itself and gives its verdict in either case.

        Args:
            filename: The notebook.
            resources: nbgrader's record of the assignment, student, notebook and gradebook.
            kw: Passed on.
        """
        converter: Any = self.parent
        if not converter._sanitizing:
            text, record = super().from_filename(filename, resources, **kw)
            return text, record
        from dlcvgrade.judge.submissions import require_plain

        try:
            require_plain(Path(filename), folders=2)
            text, record = super().from_filename(filename, resources, **kw)
        except Exception as error:  # nbformat and nbgrader pass on whatever they stumble over in a damaged file
            name = Path(filename).name
            self.log.warning("%s cannot be read as a notebook (%s)", filename, type(error).__name__)
            # A fault of the gradebook's or of ours comes again here, and is told.
            blank = make_notebook([make_cell("markdown", NOT_READ.format(name=name), "not-read")])
            convert: Any = self.from_notebook_node
            text, record = convert(blank, resources, **kw)
        return text, record
