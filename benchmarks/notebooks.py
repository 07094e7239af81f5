"""How long the solved notebooks take, at full length and with DLCVKIT_FAST=1, on whatever data is there.

python benchmarks/notebooks.py [STAGE]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from dlcvgrade.course import read_course
from dlcvkit.data import data_home

ROOT = Path(__file__).parents[1]


def seconds(source: Path, *, is_fast: bool) -> float:
    notebook = nbformat.read(source, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        quiet = ["--IPKernelApp.log_level=ERROR"]
        client = NotebookClient(
            notebook, kernel_name="python3", resources={"metadata": {"path": folder}}, extra_arguments=quiet
        )
        settings = {"DLCVKIT_FAST": str(int(is_fast)), "DLCVKIT_SPECS": str(ROOT / "autograder/specs")}
        start = time.perf_counter()
        client.execute(env={**os.environ, "DLCVKIT_DATA": str(data_home()), **settings})
        return time.perf_counter() - start


def main() -> None:
    stage = read_course(ROOT).stage(sys.argv[1] if len(sys.argv) > 1 else "a1")
    for name in stage.notebooks:
        source = ROOT / "solutions" / stage.name / f"{name}.ipynb"
        full, fast = (seconds(source, is_fast=is_fast) for is_fast in (False, True))
        print(f"{stage.name}/{name:20} full {full:6.1f} s   fast {fast:6.1f} s", flush=True)


if __name__ == "__main__":
    main()
