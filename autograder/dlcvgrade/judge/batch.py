"""Grade submissions with the judge, several at a time, and lose none of them."""

from __future__ import annotations

import queue
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack

import torch

from dlcvgrade.course import Course, Stage
from dlcvgrade.judge.judging import Judge, Verdict, failed, judge_answer
from dlcvgrade.judge.limits import Limits
from dlcvgrade.judge.material import Material, answer_file, material_of
from dlcvgrade.judge.results import Graded
from dlcvgrade.judge.resume import Identity
from dlcvgrade.judge.sandbox import Isolation
from dlcvgrade.judge.submissions import Release, Submission, Unreadable, digest, read_work
from dlcvgrade.judge.workers import Worker
from dlcvgrade.registry import Registry
from dlcvkit.checking import SavedAnswer

NOT_HANDED_IN = "{notebook}.ipynb was not handed in"
NOT_READ = "{notebook}.ipynb {why}"
NOT_OPENED = "{notebook}.ipynb could not be opened: {why}; this is a fault of the grader's machine"
BROKE = "the grader broke down ({error}); this is its own fault, not that of the code"


class Examiner:
    """Grades one submission after the other.

    Args:
        material: What the stage consists of.
        isolation: What the workers run in; its level decides whether they are sandboxed.
        limits: What an exercise and a submission may use.
        seed: Seed of every submission; None draws one for each.
        device: Where expected values are computed, ``cpu`` or ``cuda``.
    """

    def __init__(
        self,
        material: Material,
        isolation: Isolation,
        *,
        limits: Limits | None = None,
        seed: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.material, self.isolation, self.seed, self.device = material, isolation, seed, device
        self.limits = limits or Limits()

    def worker(self) -> Worker:
        """Return a worker for this stage, to be used as a context."""
        exercises = list(self.material.exercises.values())
        return Worker(exercises, is_sandboxed=self.isolation.level == "bubblewrap")

    def grade_one(self, submission: Submission, worker: Worker) -> Graded:
        """Grade one submission; nothing in it raises here, and what breaks in the grader leaves it undecided."""
        start = time.monotonic()
        deadline = start + self.limits.submission_seconds
        seed = secrets.randbelow(2**31) if self.seed is None else self.seed
        judge = Judge(self.material.exercises, worker, self.limits, self.device)
        verdicts: dict[str, Verdict] = {}
        notebooks: dict[str, str] = {}
        notes: list[str] = []
        for name in self._graded(submission):
            release, ids = self.material.releases[name], self.material.ids[name]
            try:
                found, mended = judge_notebook(judge, submission, name, release, ids, seed, deadline)
            except Exception as error:
                reason = BROKE.format(error=type(error).__name__)
                found = {i: failed(self.material.exercises[i], "could_not_check", reason) for i in ids}
                mended = ()
            verdicts |= found
            notebooks |= dict.fromkeys(found, name)
            notes += [f"{name}: {note}" for note in mended]
        return Graded(
            submission.student, self.material.stage, seed, verdicts, notebooks, tuple(notes), self.isolation,
            self.hashes_of(submission), time.monotonic() - start,
        )  # fmt: skip

    def undecided(self, submission: Submission, reason: str) -> Graded:
        """Return the result of a submission that could not be graded: every exercise says why."""
        graded = {i: name for name in self._graded(submission) for i in self.material.ids[name]}
        verdicts = {i: failed(self.material.exercises[i], "could_not_check", reason) for i in graded}
        hashes = self.hashes_of(submission)
        return Graded(
            submission.student, self.material.stage, self.seed or 0, verdicts, graded, (), self.isolation, hashes, 0.0
        )

    def identity(self, submission: Submission) -> Identity:
        """Return what a stored result must agree with so that the submission need not be graded again."""
        ids = [exercise for name in self._graded(submission) for exercise in self.material.ids[name]]
        hashes = self.hashes_of(submission)
        return Identity(submission.student, self.material.stage, ids, hashes, self.isolation.level, self.seed)

    def answers(self, submission: Submission) -> list[str]:
        """Return the names of the files that saved answers of the graded notebooks are handed in as."""
        return list(self.material.answer_files(self._graded(submission)))

    def hashes_of(self, submission: Submission) -> dict[str, str]:
        """Return the SHA-256 of what was handed in and of everything else that its result depends on."""
        answers = [submission.folder / name for name in self.answers(submission)]
        return {"submission": digest([*submission.notebooks.values(), *answers]), **self.material.hashes}

    def _graded(self, submission: Submission) -> list[str]:
        return [name for name in self.material.releases if not submission.is_partial or name in submission.notebooks]


class Grader(Examiner):
    """Grades submissions of one stage of a course.

    Args:
        course: The course.
        stage: The stage.
        isolation: What the workers run in; its level decides whether they are sandboxed.
        limits: What an exercise and a submission may use.
        seed: Seed of every submission; None draws one for each.
        registry: Where exercises stand; the kit's if None.
        device: Where expected values are computed, ``cpu`` or ``cuda``.

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
        device: str = "cpu",
    ) -> None:
        super().__init__(material_of(course, stage, registry), isolation, limits=limits, seed=seed, device=device)

    def grade(
        self, submissions: Sequence[Submission], jobs: int = 1, keep: Callable[[Graded], None] = lambda graded: None
    ) -> Iterator[Graded]:
        """Grade submissions and yield each result as it comes.

        Args:
            submissions: What was handed in.
            jobs: How many to grade at a time, each in a worker of its own.
            keep: Called with each result as soon as it is there, before whoever reads the results gets to it.
        """
        torch.set_num_threads(1)  # comparing is quick; threads would fight with the workers for the processors
        idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        jobs = max(1, min(jobs, len(submissions)))
        with ExitStack() as stack:
            for _ in range(jobs):
                idle.put(stack.enter_context(self.worker()))

            def work(submission: Submission) -> Graded:
                worker = idle.get()
                try:
                    graded = self.grade_one(submission, worker)
                finally:
                    idle.put(worker)
                keep(graded)
                return graded

            pool = stack.enter_context(ThreadPoolExecutor(jobs))
            try:
                # The futures are not held on to: a large class's results need not all stay in memory.
                for done in as_completed([pool.submit(work, submission) for submission in submissions]):
                    yield done.result()
            finally:
                pool.shutdown(cancel_futures=True)


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
        except Unreadable as error:
            reason = NOT_READ.format(notebook=name, why=error)
            verdicts |= {i: failed(exercises[i], "not_run", reason) for i in ids}
        except OSError as error:
            reason = NOT_OPENED.format(notebook=name, why=error.strerror or type(error).__name__)
            verdicts |= {i: failed(exercises[i], "could_not_check", reason) for i in ids}
        else:
            verdicts |= judge.judge(work, ids, seed, deadline)
            notes = work.notes
    return {i: verdicts[i] for i in exercise_ids}, notes
