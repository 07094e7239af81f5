"""Where nbgrader's notebooks are judged: the hidden exercises of a stage and one worker, kept while the process lives.

nbgrader grades one notebook at a time and forgets everything in between; a worker takes seconds to start.
"""

from __future__ import annotations

import atexit
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nbformat import NotebookNode
from nbformat.v4 import new_output

from dlcvgrade.judge.batch import judge_notebook
from dlcvgrade.judge.bookkeeping import REPORT
from dlcvgrade.judge.judging import Judge, Verdict, failed
from dlcvgrade.judge.limits import Limits
from dlcvgrade.judge.results import printable
from dlcvgrade.judge.sandbox import Isolation
from dlcvgrade.judge.submissions import Release, Submission, release_of
from dlcvgrade.judge.workers import Worker
from dlcvgrade.notebooks import read_notebook
from dlcvkit.checking import Exercise, Finding, Kind, Quantity, Report, hidden_exercise
from dlcvkit.checking.render import as_html, as_text

WORTH = "it is worth {exercise:g} points and the gradebook says {gradebook:g}; run nbgrader generate_assignment again"


@dataclass(frozen=True)
class Judged:
    """What the judge says about one notebook of a submission.

    Attributes:
        verdicts: Exercise id to verdict.
        notes: What was mended, one line each.
        seed: Seed that the inputs were drawn from.
        isolation: What stood between the student's code and the machine.
    """

    verdicts: dict[str, Verdict]
    notes: tuple[str, ...]
    seed: int
    isolation: Isolation

    def output(self, exercise_id: str) -> NotebookNode:
        """Return the output of the cell that grades an exercise: the report for people and for programs."""
        verdict = self.verdicts[exercise_id]
        shown = told_report(verdict)
        record = {
            **verdict.as_json(),
            "hidden": True,
            "seed": self.seed,
            "isolation": self.isolation.level,
            "notes": [printable(note) for note in self.notes],
        }
        make: Any = new_output
        data = {"text/html": as_html(shown), "text/plain": as_text(shown), REPORT: record}
        output: NotebookNode = make("display_data", data=data)
        return output


def told_report(verdict: Verdict) -> Report:
    """Return a verdict's report as a student may read it.

    Where the process itself ended badly, or nothing could be run, the reason is the judge's own words and holds no
    value; it stands in the place of what a hidden report would say.
    """
    report = verdict.report
    if verdict.reason is None:
        return report
    finding = Finding(Kind.MISSING, verdict.reason)
    quantities = [Quantity(quantity.name, quantity.possible, finding) for quantity in report.quantities]
    return Report(report.exercise, quantities, finding, is_hidden=True)


class Bench:
    """Exercises and a worker.

    Args:
        exercise_ids: Exercises of the stage.
        specs: Folder with the hidden cases.
        isolation: What the worker runs in.
        limits: What an exercise and a notebook may use.

    Raises:
        SpecsNotFound, UnknownExercise: If an exercise has no hidden cases, or there is none of that name.
    """

    def __init__(
        self, exercise_ids: Sequence[str], specs: Path, isolation: Isolation, limits: Limits | None = None
    ) -> None:
        self._exercises: dict[str, Exercise] = {name: hidden_exercise(name, specs) for name in exercise_ids}
        self._limits = limits or Limits()
        self._isolation = isolation
        is_sandboxed = isolation.level == "bubblewrap"
        self.worker = Worker(list(self._exercises.values()), is_sandboxed=is_sandboxed)

    def judge(self, submission: Submission, notebook: str, release: Release, worth: dict[str, float]) -> Judged:
        """Judge one notebook; nothing in it raises here.

        Args:
            submission: What was handed in.
            notebook: The notebook's name.
            release: What was released.
            worth: Exercise id to its points in the gradebook.
        """
        seed = secrets.randbelow(2**31)
        judge = Judge(self._exercises, self.worker, self._limits)
        deadline = time.monotonic() + self._limits.submission_seconds
        before = torch.get_num_threads()
        torch.set_num_threads(1)  # comparing is quick; threads would fight with the worker for the processors
        try:
            verdicts, notes = judge_notebook(judge, submission, notebook, release, list(worth), seed, deadline)
        finally:
            torch.set_num_threads(before)
        for name, points in worth.items():
            exercise = self._exercises[name]
            if exercise.total != points:  # otherwise more points than the maximum could be written
                reason = WORTH.format(exercise=exercise.total, gradebook=points)
                verdicts[name] = failed(exercise, "could_not_check", reason)
        return Judged(verdicts, notes, seed, self._isolation)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker and delete its files."""
        self.worker.__exit__(None, None, None)


_kept: dict[tuple[tuple[str, ...], Path, Isolation], Bench] = {}


def bench_for(exercise_ids: Sequence[str], specs: Path, isolation: Isolation) -> Bench:
    """Return the process's bench for these exercises; one for others is closed. Errors are those of ``Bench``."""
    key = (tuple(exercise_ids), specs, isolation)
    if key not in _kept:
        close_benches()
        _kept[key] = Bench(exercise_ids, specs, isolation)
    return _kept[key]


@atexit.register
def close_benches() -> None:
    """Close whatever is kept."""
    for key in list(_kept):
        _kept.pop(key).close()


_releases: dict[tuple[Path, int], Release] = {}


def release_from(source: Path) -> Release:
    """Return the release of a notebook in nbgrader's source folder.

    Raises:
        OSError, ValueError: If it is not there, or no notebook.
    """
    key = (source, source.stat().st_mtime_ns)
    if key not in _releases:
        _releases[key] = release_of(read_notebook(source.read_bytes()))
    return _releases[key]
