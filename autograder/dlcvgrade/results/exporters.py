"""Results as other systems read them: nbgrader's CSV, Canvas, Moodle and Gradescope."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from dlcvgrade.problems import Problem
from dlcvgrade.results import wording
from dlcvgrade.results.plain import plain
from dlcvgrade.results.reading import ExerciseResult, Result
from dlcvgrade.results.roster import Person, Roster
from dlcvgrade.results.spreadsheet import Cell, csv_text
from dlcvgrade.results.writing import file_name

LONGEST = 300
"""Characters of a reason or a hint that go into a comment."""
POINTS_POSSIBLE = "Points Possible"

Entry = tuple[Result, Person]


def one_per_student(results: Sequence[Result]) -> tuple[list[Result], list[Problem]]:
    """Return the results of students that have one, and a problem for every result that shares its student."""
    counts = Counter(result.student for result in results)
    kept = [result for result in results if counts[result.student] == 1]
    told = "is one of {count} results of {student}; expected one, so none of them is exported"
    problems = [
        Problem(f"{plain(r.key)}.json", told.format(count=counts[r.student], student=plain(r.student, 80)))
        for r in results
        if counts[r.student] > 1
    ]
    return kept, problems


def _points(result: Result) -> Cell:
    """Return what a student earned; None, an empty cell, while something is undecided."""
    return result.points if result.is_decided else None


def nbgrader_csv(entries: Sequence[Entry]) -> str:
    """Return the table with the columns of nbgrader's own export.

    Dates, names and the penalty for lateness stay empty: they stand in the gradebook, not in results.
    """
    header = (
        "assignment duedate timestamp student_id last_name first_name email raw_score late_submission_penalty score "
        "max_score"
    ).split()
    rows = [
        [r.stage, None, None, r.student, None, None, None, _points(r), None, _points(r), r.possible] for r, _ in entries
    ]
    return csv_text(header, rows)


def canvas_csv(entries: Sequence[Entry]) -> str:
    """Return a table for Canvas' gradebook; the assignment's column has the stage's name.

    Canvas looks a student up by its own number, then by SIS user id, then by SIS login id.
    """
    header = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
    possible = max(result.possible for result, _ in entries)
    rows: list[list[Cell]] = [[f"    {POINTS_POSSIBLE}", None, None, None, None, possible]]
    for result, person in entries:
        known = {"Student": result.student, "SIS Login ID": result.student, **person}
        # Canvas takes every row whose first cell holds these words for the row above.
        known["Student"] = known["Student"].replace(POINTS_POSSIBLE, POINTS_POSSIBLE.replace(" ", "_"))
        rows.append([*(known.get(column) for column in header), _points(result)])
    return csv_text([*header, entries[0][0].stage], rows)


def moodle_csv(entries: Sequence[Entry]) -> str:
    """Return a grading worksheet for Moodle's assignment; the comments are HTML, as Moodle takes them.

    Moodle wants the columns Identifier, Grade and Last modified (grade), and finds students by Identifier alone.
    """
    header = ["Identifier", "Full name", "Email address"]
    more = ["Grade", "Maximum Grade", "Last modified (grade)", "Feedback comments"]
    rows: list[list[Cell]] = []
    for result, person in entries:
        known = {"Identifier": result.student, **person}
        told = "<br>".join(escape(line) for line in comment_lines(result))
        modified = (
            known.get("Last modified (grade)", "").strip("- ") or "never"
        )  # Moodle's own "-" looks like a formula
        cells: list[Cell] = [known.get(column) for column in header]
        rows.append([*cells, _points(result), result.possible, modified, told])
    return csv_text([*header, *more], rows)


def comment_lines(result: Result) -> list[str]:
    """Return what a student is told: one line per exercise, and what else went into the points."""
    lines = []
    for exercise in result.exercises:
        start = f"{plain(exercise.name, 120)}: {wording.score(exercise.points, exercise.possible)}"
        words = [wording.VERDICTS[exercise.verdict], *(plain(text, LONGEST) for _, text in wording.lines(exercise))]
        lines.append(f"{start}, {'; '.join(words)}")
    return [*lines, *result.remarks]


def gradescope_json(result: Result) -> str:
    """Return a submission's ``results.json`` for Gradescope; what is undecided has no score."""

    def test(exercise: ExerciseResult) -> dict[str, Any]:
        told = [wording.VERDICTS[exercise.verdict]]
        told += [f"{label}: {plain(text, LONGEST)}" for label, text in wording.lines(exercise)]
        told += [f"note: {plain(note, LONGEST)}" for note in exercise.notes]
        decided = {} if exercise.points is None else {"score": exercise.points, "status": _status(exercise)}
        name = plain(exercise.name, 120)
        return {**decided, "max_score": exercise.possible, "name": name, "output": "\n".join(told), **_SHOWN}

    told = [sentence for sentence in (wording.undecided(result), wording.HIDDEN) if sentence]
    told += [f"mended: {plain(note, LONGEST)}" for note in result.notes]
    report = {
        **({"score": result.points} if result.is_decided else {}),
        "execution_time": result.seconds,
        "output": "\n".join(told),
        "output_format": "text",  # Gradescope escapes text; its other formats are HTML, Markdown and ANSI
        "test_output_format": "text",
        "test_name_format": "text",
        "stdout_visibility": "hidden",
        **_SHOWN,
        "tests": [test(exercise) for exercise in result.exercises],
    }
    return json.dumps(report, indent=1) + "\n"


_SHOWN = {"visibility": "visible"}


def _status(exercise: ExerciseResult) -> str:
    return "passed" if exercise.verdict == "pass" else "failed"


def gradescope_files(results: Sequence[Result]) -> dict[str, str]:
    """Return ``NAME/results.json`` to text for every submission."""
    return {f"{file_name(r.student, r.key)}/results.json": gradescope_json(r) for r in results}


TABLES: Mapping[str, Callable[[Sequence[Entry]], str]] = {
    "nbgrader": nbgrader_csv,
    "canvas": canvas_csv,
    "moodle": moodle_csv,
}
"""Name of a system that takes one table to the exporter that makes it."""
WITH_TOTALS = ("canvas", "moodle")
"""Systems that may get the gradebook's points; `nbgrader export` writes nbgrader's own table of them."""


def with_people(results: Sequence[Result], roster: Roster | None) -> tuple[list[Entry], list[Problem]]:
    """Return each result with what the roster says of its student, and a problem for each student not in it."""
    if roster is None:
        return [(result, {}) for result in results], []
    entries, problems = [], []
    for result in results:
        person = roster.find(result.student)
        if person is None:
            problems.append(Problem(f"{plain(result.key)}.json", roster.missing(plain(result.student, 80))))
        else:
            entries.append((result, person))
    return entries, problems
