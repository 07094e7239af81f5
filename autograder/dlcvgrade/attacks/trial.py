"""Try an entry of a corpus on the judge, and look at everything that must not have changed.

All that is asked of an attack is asked here, of every attack: it earns nothing, its result is decided and carries
nothing out, whoever is graded next gets the same result to the byte, and no process and no file is left.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from dlcvgrade.attacks.corpus import ANSWER, CODE, EXERCISES, STAGE, Entry, correct_notebook
from dlcvgrade.build import Built, build
from dlcvgrade.course import Course, read_course
from dlcvgrade.judge.batch import Grader
from dlcvgrade.judge.limits import Limits
from dlcvgrade.judge.results import Graded
from dlcvgrade.judge.sandbox import Isolation
from dlcvgrade.judge.submissions import Submission, find_submissions
from dlcvgrade.judge.workers import Worker
from dlcvgrade.problems import CourseProblems
from dlcvgrade.registry import KitRegistry
from dlcvkit.checking import hidden_exercise

SECRET = "S3CRET"
"""What an attack writes hidden inputs behind, so that they can be found wherever they come out."""
NEIGHBOUR = "neighbour"
_SEED = 11
_MEMORY = 2**30
_LINGER_SECONDS = 5.0
_LOOKS_AROUND = """\
def predict_labels(dists, y_train, k):
    if os.environ.get("HOME") == "/tmp/home":
        for folder in ("/tmp", "/dev/shm"):
            assert os.listdir(folder) in ([], ["home"]), folder
        assert os.listdir("/tmp/home") == []
        assert {name for name in os.listdir("/proc") if name.isdigit()} == {"1", str(os.getpid())}
    return y_train[dists.argsort(dim=1)[:, :k]].mode(dim=1).values
"""
_MISSES = "def kfold_indices(n, folds):\n    return [(torch.arange(n), torch.arange(n))] * folds\n"
_HONEST = Entry(
    NEIGHBOUR, "", "is half right, and notices what was left in its sandbox",
    cells={"predict_labels": _LOOKS_AROUND, "kfold_indices": _MISSES},
)  # fmt: skip


class CorpusRegistry(KitRegistry):
    """The exercises of the corpora's notebook."""

    def ids(self, stage: str, notebook: str) -> list[str]:
        """Return the ids of a notebook's exercises, in order."""
        return list(EXERCISES)


@dataclass(frozen=True)
class Trial:
    """What came of an entry.

    Attributes:
        entry: The entry.
        gained: Points that it earned and should not have.
        verdicts: Exercise id to verdict.
        problems: What is not as it must be, one line each; empty if all is well.
    """

    entry: Entry
    gained: float
    verdicts: dict[str, str]
    problems: tuple[str, ...]


