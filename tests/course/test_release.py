"""What students get of the real course: nothing that gives a solution or a hidden case away, and all they need."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from dlcvgrade.build import Built, build, differences
from dlcvgrade.confidential import Secrets, secrets_of
from dlcvgrade.course import Course, read_course
from dlcvgrade.markers import region_lines
from dlcvgrade.notebooks import read_notebook
from dlcvgrade.release import release_files

ROOT = Path(__file__).parents[2]
COURSE = read_course(ROOT)
NOTEBOOKS = [(stage.name, notebook) for stage in COURSE.stages for notebook in stage.notebooks]


@pytest.fixture(scope="module")
def course() -> Course:
    return COURSE


@pytest.fixture(scope="module")
def built() -> Built:
    """The course as its sources give it; a problem in any source fails every test here."""
    return build(COURSE)


@pytest.fixture(scope="module")
def secrets(built) -> dict[str, Secrets]:
    return {stage.name: secrets_of(COURSE, stage, built) for stage in COURSE.stages}


def notebook(files, folder, stage, name):
    return read_notebook(files[PurePosixPath(folder, stage, f"{name}.ipynb")])


def test_committed_files_are_what_the_sources_give(course, built):
    assert differences(course, built) == []


@pytest.mark.parametrize(("stage", "name"), NOTEBOOKS)
def test_no_solution_line_reaches_the_release(built, stage, name):
    solved = notebook(built.solved, "solutions", stage, name)
    released = notebook(built.released, "assignments", stage, name)
    public = {line.strip() for cell in released.cells for line in cell.source.splitlines()}
    scaffold = {
        line.strip()
        for cell in solved.cells
        for line in set(cell.source.splitlines()) - set(region_lines(cell.source, "SOLUTION", "MARK SCHEME"))
    }
    secret = {
        line.strip()
        for cell in solved.cells
        for line in region_lines(cell.source, "SOLUTION", "MARK SCHEME")
        if line.strip()
    } - scaffold
    assert secret, f"{stage}/{name} has no solution, so this checks nothing"
    assert not secret & public


@pytest.mark.parametrize(("stage", "name"), NOTEBOOKS)
def test_released_notebook_has_stubs_checks_and_no_outputs(built, stage, name):
    released = notebook(built.released, "assignments", stage, name)
    solutions = [cell for cell in released.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    checks = [cell for cell in released.cells if cell.metadata.get("nbgrader", {}).get("grade")]
    assert solutions
    assert checks
    assert all("raise NotImplementedError()" in cell.source for cell in solutions)
    assert all("hidden" not in cell.source for cell in checks)
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in released.cells)


@pytest.mark.parametrize("stage", [stage.name for stage in COURSE.stages])
def test_stage_passes_the_audit_and_is_complete(course, built, secrets, stage):
    assert len(secrets[stage].solution) > 20, "the audit would look for next to nothing"
    assert len(secrets[stage].hidden) > 20, "the audit would look for next to nothing"
    files = release_files(course, course.stage(stage), built)
    expected = {f"{name}.ipynb" for name in course.stage(stage).notebooks}
    expected |= {"README.md", "environment.yml", "constraints.txt", "data_download.sh", "MANIFEST.sha256"}
    assert expected <= {str(path) for path in files}
    assert PurePosixPath("kit/dlcvkit/checking/__init__.py") in files
