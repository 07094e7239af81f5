"""One cell of a notebook's source: what kind it is, and what may be wrong with it by itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jupytext
from IPython.core.inputtransformer2 import TransformerManager

from dlcvgrade.markers import Region, begin, scan
from dlcvgrade.problems import Problem

TAGS = ("setup", "demo", "raises-exception")
_KEYS = {"exercise": "code", "check": "code", "question": "markdown", "points": "markdown", "tags": "any"}
# What jupytext notes down for itself.
_JUPYTEXT_KEYS = {"lines_to_next_cell", "lines_to_end_of_cell_marker"}
_CELL_START = re.compile(r"^# ?%%+(?=\s|$)")
_SLUG = re.compile(r"^[a-z][a-z0-9_]*$")
# The regions that each kind of cell may hold.
_REGION_OF = {"exercise": "SOLUTION", "question": "MARK SCHEME"}


@dataclass
class Cell:
    """A cell as its author wrote it.

    Attributes:
        number: Its place in the notebook, from 1.
        line: The line of its ``# %%`` in the file, from 1.
        first_line: The line where its text begins, from 1.
        type: ``code`` or ``markdown``.
        source: Its text.
        metadata: What stands behind ``# %%``.
        regions: Its marked regions.
    """

    number: int
    line: int
    first_line: int
    type: str
    source: str
    metadata: dict[str, Any]
    regions: list[Region] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """``exercise``, ``check``, ``question`` or ``plain``."""
        return next((key for key in ("exercise", "check", "question") if key in self.metadata), "plain")

    def syntax_tree(self) -> ast.Module:
        """Return the syntax tree of a code cell, magics taken into account."""
        transformer: Any = TransformerManager
        tree: ast.Module = ast.parse(transformer().transform_cell(self.source))
        return tree

    def definitions(self) -> list[str]:
        """Return the names of the functions and classes that a code cell defines at its top level."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        return [node.name for node in self.syntax_tree().body if isinstance(node, kinds)]


def read_cells(text: str, file: str) -> tuple[list[Cell], list[Problem]]:
    """Split a source file in jupytext's percent format into cells.

    Args:
        text: The file's text.
        file: Its name, for messages.

    Returns:
        The cells and the problems found; without cells if the file cannot be read at all.
    """
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines, 1) if _CELL_START.match(line)]
    try:
        notebook = jupytext.reads(text, fmt="py:percent")
    except Exception as error:  # jupytext passes on whatever YAML and its own parsers raise
        return [], [Problem(file, f"cannot be read as jupytext's percent format: {str(error).splitlines()[0]}")]
    if len(notebook.cells) != len(starts):
        return [], [Problem(file, "there is text before the first '# %%'; put it into a cell", line=1)]
    problems = [
        Problem(file, f"the header sets {key!r}; only the kernelspec belongs there", line=1)
        for key in notebook.metadata
        if key not in ("kernelspec", "jupytext")
    ]
    cells = []
    for number, (node, start) in enumerate(zip(notebook.cells, starts, strict=True), 1):
        first = start + 1
        while first < len(lines) and not lines[first - 1].strip():
            first += 1
        metadata = {key: value for key, value in node.metadata.items() if key not in _JUPYTEXT_KEYS}
        cells.append(Cell(number, start, first, node.cell_type, node.source, metadata))
    return cells, problems


def _metadata_complaints(cell: Cell) -> Iterator[str]:
    for key in cell.metadata:
        if key not in _KEYS:
            yield f"metadata {key!r} is not on the allow-list; known are {', '.join(_KEYS)}"
        elif _KEYS[key] not in ("any", cell.type):
            yield f"{key!r} belongs on a {_KEYS[key]} cell; this is a {cell.type} cell"
    roles = [key for key in ("exercise", "check", "question") if key in cell.metadata]
    if len(roles) > 1:
        yield f"a cell has one role; this one has {' and '.join(roles)}"
    tags = cell.metadata.get("tags", [])
    if not isinstance(tags, list):
        yield f'tags is {tags!r}; expected a list such as ["demo"]'
    else:
        for tag in tags:
            if tag not in TAGS:
                yield f"the tag {tag!r} is not on the allow-list; known are {', '.join(TAGS)}"
        if tags and roles:
            yield f"{roles[0]} cells have no tags; this one is tagged {', '.join(map(str, tags))}"


