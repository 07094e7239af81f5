"""A course of one small notebook in a folder of its own, so that no test depends on the real one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from nbgrader.apps.api import NbGraderAPI

import dlcvkit
from dlcvgrade.build import Built, build
from dlcvgrade.course import Course, read_course
from dlcvgrade.judge.judged import REPORT
from dlcvgrade.notebooks import read_notebook
from dlcvgrade.registry import KitRegistry
from dlcvgrade.session import failed

COURSE = """
[course]
id = "toy"
title = "A Toy Course"
repository = "https://example.org/toy.git"
specs = "autograder/specs"

[late]
percent_per_day = 10
days = 5

[[stage]]
name = "a1"
title = "Toys"
due = 2027-02-05T23:59:00Z
notebooks = ["toy"]
"""

SOURCE = '''\
# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Toys
#
# The sum of a vector, and its double.

# %% tags=["setup"]
import torch

from dlcvkit import check

# %% exercise="a1/total"
def total(x):
    """Return the sum of x, a scalar tensor; x is (N,)."""
    ### BEGIN SOLUTION
    running_total_of_x = x.new_zeros(())
    for entry_of_vector in x:
        running_total_of_x = running_total_of_x + entry_of_vector
    return running_total_of_x
    ### END SOLUTION

# %% check="a1/total"
check("a1/total", total)

# %% exercise="a1/twice"
def twice(x):
    """Return 2 x, of shape (N,)."""
    ### BEGIN SOLUTION
    return torch.add(x, x, alpha=1)
    ### END SOLUTION

# %% check="a1/twice"
check("a1/twice", twice)

# %% [markdown] question="order" points=2
# **Question 1 (2 points).** Does the order of summation matter?
#
# ### BEGIN MARK SCHEME
# *Model answer.* Yes, because rounding errors depend on it.
# *Rubric.* 1 point for rounding, 1 point for an example.
# ### END MARK SCHEME

# %% tags=["demo"]
raise RuntimeError("a demo is not run when grading")

# %%
check.summary()
'''

SPEC = '''\
"""Hidden cases."""

hidden_vector_nobody_knows = [3.5, -1.25, 8.0]
total = Hidden(cases=[Case("three entries", x=given(hidden_vector_nobody_knows))])
'''


class ToyRegistry:
    """Two exercises, without importing the kit."""

    POINTS: ClassVar = {"a1/total": 3.0, "a1/twice": 1.0}

    def ids(self, stage: str, notebook: str) -> list[str]:
        return list(self.POINTS) if (stage, notebook) == ("a1", "toy") else []

    def points(self, exercise: str) -> float:
        return self.POINTS[exercise]

    def functions(self, exercise: str) -> list[str]:
        return [exercise.split("/")[1]]


@pytest.fixture
def registry() -> ToyRegistry:
    return ToyRegistry()


def _make_toy(root: Path) -> Path:
    files = {
        "course.toml": COURSE,
        "solutions/a1/toy.py": SOURCE,
        "autograder/specs/a1/toy.py": SPEC,
        "pyproject.toml": '[project]\nname = "dlcvkit"\nversion = "0.1.0"\nrequires-python = ">=3.10"\n'
        'dependencies = ["torch>=2.6"]\n[project.optional-dependencies]\nlab = ["jupyterlab>=4.2"]\n',
        "constraints.txt": "torch==2.15.0\n",
        "data_download.sh": "#!/bin/sh\necho data\n",
        "LICENSE": "MIT\n",
        "utils/dlcvkit/__init__.py": '"""The kit."""\n\n__version__ = "0.1.0"\n',
        "utils/dlcvkit/py.typed": "",
    }
    for relative, text in files.items():
        path = root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def toy_root(tmp_path: Path) -> Path:
    """A course folder with sources, specs, and what a release takes along."""
    return _make_toy(tmp_path / "toy-course")


@pytest.fixture
def toy_course(toy_root: Path) -> Course:
    return read_course(toy_root)


@pytest.fixture
def toy_source(toy_root: Path) -> str:
    return (toy_root / "solutions/a1/toy.py").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def toy_built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The toy course as built, once for all tests; not to be modified."""
    root = _make_toy(tmp_path_factory.mktemp("built") / "toy-course")
    return build(read_course(root), registry=ToyRegistry())


KNN_COURSE = COURSE.replace('["toy"]', '["knn"]').replace('id = "toy"', 'id = "small"')

