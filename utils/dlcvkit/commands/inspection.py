"""What a student should know of a notebook before it is handed in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath

from dlcvkit.commands.check import check_notebook
from dlcvkit.commands.course import Topic
from dlcvkit.commands.definitions import Definitions, definitions_of
from dlcvkit.commands.notebook_file import Cell, NotebookFile

UNANSWERED = "*Write your answer in this cell.*"
"""What stands in the cell of an answer that nobody has written."""
_RUN_AGAIN = "restart the kernel, run all cells and save"


@dataclass(frozen=True)
class Inspection:
    """What was found: warnings, one line each, the files of saved answers, and points on the public cases."""

    warnings: list[str]
    answers: list[str]
    earned: float


def inspect_notebook(topic: Topic, notebook: NotebookFile, seconds: float) -> Inspection:
    """Look through a notebook and run its public checks.

    Args:
        topic: What it should be.
        notebook: The file.
        seconds: Time for one cell, and for one exercise.
    """
    definitions = definitions_of(notebook.cells)
    answers, refused = _answers(topic, definitions)
    checked = check_notebook(topic, notebook, seconds)
    untouched = [result.report.exercise for result in checked.results if result.verdict == "missing"]
    warnings = [*_of_another_version(topic, notebook.cells, definitions), *_run_order(notebook.cells), *refused]
    if untouched:
        warnings.append(f"not written yet: {', '.join(untouched)}")
    for result in checked.results:
        report = result.report
        if result.verdict not in ("pass", "missing"):
            points = f"{report.earned:g} of {report.possible:g} points on the public cases"
            warnings.append(f"{report.exercise} has {points} ({result.verdict})")
    open_ones = sum(cell.type == "markdown" and cell.source.strip() == UNANSWERED for cell in notebook.cells)
    if open_ones:
        warnings.append(f"{open_ones} question{'s are' if open_ones > 1 else ' is'} not answered")
    return Inspection(warnings, answers, checked.earned)


def _answers(topic: Topic, definitions: Definitions) -> tuple[list[str], list[str]]:
    """Return the names of the files with saved answers, and warnings about those that grading would not find."""
    names, warnings = [], []
    for exercise_id, exercise in topic.exercises.items():
        name = definitions.answers.get(exercise_id)
        if exercise.functions or name is None:
            continue
        if PurePath(name).name == name and "\\" not in name and name not in ("", ".", ".."):
            names.append(name)
        else:
            warnings.append(f"{exercise_id} names {name!r}; expected a file beside the notebook, so it is left out")
    return names, warnings


def _of_another_version(topic: Topic, cells: Sequence[Cell], definitions: Definitions) -> Iterator[str]:
    """Yield the differences between a notebook's check cells and the exercises that this kit knows of it."""
    absent = [each for each in topic.exercises if each not in definitions.checked]
    foreign = sorted(definitions.checked - set(topic.exercises))
    if absent:
        yield f"has no check of {', '.join(absent)}: deleted, or a notebook of another version"
    if foreign:
        yield f"checks {', '.join(foreign)}, which dlcvkit does not know in it: a notebook of another version"
    for cell in cells:
        exercise = topic.exercises.get(f"{topic.stage}/{str(cell.grade.get('grade_id', '')).removeprefix('check-')}")
        points = cell.grade.get("points")
        if exercise is None or not cell.grade.get("grade") or not isinstance(points, int | float):
            continue
        if points != exercise.total:
            yield f"says {points:g} points for {exercise.id}; expected {exercise.total:g}: of another version"


def _run_order(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield what speaks against a run of all cells from top to bottom before the file was saved."""
    code = [cell for cell in cells if cell.is_code]
    run = [cell for cell in code if cell.count is not None]
    if not run:
        if code:
            yield f"was saved without having been run; {_RUN_AGAIN}"
        return
    skipped = [str(cell.number) for cell in code if cell.count is None]
    if skipped:
        some = ", ".join(skipped[:5]) + (" and more" if len(skipped) > 5 else "")
        yield f"{'cells' if len(skipped) > 1 else 'cell'} {some} not run before it was saved; {_RUN_AGAIN}"
    for before, after in pairwise(run):
        if (before.count or 0) >= (after.count or 0):
            yield f"cell {before.number} was run after cell {after.number}; {_RUN_AGAIN}"
            return
