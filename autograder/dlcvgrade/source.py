"""From ``solutions/aN/topic.py`` to the solved notebook with nbgrader's metadata."""

from __future__ import annotations

import hashlib
from difflib import get_close_matches
from typing import Any

from nbformat import NotebookNode

from dlcvgrade.cells import Cell, checked_names, examine, grade_id, read_cells
from dlcvgrade.markers import begin, end
from dlcvgrade.notebooks import make_cell, make_notebook
from dlcvgrade.problems import Problem
from dlcvgrade.registry import Registry

ANSWER = "*Write your answer in this cell.*"
_SCHEMA = 3


def _nbgrader(name: str, **flags: Any) -> dict[str, Any]:
    plain = {"grade": False, "locked": False, "solution": False, "task": False}
    return {"nbgrader": {"schema_version": _SCHEMA, "grade_id": name, **plain, **flags}}


def _with_hidden_tests(call: str) -> str:
    call = call.strip()
    # Imported here and not by the author: a notebook that students see has no use for it.
    hidden = f"from dlcvkit import hidden_check\n\nhidden_{call}"
    return f"{call}\n{begin('HIDDEN TESTS')}\n{hidden}\n{end('HIDDEN TESTS')}"


def _converted(cell: Cell, registry: Registry, seen: dict[str, int]) -> list[NotebookNode]:
    """Return the notebook cells that one well-formed source cell becomes; ``seen`` counts equal plain cells."""
    name = grade_id(cell)
    if cell.kind == "exercise":
        return [make_cell("code", cell.source, str(name), _nbgrader(str(name), solution=True))]
    if cell.kind == "check":
        points = registry.points(cell.metadata["check"])
        metadata = _nbgrader(str(name), grade=True, locked=True, points=points)
        return [make_cell("code", _with_hidden_tests(cell.source), str(name), metadata)]
    if cell.kind == "question":
        metadata = _nbgrader(str(name), task=True, locked=True, points=float(cell.metadata["points"]))
        question = make_cell("markdown", cell.source, str(name), metadata)
        return [question, make_cell("markdown", ANSWER, f"answer-{cell.metadata['question']}")]
    text = f"{cell.type}\n{cell.source}"
    seen[text] = seen.get(text, 0) + 1
    digest = hashlib.sha256(f"{text}\n{seen[text]}".encode()).hexdigest()[:16]
    tags = {"tags": list(cell.metadata["tags"])} if cell.metadata.get("tags") else {}
    return [make_cell(cell.type, cell.source, digest, tags)]


def _exercise_problems(cells: list[Cell], file: str, stage: str, notebook: str, registry: Registry) -> list[Problem]:
    """Find exercises without cells, cells without exercises, and checks in the wrong place."""
    problems = []
    known = list(registry.ids(stage, notebook))
    written: dict[str, list[str]] = {exercise: [] for exercise in known}
    checked: set[str] = set()
    for cell in cells:
        exercise = cell.metadata.get("exercise", cell.metadata.get("check"))
        if exercise is None:
            continue
        if exercise not in known:
            near = get_close_matches(str(exercise), known, n=1)
            hint = f"; is it {near[0]!r}?" if near else ""
            what = f"{exercise!r} is no exercise of {stage}/{notebook}{hint}"
            problems.append(Problem(file, what, cell.number, cell.line))
        elif cell.kind == "exercise":
            written[exercise] += cell.definitions()
            if exercise in checked:
                what = f"{exercise!r} is checked above this cell; the check comes after all its cells"
                problems.append(Problem(file, what, cell.number, cell.line))
        else:
            checked.add(exercise)
            wanted = list(registry.functions(exercise))
            # An exercise without functions is a saved answer, handed in as a file.
            if wanted and checked_names(cell) != wanted:
                what = f"check passes ({', '.join(checked_names(cell))}); the exercise takes ({', '.join(wanted)})"
                problems.append(Problem(file, what, cell.number, cell.line))
    for exercise in known:
        if not written[exercise] and registry.functions(exercise):
            problems.append(Problem(file, f'the exercise {exercise!r} has no cell; add one with exercise="{exercise}"'))
        else:
            problems += [
                Problem(file, f"the exercise {exercise!r} has no cell that defines {name}")
                for name in registry.functions(exercise)
                if name not in written[exercise]
            ]
        if exercise not in checked:
            problems.append(Problem(file, f'the exercise {exercise!r} is never checked; add check="{exercise}"'))
    return problems


def _id_problems(cells: list[Cell], file: str) -> list[Problem]:
    problems = []
    first: dict[str, int] = {}
    for cell in cells:
        name = grade_id(cell)
        if name is None:
            continue
        if name in first:
            what = f"the grade id {name!r} is taken by cell {first[name]}"
            problems.append(Problem(file, what, cell.number, cell.line))
        first.setdefault(name, cell.number)
    return problems


def solved_notebook(
    text: str, *, file: str, stage: str, notebook: str, registry: Registry
) -> tuple[NotebookNode | None, list[Problem]]:
    """Turn a notebook's source into the solved notebook, or say everything that is wrong with it.

    Args:
        text: The source, in jupytext's percent format.
        file: Its name, for messages.
        stage: The stage, such as ``a1``.
        notebook: The notebook, such as ``knn``.
        registry: Where exercises and their points stand.

    Returns:
        The notebook without outputs, or None, and the problems. The same text gives the same notebook.
    """
    cells, problems = read_cells(text, file)
    own = [problem for cell in cells for problem in examine(cell, file)]
    problems += own
    # What concerns several cells is told about sound cells only: one slip must not raise five complaints.
    unsound = {problem.cell for problem in own}
    sound = [cell for cell in cells if cell.number not in unsound]
    if cells:
        found = _exercise_problems(sound, file, stage, notebook, registry) + _id_problems(sound, file)
        problems += [problem for problem in found if problem.cell is not None or not own]
    if problems:
        return None, sorted(problems, key=lambda problem: (problem.line or 0, problem.cell or 0))
    seen: dict[str, int] = {}
    built = [node for cell in cells for node in _converted(cell, registry, seen)]
    return make_notebook(built), []
