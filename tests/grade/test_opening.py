"""The first code cell installs the kit where it is missing and does nothing elsewhere."""

from __future__ import annotations

import importlib.util
import subprocess

import pytest

from dlcvgrade.notebooks import make_cell, make_notebook, read_notebook
from dlcvgrade.opening import opening_cell, with_opening


@pytest.fixture
def calls(monkeypatch):
    made = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: made.append((command, check)))
    return made


def test_where_the_kit_is_there_nothing_happens(calls):
    exec(opening_cell("https://example.org/kit.git").source, {})
    assert calls == []


def test_where_it_is_missing_it_is_fetched_from_the_course(calls, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(opening_cell("https://example.org/kit.git").source, {})
    ((command, check),) = calls
    assert command[1:4] == ["-m", "pip", "install"] and command[-1] == "git+https://example.org/kit.git" and check


def test_it_stands_before_the_first_code_and_below_the_title():
    notebook = make_notebook([make_cell("markdown", "# Title", "t"), make_cell("code", "import torch", "c")])
    with_opening(notebook, "https://example.org/kit.git")
    assert [cell.cell_type for cell in notebook.cells] == ["markdown", "code", "code"]
    assert "find_spec" in notebook.cells[1].source and notebook.cells[2].source == "import torch"


def test_every_released_notebook_has_it_and_grading_does_not_run_it(toy_course, toy_built):
    from dlcvgrade.judge.submissions import release_of

    for path, content in {**toy_built.solved, **toy_built.released}.items():
        if path.suffix == ".ipynb":
            notebook = read_notebook(content)
            first = next(cell for cell in notebook.cells if cell.cell_type == "code")
            assert first.source == opening_cell(toy_course.repository).source
            assert first.id in release_of(notebook).demo_ids
