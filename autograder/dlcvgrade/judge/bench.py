"""Where submissions are judged that nbgrader asks for: one worker, kept while the process lives.

nbgrader grades one notebook at a time and forgets everything in between; a submission is one sitting all the same, with
one seed and one budget.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dlcvgrade.judge.batch import Examiner
from dlcvgrade.judge.limits import Limits
from dlcvgrade.judge.material import Material
from dlcvgrade.judge.sandbox import Isolation
from dlcvgrade.judge.submissions import Release, Submission, release_of
from dlcvgrade.notebooks import read_notebook


class HandedInAnew(RuntimeError):
    """A submission changed between being judged and being written down."""


class Bench:
    """An examiner with a worker, and the result of the submission that is being graded.

    Args:
        material: What the stage consists of.
        isolation: What the worker runs in.
        limits: What an exercise and a submission may use.
    """

    def __init__(self, material: Material, isolation: Isolation, limits: Limits | None = None) -> None:
        self._examiner = Examiner(material, isolation, limits=limits)
        self.worker = self._examiner.worker()
        self._sitting: tuple[str, Path, str] | None = None
        self._served: set[str] = set()
        self._result: Mapping[str, Any] = {}

    def judge(self, submission: Submission, notebook: str) -> Mapping[str, Any]:
        """Return the result of the submission that a notebook belongs to; nothing in it raises here.

        The submission is judged once for all of its notebooks, and again when one of them is asked for once more.

        Args:
            submission: What was handed in.
            notebook: The notebook's name.
        """
        hashes = self._examiner.hashes_of(submission)
        sitting = (submission.student, submission.folder, hashes["submission"])
        if sitting != self._sitting or notebook in self._served:
            before = torch.get_num_threads()
            torch.set_num_threads(1)  # comparing is quick; threads would fight with the worker for the processors
            try:
                self._result = self._examiner.grade_one(submission, self.worker).as_json()
            finally:
                torch.set_num_threads(before)
            self._sitting = sitting
            self._served.clear()
        self._served.add(notebook)
        return self._result

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker and delete its files."""
        self.worker.__exit__(None, None, None)


_kept: dict[object, Bench] = {}


def bench_for(
    stage: str, ids: Mapping[str, Sequence[str]], source: Path, specs: Path, isolation: Isolation, limits: Limits
) -> Bench:
    """Return the process's bench for a stage; one for anything else is closed.

    Args:
        stage: Such as ``a1``.
        ids: Notebook name to the ids of its exercises, in order.
        source: nbgrader's source folder of the stage.
        specs: Folder with the hidden cases.
        isolation: What the worker runs in.
        limits: What an exercise and a submission may use.

    Raises:
        SpecsNotFound, UnknownExercise: If an exercise has no hidden cases, or there is none of that name.
        OSError, ValueError: If a notebook is not in the source folder, or is none.
    """
    sources = {name: source / f"{name}.ipynb" for name in ids}
    ages = tuple(path.stat().st_mtime_ns for path in sources.values())
    key = (stage, tuple((name, tuple(ids[name])) for name in ids), source, ages, specs, isolation, limits)
    if key not in _kept:
        close_benches()
        releases = {name: release_from(path) for name, path in sources.items()}
        _kept[key] = Bench(Material(stage, releases, ids, specs), isolation, limits)
    return _kept[key]


@atexit.register
def close_benches() -> None:
    """Close whatever is kept."""
    for key in list(_kept):
        _kept.pop(key).close()


def release_from(source: Path) -> Release:
    """Return the release of a notebook in nbgrader's source folder.

    Raises:
        OSError, ValueError: If it is not there, or no notebook.
    """
    return release_of(read_notebook(source.read_bytes()))


_supplied: dict[tuple[str, str], tuple[Examiner, Submission, Mapping[str, Any]]] = {}


@contextmanager
def supplied(examiner: Examiner, submission: Submission, result: Mapping[str, Any]) -> Iterator[None]:
    """Have nbgrader take a result that is there already instead of judging again.

    Args:
        examiner: Who made the result.
        submission: What it was made from, in the course's own folder.
        result: As ``Graded.as_json`` has it.
    """
    key = (examiner.material.stage, submission.student)
    _supplied[key] = (examiner, submission, result)
    try:
        yield
    finally:
        del _supplied[key]


def supplied_result(stage: str, student: str) -> Mapping[str, Any] | None:
    """Return the result that is there already for a submission; None if it has to be judged.

    Raises:
        HandedInAnew: If the submission is not any more what was judged.
    """
    if (stage, student) not in _supplied:
        return None
    examiner, submission, result = _supplied[stage, student]
    if examiner.hashes_of(submission) != result["hashes"]:
        raise HandedInAnew(f"{student} handed in anew while being graded; run dlcvgrade grade {stage} again")
    return result
