"""A batch from end to end: what stands is kept, the rest is graded, and every result lands in folder and gradebook."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dlcvgrade.judge.batch import Examiner, Grader
from dlcvgrade.judge.results import Graded, result_path, write_result
from dlcvgrade.judge.resume import stored_result
from dlcvgrade.judge.scratch import remove_left_over
from dlcvgrade.judge.submissions import Submission

if TYPE_CHECKING:
    from dlcvgrade.judge.recording import Recorder

Result = Mapping[str, Any]
Keep = Callable[[Submission, Result], None]


class Engine(Protocol):
    """Something that grades: local processes, or a cluster."""

    def __call__(self, submissions: Sequence[Submission], keep: Keep) -> Iterator[tuple[Submission, Result]]:
        """Yield each submission with its result as it comes; ``keep`` gets it first, from any thread."""


def local_engine(grader: Grader, jobs: int) -> Engine:
    """Return an engine that grades on this machine.

    Args:
        grader: Who grades.
        jobs: How many submissions at a time.
    """

    def grade(submissions: Sequence[Submission], keep: Keep) -> Iterator[tuple[Submission, Result]]:
        by_student = {submission.student: submission for submission in submissions}

        def keep_it(graded: Graded) -> None:
            keep(by_student[graded.student], graded.as_json())

        for graded in grader.grade(submissions, jobs, keep_it):
            yield by_student[graded.student], graded.as_json()

    return grade


@dataclass
class Batch:
    """What came out of a batch.

    Attributes:
        results: Student to result.
        kept: How many results stood from before.
        recorded: How many results were written into the gradebook now.
        failures: Student to why a result could not be written there.
    """

    results: dict[str, Result] = field(default_factory=dict)
    kept: int = 0
    recorded: int = 0
    failures: dict[str, str] = field(default_factory=dict)


def run_batch(
    examiner: Examiner,
    submissions: Sequence[Submission],
    engine: Engine,
    *,
    folder: Path | None = None,
    recorder: Recorder | None = None,
    forced: Collection[str] = (),
    on_result: Callable[[Result, bool], None] = lambda result, is_new: None,
) -> Batch:
    """Grade submissions. Wherever this is killed, another call goes on from there.

    A result is written to its file in one step before anything is made of it, and gradebook and autograded notebooks
    are compared with it by what they say, so that no note of what has been done can be lost or wrong.

    Args:
        examiner: Who says whether a stored result stands.
        submissions: What was handed in.
        engine: Who grades.
        folder: Where results are kept, one file each; nowhere if None.
        recorder: The one writer to the gradebook; none if None.
        forced: Students who are graded again in any case.
        on_result: Called for each result, and whether it is a new one.
    """
    remove_left_over()  # here, as a batch with nothing left to grade starts no worker that would
    batch = Batch()

    def record(submission: Submission, result: Result) -> None:
        if recorder is not None and not recorder.is_recorded(submission, result):
            failure = recorder.record(submission, result)
            if failure is None:
                batch.recorded += 1
            else:
                batch.failures[submission.student] = failure

    def keep(submission: Submission, result: Result) -> None:
        if folder is not None:
            write_result(submission.student, result, folder)

    waiting, standing = [], []
    for submission in submissions:
        path = None if folder is None or submission.student in forced else result_path(folder, submission.student)
        stored = None if path is None else stored_result(path, examiner.identity(submission))
        if stored is None:
            waiting.append(submission)
        else:
            batch.results[submission.student] = stored
            standing.append(submission)
            on_result(stored, False)
    batch.kept = len(standing)
    for submission in standing:
        record(submission, batch.results[submission.student])
    for submission, result in engine(waiting, keep) if waiting else ():
        batch.results[submission.student] = result
        on_result(result, True)
        record(submission, result)
    return batch
