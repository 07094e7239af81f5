"""What the mutants of an exercise are made from: its declaration, its hidden part, and its solved notebook."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from dlcvgrade.cells import Cell, read_cells
from dlcvgrade.course import Course
from dlcvgrade.mutants.mutation import Mutation, mutations, solution_lines
from dlcvgrade.problems import CourseProblems, Problem
from dlcvkit.checking import Exercise, Hidden, SpecsNotFound, exercises_of, load_hidden

_DEFINITIONS = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


@dataclass(frozen=True)
class SolvedNotebook:
    """The code of a solved notebook.

    Attributes:
        cells: All its cells.
        file: Its name, for messages and tracebacks.
    """

    cells: tuple[Cell, ...]
    file: str

    @classmethod
    def read(cls, text: str, file: str) -> SolvedNotebook:
        """Read a notebook's source.

        Raises:
            CourseProblems: If it is not in jupytext's percent format.
        """
        cells, problems = read_cells(text, file)
        if problems:
            raise CourseProblems(problems)
        return cls(tuple(cells), file)

    def of(self, exercise: str) -> list[Cell]:
        """Return the cells that hold an exercise's functions."""
        return [cell for cell in self.cells if cell.metadata.get("exercise") == exercise]

    def namespace(self) -> dict[str, Any]:
        """Run the set-up and all solutions and return the names that they define.

        Of the other cells only definitions, imports and assignments of literals are taken: what they compute is not
        needed to call a function, and may take minutes.
        """
        names: dict[str, Any] = {"__name__": "solved_notebook"}
        for cell in self.cells:
            if cell.type != "code" or cell.kind == "check" or "demo" in cell.metadata.get("tags", []):
                continue
            tree = cell.syntax_tree()
            if cell.kind == "plain" and "setup" not in cell.metadata.get("tags", []):
                tree.body = [node for node in tree.body if _is_definition(node)]
            with redirect_stdout(StringIO()):  # a set-up may say which data or network it found
                self.run(tree, names)
        return names

    def run(self, tree: ast.Module, names: dict[str, Any]) -> None:
        """Run one cell's code in a namespace; modified."""
        exec(compile(tree, self.file, "exec"), names)


def _is_definition(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        try:
            ast.literal_eval(node.value)
        except ValueError:
            return False
        return True
    return isinstance(node, _DEFINITIONS)


@dataclass(frozen=True)
class Subject:
    """An exercise whose checks are tried out.

    Attributes:
        exercise: Its public part.
        hidden: Its hidden part.
        notebook: The solved notebook that it stands in.
    """

    exercise: Exercise
    hidden: Hidden
    notebook: SolvedNotebook

    @property
    def with_hidden(self) -> Exercise:
        """The exercise with its hidden cases and mistakes."""
        return self.exercise.with_hidden(self.hidden.cases, self.hidden.mistakes)

    def solution(self, names: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the exercise's functions from a namespace."""
        return tuple(names[name] for name in self.exercise.functions)

    def mutations(self) -> list[Mutation]:
        """Return the automatic mutants of all its cells."""
        seen: dict[str, int] = {}
        cells = self.notebook.of(self.exercise.id)
        return [m for cell in cells for m in mutations(cell.syntax_tree(), solution_lines(cell.source), seen)]

    def stub(self) -> list[ast.Module]:
        """Return its cells as students get them, with the solutions taken out."""
        return [without_solution(cell.source) for cell in self.notebook.of(self.exercise.id)]


def without_solution(source: str) -> ast.Module:
    """Return a cell with ``raise NotImplementedError()`` in place of every solution."""
    inside = solution_lines(source)
    lines: list[str] = []
    for number, line in enumerate(source.split("\n"), 1):
        if line.strip() == "### BEGIN SOLUTION":
            indent = line[: len(line) - len(line.lstrip())]
            lines.append(f"{indent}raise NotImplementedError()")
        elif number not in inside:
            lines.append(line)
    return ast.parse("\n".join(lines))


def subjects(course: Course, stage: str, exercise: str | None = None, specs: Path | None = None) -> list[Subject]:
    """Return the exercises of a stage, or one of them.

    Args:
        course: Says where notebooks and specs lie.
        stage: Such as ``a1``.
        exercise: Id of the only one wanted; None wants all.
        specs: Folder with the hidden parts; the course's if None.

    Raises:
        CourseProblems: If a notebook or a hidden part is missing, or there is no such exercise.
    """
    course.stage(stage)
    known = exercises_of(stage)
    if exercise is not None and exercise not in known:
        raise CourseProblems([Problem(f"stage {stage}", f"there is no exercise {exercise!r}; see {', '.join(known)}")])
    wanted = [exercise] if exercise is not None else list(known)
    notebooks: dict[str, SolvedNotebook] = {}
    found, problems = [], []
    for name in wanted:
        topic = known[name].notebook
        relative = f"solutions/{stage}/{topic}.py"
        try:
            if topic not in notebooks:
                notebooks[topic] = SolvedNotebook.read((course.root / relative).read_text(encoding="utf-8"), relative)
            hidden = load_hidden(name, specs or course.specs)
        except FileNotFoundError as error:
            what = str(error) if isinstance(error, SpecsNotFound) else "does not exist"
            problems.append(Problem(relative, what))
            continue
        found.append(Subject(known[name], hidden, notebooks[topic]))
    if problems:
        raise CourseProblems(problems)
    return found
