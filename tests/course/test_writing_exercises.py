"""The page that says how to write an exercise is followed word by word."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "writing-exercises.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r'^```python title="([^"]+)"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^    (dlcvgrade .+)$", PAGE, re.MULTILINE)
COURSE = """\
[course]
id = "page"
title = "Page"
repository = "https://example.org/page.git"
specs = "autograder/specs"

[late]
percent_per_day = 10
days = 5

[[stage]]
name = "a1"
title = "First"
due = 2030-01-01T00:00:00Z
notebooks = ["scaling"]
"""


@pytest.fixture
def course(tmp_path):
    """A repository without any exercise, its packages first on the path."""
    for package in ("utils/dlcvkit", "autograder/dlcvgrade"):
        ignored = shutil.ignore_patterns("__pycache__", "a1", "a2", "a3", "a4")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    (tmp_path / "utils/dlcvkit/exercises/a1").mkdir()
    (tmp_path / "utils/dlcvkit/exercises/a1/__init__.py").write_text('"""Stage a1."""\n')
    (tmp_path / "course.toml").write_text(COURSE, encoding="utf-8")
    return tmp_path


def run(course, command):
    path = os.pathsep.join(str(course / folder) for folder in ("utils", "autograder"))
    program = [sys.executable, "-m", *shlex.split(command)]
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("DLCVKIT_SPECS", None)
    return subprocess.run(program, cwd=course, env=environment, capture_output=True, text=True, timeout=300)


def write_files(course):
    for name, text in FILES.items():
        path = course / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_the_page_has_three_files_and_two_commands():
    assert [Path(name).parts[0] for name in FILES] == ["utils", "autograder", "solutions"]
    assert [command.split()[1] for command in COMMANDS] == ["mutants", "build"]


def test_its_files_and_commands_give_a_notebook_with_a_check_that_was_checked(course):
    write_files(course)
    mutants, build = (run(course, command) for command in COMMANDS)
    assert mutants.returncode == 0, mutants.stdout + mutants.stderr
    assert "all gates met" in mutants.stdout
    assert build.returncode == 0, build.stdout + build.stderr
    assert "return torch.where" not in (course / "assignments/a1/scaling.ipynb").read_text(encoding="utf-8")


def test_a_weaker_spec_is_refused(course):
    write_files(course)
    spec = course / "autograder/specs/a1/scaling.py"
    kept = [line for line in spec.read_text(encoding="utf-8").splitlines() if "by einsum" not in line]
    spec.write_text("\n".join(kept), encoding="utf-8")
    done = run(course, COMMANDS[0])
    assert done.returncode == 1 and "1 other solutions; expected at least 2" in done.stdout
