"""A term in one test: nbgrader's own commands, with separate homes for course, exchange and student."""

from __future__ import annotations

import csv
import datetime
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from dlcvgrade.course import read_course
from dlcvgrade.notebooks import notebook_bytes, read_notebook

ROOT = Path(__file__).parents[2]
STAGE, NOTEBOOK = "a1", "tensors"
SECRET = "BEGIN HIDDEN"
WHO = pwd.getpwuid(os.getuid()).pw_name
"""nbgrader asks the system who hands in, so the student has the name of whoever runs this."""


def due(days: float) -> str:
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)).isoformat(timespec="seconds")


class Place:
    """A home directory with commands run in it as its owner."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self.home = root.parent / f"home-of-{name}"
        self.home.mkdir(parents=True)

    def run(self, *command: object, code: int = 0) -> str:
        """Run a program of this environment; its exit code has to be ``code``."""
        program = Path(sys.executable).with_name(str(command[0]))
        own = {
            "HOME": str(self.home),
            "USER": self.name,
            "LOGNAME": self.name,
            "JUPYTER_CONFIG_DIR": str(self.home / "config"),
            "JUPYTER_DATA_DIR": str(self.home / "data"),
            "JUPYTER_RUNTIME_DIR": str(self.home / "runtime"),
            "DLCVKIT_STATE": str(self.home / "state"),
            "DLCVKIT_DATA": str(self.home / "datasets"),
            "OMP_NUM_THREADS": "1",
            "PATH": f"{program.parent}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            [program, *map(str, command[1:])],
            cwd=self.root,
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == code, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture
def exchange(tmp_path):
    folder = tmp_path / "exchange"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@pytest.fixture
def course(tmp_path, exchange):
    """A private course of one notebook, made from a kit that has it."""
    kit = tmp_path / "kit"
    for name in (f"solutions/{STAGE}/{NOTEBOOK}.py", f"autograder/specs/{STAGE}/{NOTEBOOK}.py"):
        (kit / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, kit / name)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "utils/dlcvkit", kit / "utils/dlcvkit", ignore=ignored)
    for name in ("nbgrader_config.py", "constraints.txt", "data_download.sh", "LICENSE"):
        shutil.copy(ROOT / name, kit / name)
    whole = read_course(ROOT)
    (kit / "course.toml").write_text(
        f'[course]\nid = "kit"\ntitle = "Vision"\nrepository = "{whole.repository}"\nspecs = "autograder/specs"\n\n'
        f"[late]\npercent_per_day = 10\ndays = 5\n\n"
        f'[[stage]]\nname = "{STAGE}"\ntitle = "First"\ndue = {due(1)}\nnotebooks = ["{NOTEBOOK}"]\n',
        encoding="utf-8",
    )
    teacher = Place(tmp_path / "course", "teacher")
    elsewhere = Place(tmp_path / "kit", "keeper")
    elsewhere.run("dlcvgrade", "init", teacher.root, "--kit", kit, "--id", "vision", "--due", f"{STAGE}={due(1)}")
    with (teacher.root / "nbgrader_config.py").open("a", encoding="utf-8") as config:
        # One account owns all files here; on a real exchange the owner is checked.
        config.write(f'\nc = get_config()\nc.Exchange.root = "{exchange}"\nc.ExchangeCollect.check_owner = False\n')
    return teacher


@pytest.fixture
def student(tmp_path, exchange):
    """A student with a folder and nothing in it but where the exchange is."""
    place = Place(tmp_path / "work-of-student", "student")
    place.root.mkdir()
    (place.root / "nbgrader_config.py").write_text(
        f'c = get_config()\nc.Exchange.root = "{exchange}"\nc.CourseDirectory.course_id = "vision"\n', encoding="utf-8"
    )
    return place


def solve(path: Path, solved: Path, exercises: int) -> None:
    """Fill in the first so many exercises, and answer the questions."""
    source = {cell.metadata["nbgrader"]["grade_id"]: cell.source for cell in read_notebook(solved.read_bytes()).cells
              if cell.metadata.get("nbgrader", {}).get("solution")}  # fmt: skip
    notebook = read_notebook(path.read_bytes())
    stubs = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    assert len(stubs) > exercises or exercises >= len(source)
    for cell in stubs[:exercises]:
        cell.source = source[cell.metadata["nbgrader"]["grade_id"]]
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and "Write your answer" in cell.source:
            cell.source = "Because a view shares its memory."
    path.write_bytes(notebook_bytes(notebook))


def books(course: Place) -> Gradebook:
    return Gradebook(f"sqlite:///{course.root}/gradebook.db", "vision")


def set_due(course: Place, days: float) -> None:
    path = course.root / "course.toml"
    lines = [f"due = {due(days)}" if line.startswith("due = ") else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    course.run("nbgrader", "generate_assignment", STAGE, "--force")


def test_a_term_from_release_to_returned_grades(course, student, exchange):
    course.run("dlcvgrade", "build")
    course.run("nbgrader", "generate_assignment", STAGE, "--force")  # the build has made what students get already
    course.run("nbgrader", "release_assignment", STAGE)

    # The student fetches, works, validates and hands in.
    assert STAGE in student.run("nbgrader", "list")
    student.run("nbgrader", "fetch_assignment", STAGE)
    work = student.root / STAGE / f"{NOTEBOOK}.ipynb"
    assert SECRET not in work.read_text(encoding="utf-8")
    solve(work, course.root / "build" / "source" / STAGE / f"{NOTEBOOK}.ipynb", 2)
    assert "failed" in student.run("nbgrader", "validate", work).lower()
    student.run("nbgrader", "submit", STAGE)

    # The instructor collects and grades; the questions wait for a person.
    course.run("nbgrader", "collect", STAGE)
    course.run("nbgrader", "autograde", STAGE)
    with books(course) as gradebook:
        submission = gradebook.find_submission(STAGE, WHO)
        first, possible = submission.score, submission.max_score
        assert 0 < first < possible and submission.needs_manual_grade
        assert submission.total_seconds_late == 0 and submission.late_submission_penalty == 0
        tasks = [g for n in submission.notebooks for g in n.grades if g.cell.type == "TaskCell"]
        assert tasks
        for grade in tasks:
            grade.manual_score, grade.needs_manual_grade = grade.max_score - 0.5, False
        comment = next(c for n in submission.notebooks for c in n.comments)
        comment.manual_comment = "Well seen."
        gradebook.db.commit()
        by_hand = sum(grade.max_score - 0.5 for grade in tasks)
        assert gradebook.find_submission(STAGE, WHO).score == pytest.approx(first + by_hand)

    # Feedback goes back and gives nothing away.
    course.run("nbgrader", "generate_feedback", STAGE)
    course.run("nbgrader", "release_feedback", STAGE)
    student.run("nbgrader", "fetch_feedback", STAGE)
    (page,) = (student.root / STAGE / "feedback").rglob("*.html")
    told = page.read_text(encoding="utf-8")
    assert "Well seen." in told and f"{first + by_hand:g}" in told
    assert SECRET not in told and "hidden_check" not in told

    # A second submission takes the first one's place; what was given by hand stays.
    solve(work, course.root / "build" / "source" / STAGE / f"{NOTEBOOK}.ipynb", 99)
    assert "success" in student.run("nbgrader", "validate", work).lower()
    student.run("nbgrader", "submit", STAGE)
    course.run("nbgrader", "collect", STAGE, "--update")
    course.run("nbgrader", "autograde", STAGE, "--force")
    with books(course) as gradebook:
        submission = gradebook.find_submission(STAGE, WHO)
        automatic = submission.max_score - sum(grade.max_score for n in submission.notebooks for grade in n.grades
                                               if grade.cell.type == "TaskCell")  # fmt: skip
        assert submission.score == pytest.approx(automatic + by_hand)
        full = submission.score

    # The date moves to a day and a half ago: a regrade takes two started days off; it moves back: nothing is lost.
    set_due(course, -1.5)
    course.run("nbgrader", "autograde", STAGE, "--force")
    with books(course) as gradebook:
        submission = gradebook.find_submission(STAGE, WHO)
        assert submission.late_submission_penalty == pytest.approx(0.2 * possible)
    course.run("nbgrader", "export", "--to", "late.csv")
    (row,) = csv.DictReader((course.root / "late.csv").read_text(encoding="utf-8").splitlines())
    assert (row["student_id"], row["assignment"]) == (WHO, STAGE)
    assert float(row["raw_score"]) == pytest.approx(full) and float(row["score"]) == pytest.approx(
        full - 0.2 * possible
    )
    set_due(course, 1)
    course.run("nbgrader", "autograde", STAGE, "--force")
    with books(course) as gradebook:
        assert gradebook.find_submission(STAGE, WHO).late_submission_penalty == 0
