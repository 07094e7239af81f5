"""Exports with the gradebook's points: what was given by hand counts, lateness costs, nobody is lost."""

from __future__ import annotations

import csv
import warnings

import pytest
from nbgrader.api import Gradebook
from sqlalchemy.exc import SAWarning

DUE = "2027-02-05 23:59:00 UTC"


@pytest.fixture
def course(toy_root, monkeypatch):
    monkeypatch.chdir(toy_root)
    return toy_root


@pytest.fixture
def books(course):
    """A gradebook with a function for 12 points and a question for 3."""
    # nbgrader's own way with its sessions.
    warnings.filterwarnings("ignore", category=SAWarning)
    with Gradebook(f"sqlite:///{course}/gradebook.db", "toy") as gradebook:
        gradebook.add_assignment("a1", duedate=DUE)
        gradebook.add_notebook("knn", "a1")
        gradebook.add_grade_cell("check", "knn", "a1", max_score=12, cell_type="code")
        gradebook.add_task_cell("why", "knn", "a1", max_score=3, cell_type="markdown")

        def hand_in(student, automatic, *, by_hand=None, penalty=0.0):
            gradebook.add_student(student)
            gradebook.add_submission("a1", student)
            submission = gradebook.find_submission("a1", student)
            submission.notebooks[0].late_submission_penalty = penalty
            for grade in submission.notebooks[0].grades:
                if grade.cell.name == "check":
                    grade.auto_score, grade.needs_manual_grade = automatic, automatic is None
                else:
                    grade.manual_score, grade.needs_manual_grade = by_hand, by_hand is None
            gradebook.db.commit()

        yield hand_in


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def export(dlcvgrade, folder, out, system="canvas", *more):
    return dlcvgrade("export", folder, "--to", system, "--out", out, "--gradebook", *more)


def test_points_by_hand_count_and_lateness_costs(dlcvgrade, put, result_json, folder, tmp_path, course, books):
    put(result_json("ada"))
    put(result_json("bob"))
    books("ada", 12.0, by_hand=2.5)
    books("bob", 12.0, by_hand=3.0, penalty=1.5)
    out = tmp_path / "grades.csv"
    assert export(dlcvgrade, folder, out)[::2] == (0, "")
    possible, *students = rows(out)
    assert float(possible["a1"]) == 15
    assert {row["SIS Login ID"]: float(row["a1"]) for row in students} == {"ada": 14.5, "bob": 13.5}
    # The same without the gradebook has the judge's points alone.
    assert dlcvgrade("export", folder, "--to", "canvas", "--out", out)[0] == 0
    assert [float(row["a1"]) for row in rows(out)] == [12, 12, 12]


def test_moodle_is_told_why_the_points_are_others(dlcvgrade, put, result_json, folder, tmp_path, course, books):
    put(result_json("ada"))
    books("ada", 12.0, by_hand=2.5, penalty=1.5)
    assert export(dlcvgrade, folder, tmp_path / "out.csv", "moodle")[0] == 0
    (row,) = rows(tmp_path / "out.csv")
    assert (float(row["Grade"]), float(row["Maximum Grade"])) == (13, 15)
    assert row["Feedback comments"].endswith("<br>points given by hand: 2.5<br>late: -1.5")


def test_a_penalty_leaves_at_least_nothing(dlcvgrade, put, result_json, folder, tmp_path, course, books):
    put(result_json("ada"))
    books("ada", 1.0, by_hand=0.0, penalty=5.0)
    assert export(dlcvgrade, folder, tmp_path / "out.csv")[0] == 0
    assert float(rows(tmp_path / "out.csv")[1]["a1"]) == 0


def test_what_waits_for_a_person_has_empty_points(dlcvgrade, put, result_json, folder, tmp_path, course, books):
    put(result_json("ada"))
    put(result_json("bob"))
    books("ada", 12.0)
    books("bob", None, by_hand=3.0)
    code, said, _ = export(dlcvgrade, folder, tmp_path / "out.csv")
    assert code == 0 and "2 of them undecided, with empty points" in said
    assert [row["a1"] for row in rows(tmp_path / "out.csv")][1:] == ["", ""]


def test_who_is_known_to_one_of_the_two_only_is_named(dlcvgrade, put, result_json, folder, tmp_path, course, books):
    put(result_json("ada"))
    put(result_json("bob"))
    books("ada", 12.0, by_hand=1.0)
    books("eve", 12.0, by_hand=1.0)
    code, said, errors = export(dlcvgrade, folder, tmp_path / "out.csv")
    assert code == 2 and said.startswith("1 student in ")
    assert errors.splitlines() == [
        "dlcvgrade: bob.json: bob has no submission in the gradebook; `grade` writes it there",
        "dlcvgrade: --gradebook: has a submission of eve, who has no result",
    ]


def test_a_gradebook_that_is_not_there_is_not_made(dlcvgrade, put, result_json, folder, tmp_path, course):
    put(result_json("ada"))
    code, _, errors = export(dlcvgrade, folder, tmp_path / "out.csv")
    assert (code, errors) == (2, "dlcvgrade: --gradebook: has no a1; expected one that `grade a1` has written\n")
    assert not (course / "gradebook.db").exists() and not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("system", "more", "to"),
    [("nbgrader", (), "nbgrader"), ("gradescope", (), "gradescope"), ("canvas", ("--pages", "x"), "pages")],
)
def test_systems_without_use_for_it_refuse(dlcvgrade, put, result_json, folder, tmp_path, course, system, more, to):
    put(result_json("ada"))
    code, _, errors = export(dlcvgrade, folder, tmp_path / "out.csv", system, *more)
    assert (code, errors) == (2, f"dlcvgrade: --gradebook: is of no use to {to}; expected canvas or moodle\n")
