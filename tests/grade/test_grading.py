"""Grading through nbgrader's own pipeline, with the judge in it."""

from __future__ import annotations

import copy
import shutil

import nbformat
import pytest

from dlcvgrade.build import write_build
from dlcvgrade.markers import without_markers
from dlcvgrade.notebooks import notebook_bytes, read_notebook
from dlcvgrade.session import failed, open_api


def test_failure_of_nbgrader_is_told_in_one_line():
    result = {"success": False, "log": "[INFO] x", "error": "Traceback\n  File\nValueError: no such thing\n"}
    assert failed(lambda: result) == "ValueError: no such thing"
    assert failed(lambda: {"success": True}) is None


@pytest.fixture(scope="module")
def graded(knn_course, knn_built, autograde_all):
    """Student to result for a class of one notebook each, graded once."""
    write_build(knn_course, knn_built)
    root = knn_course.root
    api = open_api(knn_course, root)
    assert failed(api.generate_assignment, "a1") is None
    released = read_notebook((root / "assignments/a1/knn.ipynb").read_bytes())
    solved = read_notebook((root / "solutions/a1/knn.ipynb").read_bytes())
    sources = {cell.id: without_markers(cell.source) for cell in solved.cells}

    def hand_in(student, change):
        notebook = copy.deepcopy(released)
        for cell in notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("solution"):
                cell.source = sources[cell.id]
        content = change(notebook)
        folder = root / "submitted" / student / "a1"
        folder.mkdir(parents=True)
        (folder / "knn.ipynb").write_bytes(content if isinstance(content, bytes) else notebook_bytes(notebook))
        (folder / "timestamp.txt").write_text(
            "2027-02-07 12:00:00 UTC" if student == "late" else "2027-02-01 12:00:00 UTC"
        )

    def edit_tests(notebook):
        for cell in notebook.cells:
            entry = cell.metadata.get("nbgrader", {})
            if entry.get("solution"):
                cell.source = "x = 1"
            elif entry.get("grade"):
                cell.source, entry["points"] = "1000.0", 1000

    def duplicate_test(notebook):
        notebook.cells.append(copy.deepcopy(next(c for c in notebook.cells if c.id == "check-predict_labels")))
        notebook.cells[-1].id = "copy"

    def make_noise(notebook):
        cell = next(c for c in notebook.cells if c.id == "predict_labels")
        head, rest = cell.source.split("\n", 1)
        cell.source = (
            f'{head}\n    import sys, warnings\n    warnings.warn("careful")\n    print("x", file=sys.stderr)\n{rest}'
        )

    def kill_kernel(notebook):
        notebook.cells.insert(2, nbformat.v4.new_code_cell("import os\nos._exit(1)"))

    hand_in("correct", lambda notebook: None)
    hand_in("deletes-cells", lambda notebook: notebook.cells.__delitem__(slice(-3, None)))
    hand_in("duplicates-test", duplicate_test)
    hand_in("edits-tests", edit_tests)
    hand_in("kills-kernel", kill_kernel)
    hand_in("late", lambda notebook: None)
    hand_in("malformed", lambda notebook: b'{"cells": [')
    hand_in("noisy", make_noise)
    results = {result.student: result for result in autograde_all(api, "a1")}
    yield results
    shutil.rmtree(root / "submitted")


@pytest.mark.parametrize("student", ["correct", "deletes-cells", "duplicates-test", "late", "noisy"])
def test_correct_work_earns_everything_whatever_happened_to_the_notebook(graded, student):
    result = graded[student]
    assert [(exercise.points, exercise.verdict) for exercise in result.exercises] == [(4.0, "pass")] * 3
    assert result.failure is None


def test_edited_tests_and_points_earn_nothing(graded):
    assert graded["edits-tests"].points == 0.0
    assert {exercise.verdict for exercise in graded["edits-tests"].exercises} == {"missing"}
    assert sum(exercise.possible for exercise in graded["edits-tests"].exercises) == 12.0


@pytest.mark.parametrize(("student", "verdict"), [("malformed", "not_run"), ("kills-kernel", "crash")])
def test_what_cannot_be_run_says_so_and_is_nobody_elses_trouble(graded, student, verdict):
    assert [(exercise.points, exercise.verdict) for exercise in graded[student].exercises] == [(0.0, verdict)] * 3
    assert all(exercise.reason for exercise in graded[student].exercises)
    assert graded[student].failure is None
    assert graded["noisy"].points == 12.0


def test_lateness_costs_percent_of_the_maximum_per_started_day(graded):
    assert graded["late"].penalty == pytest.approx(0.2 * 14)
    assert graded["correct"].penalty == 0.0
