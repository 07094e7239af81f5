"""The instructors' page, followed word by word in an empty folder; only installing and looking are left out."""

from __future__ import annotations

import csv
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from nbgrader.api import Gradebook
from term import Place, solve

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "instructors.md").read_text(encoding="utf-8")
SECTION = "## From zero to returned grades"
# The environment that runs this is what these make, and formgrader has a test with a browser.
LEFT_OUT = ("git clone ", "python3 -m venv ", ". .venv/", "pip install ", "jupyter lab")
KIT = ("solutions", "autograder", "utils", "course.toml", "nbgrader_config.py", "constraints.txt", "pyproject.toml",
       "LICENSE", "data_download.sh")  # fmt: skip
ROSTER = """Student,ID,SIS User ID,SIS Login ID,Section
"Lovelace, Ada",11,u11,ada,1
"Noether, Emmy",12,u12,emmy,1
"""


def commands() -> list[str]:
    """Return the commands of the section, in order."""
    section = PAGE[PAGE.index(SECTION) :].split("\n## ")[0]
    return [line.strip() for line in section.splitlines() if line.startswith("    ")]


@pytest.fixture
def place(tmp_path):
    """An empty folder with a clone of the kit in it."""
    found = Place(tmp_path / "empty", "instructor")
    found.root.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.ipynb")
    for name in KIT:
        source, target = ROOT / name, found.root / "kit" / name
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(source, target, ignore=ignored) if source.is_dir() else shutil.copy(source, target)
    return found


def hand_in(course: Path, out: Path) -> None:
    """Make what Canvas lets an instructor download: one student has everything, one has done nothing."""
    with zipfile.ZipFile(course / "build/release/vision27-a1.zip") as released:
        released.extractall(course.parent / "student")
    with zipfile.ZipFile(out, "w") as download:
        for path in sorted((course.parent / "student/vision27-a1").glob("*.ipynb")):
            download.write(path, f"noetheremmy_12_901_{path.name}")
            solve(path, course / "build/source/a1" / path.name, 99)
            download.write(path, f"lovelaceada_11_900_{path.name}")


def read_prose(course: Path) -> None:
    """Give one point for every answer in prose."""
    with Gradebook(f"sqlite:///{course}/gradebook.db", "vision27") as books:
        for submission in books.assignment_submissions("a1"):
            for grade in (grade for notebook in submission.notebooks for grade in notebook.grades):
                if grade.cell.type == "TaskCell":
                    grade.manual_score, grade.needs_manual_grade = 1.0, False
        books.db.commit()


def test_what_the_page_says_leads_to_returned_grades(place):
    empty = place.root
    (empty / "roster.csv").write_text(ROSTER, encoding="utf-8")
    followed = []
    for command in commands():
        if command.startswith(LEFT_OUT):
            continue
        if command.startswith("cd "):
            place.root = place.root / command.removeprefix("cd ")
            continue
        if command.startswith("dlcvgrade import"):
            hand_in(place.root, empty / "submissions.zip")
        if command.startswith("dlcvgrade feedback"):
            read_prose(place.root)
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', command)]
        # Nobody has trained the weights that linear_training asks for: something to look at, and points lost.
        place.run(*words, code=1 if words[1] in ("import", "grade") else 0)
        followed.append(" ".join(words[:2]))
    assert followed == [
        "dlcvgrade doctor", "dlcvgrade init", "dlcvgrade build", "nbgrader generate_assignment", "dlcvgrade release",
        "dlcvgrade import", "dlcvgrade grade", "dlcvgrade feedback", "dlcvgrade export", "dlcvgrade export",
    ]  # fmt: skip

    course = empty / "vision27"
    with (course / "build/canvas.csv").open(encoding="utf-8") as file:
        points = {row["SIS Login ID"]: float(row["a1"]) for row in csv.DictReader(file)}
    with Gradebook(f"sqlite:///{course}/gradebook.db", "vision27") as books:
        graded = {s.student_id: (s.score, s.max_score, s.task_score) for s in books.assignment_submissions("a1")}
    assert set(graded) == {"ada", "emmy"} and graded["emmy"][0] == graded["emmy"][2] > 0
    # Ada trained nothing for the one answer that is a file; everything else is right.
    assert points == {"": graded["ada"][1], "ada": graded["ada"][0], "emmy": graded["emmy"][0]}
    assert 0.8 * points[""] < points["ada"] < points[""]
    with zipfile.ZipFile(course / "build/pages.zip") as pages:
        assert len(pages.namelist()) == 2 and all("_11_900_" in n or "_12_901_" in n for n in pages.namelist())


def test_a_command_that_does_not_work_is_noticed(place):
    with pytest.raises(AssertionError, match="ended with 2"):
        place.run("dlcvgrade", "release", "a1", "--out", "build/release")
