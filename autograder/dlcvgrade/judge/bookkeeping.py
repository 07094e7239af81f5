"""nbgrader as the bookkeeper: its autograde runs the judge where it would have run the student's notebook itself.

Two classes take the places of nbgrader's own, in ``dlcvgrade.settings``: ``JudgeNotebook`` those of Execute and
SaveAutoGrades, ``SubmissionExporter`` that of the exporter. No kernel is started and nothing that a notebook shows is
believed: the judge reads the file in ``submitted``, and what it says goes into the gradebook and into the outputs of
the cells that grade. Manual grading, late penalties, feedback and export are nbgrader's own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader import utils
from nbgrader.api import Gradebook
from nbgrader.converters.base import NbGraderException
from nbgrader.preprocessors import SaveAutoGrades
from traitlets import Bool, Unicode, default

from dlcvgrade.judge.sandbox import Isolation, isolation
from dlcvgrade.notebooks import make_cell, make_notebook

if TYPE_CHECKING:
    from dlcvgrade.judge.bench import Judged

UNSAFE_VARIABLE = "DLCVGRADE_UNSAFE"
CHECK = "check-"
REPORT = "application/vnd.dlcvkit.report+json"
NO_SANDBOX = (
    f"no sandbox: {{why}}. {UNSAFE_VARIABLE}=1, or c.JudgeNotebook.unsafe = True in nbgrader_config.py, "
    "grades without one"
)
NOT_READ = "**What was handed in as {name} could not be read as a notebook.** The file that was handed in is unchanged."


class JudgingFailed(NbGraderException):  # type: ignore[misc]
    """Nobody can be graded as things are; the message says why, in one line."""


class JudgeNotebook(SaveAutoGrades):  # type: ignore[misc]
    """The step of nbgrader's autograding that has a notebook judged and writes down the points."""

    specs = Unicode("", help="Folder with the hidden cases").tag(config=True)
    unsafe = Bool(help="Grade without a sandbox if there is none").tag(config=True)

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
        self._judged = self._judge(facts["db_url"], facts["assignment"], facts["student"], facts["notebook"])
        for note in self._judged.notes:
            self.log.warning("%s: %s", facts["student"], note)
        self._stage = facts["assignment"]
        nb, resources = super().preprocess(nb, resources)
        return nb, resources

    def _judge(self, db_url: str, stage: str, student: str, notebook: str) -> Judged:
        # The judge imports torch, which nbgrader's other commands need not wait for.
        from dlcvgrade.judge.bench import bench_for, release_from
        from dlcvgrade.judge.submissions import Submission
        from dlcvkit.checking import SpecsNotFound, UnknownExercise

        with Gradebook(db_url) as gradebook:
            worth = {
                found.name: {
                    f"{stage}/{cell.name.removeprefix(CHECK)}": float(cell.max_score)
                    for cell in found.grade_cells
                    if cell.name.startswith(CHECK)
                }
                for found in gradebook.find_assignment(stage).notebooks
            }
        folders = self.parent.parent.coursedir
        source = Path(folders.format_path(folders.source_directory, ".", stage)) / f"{notebook}.ipynb"
        home = Path(folders.format_path(folders.submitted_directory, student, stage))
        submission = Submission(student, home, {notebook: home / f"{notebook}.ipynb"}, is_partial=True)
        try:
            names = sorted(name for names in worth.values() for name in names)
            bench = bench_for(names, Path(self.specs), self.find_isolation())
            return bench.judge(submission, notebook, release_from(source), worth[notebook])
        except (SpecsNotFound, UnknownExercise) as error:
            raise JudgingFailed(f"{stage} cannot be graded: {error}") from None
        except FileNotFoundError:
            raise JudgingFailed(f"{source} does not exist; run dlcvgrade build {stage}") from None

    def _exercise(self, cell: NotebookNode) -> str | None:
        """Return the exercise that a cell grades; None if it grades none that the judge knows."""
        name = cell.metadata["nbgrader"]["grade_id"] if utils.is_grade(cell) else ""
        exercise = f"{self._stage}/{name.removeprefix(CHECK)}"
        return exercise if name.startswith(CHECK) and exercise in self._judged.verdicts else None

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
        grade.auto_score = None if exercise is None else self._judged.verdicts[exercise].points
        grade.needs_manual_grade = grade.auto_score is None or grade.manual_score is not None
        self.gradebook.db.commit()


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
            require_plain(Path(filename))
            text, record = super().from_filename(filename, resources, **kw)
        except Exception as error:  # nbformat and nbgrader pass on whatever they stumble over in a damaged file
            name = Path(filename).name
            self.log.warning("%s cannot be read as a notebook (%s)", filename, type(error).__name__)
            # A fault of the gradebook's or of ours comes again here, and is told.
            blank = make_notebook([make_cell("markdown", NOT_READ.format(name=name), "not-read")])
            convert: Any = self.from_notebook_node
            text, record = convert(blank, resources, **kw)
        return text, record
