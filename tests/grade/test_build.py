from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from dlcvgrade.build import build, differences, write_build
from dlcvgrade.markers import region_lines
from dlcvgrade.notebooks import notebook_bytes, read_notebook
from dlcvgrade.problems import CourseProblems

SOLVED = PurePosixPath("solutions/a1/toy.ipynb")
RELEASED = PurePosixPath("assignments/a1/toy.ipynb")


def complaints(course, registry):
    with pytest.raises(CourseProblems) as caught:
        build(course, registry=registry)
    return [str(problem) for problem in caught.value.problems]


def test_two_builds_are_byte_identical(toy_course, registry, toy_built):
    (toy_course.root / "solutions/a1/toy.py").touch()
    assert build(toy_course, registry=registry).all_files() == toy_built.all_files()


def test_no_solution_line_reaches_the_students(toy_built):
    solved = read_notebook(toy_built.solved[SOLVED])
    secret = {line.strip() for cell in solved.cells for line in region_lines(cell.source, "SOLUTION", "MARK SCHEME")}
    assert len(secret) == 7
    released = {line.strip() for cell in read_notebook(toy_built.released[RELEASED]).cells
                for line in cell.source.splitlines()}  # fmt: skip
    assert not secret & released
    assert "raise NotImplementedError()" in released


def test_students_see_the_check_and_not_the_hidden_tests(toy_built):
    cells = {cell.id: cell for cell in read_notebook(toy_built.released[RELEASED]).cells}
    assert cells["check-total"].source == 'check("a1/total", total)'
    assert cells["question-order"].source.strip().endswith("Does the order of summation matter?")
    assert cells["check-total"].metadata.nbgrader.points == 3.0


def test_released_notebook_is_as_nbgrader_writes_it(toy_built):
    content = toy_built.released[RELEASED]
    assert notebook_bytes(read_notebook(content)) == content


def test_nbgrader_reads_nothing_but_notebooks_and_figures(toy_course, toy_built):
    assert list(toy_built.source) == [PurePosixPath("build/source/a1/toy.ipynb")]
    write_build(toy_course, toy_built)
    found = [path.name for path in (toy_course.root / "build/source/a1").iterdir()]
    assert found == ["toy.ipynb"]


def test_written_build_has_no_differences(toy_course, toy_built):
    write_build(toy_course, toy_built)
    assert differences(toy_course, toy_built) == []


def test_every_kind_of_difference_is_listed(toy_course, toy_built):
    write_build(toy_course, toy_built)
    (toy_course.root / SOLVED).unlink()
    (toy_course.root / RELEASED).write_bytes(b"edited by hand")
    (toy_course.root / "assignments/a1/old.ipynb").write_text("{}")
    assert differences(toy_course, toy_built) == [
        "assignments/a1/old.ipynb: comes from no source",
        "assignments/a1/toy.ipynb: differs from what its source gives",
        "solutions/a1/toy.ipynb: is missing",
    ]
    write_build(toy_course, toy_built)
    assert differences(toy_course, toy_built) == []


def test_missing_and_unlisted_sources_are_told(toy_course, registry):
    (toy_course.root / "solutions/a1/toy.py").rename(toy_course.root / "solutions/a1/tyo.py")
    assert complaints(toy_course, registry) == [
        "solutions/a1/tyo.py: is not among the notebooks of course.toml",
        "solutions/a1/toy.py: is missing, but course.toml lists 'toy' in stage 'a1'",
    ]


def test_strange_figure_is_told(toy_course, registry):
    figures = toy_course.root / "solutions/a1/figures"
    figures.mkdir()
    (figures / "solution.py").write_text("answer = 42")
    assert complaints(toy_course, registry) == [
        "solutions/a1/figures/solution.py: is no figure; expected files ending in .png or .svg"
    ]


def test_refused_build_writes_nothing(toy_course, registry, toy_source):
    (toy_course.root / "solutions/a1/toy.py").write_text(toy_source.replace("### END SOLUTION", "### END SOLUTON"))
    before = sorted(toy_course.root.rglob("*"))
    assert len(complaints(toy_course, registry)) == 2
    assert sorted(toy_course.root.rglob("*")) == before
