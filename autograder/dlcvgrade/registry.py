"""What the build needs to know about exercises; the points stand there and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Registry(Protocol):
    """The exercises of a course."""

    def ids(self, stage: str, notebook: str) -> Sequence[str]:
        """Return the ids of a notebook's exercises, such as ``a1/knn_two_loops``, in order."""

    def points(self, exercise: str) -> float:
        """Return the points of an exercise."""

    def functions(self, exercise: str) -> Sequence[str]:
        """Return the names that a student has to define for an exercise."""


class KitRegistry:
    """The exercises that ship with ``dlcvkit``."""

    def ids(self, stage: str, notebook: str) -> Sequence[str]:
        """Return the ids of a notebook's exercises, in order."""
        # Here and not above, because it imports torch, which a call for help or a wrong option need not wait for.
        from dlcvkit.checking import exercise_ids, find_exercise

        return [name for name in exercise_ids(stage) if find_exercise(name).notebook == notebook]

    def points(self, exercise: str) -> float:
        """Return the points of an exercise."""
        from dlcvkit.checking import find_exercise

        return float(find_exercise(exercise).total)

    def functions(self, exercise: str) -> Sequence[str]:
        """Return the names that a student has to define for an exercise."""
        from dlcvkit.checking import find_exercise

        return tuple(find_exercise(exercise).functions)
