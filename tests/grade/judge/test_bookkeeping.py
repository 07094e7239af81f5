"""nbgrader with the judge in the place of its own execution: what lands in gradebook, notebook, feedback and export."""

from __future__ import annotations

import copy
import csv
import shutil
from pathlib import Path

import pytest
from nbgrader.plugins import CsvExportPlugin

from dlcvgrade.build import write_build
from dlcvgrade.course import read_course
from dlcvgrade.judge import bookkeeping
from dlcvgrade.judge.judged import REPORT, judged_from
from dlcvgrade.judge.sandbox import Isolation
from dlcvgrade.judge.workers import Worker, WorkerFailed
from dlcvgrade.markers import without_markers
from dlcvgrade.notebooks import make_cell, notebook_bytes, read_notebook
from dlcvgrade.session import demand, failed, open_api

CHECKS = ["check-knn_no_loops", "check-kfold_indices", "check-predict_labels"]
IN_TIME, LATE = "2027-02-01 12:00:00 UTC", "2027-02-07 12:00:00 UTC"


def keep_all(notebook):
    """Everything is right."""


def answer(notebook):
    next(cell for cell in notebook.cells if cell.id.startswith("answer-")).source = "It is far from everything."


def lose_one(notebook):
    next(cell for cell in notebook.cells if cell.id == "predict_labels").source = "x = 1"


def miss_the_rest(notebook):
    cell = next(cell for cell in notebook.cells if cell.id == "kfold_indices")
    cell.source = (
        "def kfold_indices(n, folds):\n    parts = torch.arange(n - n % folds).reshape(folds, -1)\n"
        "    return [(torch.cat([*parts[:i], *parts[i + 1 :]]), parts[i]) for i in range(folds)]\n"
    )


def forge(notebook):
    """Claim the points in every way that a notebook has."""
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("solution") and cell.cell_type == "code":
            cell.source = "class Always:\n    def __repr__(self):\n        return '4.0'\nAlways()"
        elif cell.metadata.get("nbgrader", {}).get("grade"):
            data = {REPORT: {"exercise": "a1/kfold_indices", "hidden": True, "verdict": "pass"}, "text/plain": "4.0"}
            cell.outputs = [{"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": 1}]
            cell.outputs = [type(cell)(output) for output in cell.outputs]


def show_something(notebook):
    notebook.cells.insert(2, make_cell("code", "print('<script>alert(1)</script>')", "mine"))


HONEST = {"correct": keep_all, "answers": answer, "late": keep_all, "loses-one": lose_one, "misses": miss_the_rest}
DAMAGED = {
    "malformed": b'{"cells": [',
    "no-text": b"\xff\x00\xfe",
    "empty": b"",
    "deep": b"[" * 100_000,
    "odd-cells": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": 3, "cells": [1, {"cell_type": "code"}, {}]}',
}


class Class:
    """A course in a folder of its own, with its gradebook and who handed in."""

    def __init__(self, course, built, root: Path):
        shutil.copytree(
            course.root, root, ignore=shutil.ignore_patterns("submitted", "autograded", "*.db", "build", "release")
        )
        self.course = read_course(root)
        self.root = root
        write_build(self.course, built)
        (released,), (solved,) = built.released.values(), built.solved.values()
        self._released = read_notebook(released)
        self._sources = {cell.id: without_markers(cell.source) for cell in read_notebook(solved).cells}
        self.api = open_api(self.course, root)
        demand(self.api.generate_assignment, "a1")

    def hand_in(self, student, change, when=IN_TIME):
        notebook = copy.deepcopy(self._released)
        for cell in notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("solution") and cell.cell_type == "code":
                cell.source = self._sources[cell.id]
        content = change if isinstance(change, bytes) else change(notebook) or notebook_bytes(notebook)
        folder = self.root / "submitted" / student / "a1"
        folder.mkdir(parents=True)
        (folder / "knn.ipynb").write_bytes(content)
        (folder / "timestamp.txt").write_text(when)

    def grades(self, student):
        """Return grade id to (automatic score, whether somebody has to look)."""
        with self.api.gradebook as gradebook:
            notebook = gradebook.find_submission_notebook("knn", "a1", student)
            return {grade.name: (grade.auto_score, grade.needs_manual_grade) for grade in notebook.grades}

    def autograded(self, student):
        return read_notebook((self.root / "autograded" / student / "a1" / "knn.ipynb").read_bytes())


