"""What of a notebook is run outside of Jupyter: definitions, and no training, plots, shell lines or checks."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dlcvkit.commands.notebook_file import Cell

_BODY_MAGICS = ("%%time", "%%timeit", "%%capture", "%%prun")


@dataclass(frozen=True)
class Piece:
    """What is run of one cell.

    Attributes:
        number: The cell's place in the notebook, from 1.
        source: The whole cell.
        kept: The places of the statements that are run among those of ``parse_cell``, from 0.
    """

    number: int
    source: str
    kept: tuple[int, ...]


@dataclass
class Definitions:
    """A notebook's definitions.

    Attributes:
        pieces: What is run, in order.
        unreadable: What is wrong with cells that are no Python, one line each.
        left_out: Variable to the reason why it is not computed.
        answers: Exercise id to the name of the file with its saved answer, from the check cells.
        checked: The exercises that have a check cell.
    """

    pieces: list[Piece] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    checked: set[str] = field(default_factory=set)


def definitions_of(cells: Iterable[Cell]) -> Definitions:
    """Return imports, functions, classes and simple assignments of a notebook's code cells; demos are left out.

    An assignment is simple if it calls nothing but built-in functions and what was imported from elsewhere than the
    kit: what calls the notebook's own functions, or the kit's, may take minutes.
    """
    found = Definitions()
    imported: set[str] = set()
    for cell in cells:
        if not cell.is_code:
            continue
        try:
            tree = parse_cell(cell.source)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            if "demo" not in cell.tags:
                found.unreadable.append(f"cell {cell.number} is no Python: {_told(error)}")
            continue
        _note_checks(tree, found)
        if "demo" in cell.tags or cell.grade.get("grade"):
            continue
        kept = [n for n, each in enumerate(tree.body) if _is_definition(each, imported, found, cell.number)]
        if kept:
            found.pieces.append(Piece(cell.number, cell.source, tuple(kept)))
    return found


def parse_cell(source: str) -> ast.Module:
    """Return the syntax tree of a cell, magics and shell lines taken into account; line numbers are those of the cell.

    Raises:
        SyntaxError: If it is no Python.
    """
    try:
        return ast.parse(source)
    except SyntaxError:
        from IPython.core.inputtransformer2 import TransformerManager

        first, newline, rest = source.partition("\n")
        if first.split(" ")[0] in _BODY_MAGICS:
            source = newline + rest
        return ast.parse(TransformerManager().transform_cell(source))


def _told(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    return f"{type(error).__name__}: {error}"


def _note_checks(tree: ast.Module, found: Definitions) -> None:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != "check":
            continue
        values = [argument.value if isinstance(argument, ast.Constant) else None for argument in node.args]
        if values and isinstance(values[0], str):
            found.checked.add(values[0])
            if len(values) == 2 and isinstance(values[1], str):
                found.answers[values[0]] = values[1]


def _is_definition(statement: ast.stmt, imported: set[str], found: Definitions, number: int) -> bool:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return True
    if isinstance(statement, ast.Import | ast.ImportFrom):
        imported |= set(_foreign_names(statement))
        return True
    if isinstance(statement, ast.If | ast.Try):
        tests = [statement.test] if isinstance(statement, ast.If) else []
        is_simple = not any(_costly_call(test, imported) for test in tests)
        return is_simple and all(_is_definition(each, imported, found, number) for each in _inner(statement))
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        costly = _costly_call(statement, imported)
        if costly is None:
            return all(_root(target) is not None for target in targets)
        for node in (each for target in targets for each in ast.walk(target)):
            if isinstance(node, ast.Name):
                found.left_out[node.id] = f"cell {number} computes it with {costly}"
        return False
    return isinstance(statement, ast.Pass)


def _inner(statement: ast.If | ast.Try) -> Iterator[ast.stmt]:
    yield from statement.body
    yield from statement.orelse
    if isinstance(statement, ast.Try):
        yield from statement.finalbody
        for handler in statement.handlers:
            yield from handler.body


def _foreign_names(statement: ast.Import | ast.ImportFrom) -> Iterator[str]:
    module = (statement.module or "") if isinstance(statement, ast.ImportFrom) else ""
    for alias in statement.names:
        if (module or alias.name).partition(".")[0] != "dlcvkit":
            yield alias.asname or alias.name.partition(".")[0]


def _costly_call(tree: ast.AST, imported: set[str]) -> str | None:
    """Return the first call of something else than built-in and imported functions, as it is written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            root = _root(node.func)
            if root not in imported and not hasattr(builtins, root or " "):
                return f"{ast.unparse(node.func)[:40]}(...)"
    return None


def _root(node: ast.AST) -> str | None:
    """Return the name that an expression such as ``torch.relu(x)[0]`` begins with; a constant begins with ``str``."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call | ast.Starred):
        node = node.func if isinstance(node, ast.Call) else node.value
    if isinstance(node, ast.Tuple | ast.List):
        roots = [_root(element) for element in node.elts]
        return roots[0] if roots and all(roots) else None
    if isinstance(node, ast.Constant):
        return "str"
    return node.id if isinstance(node, ast.Name) else None
