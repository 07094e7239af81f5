"""Points of the gradebook in place of the judge's: with what was given by hand, less the penalty for lateness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dlcvgrade.course import Course
from dlcvgrade.problems import CourseProblems, Problem
from dlcvgrade.results.plain import number, plain
from dlcvgrade.results.reading import TOLERANCE, Result
from dlcvgrade.session import knows_stage, open_course


@dataclass(frozen=True)
class Total:
    """What the gradebook says of a submission.

    Attributes:
        points: All points, before the penalty.
        possible: Points that the stage is worth, answers in prose included.
        penalty: Points lost by being late.
        is_decided: Whether nothing waits for a person any more.
    """

    points: float
    possible: float
    penalty: float
    is_decided: bool


def read_totals(course: Course, stage: str) -> dict[str, Total]:
    """Return student to total, for all who have a submission in the course's gradebook.

    Raises:
        CourseProblems: If the gradebook does not know the stage.
        NbgraderFailed: If the gradebook cannot be read.
    """
    api = open_course(course)
    if not knows_stage(api, stage):
        raise CourseProblems([Problem("--gradebook", f"has no {stage}; expected one that `grade {stage}` has written")])
    with api.gradebook as gradebook:
        return {
            submission.student_id: Total(
                submission.score,
                submission.max_score,
                submission.late_submission_penalty,
                not submission.needs_manual_grade,
            )
            for submission in gradebook.assignment_submissions(stage)
        }


def with_totals(results: Sequence[Result], totals: Mapping[str, Total]) -> tuple[list[Result], list[Problem]]:
    """Return results with the gradebook's points, and a problem for each student whom only one of the two knows."""
    known = {plain(student): total for student, total in totals.items()}
    kept, problems = [], []
    for result in results:
        total = known.pop(result.student, None)
        if total is None:
            told = f"{plain(result.student, 80)} has no submission in the gradebook; `grade` writes it there"
            problems.append(Problem(f"{plain(result.key)}.json", told))
        else:
            kept.append(_with_total(result, total))
    for student in known:
        problems.append(Problem("--gradebook", f"has a submission of {plain(student, 80)}, who has no result"))
    return kept, problems


def _with_total(result: Result, total: Total) -> Result:
    remarks = []
    if abs(total.points - result.points) > TOLERANCE:
        remarks.append(f"points given by hand: {number(total.points - result.points)}")
    if total.penalty > 0:
        remarks.append(f"late: -{number(total.penalty)}")
    return replace(
        result,
        points=max(0.0, total.points - total.penalty),
        possible=total.possible,
        is_decided=total.is_decided,
        remarks=tuple(remarks),
    )
