"""What a late submission costs."""

from __future__ import annotations

import math
from datetime import UTC
from typing import Any

from nbgrader.api import Gradebook
from nbgrader.plugins import LateSubmissionPlugin
from traitlets import Float, Integer

from dlcvgrade.course import Course, LatePolicy

_DAY = 24 * 60 * 60


def late_penalty(score: float, maximum: float, seconds_late: float, policy: LatePolicy) -> float:
    """Return the points that a late notebook loses.

    Args:
        score: Points it earned; at least 0.
        maximum: Points it could have earned.
        seconds_late: Seconds after the due date.
        policy: Percent of the maximum per started day, and the number of days after which nothing is left.

    Returns:
        0 if in time; ``maximum * percent_per_day / 100 * ceil(days late)`` up to ``policy.days`` days, never more
        than ``score``; ``score`` after that.
    """
    if seconds_late <= 0:
        return 0.0
    days = math.ceil(seconds_late / _DAY)
    if days > policy.days:
        return score
    return min(score, maximum * policy.percent_per_day / 100 * days)


class LatePenalty(LateSubmissionPlugin):  # type: ignore[misc]
    """nbgrader's plugin for the policy in ``course.toml``; recomputed whenever a submission is graded again."""

    percent_per_day = Float(0.0, help="Percent of the maximum lost per started day").tag(config=True)
    days = Integer(1, help="Days after which nothing is left").tag(config=True)

    def late_submission_penalty(self, student_id: str, score: float, total_seconds_late: float) -> float:
        """Return the points that a notebook loses.

        Args:
            student_id: The student; the policy is the same for all.
            score: Points the notebook earned.
            total_seconds_late: Seconds after the due date.
        """
        # nbgrader hands over the score only; the maximum stands in the gradebook of the preprocessor that calls.
        caller: Any = self.parent
        notebook = caller.gradebook.find_notebook(caller.notebook_id, caller.assignment_id)
        policy = LatePolicy(self.percent_per_day, self.days)
        return late_penalty(score, float(notebook.max_score), total_seconds_late, policy)


def record_due_dates(course: Course, db_url: str) -> None:
    """Write the due dates of ``course.toml`` into a gradebook, for the stages that it knows.

    Args:
        course: The course.
        db_url: The gradebook, such as ``sqlite:////path/gradebook.db``; created if there is none.
    """
    with Gradebook(db_url, course.id) as gradebook:
        known = {assignment.name for assignment in gradebook.assignments}
        for stage in course.stages:
            if stage.name in known:
                due = stage.due.astimezone(UTC).replace(tzinfo=None)
                gradebook.update_or_create_assignment(stage.name, duedate=due)
