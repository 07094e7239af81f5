"""The folder that a worker sees as its program: the kit without its exercises, and the worker's own files."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import dlcvkit
from dlcvgrade.judge.calls import MODULE, calls_module
from dlcvkit.checking import Exercise

WORKER_FILES = ("worker.py", "attempt.py", "encoding.py", "forking.py", "frames.py", "syscalls.py")


def fill_box(box: Path, exercises: Iterable[Exercise]) -> None:
    """Write a worker's program into an empty folder.

    Args:
        box: The folder; made if it is not there.
        exercises: Those it is to run.
    """
    kit = Path(dlcvkit.__file__).parent
    shutil.copytree(kit, box / "dlcvkit", ignore=shutil.ignore_patterns("exercises", "__pycache__"))
    # The registry looks for this package; that it holds no stage is the point.
    (box / "dlcvkit" / "exercises").mkdir()
    (box / "dlcvkit" / "exercises" / "__init__.py").write_text('"""Not here."""\n', encoding="utf-8")
    judge = box / "dlcvgrade" / "judge"  # without __init__.py: the grader's own is left out
    judge.mkdir(parents=True)
    for name in WORKER_FILES:
        shutil.copyfile(Path(__file__).parent / name, judge / name)
    (box / f"{MODULE}.py").write_text(calls_module(exercises), encoding="utf-8")
