"""Find loops in a function's own code and in the functions of the same notebook that it calls."""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType, MethodType
from typing import Any

_JUMPS = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)
_GLOBAL_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})
_NAMED_LOADS = _GLOBAL_LOADS | {"LOAD_ATTR", "LOAD_METHOD"}
_LOOPS_IN_DISGUISE = frozenset({"map", "vmap", "vectorize", "apply_along_axis", "apply_", "map_", "fromiter", "reduce"})


@dataclass(frozen=True)
class Loop:
    """Where a loop was found.

    Attributes:
        function: Name of the function that holds it.
        line: Line number inside that function's source, counted from 1.
    """

    function: str
    line: int


def find_loop(function: Callable[..., Any]) -> Loop | None:
    """Return the first loop in ``function``, or None.

    ``for``, ``while`` and comprehensions count, as do ``map`` and its relatives; so do those in functions that
    ``function`` calls by a global name of its own module. The compiled code is read, so this works where the source
    text is gone.

    Args:
        function: A Python function, or a class, whose methods are read; anything else has no loop that could be seen.
    """
    for each in _own_functions(function, set()):
        for code in _nested_codes(each.__code__):
            line = _loop_line(code)
            if line is not None:
                return Loop(each.__name__, line - each.__code__.co_firstlineno + 1)
    return None


def _own_functions(function: Any, seen: set[int]) -> Iterator[FunctionType]:
    if isinstance(function, type):
        for method in vars(function).values():
            yield from _own_functions(method, seen)
        return
    function = inspect.unwrap(function)
    while isinstance(function, functools.partial | MethodType):
        function = function.func if isinstance(function, functools.partial) else function.__func__
    if not isinstance(function, FunctionType) or id(function) in seen:
        return
    seen.add(id(function))
    yield function
    names = {
        str(instruction.argval)
        for code in _nested_codes(function.__code__)
        for instruction in dis.get_instructions(code)
        if instruction.opname in _GLOBAL_LOADS
    }
    for name in sorted(names):
        called = function.__globals__.get(name)
        is_own = isinstance(called, FunctionType) and called.__globals__ is function.__globals__
        if is_own or (isinstance(called, type) and called.__module__ == function.__globals__.get("__name__")):
            yield from _own_functions(called, seen)


def _nested_codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested_codes(constant)


def _loop_line(code: CodeType) -> int | None:
    line = code.co_firstlineno
    for instruction in dis.get_instructions(code):
        if instruction.positions is not None:
            line = instruction.positions.lineno or line
        is_jump_back = instruction.opcode in _JUMPS and instruction.argval <= instruction.offset
        if is_jump_back or instruction.opname == "FOR_ITER":
            return line
        if instruction.opname in _NAMED_LOADS and instruction.argval in _LOOPS_IN_DISGUISE:
            return line
    return None