KNN_SOURCE = '''\
# %% [markdown]
# # Nearest neighbours

# %% tags=["setup"]
import torch

from dlcvkit import check

# %% exercise="a1/knn_no_loops"
def compute_distances_no_loops(x_train, x_test):
    """Return squared distances, (num_test, num_train)."""
    ### BEGIN SOLUTION
    rows_of_test, rows_of_train = x_test.flatten(1), x_train.flatten(1)
    return (rows_of_test[:, None] - rows_of_train[None]).square().sum(dim=2)
    ### END SOLUTION

# %% check="a1/knn_no_loops"
check("a1/knn_no_loops", compute_distances_no_loops)

# %% [markdown] question="bright" points=2
# **Question 1 (2 points).** Why is a row bright?
#
# ### BEGIN MARK SCHEME
# *Model answer.* It is far from everything.
# ### END MARK SCHEME

# %% exercise="a1/kfold_indices"
def kfold_indices(n, folds):
    """Return folds pairs of index tensors (train, val)."""
    ### BEGIN SOLUTION
    parts_in_order = torch.arange(n).tensor_split(folds)
    others = lambda i: [part for j, part in enumerate(parts_in_order) if j != i]
    return [(torch.cat(others(i)), parts_in_order[i]) for i in range(folds)]
    ### END SOLUTION

# %% check="a1/kfold_indices"
check("a1/kfold_indices", kfold_indices)

# %% exercise="a1/predict_labels"
def predict_labels(dists, y_train, k):
    """Return one label per row of dists, (num_test,)."""
    ### BEGIN SOLUTION
    nearest_labels = y_train[dists.argsort(dim=1)[:, :k]]
    return nearest_labels.mode(dim=1).values
    ### END SOLUTION

# %% check="a1/predict_labels"
check("a1/predict_labels", predict_labels)

# %% tags=["demo"]
raise RuntimeError("a demo is not run when grading")

# %%
check.summary()
'''

KNN_SPEC = """\
from dlcvkit.checking import Case, Hidden, normal

knn_no_loops = Hidden(cases=[Case("one hidden image", x_train=normal(3, 2, 5), x_test=normal(1, 2, 5))])
kfold_indices = Hidden(cases=[Case("seven in three", n=7, folds=3)])
predict_labels = Hidden()
"""


class SubsetRegistry(KitRegistry):
    """Some exercises of the kit's notebook on nearest neighbours."""

    def ids(self, stage: str, notebook: str) -> list[str]:
        return ["a1/knn_no_loops", "a1/kfold_indices", "a1/predict_labels"] if notebook == "knn" else []


@pytest.fixture
def subset() -> SubsetRegistry:
    return SubsetRegistry()


def _make_knn(root: Path) -> Path:
    _make_toy(root)
    (root / "course.toml").write_text(KNN_COURSE, encoding="utf-8")
    for folder, text in (("solutions", KNN_SOURCE), ("autograder/specs", KNN_SPEC)):
        (root / folder / "a1" / "toy.py").unlink()
        (root / folder / "a1" / "knn.py").write_text(text, encoding="utf-8")
    kit = root / "utils" / "dlcvkit"
    shutil.rmtree(kit)
    shutil.copytree(Path(dlcvkit.__file__).parent, kit, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(scope="session")
def knn_course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A course with three real exercises and the real kit; not to be modified."""
    return read_course(_make_knn(tmp_path_factory.mktemp("knn") / "knn-course"))


@pytest.fixture(scope="session")
def knn_built(knn_course: Course) -> Built:
    return build(knn_course, registry=SubsetRegistry())


@dataclass
class Marked:
    """One exercise of a submission that nbgrader has autograded."""

    exercise: str
    points: float | None
    possible: float
    verdict: str
    reason: str


@dataclass
class Booked:
    """A submission that nbgrader has autograded, as the gradebook and the autograded notebook have it."""

    student: str
    exercises: list[Marked]
    penalty: float
    failure: str | None

    @property
    def points(self) -> float:
        return sum(exercise.points or 0.0 for exercise in self.exercises)


def _marked(api: NbGraderAPI, stage: str, student: str, notebook: str) -> Iterator[Marked]:
    places = api.coursedir.autograded_directory, api.coursedir.source_directory
    graded, source = (
        Path(api.coursedir.format_path(place, who, stage)) / f"{notebook}.ipynb"
        for place, who in zip(places, (student, "."), strict=True)
    )
    reports = {}
    for cell in read_notebook(graded.read_bytes()).cells if graded.is_file() else ():
        for output in cell.get("outputs", []):
            report = output.get("data", {}).get(REPORT, {})
            if report.get("hidden"):
                reports[report["exercise"]] = report
    with api.gradebook as gradebook:
        for cell in read_notebook(source.read_bytes()).cells:
            if cell.metadata.get("nbgrader", {}).get("grade"):
                name = cell.metadata["nbgrader"]["grade_id"]
                exercise = f"{stage}/{name.removeprefix('check-')}"
                grade = gradebook.find_grade(name, notebook, stage, student)
                report = reports.get(exercise, {"verdict": "not_run", "reason": "there is no report"})
                points = None if report["verdict"] == "could_not_check" else grade.score
                reason = str(report["reason"] or "")
                yield Marked(exercise, points, grade.max_score, report["verdict"], reason)


@pytest.fixture(scope="session")
def autograde() -> Callable[..., Booked]:
    """A function that has nbgrader autograde one submission and reads what came of it."""

    def autograde(api: NbGraderAPI, stage: str, student: str) -> Booked:
        failure = failed(api.autograde, stage, student)
        with api.gradebook as gradebook:
            names = [notebook.name for notebook in gradebook.find_assignment(stage).notebooks]
            penalty = float(gradebook.find_submission(stage, student).late_submission_penalty or 0.0)
        exercises = [marked for name in names for marked in _marked(api, stage, student, name)]
        return Booked(student, exercises, penalty, failure)

    return autograde


@pytest.fixture(scope="session")
def autograde_all(autograde: Callable[..., Booked]) -> Callable[..., list[Booked]]:
    """A function that does so for everybody who has handed in."""
    return lambda api, stage: [autograde(api, stage, who) for who in sorted(api.get_submitted_students(stage))]
