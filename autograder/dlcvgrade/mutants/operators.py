"""What can go wrong at one node of a syntax tree: the small changes that ``mutation`` makes one at a time."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

Change = ast.AST | None
"""What a node is replaced by; None removes it."""

_Node = TypeVar("_Node", bound=ast.AST)

_OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult, ast.Mod),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
    ast.MatMult: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
}
_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_PAIRS = """min max, argmin argmax, amin amax, minimum maximum, sum mean, sum prod, any all, floor ceil, zeros ones,
    zeros_like ones_like, new_zeros new_ones, clamp_min clamp_max, sin cos, sqrt square, exp log"""
_RENAMED: dict[str, list[str]] = {}
for _pair in _PAIRS.split(","):
    _one, _other = _pair.split()
    _RENAMED.setdefault(_one, []).append(_other)
    _RENAMED.setdefault(_other, []).append(_one)
# Calls that give something of the same kind back, so that forgetting them is easy.
_FORGETTABLE = frozenset(
    """clone abs square sqrt exp log t flip detach item tolist double float long to clamp clamp_min clamp_max
    transpose movedim permute contiguous flatten sort sorted reversed round floor ceil cumsum""".split()
)
_TRANSPOSES = frozenset({"T", "mT"})
_SYMMETRIC = frozenset("min max minimum maximum add mul isclose equal allclose".split())
_AXES = frozenset({"dim", "axis", "dims"})


def changes_of(node: ast.AST, parents: Sequence[ast.AST]) -> Iterator[Change]:
    """Yield what ``node`` could be mistaken for.

    Args:
        node: A node inside a solution; not modified.
        parents: Its parent, grandparent, and so on.
    """
    for kind, change in _CHANGES:
        if isinstance(node, kind):
            yield from change(node, parents)


def _with(node: _Node, **fields: Any) -> _Node:
    changed = copy.deepcopy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _plus(node: ast.expr, by: int) -> ast.expr:
    return ast.BinOp(node, ast.Add() if by > 0 else ast.Sub(), ast.Constant(abs(by)))


def _binary(node: ast.BinOp, parents: Sequence[ast.AST]) -> Iterator[Change]:
    if isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
        return  # a text being formatted
    for operator in _OPERATORS.get(type(node.op), ()):
        yield _with(node, op=operator())
    yield node.left
    if isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.BitAnd | ast.BitOr):
        yield node.right
    if isinstance(node.op, ast.MatMult | ast.Sub | ast.Div):
        yield _with(node, left=node.right, right=node.left)


def _unary(node: ast.UnaryOp, parents: Sequence[ast.AST]) -> Iterator[Change]:
    if isinstance(node.op, ast.USub | ast.Not | ast.Invert) and not isinstance(node.operand, ast.Constant):
        yield node.operand


def _is_axis(node: ast.AST, parents: Sequence[ast.AST]) -> bool:
    for parent in parents[:3]:
        if isinstance(parent, ast.keyword):
            return parent.arg in _AXES
        if not isinstance(parent, ast.Tuple | ast.UnaryOp):
            return False
    return False


def _constant(node: ast.Constant, parents: Sequence[ast.AST]) -> Iterator[Change]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        if isinstance(parents[0], ast.UnaryOp):
            return  # -1 is changed as a whole
        wrong = [value + 1, value - 1, 0, -value]
        if _is_axis(node, parents):
            wrong = [1, -1] if value == 0 else [value - 1]
        elif value == 1 and isinstance(parents[0], ast.Call):
            wrong = [2, 0]  # -1 is the same axis of a matrix
        yield from (_number(each) for each in dict.fromkeys(wrong) if each != value)
    elif isinstance(value, float):
        yield from (_number(each) for each in dict.fromkeys((2 * value, value / 2, -value, value + 1)) if each != value)


def _number(value: float) -> ast.expr:
    return ast.Constant(value) if value >= 0 else ast.UnaryOp(ast.USub(), ast.Constant(-value))


def _negative(node: ast.UnaryOp, parents: Sequence[ast.AST]) -> Iterator[Change]:
    if not (isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant)):
        return
    value = node.operand.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        wrong = [0, -value - 1] if _is_axis(node, parents) else [value, 1 - value, 0, -value - 1]
        yield from (_number(each) for each in dict.fromkeys(wrong) if each != -value)


def _comparison(node: ast.Compare, parents: Sequence[ast.AST]) -> Iterator[Change]:
    for index, operator in enumerate(node.ops):
        for other in _COMPARISONS[type(operator)]:
            yield _with(node, ops=[*node.ops[:index], other(), *node.ops[index + 1 :]])


def _logical(node: ast.BoolOp, parents: Sequence[ast.AST]) -> Iterator[Change]:
    yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    for index in range(len(node.values)):
        rest = [*node.values[:index], *node.values[index + 1 :]]
        yield _with(node, values=rest) if len(rest) > 1 else rest[0]


def _call(node: ast.Call, parents: Sequence[ast.AST]) -> Iterator[Change]:
    name = _called(node)
    for other in _RENAMED.get(name, ()):
        function = node.func
        yield _with(
            node,
            func=_with(function, attr=other) if isinstance(function, ast.Attribute) else ast.Name(other, ast.Load()),
        )
    for index in range(len(node.keywords)):
        yield _with(node, keywords=[*node.keywords[:index], *node.keywords[index + 1 :]])
    if len(node.args) > 1 and name not in _SYMMETRIC and not any(isinstance(a, ast.Starred) for a in node.args[:2]):
        yield _with(node, args=[node.args[1], node.args[0], *node.args[2:]])
    if name in _FORGETTABLE:
        yield from _without_call(node)
    if name == "range" and isinstance(node.func, ast.Name):
        yield from _range(node)


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _without_call(node: ast.Call) -> Iterator[Change]:
    receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
    is_module = isinstance(receiver, ast.Name) and receiver.id in ("torch", "np", "math", "F")
    if receiver is not None and not is_module:
        yield receiver
    elif node.args:
        yield node.args[0]


def _range(node: ast.Call) -> Iterator[Change]:
    bounds = node.args
    stop = 0 if len(bounds) == 1 else 1
    for by in (1, -1):
        yield _with(node, args=[*bounds[:stop], _plus(bounds[stop], by), *bounds[stop + 1 :]])
    if len(bounds) == 1:
        yield _with(node, args=[ast.Constant(1), bounds[0]])
    else:
        yield _with(node, args=[_plus(bounds[0], 1), *bounds[1:]])


def _attribute(node: ast.Attribute, parents: Sequence[ast.AST]) -> Iterator[Change]:
    if node.attr in _TRANSPOSES:
        yield node.value


def _slice(node: ast.Slice, parents: Sequence[ast.AST]) -> Iterator[Change]:
    for name in ("lower", "upper"):
        bound = getattr(node, name)
        if bound is not None:
            yield _with(node, **{name: None})
            if not isinstance(bound, ast.Constant | ast.UnaryOp):
                yield _with(node, **{name: _plus(bound, 1)})
                yield _with(node, **{name: _plus(bound, -1)})


def _subscript(node: ast.Subscript, parents: Sequence[ast.AST]) -> Iterator[Change]:
    index = node.slice
    if isinstance(index, ast.Tuple) and len(index.elts) == 2:
        yield _with(node, slice=_with(index, elts=[index.elts[1], index.elts[0]]))


def _conditional(node: ast.IfExp, parents: Sequence[ast.AST]) -> Iterator[Change]:
    yield node.body
    yield node.orelse
    # The condition is turned round by exchanging the branches.
    yield _with(node, body=node.orelse, orelse=node.body)


def _comprehension(node: ast.comprehension, parents: Sequence[ast.AST]) -> Iterator[Change]:
    for index in range(len(node.ifs)):
        yield _with(node, ifs=[*node.ifs[:index], *node.ifs[index + 1 :]])


def _statement(node: ast.stmt, parents: Sequence[ast.AST]) -> Iterator[Change]:
    if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Pass):
        yield None


def _if(node: ast.If, parents: Sequence[ast.AST]) -> Iterator[Change]:
    is_comparison = isinstance(node.test, ast.Compare) and len(node.test.ops) == 1
    if not is_comparison:  # there the comparison itself is turned round
        yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    yield _with(node, test=ast.Constant(True))
    if node.orelse:
        yield _with(node, orelse=[])


def _loop(node: ast.For | ast.While, parents: Sequence[ast.AST]) -> Iterator[Change]:
    yield _with(node, body=[*node.body, ast.Break()])


def _augmented(node: ast.AugAssign, parents: Sequence[ast.AST]) -> Iterator[Change]:
    yield ast.Assign([node.target], node.value, lineno=node.lineno)
    for operator in _OPERATORS.get(type(node.op), ()):
        yield _with(node, op=operator())


def _return(node: ast.Return, parents: Sequence[ast.AST]) -> Iterator[Change]:
    value = node.value
    if isinstance(value, ast.BinOp | ast.Call | ast.Name):
        yield _with(node, value=ast.UnaryOp(ast.USub(), value))
    if isinstance(value, ast.Tuple) and len(value.elts) == 2:
        yield _with(node, value=_with(value, elts=[value.elts[1], value.elts[0]]))


_CHANGES: tuple[tuple[Any, Callable[[Any, Sequence[ast.AST]], Iterator[Change]]], ...] = (
    (ast.BinOp, _binary),
    (ast.UnaryOp, _unary),
    (ast.UnaryOp, _negative),
    (ast.Constant, _constant),
    (ast.Compare, _comparison),
    (ast.BoolOp, _logical),
    (ast.Call, _call),
    (ast.Attribute, _attribute),
    (ast.Slice, _slice),
    (ast.Subscript, _subscript),
    (ast.IfExp, _conditional),
    (ast.comprehension, _comprehension),
    (ast.stmt, _statement),
    (ast.If, _if),
    (ast.For, _loop),
    (ast.While, _loop),
    (ast.AugAssign, _augmented),
    (ast.Return, _return),
)