def _question_complaints(cell: Cell) -> Iterator[str]:
    name, points = cell.metadata["question"], cell.metadata.get("points")
    if not isinstance(name, str) or not _SLUG.match(name):
        yield f"the question is named {name!r}; expected small letters, digits and underscores"
    if isinstance(points, bool) or not isinstance(points, (int, float)) or points <= 0:
        yield f"the question is worth {points!r} points; expected a number above 0, as in points=2"
    if [region.name for region in cell.regions] != ["MARK SCHEME"]:
        yield "a question holds one mark scheme, from '### BEGIN MARK SCHEME' to '### END MARK SCHEME'"


def _exercise_complaints(cell: Cell) -> Iterator[str]:
    names = cell.definitions()
    if len(names) != 1:
        yield f"an exercise cell defines one function or class; this one defines {', '.join(names) or 'none'}"
    solutions = [region for region in cell.regions if region.name == "SOLUTION"]
    if not solutions:
        yield "an exercise cell needs a solution, from '### BEGIN SOLUTION' to '### END SOLUTION'"
    lines = cell.source.split("\n")
    for region in solutions:
        if not any(line.strip() for line in lines[region.first : region.last + 1]):
            yield "the solution is empty"


def _check_complaints(cell: Cell) -> Iterator[str]:
    exercise = cell.metadata["check"]
    body = cell.syntax_tree().body
    call = body[0].value if len(body) == 1 and isinstance(body[0], ast.Expr) else None
    well_formed = (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "check"
        and call.args
        and isinstance(call.args[0], ast.Constant)
    )
    if not well_formed:
        yield f'a check cell holds one call such as check("{exercise}", ...) and nothing else'
    elif isinstance(call, ast.Call) and isinstance(call.args[0], ast.Constant) and call.args[0].value != exercise:
        yield f"the cell is for {exercise!r}, but its check names {call.args[0].value!r}"


def checked_names(cell: Cell) -> list[str]:
    """Return what a well-formed check cell passes to ``check`` after the exercise's id, as source text."""
    statement = cell.syntax_tree().body[0]
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Call)
    return [ast.unparse(argument) for argument in statement.value.args[1:]]


def examine(cell: Cell, file: str) -> list[Problem]:
    """Find what is wrong with a cell by itself, and fill in its regions.

    Args:
        cell: The cell; its ``regions`` are set.
        file: The file's name, for messages.

    Returns:
        The problems, in the order of lines.
    """

    def problem(what: str, line: int = cell.line) -> Problem:
        return Problem(file, what, cell.number, line)

    if cell.type not in ("code", "markdown"):
        return [problem(f"a {cell.type} cell; expected code or markdown")]
    problems = [problem(what) for what in _metadata_complaints(cell)]
    cell.regions, complaints = scan(cell.source)
    problems += [problem(what, cell.first_line + offset) for offset, what in complaints]
    allowed = _REGION_OF.get(cell.kind)
    for region in cell.regions:
        line = cell.first_line + region.first - 1
        if region.name == "HIDDEN TESTS":
            problems.append(problem("hidden tests are added by the build; write only the call of check", line))
        elif region.name != allowed:
            home = next(kind for kind, name in _REGION_OF.items() if name == region.name)
            problems.append(
                problem(f"{begin(region.name)!r} stands in this {cell.kind} cell; it belongs on {home} cells", line)
            )
    if cell.type == "code":
        try:
            cell.syntax_tree()
        except SyntaxError as error:
            offset = (error.lineno or 1) - 1
            return [*problems, problem(f"syntax error: {error.msg}", cell.first_line + offset)]
    rules = {"exercise": _exercise_complaints, "check": _check_complaints, "question": _question_complaints}
    if cell.kind in rules and cell.type == _KEYS[cell.kind] and not complaints:
        problems += [problem(what) for what in rules[cell.kind](cell)]
    return problems


def grade_id(cell: Cell) -> str | None:
    """Return nbgrader's id for a well-formed cell: the function, ``check-...`` or ``question-...``; None if plain."""
    if cell.kind == "exercise":
        names: Sequence[str] = cell.definitions()
        return names[0] if names else None
    if cell.kind == "check":
        return f"check-{str(cell.metadata['check']).split('/')[-1]}"
    return f"question-{cell.metadata['question']}" if cell.kind == "question" else None
