"""An instructor in formgrader: from a generated assignment to points for an answer in prose."""

from __future__ import annotations

import pytest
from nbgrader.api import Gradebook
from term import NOTEBOOK, STAGE, WHO, make_course, make_exchange, make_student, solve

pytestmark = pytest.mark.browser


@pytest.fixture
def exchange(tmp_path):
    return make_exchange(tmp_path / "exchange")


@pytest.fixture
def course(tmp_path, exchange):
    return make_course(tmp_path, exchange)


def confirm(page):
    """Close the dialog in which formgrader says how it went; it has to have gone well."""
    dialog = page.locator(".modal.in", has_text="Success")
    dialog.wait_for()
    dialog.get_by_role("button", name="OK").click()
    page.locator(".modal-backdrop").wait_for(state="detached")


def test_generate_release_autograde_and_grade_by_hand(page, serve, course, exchange, tmp_path, shoot):
    course.run("dlcvgrade", "build")
    address = serve(course.root, course.environment())

    page.goto(f"{address}/formgrader")
    row = page.locator("tr", has_text=STAGE).last
    row.locator(".assign a").click()
    confirm(page)
    row.locator(".release a").click()
    confirm(page)
    page.locator(".status .label", has_text="released").wait_for()
    shoot(page, "instructor-1-released")

    # A student hands in; formgrader collects and has the judge grade.
    student = make_student(tmp_path, exchange)
    student.run("nbgrader", "fetch_assignment", STAGE)
    solve(student.root / STAGE / f"{NOTEBOOK}.ipynb", course.root / "build/source" / STAGE / f"{NOTEBOOK}.ipynb", 2)
    student.run("nbgrader", "submit", STAGE)
    row.locator(".collect a").click()
    confirm(page)
    page.goto(f"{address}/formgrader/manage_submissions/{STAGE}")
    page.locator(".autograde a").click()
    confirm(page)
    page.locator(".status .label", has_text="needs manual grading").wait_for()
    automatic = float(page.locator(".score").last.inner_text().split("/")[0])
    assert automatic > 0
    shoot(page, "instructor-2-autograded")

    # Open the submission, read an answer in prose, give it a point and a comment.
    with Gradebook(f"sqlite:///{course.root}/gradebook.db", "vision") as gradebook:
        notebook = gradebook.find_submission_notebook(NOTEBOOK, STAGE, WHO).id
    page.goto(f"{address}/formgrader/submissions/{notebook}/?index=0")
    page.get_by_text("Because a view shares its memory").first.wait_for()
    box = page.locator(".nbgrader_cell:has(.mark-graded) input.score").last
    box.scroll_into_view_if_needed()
    box.fill("1")
    box.press("Tab")
    page.locator(".score-saved:visible").first.wait_for()
    page.wait_for_load_state("networkidle")
    shoot(page, "formgrader")

    page.goto(f"{address}/formgrader/manage_submissions/{STAGE}")
    page.locator("td.score", has_text=f"{automatic + 1:g} /").wait_for()
    shoot(page, "instructor-3-totals")
    assert (course.root / "autograded" / WHO / STAGE / f"{NOTEBOOK}.ipynb").is_file()
