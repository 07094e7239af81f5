"""The benchmark of grading can report a miss, and measures what it says."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from dlcvgrade.demo.students import students_of
from dlcvgrade.notebooks import make_cell, make_notebook, notebook_bytes, read_notebook

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "grading.py"


@pytest.fixture(scope="module")
def grading():
    spec = importlib.util.spec_from_file_location("benchmark_of_grading", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_a_missed_target_is_told_and_fails(grading):
    met = [grading.at_least("speed", 20.0, 20, " x"), grading.at_most("memory", 50.0, 50, " MiB")]
    assert grading.exit_code(met) == 0
    for missed in (grading.at_least("speed", 19.9, 20, " x"), grading.at_most("memory", 50.1, 50, " MiB")):
        assert grading.exit_code([*met, missed]) == 1
        console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
        console.print(grading.as_table([*met, missed]))
        console.file.close()
        assert console.export_text().count("MISSED") == 1
    assert grading.exit_code([]) == 1


def test_not_a_number_meets_no_target(grading):
    assert not grading.at_least("speed", float("nan"), 20, " x").is_met
    assert not grading.at_most("memory", float("nan"), 50, " MiB").is_met


def test_the_measured_class_is_made_of_the_demos_students(grading):
    known = {student.name for student in students_of(grading.STAGE)}
    assert set(grading.KINDS) <= known


def test_demo_cells_are_removed_and_counted(grading, tmp_path):
    cells = [make_cell("code", "x = 1", "a"), make_cell("code", "plot()", "b", {"tags": ["demo"]})]
    (tmp_path / "knn.ipynb").write_bytes(notebook_bytes(make_notebook(cells)))
    assert grading.remove_demos(tmp_path) == 1
    assert [cell.source for cell in read_notebook((tmp_path / "knn.ipynb").read_bytes()).cells] == ["x = 1"]
    assert grading.remove_demos(tmp_path) == 0


def test_memory_is_that_of_the_process_and_those_below_it(grading):
    program = (
        "import os, time\nheld = bytearray(os.urandom(50 * 2**20))\nif not os.fork():\n"
        "    own = bytearray(os.urandom(30 * 2**20))\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        child = None
        try:
            process.stdout.readline(), process.stdout.readline()
            (family,) = [each for each in grading.families(os.getpid()) if process.pid in each]
            (child,) = [pid for pid in family if pid != process.pid]
            end = time.monotonic() + 20
            total = 0.0
            while not 80 <= total < 130 and time.monotonic() < end:
                found = [grading.read_memory(pid, is_exact=True) for pid in family]
                total = sum(memory.anonymous for memory in found) / 2**20
            assert 80 <= total < 130  # what both hold counts once
            assert found[0].peak >= 50 * 2**20
        finally:
            for pid in filter(None, (process.pid, child)):
                os.kill(pid, 9)
    assert grading.read_memory(process.pid, is_exact=True) is None
