"""Find exercises by id: every module-level ``Exercise`` in ``dlcvkit.exercises.<stage>.<notebook>`` is one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import cache

from dlcvkit.checking.exercise import Exercise


class UnknownExercise(KeyError):
    """There is no exercise with that id."""

    def __str__(self) -> str:
        return str(self.args[0])


@cache
def exercises_of(stage: str) -> Mapping[str, Exercise]:
    """Return id to exercise for one stage, notebook by notebook, in the order of ``__all__``, else of definition.

    Args:
        stage: ``a1`` … ``a4``.

    Raises:
        UnknownExercise: If the stage does not exist.
    """
    try:
        package = importlib.import_module(f"dlcvkit.exercises.{stage}")
    except ModuleNotFoundError:
        raise UnknownExercise(f"no stage {stage!r}; expected one of {', '.join(stages())}") from None
    found: dict[str, Exercise] = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        for name in getattr(module, "__all__", vars(module)):
            value = getattr(module, name)
            if isinstance(value, Exercise):
                found[f"{stage}/{name}"] = replace(value, id=f"{stage}/{name}", notebook=info.name)
    return found


@cache
def stages() -> tuple[str, ...]:
    """Return the names of all stages, sorted."""
    package = importlib.import_module("dlcvkit.exercises")
    return tuple(sorted(info.name for info in pkgutil.iter_modules(package.__path__) if info.ispkg))


def exercise_ids(stage: str) -> list[str]:
    """Return the ids of all exercises of a stage, such as ``a1/knn_two_loops``."""
    return list(exercises_of(stage))


def find_exercise(exercise_id: str) -> Exercise:
    """Return the exercise with that id.

    Args:
        exercise_id: ``stage/name``, such as ``a1/knn_two_loops``.

    Raises:
        UnknownExercise: If there is none; the message suggests the nearest id.
    """
    stage, separator, _ = exercise_id.partition("/")
    if not separator:
        raise UnknownExercise(f"{exercise_id!r} is no exercise id; expected stage/name, such as 'a1/knn_two_loops'")
    known = exercises_of(stage)
    if exercise_id not in known:
        near = get_close_matches(exercise_id, known, n=1)
        suggestion = f"; the nearest is {near[0]!r}" if near else ""
        raise UnknownExercise(f"no exercise {exercise_id!r}{suggestion}")
    return known[exercise_id]
