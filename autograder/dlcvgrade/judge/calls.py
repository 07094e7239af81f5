"""Cut out of the exercise modules what a worker needs, and leave out what it must not have.

An exercise with a ``call`` of its own is run by that function; references, cases and mistakes stand in the same module.
The worker gets one generated module with the ``call`` functions and what they use, and no exercise module at all.
"""

from __future__ import annotations

import ast
import dis
import inspect
import sys
from collections.abc import Iterable, Iterator
from types import CodeType

from dlcvkit.checking import Exercise

MODULE = "dlcvkit_calls"


def _bound_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.partition(".")[0] for alias in statement.names]
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    return []


def _global_names(statement: ast.stmt) -> Iterator[str]:
    """Yield the module's names that a statement uses; a parameter of the same name is another thing."""
    waiting = [compile(ast.Module([statement], []), "<exercise>", "exec", dont_inherit=True)]
    while waiting:
        code = waiting.pop()
        waiting += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        for step in dis.get_instructions(code):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                yield str(step.argval)


def slice_of(source: str, wanted: Iterable[str]) -> str:
    """Return the top-level statements that define some names, with all that these use, in their order.

    Args:
        source: A module's text.
        wanted: Names that it defines at its top level.

    Raises:
        KeyError: If one of them is not defined there.
    """
    home: dict[str, ast.stmt] = {}
    for statement in ast.parse(source).body:
        home |= dict.fromkeys(_bound_names(statement), statement)
    chosen: dict[int, ast.stmt] = {}
    waiting = [home[name] for name in wanted]
    while waiting:
        statement = waiting.pop()
        if id(statement) in chosen:
            continue
        chosen[id(statement)] = statement
        waiting += [home[name] for name in _global_names(statement) if name in home]
    return "\n\n".join(ast.unparse(s) for s in sorted(chosen.values(), key=lambda s: s.lineno))


def calls_module(exercises: Iterable[Exercise]) -> str:
    """Return the text of a module whose ``CALLS`` maps exercise ids to their ``call`` functions.

    Raises:
        ValueError: If a ``call`` function uses an exercise, whose reference would come along.
    """
    by_module: dict[str, dict[str, str]] = {}
    for exercise in exercises:
        if exercise.call is not None:
            by_module.setdefault(exercise.call.__module__, {})[exercise.id] = exercise.call.__name__
    parts = ["CALLS = {}"]
    for number, (name, functions) in enumerate(sorted(by_module.items())):
        body = slice_of(inspect.getsource(sys.modules[name]), functions.values())
        bound = [name for statement in ast.parse(body).body for name in _bound_names(statement)]
        leaks = [each for each in bound if isinstance(getattr(sys.modules[name], each, None), Exercise)]
        if leaks:
            raise ValueError(f"a call function in {name} uses the exercise {leaks[0]}, and with it the reference")
        table = ", ".join(f"{exercise!r}: {function}" for exercise, function in functions.items())
        # Each module in a scope of its own, as equal names in two of them must not meet.
        lines = [f"def _scope_{number}():", *(f"    {line}" for line in body.split("\n")), f"    return {{{table}}}"]
        parts.append("\n".join([*lines, "", f"CALLS.update(_scope_{number}())"]))
    return "\n\n".join(parts) + "\n"
