"""A course, an exchange and a student in folders of their own, for tests that go through a whole term."""

from __future__ import annotations

import datetime
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

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
        done = subprocess.run(
            [program, *map(str, command[1:])],
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == code, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def environment(self) -> dict[str, str]:
        """Return the variables that its programs get."""
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
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        return {**os.environ, **own}


def make_exchange(folder: Path) -> Path:
    """Make the folder that course and students pass files through."""
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def make_course(tmp_path: Path, exchange: Path, *options: str) -> Place:
    """Make a private course of one notebook, from a kit that has it; ``options`` are those of ``dlcvgrade init``."""
    kit = tmp_path / "kit"
    source = f"solutions/{STAGE}/{NOTEBOOK}.py"
    (kit / source).parent.mkdir(parents=True)
    shutil.copy(ROOT / source, kit / source)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in (f"autograder/specs/{STAGE}/{NOTEBOOK}", "utils/dlcvkit"):
        shutil.copytree(ROOT / name, kit / name, ignore=ignored)
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
    given = ["--id", "vision", "--due", f"{STAGE}={due(1)}", *options]
    elsewhere.run("dlcvgrade", "init", teacher.root, "--kit", kit, *given)
    with (teacher.root / "nbgrader_config.py").open("a", encoding="utf-8") as config:
        # One account owns all files here; on a real exchange the owner is checked.
        config.write(f'\nc = get_config()\nc.Exchange.root = "{exchange}"\nc.ExchangeCollect.check_owner = False\n')
    return teacher


def make_student(tmp_path: Path, exchange: Path) -> Place:
    """Make a student with a folder and nothing in it but where the exchange is."""
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
