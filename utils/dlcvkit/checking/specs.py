"""Find the hidden part of an exercise in the course's folder of specs."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from dlcvkit.checking.cases import Case
from dlcvkit.checking.exercise import Exercise, Mistake
from dlcvkit.checking.registry import find_exercise

SPECS_VARIABLE = "DLCVKIT_SPECS"
"""Environment variable that names the folder of specs; otherwise course.toml's setting counts."""


class SpecsNotFound(FileNotFoundError):
    """The hidden cases are not here."""


@dataclass(frozen=True)
class Hidden:
    """What only the instructor has of an exercise. A spec module holds one per exercise, under the exercise's name.

    Attributes:
        cases: Hidden cases, appended to the public ones.
        mistakes: Further known mistakes, tried after the public ones.
        mutants: Name to wrong functions, in the form that ``check`` takes them (one function, or a tuple of them);
            every one must lose points. The ``variant`` of each mistake counts as one besides, where it can stand in
            for the student's function.
        solutions: Name to other correct functions, in the same form; every one must earn all points.
        equivalent: Automatic mutant (as ``dlcvgrade mutants`` prints it) to the reason why it is no mistake.
    """

    cases: Sequence[Case] = ()
    mistakes: Sequence[Mistake] = ()
    mutants: Mapping[str, Any] = field(default_factory=dict)
    solutions: Mapping[str, Any] = field(default_factory=dict)
    equivalent: Mapping[str, str] = field(default_factory=dict)


def specs_folder(start: Path | None = None) -> Path:
    """Return the folder of specs: ``$DLCVKIT_SPECS``, else the one that the nearest course.toml above names.

    Args:
        start: Folder to look upward from; the current one by default.

    Raises:
        SpecsNotFound: If there is no such folder.
    """
    named = os.environ.get(SPECS_VARIABLE)
    if named:
        folder = Path(named)
        if not folder.is_dir():
            raise SpecsNotFound(f"{SPECS_VARIABLE} names {named}, which is no folder")
        return folder
    here = (start or Path.cwd()).resolve()
    for parent in (here, *here.parents):
        course = parent / "course.toml"
        if course.is_file():
            settings = tomllib.loads(course.read_text(encoding="utf-8"))
            folder = parent / str(settings.get("course", {}).get("specs", "autograder/specs"))
            if folder.is_dir():
                return folder
            raise SpecsNotFound(f"{course} names {folder} as the folder of specs; there is no such folder")
    raise SpecsNotFound(f"no course.toml in or above {here}, and {SPECS_VARIABLE} is not set: no hidden cases to run")


def _find_module(folder: Path, stage: str, notebook: str) -> Path:
    """Return the file to import: ``stage/notebook.py``, or ``__init__.py`` of a package of that name."""
    module, package = folder / stage / f"{notebook}.py", folder / stage / notebook / "__init__.py"
    return package if package.is_file() else module


@cache
def _load_module(path: Path) -> ModuleType:
    # Two folders of specs can be open at once, so the name says which one this is.
    name = f"_dlcv_specs_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def load_hidden(exercise_id: str, folder: Path | None = None) -> Hidden:
    """Return the hidden part of an exercise.

    Args:
        exercise_id: Such as ``a1/knn_two_loops``.
        folder: Folder of specs; found by ``specs_folder`` if None.

    Raises:
        SpecsNotFound: If there is no spec for the exercise.
        UnknownExercise: If there is no such exercise.
    """
    exercise = find_exercise(exercise_id)
    stage, _, name = exercise_id.partition("/")
    path = _find_module((folder or specs_folder()).resolve(), stage, exercise.notebook)
    if not path.is_file():
        raise SpecsNotFound(f"{path} does not exist: no hidden cases for {exercise_id}")
    hidden = getattr(_load_module(path), name, None)
    if not isinstance(hidden, Hidden):
        raise SpecsNotFound(f"{path} defines no Hidden named {name}")
    return hidden


def hidden_exercise(exercise_id: str, folder: Path | None = None) -> Exercise:
    """Return the exercise with its hidden cases; arguments and errors as for ``load_hidden``."""
    hidden = load_hidden(exercise_id, folder)
    return find_exercise(exercise_id).with_hidden(hidden.cases, hidden.mistakes)
