"""``check`` and ``hidden_check``: what notebooks call."""

from __future__ import annotations

import io
import math
import secrets
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from dlcvkit.checking.findings import Report
from dlcvkit.checking.registry import find_exercise
from dlcvkit.checking.render import Summary, as_text
from dlcvkit.checking.run import check_functions
from dlcvkit.checking.specs import hidden_exercise
from dlcvkit.memory import remember


class Check:
    """The callable behind ``check``; remembers the last report of each exercise."""

    def __init__(self) -> None:
        self._reports: dict[str, Report] = {}

    def __call__(self, exercise_id: str, *functions: Any, seed: int | None = None) -> float:
        """Check functions on the public cases and show the report.

        Args:
            exercise_id: Such as ``a1/knn_two_loops``.
            functions: The student's functions, in the order that the exercise names them; a path for a saved answer.
            seed: Seed of the inputs, any integer; None takes the exercise's own.

        Returns:
            The points earned on the public cases, between 0 and the exercise's points.

        Raises:
            UnknownExercise: If there is no such exercise.
        """
        report = check_functions(find_exercise(exercise_id), functions, seed=seed)
        self._reports[exercise_id] = report
        show(report)
        if is_in_notebook():
            remember([report], "notebook")
        return points(report)

    def summary(self) -> Summary:
        """Return a table of all exercises checked in this session."""
        return Summary(list(self._reports.values()))


def hidden_check(exercise_id: str, *functions: Any, seed: int | None = None) -> float:
    """Check functions on public and hidden cases with fresh inputs, and show a report without inputs and values.

    Args:
        exercise_id: Such as ``a1/knn_two_loops``.
        functions: As for ``check``.
        seed: Seed of the inputs; None draws one.

    Returns:
        The points earned, one finite float between 0 and the exercise's points.

    Raises:
        SpecsNotFound: If the hidden cases are not here.
        UnknownExercise: If there is no such exercise.
    """
    exercise = hidden_exercise(exercise_id)
    # What student code prints while it holds hidden inputs is dropped: it would stand in the graded cell.
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        report = check_functions(exercise, functions, seed=secrets.randbelow(2**31) if seed is None else seed)
    show(report)
    return points(report)


def points(report: Report) -> float:
    """Return the points of a report as one finite Python float between 0 and what is possible."""
    earned = float(report.earned)
    return min(max(earned, 0.0), float(report.possible)) if math.isfinite(earned) else 0.0


def show(report: Report) -> None:
    """Display the report in Jupyter, print it elsewhere."""
    if is_in_notebook():
        from IPython.display import display

        display(report)  # type: ignore[no-untyped-call]
    else:
        print(as_text(report))


def is_in_notebook() -> bool:
    """Return whether a Jupyter kernel runs this."""
    try:
        from IPython import get_ipython
    except ImportError:  # the kit runs without IPython
        return False
    return hasattr(get_ipython(), "kernel")  # type: ignore[no-untyped-call]


check = Check()
