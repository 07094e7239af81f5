"""A judge with three real exercises, and the cells of a correct submission to spoil."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from dlcvgrade.course import Course
from dlcvgrade.judge.judging import Judge, Verdict
from dlcvgrade.judge.limits import Limits
from dlcvgrade.judge.sandbox import isolation
from dlcvgrade.judge.submissions import Work
from dlcvgrade.judge.workers import Worker
from dlcvkit.checking import Exercise, hidden_exercise

IDS = ("a1/knn_no_loops", "a1/kfold_indices", "a1/predict_labels")

SETUP = "import os, sys\nimport torch\nfrom dlcvkit import check"
DISTANCES = """\
def compute_distances_no_loops(x_train, x_test):
    a, b = x_test.flatten(1), x_train.flatten(1)
    return (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
"""
FOLDS = """\
def kfold_indices(n, folds):
    parts = torch.arange(n).tensor_split(folds)
    return [(torch.cat(parts[:i] + parts[i + 1 :]), parts[i]) for i in range(folds)]
"""
LABELS = """\
def predict_labels(dists, y_train, k):
    return y_train[dists.argsort(dim=1)[:, :k]].mode(dim=1).values
"""
CORRECT = (SETUP, DISTANCES, FOLDS, LABELS)

Grade = Callable[..., dict[str, Verdict]]


@pytest.fixture(scope="session")
def exercises(knn_course: Course) -> dict[str, Exercise]:
    return {name: hidden_exercise(name, knn_course.specs) for name in IDS}


@pytest.fixture(scope="session")
def worker(exercises: dict[str, Exercise]) -> Iterator[Worker]:
    found = isolation()
    assert found.level == "bubblewrap", f"these tests need the sandbox: {found.why}"
    with Worker(list(exercises.values())) as started:
        yield started


@pytest.fixture(scope="session")
def correct_cells() -> tuple[str, ...]:
    return CORRECT


@pytest.fixture(scope="session")
def grade(exercises: dict[str, Exercise], worker: Worker) -> Grade:
    """Judge a submission and return exercise to verdict; every cell is correct unless it is given.

    The limits are small, so that what hangs does so for a short time only.
    """

    def grade(
        *more: str,
        setup: str = SETUP,
        distances: str = DISTANCES,
        folds: str = FOLDS,
        labels: str = LABELS,
        wall: float = 15,
        budget: float = 100,
        seed: int = 1,
    ) -> dict[str, Verdict]:
        limits = Limits(wall_seconds=wall, memory=2**30, submission_seconds=budget)
        work = Work((setup, distances, folds, labels, *more))
        return Judge(exercises, worker, limits).judge(work, IDS, seed, time.monotonic() + budget)

    return grade
