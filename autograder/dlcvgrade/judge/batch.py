"""Grade submissions with the judge, several at a time, and lose none of them."""

from __future__ import annotations

import ast
import queue
import secrets
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path

import torch

import dlcvkit
from dlcvgrade.course import Course, Stage
from dlcvgrade.judge.judging import Judge, Verdict, failed, judge_answer
from dlcvgrade.judge.limits import Limits
from dlcvgrade.judge.results import Graded, folder_hash
from dlcvgrade.judge.resume import Identity
from dlcvgrade.judge.sandbox import Isolation
from dlcvgrade.judge.submissions import Release, Submission, Unreadable, digest, read_work, releases
from dlcvgrade.judge.workers import Worker
from dlcvgrade.problems import CourseProblems, Problem
from dlcvgrade.registry import KitRegistry, Registry
from dlcvkit.checking import Exercise, SavedAnswer, SpecsNotFound, hidden_exercise

NOT_HANDED_IN = "{notebook}.ipynb was not handed in"
NOT_READ = "{notebook}.ipynb {why}"


class Grader:
    """Grades submissions of one stage.

    Args:
        course: The course.
        stage: The stage.
        isolation: What the workers run in; its level decides whether they are sandboxed.
        limits: What an exercise and a submission may use.
        seed: Seed of every submission; None draws one for each.
        registry: Where exercises stand; the kit's if None.

    Raises:
        CourseProblems: If a source is not sound, or an exercise has no hidden cases.
    """

    def __init__(
        self,
        course: Course,
        stage: Stage,
        isolation: Isolation,
        *,
        limits: Limits | None = None,
        seed: int | None = None,
        registry: Registry | None = None,
    ) -> None:
        registry = registry or KitRegistry()
        self._stage, self._seed, self._limits = stage, seed, limits or Limits()
        self.isolation = isolation
        self._releases = releases(course, stage, registry)
        self._ids = {name: list(registry.ids(stage.name, name)) for name in self._releases}
        try:
            self._exercises: dict[str, Exercise] = {
                exercise: hidden_exercise(exercise, course.specs) for ids in self._ids.values() for exercise in ids
            }
        except SpecsNotFound as error:
            raise CourseProblems([Problem(str(course.specs), str(error))]) from None
        self._hashes = {
            "specs": folder_hash(course.specs / stage.name),
            "kit": folder_hash(Path(dlcvkit.__file__).parent),
        }

    def grade(self, submissions: Sequence[Submission], jobs: int = 1) -> Iterator[Graded]:
        """Grade submissions and yield each result as it comes.

        Args:
            submissions: What was handed in.
            jobs: How many to grade at a time, each in a worker of its own.
        """
        torch.set_num_threads(1)  # comparing is quick; threads would fight with the workers for the processors
        idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        is_sandboxed = self.isolation.level == "bubblewrap"
        with ExitStack() as stack:
            for _ in range(max(1, min(jobs, len(submissions)))):
                worker = Worker(list(self._exercises.values()), is_sandboxed=is_sandboxed)
                idle.put(stack.enter_context(worker))

            def work(submission: Submission) -> Graded:
                worker = idle.get()
                try:
                    return self.grade_one(submission, worker)
                finally:
                    idle.put(worker)

            pool = stack.enter_context(ThreadPoolExecutor(max(1, jobs)))
            waiting = [pool.submit(work, submission) for submission in submissions]
            try:
                for done in as_completed(waiting):
                    yield done.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def grade_one(self, submission: Submission, worker: Worker) -> Graded:
        """Grade one submission; nothing in it raises here."""
        start = time.monotonic()
        deadline = start + self._limits.submission_seconds
        seed = secrets.randbelow(2**31) if self._seed is None else self._seed
        judge = Judge(self._exercises, worker, self._limits)
        verdicts: dict[str, Verdict] = {}
        notebooks: dict[str, str] = {}
        notes: list[str] = []
        for name in self._graded(submission):
            release = self._releases[name]
            found, mended = judge_notebook(judge, submission, name, release, self._ids[name], seed, deadline)
            verdicts |= found
            notebooks |= dict.fromkeys(found, name)
            notes += [f"{name}: {note}" for note in mended]
        return Graded(
            submission.student, self._stage.name, seed, verdicts, notebooks, tuple(notes), self.isolation,
            self._hashes_of(submission), time.monotonic() - start,
        )  # fmt: skip

    def identity(self, submission: Submission) -> Identity:
        """Return what a stored result must agree with so that the submission need not be graded again."""
        ids = [exercise for name in self._graded(submission) for exercise in self._ids[name]]
        hashes = self._hashes_of(submission)
        return Identity(submission.student, self._stage.name, ids, hashes, self.isolation.level, self._seed)

    def _graded(self, submission: Submission) -> list[str]:
        return [name for name in self._releases if not submission.is_partial or name in submission.notebooks]

    def _hashes_of(self, submission: Submission) -> dict[str, str]:
        answers = [
            submission.folder / answer_file(self._releases[name], exercise)
            for name in self._graded(submission)
            for exercise in self._ids[name]
            if isinstance(self._exercises[exercise], SavedAnswer)
        ]
        return {"submission": digest([*submission.notebooks.values(), *answers]), **self._hashes}


def judge_notebook(
    judge: Judge,
    submission: Submission,
    name: str,
    release: Release,
    exercise_ids: Sequence[str],
    seed: int,
    deadline: float,
) -> tuple[dict[str, Verdict], tuple[str, ...]]:
    """Judge one notebook and the files that belong to it; nothing in them raises here.

    Args:
        judge: The judge.
        submission: What was handed in.
        name: The notebook's name.
        release: What was released.
        exercise_ids: Its exercises, in order.
        seed: Seed of the submission.
        deadline: Value of ``time.monotonic`` when the submission's time is used up.

    Returns:
        Exercise id to verdict, and what was mended in the notebook.
    """
    exercises = judge.exercises
    verdicts: dict[str, Verdict] = {}
    ids = []
    for exercise_id in exercise_ids:
        exercise = exercises[exercise_id]
        if isinstance(exercise, SavedAnswer):
            path = submission.folder / answer_file(release, exercise_id)
            verdicts[exercise_id] = judge_answer(exercise, path, seed)
        else:
            ids.append(exercise_id)
    notes: tuple[str, ...] = ()
    if name not in submission.notebooks:
        reason = NOT_HANDED_IN.format(notebook=name)
        verdicts |= {i: failed(exercises[i], "missing", reason) for i in ids}
    else:
        try:
            work = read_work(submission.notebooks[name], release)
        except (Unreadable, OSError) as error:
            why = str(error) if isinstance(error, Unreadable) else f"cannot be read: {error.strerror}"
            reason = NOT_READ.format(notebook=name, why=why)
            verdicts |= {i: failed(exercises[i], "not_run", reason) for i in ids}
        else:
            verdicts |= judge.judge(work, ids, seed, deadline)
            notes = work.notes
    return {i: verdicts[i] for i in exercise_ids}, notes


def answer_file(release: Release, exercise_id: str) -> str:
    """Return the name of the file that a saved answer is handed in as: what the release's check passes.

    Raises:
        ValueError: If the check passes no plain file name.
    """
    source = release.known[f"check-{exercise_id.partition('/')[2]}"].source
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and len(node.args) == 2 and isinstance(node.args[1], ast.Constant):
            name = str(node.args[1].value)
            if name == Path(name).name:
                return name
    raise ValueError(f"the check of {exercise_id} passes no file name")
