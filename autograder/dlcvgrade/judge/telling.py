"""Say again, in the judge's own words, what a worker reports.

A worker's report is written where student code runs, so its words could carry anything out: hidden inputs, for one.
Only the kind of a finding is taken over, and of its words those that the judge knows already: names of the exercise's
functions and inputs, of torch's operations, of exceptions that stand in the submission, and small line numbers.
"""

from __future__ import annotations

import builtins
import re
from typing import Any

import torch

from dlcvgrade.judge.rules import Text
from dlcvkit.checking import Exercise, Finding, Kind, messages

_WORD = re.compile(r"\w+")
_LINE = re.compile(r"line (\d{1,4})\b")
_TORCH = (torch, torch.Tensor, torch.nn, torch.nn.functional, torch.autograd)
UNNAMED_ERROR = "an exception"
UNNAMED_OPERATION = "a ready-made operation"
UNNAMED_TYPE = "an object"


def error_name(told: Any, text: Text) -> str:
    """Return the name of an exception's type if it is a known one or stands in the submission."""
    name = str(told)[:60]
    known = getattr(builtins, name, None)
    is_builtin = isinstance(known, type) and issubclass(known, BaseException)
    return name if is_builtin or name in text.names or name in _LIBRARY_ERRORS else UNNAMED_ERROR


_LIBRARY_ERRORS = frozenset(
    {"LinAlgError", "_LinAlgError", "OutOfMemoryError", "AxisError", "UnknownExercise", "CellTooSlow"}
)


def type_name(told: Any) -> str:
    """Return the name of a built-in type, or a word for any other."""
    name = str(told)[:60]
    return name if isinstance(getattr(builtins, name, None), type) or name in ("NoneType", "Tensor") else UNNAMED_TYPE


def retell(told: Any, exercise: Exercise, inputs: dict[str, Any], text: Text) -> Finding:
    """Return the finding that a worker reports.

    Args:
        told: ``kind`` and ``text``, and ``diagnosis`` or ``line``, as the worker sent them.
        exercise: The exercise.
        inputs: The inputs of the case.
        text: The submission.

    Raises:
        KeyError, TypeError, ValueError: If it is no finding that a worker reports.
    """
    kind, said = told["kind"], str(told.get("text", ""))[:2000]
    named = _WORD.match(said)
    function = named[0] if named and named[0] in exercise.functions else exercise.functions[0]
    if kind == Kind.MISSING.name:
        return Finding(Kind.MISSING, messages.NOT_WRITTEN.format(name=function), hint=messages.NOT_WRITTEN_HINT)
    if kind == Kind.RAISED.name:
        error = error_name(told["diagnosis"], text)
        return Finding(Kind.RAISED, messages.RAISED.format(name=function, error=error), diagnosis=error)
    if kind == Kind.MUTATED.name:
        words = _WORD.findall(said)
        changed = [name for name in inputs if name in words] or list(inputs)[:1]
        text_ = messages.MUTATED.format(names=messages.listing(changed))
        return Finding(Kind.MUTATED, text_, hint=messages.MUTATED_HINT)
    if kind == Kind.FORBIDDEN.name:
        return Finding(Kind.FORBIDDEN, messages.FORBIDDEN.format(op=_operation(said, exercise)))
    if kind == Kind.STRUCTURE.name:
        return Finding(Kind.STRUCTURE, messages.NOT_EXAMINED)
    if kind == Kind.RANDOM.name:
        return Finding(Kind.RANDOM, messages.RANDOM, hint=messages.RANDOM_HINT)
    if kind == Kind.DEVICE.name:
        line = _LINE.search(said)
        what = messages.HOMELESS_MIX.format(line=line[1]) if line else messages.HOMELESS_RESULT
        return Finding(Kind.DEVICE, messages.HOMELESS.format(what=what), hint=messages.HOMELESS_HINT)
    if kind == Kind.LOOP.name:
        name = str(told["function"])
        return loop_finding(name if name in text.functions else exercise.functions[0], int(told["line"]) % 10_000)
    raise ValueError("a worker reports no such finding")


def loop_finding(function: str, line: int) -> Finding:
    """Return the finding for a loop where none is allowed."""
    return Finding(Kind.LOOP, messages.LOOP.format(name=function, line=line), hint=messages.LOOP_HINT)


def _operation(said: str, exercise: Exercise) -> str:
    named = said.removeprefix("uses ").partition(", which")[0]
    words = _WORD.findall(named)
    last = words[-1] if words else ""
    if not last or not (last in exercise.forbidden or any(hasattr(home, last) for home in _TORCH)):
        return UNNAMED_OPERATION
    return f"autograd ({last})" if words[0] == "autograd" else f"torch.{last}"
