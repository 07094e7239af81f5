"""Cells as Python: what is run is what was read."""

from __future__ import annotations

import time

import pytest

from dlcvgrade.judge import python_text
from dlcvgrade.judge.python_text import MAX_SOURCE, UNREADABLE, python_cells


def texts(*sources: str) -> list[str]:
    return [cell.text for cell in python_cells(sources)]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("x = 1", "x = 1"),
        ("\n\nx = (5\n%2)\n", "\n\nx = (5\n%2)\n"),
        ("%%time\nx = 1", "x = 1\n"),
        ("In [1]: x = 3", "x = 3\n"),
        (">>> x = 3", "x = 3\n"),
        ("   x = 1\n   y = 2", "x = 1\ny = 2\n"),
        ("x = 1\n%matplotlib inline", "x = 1\nget_ipython().run_line_magic('matplotlib', 'inline')\n"),
        ("files = !ls", "files = get_ipython().getoutput('ls')\n"),
        ("%%bash\nls", "get_ipython().run_cell_magic('bash', '', 'ls\\n')\n"),
    ],
)
def test_plain_python_stays_and_magics_become_calls(source, text):
    assert texts(source) == [text]


@pytest.mark.parametrize(
    "source", ["def f(:", "\x00", "(" * 10**5, "return 3", "'''", "\ud800 = 1", "-" * 10**5 + "1", "%%time\ndef f(:"]
)
def test_what_cannot_be_read_is_not_run(source):
    before, cell, after = python_cells(["x = 1", source, "y = 2"])
    assert (cell.text, cell.read) == (UNREADABLE, None)
    assert before.read is not None and after.read is not None


def test_a_giant_cell_is_left_out_alone():
    giant = "x = 1\n" * (MAX_SOURCE // 6 + 1)
    assert texts("x = 1", giant, "y = 2") == ["x = 1", UNREADABLE, "y = 2"]
    half = "x = 1\n" * (MAX_SOURCE // 10)
    assert [text == half for text in texts(half, half, "y = 2")] == [True, False, False]


def test_magics_without_end_take_seconds_at_most(monkeypatch):
    costly = "x = 1\n" * 1000 + "%time x\n" * 80
    monkeypatch.setattr(python_text, "_MAX_EFFORT", 600_000)
    start = time.monotonic()
    first, *others = texts(costly, *[costly] * 50, "%time y")
    assert time.monotonic() - start < 20
    assert "run_line_magic" in first
    assert others == [UNREADABLE] * 50 + ["get_ipython().run_line_magic('time', 'y')\n"]
