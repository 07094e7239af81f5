"""What the feedback says to a student, apart from what the check itself found."""

from __future__ import annotations

from dlcvgrade.results.plain import number
from dlcvgrade.results.reading import ExerciseResult, Result

VERDICTS = {
    "pass": "right",
    "wrong": "wrong",
    "error": "raised an error",
    "missing": "missing",
    "timeout": "took too long",
    "out_of_memory": "out of memory",
    "crash": "crashed",
    "flood": "too much output",
    "forbidden_op": "not by hand",
    "mutated_input": "changed its inputs",
    "not_run": "not run",
    "could_not_check": "not decided",
}
"""Verdict to the words beside its sign; colour is never the only difference."""

MEANINGS = {
    "timeout": "Look for a loop that does not end, or one that whole-tensor operations can replace.",
    "out_of_memory": "Look for a tensor with one axis more than the answer needs.",
    "crash": "The process that ran the function ended; other exercises were not affected.",
    "flood": "Take out what prints in a loop.",
    "not_run": "Open the notebook, restart its kernel, run all cells, save it and hand it in again.",
    "could_not_check": "Your teacher decides about these points.",
}
"""Verdict to what a student can do about it, where the check itself gives no hint."""

UNDECIDED = "{count} of {total} exercises could not be checked. That is a fault of the grader, not of your code."
HIDDEN = (
    "Your functions were run on inputs that were drawn for grading. What they were, and what the right answers are, "
    "is not told; run the checks in the notebook to see values."
)


def sign(exercise: ExerciseResult) -> str:
    """Return the sign of an exercise's verdict."""
    if exercise.points is None:
        return "?"
    return "✓" if exercise.verdict == "pass" else "✗"


def score(points: float | None, possible: float) -> str:
    """Return points of possible points; a question mark where they are not decided."""
    return f"{'?' if points is None else number(points)} / {number(possible)}"


def lines(exercise: ExerciseResult) -> list[tuple[str, str]]:
    """Return the labelled lines below an exercise's name: why, the likely mistake, what to do."""
    told = [] if exercise.reason is None else [("why", exercise.reason)]
    mistake = exercise.diagnosis if exercise.verdict == "wrong" else None
    if mistake and mistake not in (exercise.reason or ""):
        told.append(("likely", mistake))
    hint = exercise.hint or MEANINGS.get(exercise.verdict)
    return told if hint is None else [*told, ("hint", hint)]


def undecided(result: Result) -> str | None:
    """Return the sentence about what could not be checked; None if all could."""
    if result.is_decided:
        return None
    return UNDECIDED.format(count=len(result.undecided), total=len(result.exercises))