class Ground:
    """A course, a worker and a neighbour: where entries are tried, one after the other.

    Args:
        source: The corpora's course; copied.
        home: An empty folder for everything that is written.
        isolation: What the worker runs in.
    """

    def __init__(self, source: Path, home: Path, isolation: Isolation) -> None:
        self.home = home
        shutil.copytree(source, home / "course")
        self.course: Course = read_course(home / "course")
        self.built: Built = build(self.course, registry=CorpusRegistry())
        self.correct = correct_notebook(self.built)
        with sqlite3.connect(self.course.root / "gradebook.db") as gradebook:
            gradebook.execute("create table grade (student text, score real)")
            gradebook.execute("insert into grade values ('neighbour', 7), ('attacker', 0)")
        gradebook.close()
        self._isolation = isolation
        self._grader = cache(self._new_grader)
        exercises = [hidden_exercise(name, self.course.specs) for name in EXERCISES]
        with _temporary_files_in(home / "temporary"):
            self.worker = Worker(exercises, is_sandboxed=isolation.level == "bubblewrap")
        self._neighbour = self.hand_in(_HONEST, NEIGHBOUR)
        self.grade: Callable[[Submission, float], Graded] = self._grade
        self._expected = self._seen_of_neighbour()

    def __enter__(self) -> Ground:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.worker.__exit__(kind, error, trace)

    def _new_grader(self, wall: float) -> Grader:
        limits = Limits(wall_seconds=wall, memory=_MEMORY)
        stage = self.course.stage(STAGE)
        return Grader(self.course, stage, self._isolation, limits=limits, seed=_SEED, registry=CorpusRegistry())

    def _grade(self, submission: Submission, wall: float) -> Graded:
        return self._grader(wall).grade_one(submission, self.worker)

    def hand_in(self, entry: Entry, student: str) -> Path:
        """Write a submission and return the student's folder."""
        folder = self.course.root / "submitted" / student / STAGE
        folder.mkdir(parents=True)
        entry.hand_in(deepcopy(self.correct), folder, self.course.root, self._neighbour_folder())
        return folder.parent

    def _neighbour_folder(self) -> Path:
        return self.course.root / "submitted" / NEIGHBOUR / STAGE

    def _submission(self, student: str) -> Submission | None:
        try:
            found = find_submissions([self.course.root / "submitted"], self.course.stage(STAGE))
        except CourseProblems:
            return None
        return next((submission for submission in found if submission.student == student), None)

    def _seen_of_neighbour(self) -> str:
        submission = self._submission(NEIGHBOUR)
        assert submission is not None, "the neighbour's submission is gone"
        return result_text(self.grade(submission, 15.0))

    def try_entry(self, entry: Entry) -> Trial:
        """Grade a submission made from an entry, then its neighbour, and look for what has changed."""
        files, processes = _files(self.home), len(descendants(os.getpid()))
        folder = self.hand_in(entry, entry.student)
        handed_in = _files(folder)
        problems, gained, verdicts = [], 0.0, {}
        submission = self._submission(entry.student)
        graded = None if submission is None else self.grade(submission, entry.wall)
        if graded is None:  # nothing that counts as handed in: nothing can be earned
            problems += [] if "missing" in entry.verdict else ["was not taken for a submission"]
        else:
            gained = sum(graded.verdicts[name].points or 0.0 for name in entry.target)
            verdicts = {name: verdict.verdict for name, verdict in graded.verdicts.items()}
            problems += list(_misjudged(entry, graded))
        if _files(folder) != handed_in:
            problems.append("the submission's files changed")
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder)
        if self._seen_of_neighbour() != self._expected:
            problems.append("the neighbour's result changed")
        changed = _files(self.home).items() ^ files.items()
        problems += [f"{name} changed" for name in sorted({name for name, _ in changed})[:3]]
        left = _wait_for(processes)
        if left != processes:
            problems.append(f"{left} processes; expected {processes}")
        return Trial(entry, gained, verdicts, tuple(problems))


def _misjudged(entry: Entry, graded: Graded) -> Iterator[str]:
    others = {**dict.fromkeys(CODE, entry.others), ANSWER: ("missing",)}
    for name, verdict in graded.verdicts.items():
        is_target = name in entry.target
        expected = entry.verdict if is_target else others[name]
        if verdict.verdict not in expected:
            yield f"{name} is {verdict.verdict} ({verdict.as_json()['reason']}); expected {' or '.join(expected)}"
        if verdict.points is None:
            yield f"{name} is undecided"
        elif is_target and "NameError" in str(verdict.as_json()["reason"]):  # its own mistake would pass for a defence
            yield f"{name} raised NameError: what it tries has not been tried"
        elif is_target and verdict.points > 0:
            yield f"{name} earned {verdict.points:g} points"
        elif not is_target and verdict.verdict == "pass" and verdict.points != verdict.report.possible:
            yield f"{name} earned {verdict.points:g} points; expected {verdict.report.possible:g}"
    if SECRET in json.dumps(graded.as_json()):
        yield "the result carries out what is secret"


def result_text(graded: Graded) -> str:
    """Return a result as JSON without what differs from run to run: how long things took."""
    told = graded.as_json()
    told["seconds"] = None
    for exercise in told["exercises"]:
        exercise["seconds"] = None
    return json.dumps(told, sort_keys=True)


def _files(folder: Path) -> dict[str, Any]:
    """Return relative path to what stands there, links not followed."""
    found: dict[str, Any] = {}
    if folder.is_symlink():
        return {".": os.readlink(folder)}
    for here, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(here, name)
            status = path.lstat()
            content: Any = None
            if path.is_symlink():
                content = os.readlink(path)
            elif path.is_file():
                is_small = status.st_size < 2**20
                content = hashlib.sha256(path.read_bytes()).digest() if is_small else status.st_mtime_ns
            found[os.path.relpath(path, folder)] = status.st_mode, content
    return found


def descendants(pid: int) -> list[int]:
    """Return the processes below a process; none if it is gone."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children += [int(child) for child in task.read_text().split()]
        except OSError:
            continue
    return children + [below for child in children for below in descendants(child)]


def _wait_for(count: int) -> int:
    """Return how many processes are below this one, after those that are about to end had the time to."""
    end = time.monotonic() + _LINGER_SECONDS
    while (left := len(descendants(os.getpid()))) != count and time.monotonic() < end:
        time.sleep(0.02)
    return left


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    folder.mkdir()
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
