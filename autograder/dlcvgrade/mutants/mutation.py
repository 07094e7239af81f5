"""Small changes to a solution, made in its syntax tree: each is a mistake that the hidden checks should notice."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import ndiff

from dlcvgrade.mutants.operators import Change, changes_of

# What is shown of a change: the smallest of these around it, so that a lone "1 -> 2" comes with its surroundings.
_SHOWN = (ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.Call, ast.Subscript, ast.Lambda, ast.stmt)
# Errors raised on bad input and texts are not what an exercise is about.
_LEFT_ALONE = (ast.Raise, ast.Assert, ast.JoinedStr, ast.arguments, ast.Import, ast.ImportFrom)
_SHARED = (ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop)
_DROPPED = "dropped"


@dataclass(frozen=True)
class Mutation:
    """A changed copy of a cell.

    Attributes:
        key: The change in one line, such as ``f: a - b -> a + b``; unique within the exercise and stable as long as
            the solution is. A second change that reads the same ends in ``#2``.
        tree: The changed cell.
    """

    key: str
    tree: ast.Module


@dataclass(frozen=True)
class _Place:
    """Where a node hangs: the index of its parent in ``ast.walk``, the field, and the place in it if it is a list."""

    parent: int
    field: str
    position: int | None


class _Tree:
    """A syntax tree with numbered nodes; copies of it have the same numbers."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.nodes = list(ast.walk(tree))
        number = {id(node): index for index, node in enumerate(self.nodes)}
        self.places: dict[int, _Place] = {}
        for index, node in enumerate(self.nodes):
            for name, value in ast.iter_fields(node):
                children = value if isinstance(value, list) else [value]
                for position, child in enumerate(children):
                    # Operators and the contexts Load and Store are one object for all; they change with their parent.
                    if isinstance(child, ast.AST) and not isinstance(child, _SHARED):
                        place = _Place(index, name, position if isinstance(value, list) else None)
                        self.places[number[id(child)]] = place

    def ancestors(self, index: int) -> Iterator[int]:
        """Yield the numbers of the node itself, its parent, and so on up to the module."""
        while True:
            yield index
            if index not in self.places:
                return
            index = self.places[index].parent

    def replaced(self, index: int, change: Change) -> tuple[ast.Module, list[ast.AST]]:
        """Return a copy with one node replaced or, for None, removed; and the copy's nodes in the original's order."""
        tree = copy.deepcopy(self.tree)
        nodes = list(ast.walk(tree))
        place = self.places[index]
        parent = nodes[place.parent]
        if place.position is None:
            setattr(parent, place.field, change)
            nodes[index] = change if change is not None else parent
        else:
            children = getattr(parent, place.field)
            is_last = change is None and len(children) == 1 and isinstance(children[0], ast.stmt)
            children[place.position : place.position + 1] = (
                [ast.Pass()] if is_last else [] if change is None else [change]
            )
            nodes[index] = change if change is not None else parent
        return ast.fix_missing_locations(tree), nodes


def solution_lines(source: str, begin: str = "### BEGIN SOLUTION", end: str = "### END SOLUTION") -> set[int]:
    """Return the numbers of the lines between the markers, from 1."""
    lines: set[int] = set()
    is_inside = False
    for number, line in enumerate(source.split("\n"), 1):
        if line.strip() == begin:
            is_inside = True
        elif line.strip() == end:
            is_inside = False
        elif is_inside:
            lines.add(number)
    return lines


def mutations(tree: ast.Module, lines: set[int], seen: dict[str, int] | None = None) -> list[Mutation]:
    """Return every small change of the code that stands in the given lines.

    Args:
        tree: A cell's syntax tree; not modified.
        lines: Line numbers of the solution; code elsewhere stays as it is.
        seen: Counts keys over several cells of one exercise; modified.

    Returns:
        The changes in the order of the source, without two that give the same code, and without ones that change
        nothing.
    """
    numbered = _Tree(tree)
    seen = {} if seen is None else seen
    texts = {ast.unparse(tree)}
    found = []
    for index in sorted(numbered.places, key=lambda i: _order(numbered.nodes[i])):
        node = numbered.nodes[index]
        chain = list(numbered.ancestors(index))
        if not _is_in(numbered, chain, lines):
            continue
        parents = [numbered.nodes[i] for i in chain[1:]]
        for change in changes_of(node, parents):
            changed, nodes = numbered.replaced(index, change)
            text = ast.unparse(changed)
            if text in texts or not _compiles(changed):
                continue
            texts.add(text)
            key = f"{_function(parents, node)}: {_shown(numbered, chain, change, nodes)}"
            seen[key] = seen.get(key, 0) + 1
            found.append(Mutation(key if seen[key] == 1 else f"{key} #{seen[key]}", changed))
    return found


def _order(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


def _is_in(numbered: _Tree, chain: Sequence[int], lines: set[int]) -> bool:
    """Return whether a node stands in a solution; one without a line of its own stands where its parent does."""
    nodes = [numbered.nodes[i] for i in chain]
    if any(isinstance(node, _LEFT_ALONE) for node in nodes):
        return False
    line = next((getattr(node, "lineno") for node in nodes if hasattr(node, "lineno")), 0)  # noqa: B009
    statement = next((node for node in nodes if isinstance(node, ast.stmt)), None)
    is_docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return line in lines and not is_docstring


def _compiles(tree: ast.Module) -> bool:
    try:
        compile(tree, "<mutant>", "exec")
    except (SyntaxError, ValueError, TypeError):
        return False
    return True


def _function(parents: Sequence[ast.AST], node: ast.AST) -> str:
    kinds = (ast.FunctionDef, ast.ClassDef)
    names = [each.name for each in (node, *parents) if isinstance(each, kinds)]
    return ".".join(reversed(names)) or "cell"


def _shown(numbered: _Tree, chain: Sequence[int], change: Change, nodes: Sequence[ast.AST]) -> str:
    here = next(i for i in chain if _is_shown(numbered.nodes[i]))
    node = numbered.nodes[here]
    if change is None and here == chain[0]:
        return f"{_first_line(node)} -> {_DROPPED}"
    before, after = _first_line(node), _first_line(nodes[here])
    if before == after:  # the change is further down in a statement of several lines
        original, changed = (ast.unparse(each).split("\n") for each in (node, nodes[here]))
        compared = [line for line in ndiff(original, changed) if line[:2] in ("- ", "+ ")]
        after = " ".join(" ".join(line.split()) for line in compared)
    return f"{before} -> {after}"


def _is_shown(node: ast.AST) -> bool:
    is_number = isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant)
    return isinstance(node, (*_SHOWN, ast.Module)) and not is_number


def _first_line(node: ast.AST) -> str:
    return ast.unparse(node).split("\n")[0]
