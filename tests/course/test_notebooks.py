"""The solved notebooks run from top to bottom, offline, in time, and earn all points."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from dlcvgrade.course import read_course
from dlcvkit.checking import exercise_ids, find_exercise

ROOT = Path(__file__).parents[2]
NOTEBOOKS = [f"{stage.name}/{name}" for stage in read_course(ROOT).stages for name in stage.notebooks]
REPORT = "application/vnd.dlcvkit.report+json"
FULL_SECONDS = 120
"""What a solved notebook may take on two processors; measured in processor time, which others' work does not change."""


def run(source: Path, folder: Path, threads: str = "1", **environment: str) -> tuple[nbformat.NotebookNode, float]:
    """Execute a notebook in ``folder`` with no data but what the kit ships; return it and its processor time."""
    notebook = nbformat.read(source, as_version=4)
    settings = {
        **os.environ,
        "DLCVKIT_DATA": str(folder / "data"),
        "DLCVKIT_SPECS": str(ROOT / "autograder/specs"),
        "OMP_NUM_THREADS": threads,  # of tests that run side by side, torch's threads would wait for each other
    }
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )
    before = os.times()
    client.execute(env={**settings, **environment})
    after = os.times()
    return notebook, sum(after[2:4]) - sum(before[2:4])


def reports(notebook: nbformat.NotebookNode, *, is_hidden: bool) -> dict[str, dict]:
    found = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            report = output.get("data", {}).get(REPORT)
            if report is not None and report["hidden"] is is_hidden:
                found[report["exercise"]] = report
    return found


def complaints(notebook: nbformat.NotebookNode, wanted: list[str]) -> list[str]:
    """Return what a solved notebook's outputs leave to be desired."""
    lines = []
    for is_hidden in (False, True):
        found = reports(notebook, is_hidden=is_hidden)
        lines += [f"{name} was not checked (hidden: {is_hidden})" for name in wanted if name not in found]
        lines += [f"{name}: {report['reason']}" for name, report in found.items() if report["verdict"] != "pass"]
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr" and "Warning" in output.text:
                lines.append(f"cell {number} warns: {output.text.strip().splitlines()[-1]}")
    return lines


def exercises_in(name: str) -> list[str]:
    stage, _, topic = name.partition("/")
    return [exercise for exercise in exercise_ids(stage) if find_exercise(exercise).notebook == topic]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_solved_notebook_runs_in_fast_mode_and_earns_all_points(name, tmp_path):
    notebook, _ = run(ROOT / "solutions" / f"{name}.ipynb", tmp_path, DLCVKIT_FAST="1")
    assert complaints(notebook, exercises_in(name)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_solved_notebook_runs_at_full_length_in_time(name, tmp_path):
    notebook, seconds = run(ROOT / "solutions" / f"{name}.ipynb", tmp_path, threads="2", DLCVKIT_FAST="0")
    assert complaints(notebook, exercises_in(name)) == []
    assert 0 < seconds <= 2 * FULL_SECONDS


def test_a_wrong_solution_is_noticed(tmp_path):
    source = nbformat.read(ROOT / "solutions/a1/knn.ipynb", as_version=4)
    keep = [cell for cell in source.cells if "demo" not in cell.metadata.get("tags", [])]
    for cell in keep:
        if cell.id == "l1_distances":
            cell.source = cell.source.replace(".abs()", "")
    source.cells = keep
    nbformat.write(source, tmp_path / "knn.ipynb")
    notebook, _ = run(tmp_path / "knn.ipynb", tmp_path, DLCVKIT_FAST="1")
    found = complaints(notebook, [*exercises_in("a1/knn"), "a1/no_such"])
    assert any(line.startswith("a1/l1_distances: ") for line in found)
    assert "a1/no_such was not checked (hidden: False)" in found
    assert not any("knn_no_loops" in line for line in found)


def test_a_cell_that_raises_is_noticed(tmp_path):
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")]), tmp_path / "raises.ipynb")
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        run(tmp_path / "raises.ipynb", tmp_path)