@pytest.fixture(scope="module")
def course(knn_course, knn_built, autograde_all, tmp_path_factory):
    """A class that has been graded."""
    made = Class(knn_course, knn_built, tmp_path_factory.mktemp("bookkeeping") / "course")
    for student, change in {**HONEST, **DAMAGED, "forges": forge, "shows": show_something}.items():
        made.hand_in(student, change, LATE if student == "late" else IN_TIME)
    made.results = {result.student: result for result in autograde_all(made.api, "a1")}
    return made


@pytest.fixture
def one(knn_course, knn_built, tmp_path):
    """A class of one that has not been graded."""
    made = Class(knn_course, knn_built, tmp_path / "course")
    made.hand_in("ada", keep_all)
    return made


def points(result):
    return [exercise.points for exercise in result.exercises]


def use_nbgraders_own_execution(api):
    """Undo what ``configure`` says about autograding, and let a warning cost nothing."""
    for name in ("autograde_preprocessors", "exporter_class"):
        del api.config.Autograde[name]
    api.config.IgnorePattern.enabled = True
    api.config.IgnorePattern.pattern = r"[\s\S]"


def test_points_are_in_the_gradebook_and_nobody_has_to_look_at_them(course):
    assert course.grades("correct").items() >= dict.fromkeys(CHECKS, (4.0, False)).items()
    assert points(course.results["loses-one"]) == [4.0, 4.0, 0.0]
    missed = course.results["misses"].exercises[1]
    assert 0.0 <= missed.points < 4.0
    assert missed.verdict == "wrong"


@pytest.mark.slow
def test_honest_class_gets_the_same_points_as_from_nbgraders_own_execution(
    course, knn_course, knn_built, autograde_all, tmp_path
):
    stock = Class(knn_course, knn_built, tmp_path / "course")
    use_nbgraders_own_execution(stock.api)
    for student, change in HONEST.items():
        stock.hand_in(student, change, LATE if student == "late" else IN_TIME)
    for result in autograde_all(stock.api, "a1"):
        ours = course.results[result.student]
        assert points(result) == points(ours), result.student
        assert result.penalty == ours.penalty
        assert stock.grades(result.student) == course.grades(result.student)
    execution = [output for cell in stock.autograded("correct").cells for output in cell.get("outputs", [])]
    assert len(execution) > len(CHECKS)  # it did run there


def test_report_is_the_only_output(course):
    for student in ("correct", "forges", "shows", "malformed"):
        graded = [cell for cell in course.autograded(student).cells if cell.cell_type == "code"]
        for cell in graded:
            if cell.metadata.get("nbgrader", {}).get("grade"):
                (output,) = cell.outputs
                assert set(output.data) == {REPORT, "text/html", "text/plain"}
                assert output.data[REPORT]["isolation"] == "bubblewrap"
                assert isinstance(output.data[REPORT]["seed"], int)
            else:
                assert cell.outputs == []
        checks = [c.metadata.nbgrader.grade_id for c in graded if c.metadata.get("nbgrader", {}).get("grade")]
        assert sorted(checks) == sorted(CHECKS)


def test_forged_outputs_earn_nothing(course):
    assert points(course.results["forges"]) == [0.0] * 3
    assert {exercise.verdict for exercise in course.results["forges"].exercises} == {"missing"}


@pytest.mark.parametrize("student", DAMAGED)
def test_what_cannot_be_read_is_a_verdict_for_that_submission(course, student):
    result = course.results[student]
    assert [(e.points, e.verdict) for e in result.exercises] == [(0.0, "not_run")] * 3
    assert result.failure is None
    assert "could not be read as a notebook" in course.autograded(student).cells[0].source
    assert course.results["correct"].points == 12.0


