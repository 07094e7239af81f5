from __future__ import annotations

import csv
import io

import pytest
from rich.console import Console

from dlcvgrade.demo.bugs import BUGS
from dlcvgrade.demo.course_loop import run_demo, unexpected
from dlcvgrade.demo.students import STUDENTS, students_of
from dlcvgrade.problems import CourseProblems


def result(student, *points):
    exercises = [{"exercise": f"a1/{i}", "points": got} for i, got in enumerate(points)]
    total = sum(got or 0.0 for got in points)
    return {"student": student, "points": total, "possible": 2.0 * len(points), "exercises": exercises}


def test_class_is_large_enough_and_has_every_kind_of_trouble():
    for stage, bugs in BUGS.items():
        names = [student.name for student in students_of(stage)]
        assert len(set(names)) == len(names) == 12
        assert len(bugs) == 3 and set(bugs) <= set(names)
        assert all(len(functions) == 2 for functions in bugs.values())
    assert students_of("a9") == STUDENTS


def test_unexpected_grades_are_told():
    expected = [result("correct", 2.0, 2.0), result("untouched", 0.0, 0.0), result("half-done", 2.0, 0.0)]
    assert unexpected(expected, STUDENTS) == []
    assert unexpected([result("correct", 2.0, 0.0)], STUDENTS) == ["correct got some of the points; expected all"]
    assert unexpected([result("untouched", None, 2.0)], STUDENTS) == [
        "untouched got some of the points; expected none; undecided: a1/0"
    ]


@pytest.mark.parametrize("name", ["thesis.txt", "README.txt"])
def test_foreign_folder_is_left_alone(toy_course, tmp_path, name):
    (tmp_path / name).write_text("mine")
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(CourseProblems, match="holds something else"):
        run_demo(toy_course, tmp_path)
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.slow
def test_demo_grades_its_class_as_expected(knn_course, subset, tmp_path):
    text = io.StringIO()
    out = tmp_path / "demo"
    code = run_demo(knn_course, out, registry=subset, console=Console(file=text, width=130))
    assert code == 0, text.getvalue()
    for student in students_of("a1"):
        assert student.name in text.getvalue()
        assert (out / "feedback" / "a1" / "students" / f"{student.name}.html").is_file()
    assert (out / "feedback" / "a1" / "index.html").is_file()
    assert "takes the square root" in text.getvalue()
    rows = (out / "grades.csv").read_text().splitlines()
    scores = {row["student_id"]: float(row["score"]) for row in csv.DictReader(rows)}
    assert scores["correct"] == 12.0
    assert scores["untouched"] == 0.0
    assert scores["late"] == pytest.approx(12.0 - 0.2 * 14)
    assert (out / "gradebook.db").is_file()
