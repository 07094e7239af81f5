"""Stock nbgrader's commands, run as an instructor would from a course's root."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from traitlets.config import Config

from dlcvgrade.build import write_build
from dlcvgrade.settings import configure

CONFIG = Path(__file__).parents[2] / "nbgrader_config.py"


def test_configuration_names_the_folders_of_the_course(toy_course, monkeypatch):
    monkeypatch.delenv("DLCVKIT_SPECS", raising=False)
    config = Config()
    configure(config, toy_course)
    assert config.CourseDirectory.course_id == "toy"
    assert config.CourseDirectory.source_directory == "build/source"
    assert config.CourseDirectory.release_directory == "assignments"
    assert config.CourseDirectory.db_url == f"sqlite:///{toy_course.root}/gradebook.db"
    assert config.Execute.skip_cells_with_tag == "demo"
    assert config.LatePenalty.percent_per_day == 10.0


@pytest.mark.slow
def test_nbgraders_own_commands_work_from_the_root(knn_course, knn_built, tmp_path):
    root = tmp_path / "course"
    shutil.copytree(knn_course.root, root, ignore=shutil.ignore_patterns("submitted", "autograded", "gradebook.db"))
    shutil.copy(CONFIG, root)
    write_build(knn_course.__class__(**{**vars(knn_course), "root": root}), knn_built)

    def nbgrader(*arguments):
        # Called by full path and with a bare PATH, as from a desktop icon: alembic must be found all the same.
        command = [sys.executable, "-m", "nbgrader", *arguments]
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
        run = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout + run.stderr

    before = (root / "assignments/a1/knn.ipynb").read_bytes()
    nbgrader("generate_assignment", "a1", "--force")
    assert (root / "assignments/a1/knn.ipynb").read_bytes() == before
    submitted = root / "submitted/correct/a1"
    submitted.mkdir(parents=True)
    shutil.copy(root / "solutions/a1/knn.ipynb", submitted)
    nbgrader("autograde", "a1")
    nbgrader("generate_feedback", "a1")
    assert (root / "feedback/correct/a1/knn.html").is_file()
    nbgrader("export")
    header, row = (root / "grades.csv").read_text().splitlines()
    assert dict(zip(header.split(","), row.split(","), strict=True))["score"] == "12.0"
    assert "2027-02-05" in row
    assert "failed" in nbgrader("validate", "assignments/a1/knn.ipynb").lower()


@pytest.mark.slow
def test_formgrader_loads_with_the_configuration(tmp_path, toy_root):
    shutil.copy(CONFIG, toy_root)
    code = (
        "from nbgrader.server_extensions.formgrader.formgrader import FormgradeExtension\n"
        "from nbgrader.apps.nbgraderapp import NbGraderApp\n"
        "app = NbGraderApp(); app.initialize(['--help-all-not-used=1'] and [])\n"
        "extension = FormgradeExtension(config=app.config, parent=app)\n"
        "print(app.coursedir.course_id, app.coursedir.source_directory)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=toy_root, capture_output=True, text=True, check=False)
    assert run.stdout.split() == ["toy", "build/source"], run.stderr