def test_questions_in_prose_are_left_to_a_person(course):
    ((question, told),) = [(k, v) for k, v in course.grades("answers").items() if k not in CHECKS]
    assert told == (None, True), question


def test_late_penalty_feedback_and_export_are_nbgraders(course):
    assert course.results["late"].penalty == pytest.approx(0.2 * 14)
    demand(course.api.generate_feedback, "a1", "loses-one")
    page = (course.root / "feedback/loses-one/a1/knn.html").read_text()
    assert "predict_labels is not defined" in page
    assert "one hidden image" not in page
    with course.api.gradebook as gradebook:
        CsvExportPlugin(to=str(course.root / "grades.csv")).export(gradebook)
    rows = (course.root / "grades.csv").read_text().splitlines()
    scores = {row["student_id"]: float(row["score"]) for row in csv.DictReader(rows)}
    assert (scores["correct"], scores["loses-one"], scores["malformed"]) == (12.0, 8.0, 0.0)
    assert scores["late"] == pytest.approx(12 - 0.2 * 14)


def test_what_the_judge_cannot_decide_waits_for_a_person(one, autograde, monkeypatch):
    def lost(*arguments):
        raise WorkerFailed("it does not start")

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "run", lost)
        result = autograde(one.api, "a1", "ada")
    assert [(e.points, e.verdict) for e in result.exercises] == [(None, "could_not_check")] * 3
    assert one.grades("ada").items() >= dict.fromkeys(CHECKS, (None, True)).items()
    assert autograde(one.api, "a1", "ada").points == 12.0


def test_points_given_by_hand_survive_grading_again(one, autograde):
    autograde(one.api, "a1", "ada")
    with one.api.gradebook as gradebook:
        gradebook.find_grade(CHECKS[0], "knn", "a1", "ada").manual_score = 1.5
        gradebook.db.commit()
    assert points(autograde(one.api, "a1", "ada")) == [1.5, 4.0, 4.0]
    assert one.grades("ada")[CHECKS[0]] == (4.0, True)


def test_exercise_whose_points_differ_from_the_gradebooks_is_left_undecided():
    part = {"name": "out", "earned": 4.0, "possible": 4.0, "ok": True, "reason": None}
    same = {"notebook": "knn", "verdict": "pass", "points": 4.0, "possible": 4.0, "reason": None, "notes": []}
    entries = [{**same, "exercise": f"a1/{name}", "quantities": [part]} for name in ("one", "two")]
    result = {"exercises": entries, "notes": ["knn: mended", "other: too"], "seed": 1, "hashes": {}, "isolation": {}}
    result["isolation"]["level"] = "none"
    judged = judged_from(result, "knn", {"a1/one": 3.0, "a1/two": 4.0})
    assert [judged.points(name) for name in judged.entries] == [None, 4.0]
    assert "generate_assignment" in judged.entries["a1/one"]["reason"]
    assert "generate_assignment" in judged.output("a1/one").data["text/plain"]
    assert judged.notes == ("mended",)


def test_without_a_sandbox_nothing_is_touched_unless_told(one, monkeypatch):
    monkeypatch.setattr(bookkeeping, "isolation", lambda: Isolation("none", True, "it is not there"))
    monkeypatch.delenv(bookkeeping.UNSAFE_VARIABLE, raising=False)
    assert "no sandbox: it is not there" in failed(one.api.autograde, "a1", "ada")
    assert not (one.root / "autograded").exists()
    monkeypatch.setenv(bookkeeping.UNSAFE_VARIABLE, "1")
    assert failed(one.api.autograde, "a1", "ada") is None
    outputs = [o for cell in one.autograded("ada").cells for o in cell.get("outputs", [])]
    assert {output.data[REPORT]["isolation"] for output in outputs} == {"none"}


def test_missing_hidden_cases_are_told_and_give_no_points(one):
    shutil.rmtree(one.course.specs)
    assert "no hidden cases" in failed(one.api.autograde, "a1", "ada")
    assert all(score is None for score, _ in one.grades("ada").values())
