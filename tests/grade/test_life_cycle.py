"""A term in one test: nbgrader's own commands, with separate homes for course, exchange and student."""

from __future__ import annotations

import csv

import pytest
from nbgrader.api import Gradebook
from term import NOTEBOOK, SECRET, STAGE, WHO, Place, due, make_course, make_exchange, make_student, solve


@pytest.fixture
def exchange(tmp_path):
    return make_exchange(tmp_path / "exchange")


@pytest.fixture
def course(tmp_path, exchange):
    return make_course(tmp_path, exchange)


@pytest.fixture
def student(tmp_path, exchange):
    return make_student(tmp_path, exchange)


def books(course: Place) -> Gradebook:
    return Gradebook(f"sqlite:///{course.root}/gradebook.db", "vision")


def set_due(course: Place, days: float) -> None:
    path = course.root / "course.toml"
    lines = [f"due = {due(days)}" if line.startswith("due = ") else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    course.run("nbgrader", "generate_assignment", STAGE, "--force")


def test_a_term_from_release_to_returned_grades(course, student, exchange):
    course.run("dlcvgrade", "build")
    course.run("nbgrader", "generate_assignment", STAGE, "--force")  # the build has made what students get already
    course.run("nbgrader", "release_assignment", STAGE)

    # The student fetches, works, validates and hands in.
    assert STAGE in student.run("nbgrader", "list")
    student.run("nbgrader", "fetch_assignment", STAGE)
    work = student.root / STAGE / f"{NOTEBOOK}.ipynb"
    assert SECRET not in work.read_text(encoding="utf-8")
    solve(work, course.root / "build" / "source" / STAGE / f"{NOTEBOOK}.ipynb", 2)
    assert "failed" in student.run("nbgrader", "validate", work).lower()
    student.run("nbgrader", "submit", STAGE)

    # The instructor collects and grades; the questions wait for a person.
    course.run("nbgrader", "collect", STAGE)
    course.run("nbgrader", "autograde", STAGE)
    with books(course) as gradebook:
        submission = gradebook.find_submission(STAGE, WHO)
        first, possible = submission.score, submission.max_score
        assert 0 < first < possible and submission.needs_manual_grade
        assert submission.total_seconds_late == 0 and submission.late_submission_penalty == 0
        tasks = [g for n in submission.notebooks for g in n.grades if g.cell.type == "TaskCell"]
        assert tasks
        for grade in tasks:
            grade.manual_score, grade.needs_manual_grade = grade.max_score - 0.5, False
        comment = next(c for n in submission.notebooks for c in n.comments)
        comment.manual_comment = "Well seen."
        gradebook.db.commit()
        by_hand = sum(grade.max_score - 0.5 for grade in tasks)
        assert gradebook.find_submission(STAGE, WHO).score == pytest.approx(first + by_hand)

    # Feedback goes back and gives nothing away.
    course.run("nbgrader", "generate_feedback", STAGE)
    course.run("nbgrader", "release_feedback", STAGE)
    student.run("nbgrader", "fetch_feedback", STAGE)
    (page,) = (student.root / STAGE / "feedback").rglob("*.html")
    told = page.read_text(encoding="utf-8")
    assert "Well seen." in told and f"{first + by_hand:g}" in told
    assert SECRET not in told and "hidden_check" not in told

    # A second submission takes the first one's place; what was given by hand stays.
    solve(work, course.root / "build" / "source" / STAGE / f"{NOTEBOOK}.ipynb", 99)
    assert "success" in student.run("nbgrader", "validate", work).lower()
    student.run("nbgrader", "submit", STAGE)
    course.run("nbgrader", "collect", STAGE, "--update")
    course.run("nbgrader", "autograde", STAGE, "--force")
    with books(course) as gradebook:
        submission = gradebook.find_submission(STAGE, WHO)
        automatic = submission.max_score - sum(grade.max_score for n in submission.notebooks for grade in n.grades
                                               if grade.cell.type == "TaskCell")  # fmt: skip
        assert submission.score == pytest.approx(automatic + by_hand)
        full = submission.score

    # The date moves to a day and a half ago: a regrade takes two started days off; it moves back: nothing is lost.
    set_due(course, -1.5)
    course.run("nbgrader", "autograde", STAGE, "--force")
    with books(course) as gradebook:
        submission = gradebook.find_submission(STAGE, WHO)
        assert submission.late_submission_penalty == pytest.approx(0.2 * possible)
    course.run("nbgrader", "export", "--to", "late.csv")
    (row,) = csv.DictReader((course.root / "late.csv").read_text(encoding="utf-8").splitlines())
    assert (row["student_id"], row["assignment"]) == (WHO, STAGE)
    assert float(row["raw_score"]) == pytest.approx(full) and float(row["score"]) == pytest.approx(
        full - 0.2 * possible
    )
    set_due(course, 1)
    course.run("nbgrader", "autograde", STAGE, "--force")
    with books(course) as gradebook:
        assert gradebook.find_submission(STAGE, WHO).late_submission_penalty == 0
