from __future__ import annotations

import pytest

from dlcvgrade.notebooks import make_cell, make_notebook
from dlcvgrade.restore import Original, restore

KNOWN = {
    original.name: original
    for original in (
        Original("total", "solution", "code", "def total(x):\n    raise NotImplementedError()", None),
        Original("check-total", "grade", "code", 'check("a1/total", total)\nhidden_check("a1/total", total)', 3.0),
        Original("question-order", "task", "markdown", "Why?\n### BEGIN MARK SCHEME\nso\n### END MARK SCHEME", 2.0),
    )
}


def submission(*, metadata=True, ids=True):
    texts = {"total": "def total(x):\n    return x.sum()", "check-total": 'check("a1/total", total)'}
    cells = [
        make_cell("code", text, name if ids else f"x{number}", {"nbgrader": KNOWN[name].metadata()} if metadata else {})
        for number, (name, text) in enumerate(texts.items())
    ]
    question = {"nbgrader": KNOWN["question-order"].metadata()} if metadata else {}
    cells.append(make_cell("markdown", "Why?", "question-order" if ids else "x9", question))
    return make_notebook(cells)


def roles(notebook):
    return [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells]


def test_untampered_submission_needs_nothing():
    notebook = submission()
    assert restore(notebook, KNOWN) == []
    assert roles(notebook) == ["total", "check-total", "question-order"]


@pytest.mark.parametrize("ids", [True, False])
def test_lost_metadata_comes_back(ids):
    notebook = submission(metadata=False, ids=ids)
    assert len(restore(notebook, KNOWN)) == 3
    assert roles(notebook) == ["total", "check-total", "question-order"]
    assert notebook.cells[1].metadata["nbgrader"]["points"] == 3.0


def test_deleted_grade_cell_stands_at_the_end():
    notebook = submission()
    del notebook.cells[1]
    assert restore(notebook, KNOWN) == ["the cell 'check-total' was missing and stands at the end now"]
    assert roles(notebook) == ["total", "question-order", "check-total"]
    assert notebook.cells[-1].source == KNOWN["check-total"].source


def test_deleted_solution_cell_is_not_invented():
    notebook = submission()
    del notebook.cells[0]
    assert restore(notebook, KNOWN) == []
    assert roles(notebook) == ["check-total", "question-order"]


def test_of_two_copies_the_last_counts():
    notebook = submission()
    notebook.cells.append(make_cell("code", notebook.cells[1].source, "copy", dict(notebook.cells[1].metadata)))
    restore(notebook, KNOWN)
    assert roles(notebook) == ["total", None, "question-order", "check-total"]
    assert "nbgrader" not in notebook.cells[1].metadata


def test_points_and_roles_come_from_the_gradebook():
    notebook = submission()
    notebook.cells[1].metadata["nbgrader"].update(points=1000, grade=False, locked=False)
    restore(notebook, KNOWN)
    assert notebook.cells[1].metadata["nbgrader"] == KNOWN["check-total"].metadata()


@pytest.mark.parametrize("entry", [{"grade_id": "invented", "grade": True}, {}, "text", {"grade_id": ["total"]}])
def test_unknown_metadata_is_dropped(entry):
    notebook = submission()
    notebook.cells.append(make_cell("code", "1", "extra", {"nbgrader": entry}))
    restore(notebook, KNOWN)
    assert "nbgrader" not in notebook.cells[3].metadata


def test_function_that_does_not_parse_is_still_found():
    notebook = submission(metadata=False, ids=False)
    notebook.cells[0].source = "def total(x):\n    return x.sum("
    restore(notebook, KNOWN)
    assert roles(notebook)[0] == "total"
