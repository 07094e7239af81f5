"""Cut out of the exercise modules what a worker needs, and leave out what it must not have.

An exercise with a ``call`` of its own is run by that function; references, cases and mistakes stand in the same module.
The worker gets one generated module with the ``call`` functions and what they use, and no exercise module at all.
"""

from __future__ import annotations

import ast
import builtins
import dis
import importlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from types import CodeType

from dlcvkit.checking import Exercise

MODULE = "dlcvkit_calls"
EXERCISES = "dlcvkit.exercises"


def _bound_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.partition(".")[0] for alias in statement.names]
    if isinstance(statement, ast.Assign):
        names = [node for target in statement.targets for node in ast.walk(target) if isinstance(node, ast.Name)]
        return [name.id for name in names if isinstance(name.ctx, ast.Store)]
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


def _exercise_imports(statement: ast.stmt, module: str) -> tuple[str, dict[str, str]] | None:
    """Return what a statement imports from a module of exercises: the module, and name here to name there."""
    if not isinstance(statement, ast.ImportFrom):
        return None
    parents = module.split(".")[: -statement.level] if statement.level else []
    source = ".".join([*parents, *([statement.module] if statement.module else [])])
    if not source.startswith(f"{EXERCISES}."):
        return None
    return source, {alias.asname or alias.name: alias.name for alias in statement.names}


def slice_of(source: str, wanted: Iterable[str]) -> list[ast.stmt]:
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
    return sorted(chosen.values(), key=lambda s: s.lineno)


class _Cutting:
    """Slices of modules of exercises, those first that others import from."""

    def __init__(self) -> None:
        self.wanted: dict[str, set[str]] = {}
        self.slices: dict[str, list[ast.stmt]] = {}
        self.order: list[str] = []

    def cut(self, module: str, names: Iterable[str]) -> None:
        """Slice a module for names, and whatever modules of exercises it imports them with."""
        known = self.wanted.setdefault(module, set())
        if set(names) <= known and module in self.slices:
            return
        known |= set(names)
        self.slices[module] = slice_of(inspect.getsource(importlib.import_module(module)), sorted(known))
        for source, found in self.imports(module):
            self.cut(source, found.values())

    def imports(self, module: str) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield what the slice of a module uses of other modules of exercises, name here to name there."""
        used = {name for statement in self.slices[module] for name in _global_names(statement)} | self.wanted[module]
        for statement in self.slices[module]:
            found = _exercise_imports(statement, module)
            if found is not None:
                yield found[0], {here: there for here, there in found[1].items() if here in used}

    def arrange(self) -> None:
        """Put every module behind those that it imports from; to be called once all is cut."""

        def place(module: str) -> None:
            for source, _ in self.imports(module):
                place(source)
            if module not in self.order:
                self.order.append(module)

        for module in sorted(self.slices):
            place(module)

    def scope(self, module: str) -> str:
        """Return the text of a function that defines what is wanted of a module and returns it by name."""
        lines = [f"def _scope_{self.order.index(module)}():"]
        for source, names in self.imports(module):
            scope = self.order.index(source)
            lines += [f"    {here} = SCOPES[{scope}][{there!r}]" for here, there in names.items()]
        for statement in self.slices[module]:
            if _exercise_imports(statement, module) is None:
                lines += [f"    {line}" for line in ast.unparse(statement).split("\n")]
        table = ", ".join(f"{name!r}: {name}" for name in sorted(self.wanted[module]))
        return "\n".join([*lines, f"    return {{{table}}}"])

    def unknown(self, module: str) -> str | None:
        """Return a name that the slice of a module uses and nothing in it defines, if there is one."""
        bound = {name for statement in self.slices[module] for name in _bound_names(statement)} | set(dir(builtins))
        used = {name for statement in self.slices[module] for name in _global_names(statement)}
        return min(used - bound - {"__name__"}, default=None)

    def leak(self, module: str) -> str | None:
        """Return the name of an exercise that the slice of a module has in it, if there is one."""
        bound = [name for statement in self.slices[module] for name in _bound_names(statement)]
        home = sys.modules[module]
        return next((name for name in bound if isinstance(getattr(home, name, None), Exercise)), None)


def calls_module(exercises: Iterable[Exercise]) -> str:
    """Return the text of a module whose ``CALLS`` maps exercise ids to their ``call`` functions.

    Each module of exercises gets a scope of its own, as equal names in two of them must not meet.

    Raises:
        ValueError: If a ``call`` function is not defined at the top level of a module, uses a name that is not, or
            uses an exercise, whose reference would come along.
    """
    cutting = _Cutting()
    table: dict[str, tuple[str, str]] = {}
    for exercise in exercises:
        if exercise.call is not None:
            module, name = getattr(exercise.call, "__module__", ""), getattr(exercise.call, "__qualname__", "")
            if not name.isidentifier():  # a closure or a partial; its text alone would not do
                raise ValueError(f"the call of {exercise.id} has to be a function at the top level of its module")
            table[exercise.id] = module, name
            cutting.cut(module, [name])
    cutting.arrange()
    parts = ["CALLS, SCOPES = {}, []"]
    for module in cutting.order:
        leak = cutting.leak(module)
        if leak is not None:
            raise ValueError(f"a call function in {module} uses the exercise {leak}, and with it the reference")
        unknown = cutting.unknown(module)
        if unknown is not None:
            raise ValueError(f"a call function in {module} uses {unknown}, which no plain statement there defines")
        parts.append(f"{cutting.scope(module)}\n\nSCOPES.append(_scope_{cutting.order.index(module)}())")
    parts += [
        f"CALLS[{exercise!r}] = SCOPES[{cutting.order.index(module)}][{name!r}]"
        for exercise, (module, name) in table.items()
    ]
    return "\n\n".join(parts) + "\n"
