"""nbgrader's configuration for a course; the repository's ``nbgrader_config.py`` and our own commands share it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor
from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    ClearOutput,
    DeduplicateIds,
    GetGrades,
    OverwriteCells,
    OverwriteKernelspec,
)
from traitlets.config import Config

from dlcvgrade.course import Course
from dlcvgrade.judge.bookkeeping import JudgeNotebook, SubmissionExporter
from dlcvgrade.late import LatePenalty, record_due_dates
from dlcvgrade.restore import RestoreCells
from dlcvgrade.viewing import FILTERS, HideTests, Undress

SOURCE = "build/source"
RELEASE = "assignments"
CELL_SECONDS = 60
SPECS_VARIABLE = "DLCVKIT_SPECS"


def put_tools_on_path() -> None:
    """Make the programs beside this Python findable: nbgrader calls ``alembic`` by name for a new gradebook."""
    folder = str(Path(sys.executable).parent)
    entries = os.environ.get("PATH", "").split(os.pathsep)
    if folder not in entries:
        os.environ["PATH"] = os.pathsep.join([folder, *entries])


def configure(config: Config, course: Course, *, root: Path | None = None, source: str = SOURCE) -> None:
    """Set everything that nbgrader needs to know.

    Args:
        config: The configuration; modified.
        course: The course.
        root: Where ``submitted``, ``autograded``, ``feedback`` and ``gradebook.db`` lie; the course's root if None.
        source: Folder with the solved notebooks, relative to ``root``.
    """
    root = root or course.root
    put_tools_on_path()
    # nbgrader validate runs solved notebooks in a kernel, which inherits it; the hidden cases may be kept elsewhere.
    os.environ[SPECS_VARIABLE] = str(course.specs)

    config.CourseDirectory.root = str(root)
    config.CourseDirectory.course_id = course.id
    config.CourseDirectory.source_directory = source
    config.CourseDirectory.release_directory = RELEASE
    config.CourseDirectory.db_url = f"sqlite:///{root}/gradebook.db"
    config.CourseDirectory.ignore = [".ipynb_checkpoints", "__pycache__", "*.pyc", "*.py", "feedback"]

    config.Execute.timeout = CELL_SECONDS
    config.Execute.skip_cells_with_tag = "demo"
    # Kernels remark on their transport at every start; nobody who grades can act on it.
    config.Execute.extra_arguments = ["--IPKernelApp.log_level=ERROR"]
    config.Autograde.sanitize_preprocessors = [
        ClearOutput,
        RestoreCells,
        DeduplicateIds,
        OverwriteKernelspec,
        OverwriteCells,
        CheckCellMetadata,
    ]
    config.OverwriteCells.add_missing_cells = True
    # Student code runs in the judge's sandbox and nowhere else, and what a notebook printed scores nothing.
    config.Autograde.exporter_class = SubmissionExporter
    config.Autograde.autograde_preprocessors = [JudgeNotebook, AssignLatePenalties]  # metadata is checked before
    config.JudgeNotebook.specs = str(course.specs)
    config.AssignLatePenalties.plugin_class = LatePenalty
    config.LatePenalty.percent_per_day = course.late.percent_per_day
    config.LatePenalty.days = course.late.days

    # Whatever a student writes is shown to whoever grades, in a page that may do all that the grader may do.
    config.HTMLExporter.sanitize_html = True
    config.HTMLExporter.filters = dict(FILTERS)
    config.HTMLExporter.preprocessors = [Undress]
    config.GenerateFeedback.preprocessors = [GetGrades, HideTests, CSSHTMLHeaderPreprocessor]

    # The gradebook is looked up when it is needed: nbgrader_config.py may name another one below.
    config.GenerateAssignment.post_convert_hook = lambda **_: record_due_dates(course, config.CourseDirectory.db_url)
