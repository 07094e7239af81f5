"""Read a folder of results; what is no result is named, and costs only itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from dlcvgrade.problems import CourseProblems, Problem
from dlcvgrade.results.plain import number, plain

FORMAT = 1
MAX_BYTES = 8 * 2**20
TOLERANCE = 1e-6
"""How far a total may be from the sum of its parts: both are sums of floats."""


@dataclass(frozen=True)
class QuantityResult:
    """One graded quantity: its name, whether it is right, points earned and possible, and what is wrong."""

    name: str
    is_right: bool
    earned: float
    possible: float
    reason: str | None


@dataclass(frozen=True)
class ExerciseResult:
    """One exercise of a submission.

    Attributes:
        notebook: Name of its notebook.
        name: Id such as ``a1/knn_no_loops``.
        verdict: One of the schema's verdicts.
        points: Points earned; None if the grader could not tell.
        possible: Points it is worth.
        reason: What is wrong; None if nothing is.
        diagnosis: The recognised mistake; None if none was.
        hint: Where to look; None if nothing is known.
        quantities: One per graded quantity.
        notes: Remarks that cost no points.
    """

    notebook: str
    name: str
    verdict: str
    points: float | None
    possible: float
    reason: str | None
    diagnosis: str | None
    hint: str | None
    quantities: tuple[QuantityResult, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """What one student got for a stage. All texts are single lines of printable characters.

    Attributes:
        key: Name of the file it was read from, without ``.json``; no two results of a folder share it.
        student: The student's id, as it can be printed.
        stage: Such as ``a1``.
        points: Points earned; what is undecided counts as none yet.
        possible: Points that the exercises are worth.
        is_decided: Whether every exercise could be checked.
        exercises: In the order of the notebooks.
        notes: What was mended in the notebooks.
        isolation: ``bubblewrap`` or ``none``.
        versions: Of the kit, torch and Python.
        submission: SHA-256 of what was handed in.
        seconds: Wall time of grading.
        remarks: What else went into the points, where they are the gradebook's.
    """

    key: str
    student: str
    stage: str
    points: float
    possible: float
    is_decided: bool
    exercises: tuple[ExerciseResult, ...]
    notes: tuple[str, ...]
    isolation: str
    versions: Mapping[str, str]
    submission: str
    seconds: float
    remarks: tuple[str, ...] = ()

    @property
    def undecided(self) -> list[ExerciseResult]:
        """The exercises that the grader could not check."""
        return [exercise for exercise in self.exercises if exercise.points is None]


@cache
def schema() -> dict[str, Any]:
    """Return the JSON schema of a result (draft 2020-12)."""
    loaded: dict[str, Any] = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))
    return loaded


def read_results(folder: Path) -> tuple[list[Result], list[Problem]]:
    """Read every ``*.json`` of a folder.

    Args:
        folder: As ``dlcvgrade grade --json`` writes it; folders in it and hidden files are not looked at.

    Returns:
        The results, at least one, sorted by student, and what is wrong with the files that hold none.

    Raises:
        CourseProblems: If there is no such folder, no result in it, or the results are of several stages.
    """
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise CourseProblems([Problem(plain(str(folder)), f"{what}; expected a folder of results")])
    files = sorted(path for path in folder.glob("*.json") if not path.name.startswith(".") and path.is_file())
    if not files:
        raise CourseProblems([Problem(plain(str(folder)), "holds no result; expected the folder of `grade --json`")])
    results, problems = [], []
    for path in files:
        try:
            results.append(read_result(path))
        except (ValueError, OSError) as error:
            why = (error.strerror or "cannot be read") if isinstance(error, OSError) else str(error)
            problems.append(Problem(plain(path.name), why))
    if not results:
        raise CourseProblems(problems)
    stages = sorted({result.stage for result in results})
    if len(stages) > 1:
        raise CourseProblems([Problem(plain(str(folder)), f"holds results of {', '.join(stages)}; expected one stage")])
    return sorted(results, key=lambda result: (result.student, result.key)), problems


def read_result(path: Path) -> Result:
    """Read one result.

    Raises:
        ValueError: If the file holds none; the message names the field in one line.
        OSError: If it cannot be read.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"has {size} bytes; expected at most {MAX_BYTES}")
    try:
        data = json.loads(path.read_bytes().decode("utf-8"), parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON: {error.msg} in line {error.lineno}") from None
    except (ValueError, RecursionError):
        raise ValueError("is no JSON: expected UTF-8 text with finite numbers") from None
    validate(data)
    return _result(path.stem, data)


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def validate(data: object) -> None:
    """Check a result against the schema, and its totals against their parts.

    Raises:
        ValueError: Naming the first field that is wrong, what it is and what was expected.
    """
    given = data.get("format", FORMAT) if isinstance(data, dict) else FORMAT
    if given is True or given != FORMAT:  # told first: with another format nothing else can be expected to fit
        raise ValueError(f"format: is {_shown(given)}; expected {FORMAT}, the one that this version reads")
    error = best_match(Draft202012Validator(schema()).iter_errors(data))
    if error is not None:
        raise ValueError(_told(error))
    assert isinstance(data, dict)
    for field, what in _contradictions(data):
        raise ValueError(f"{field}: {what}")


def _told(error: ValidationError) -> str:
    """Return a schema error in the project's words: jsonschema's own quote the whole value."""
    field = error.json_path.removeprefix("$").removeprefix(".")
    start = f"{plain(field, 80)}: " if field else ""
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"{start}{missing} is missing"
    expected = _EXPECTED.get(str(error.validator), _shown)(error.validator_value)
    return f"{start}is {_shown(error.instance)}; expected {expected}"


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return plain(json.dumps(value), 60)


_EXPECTED: Mapping[str, Callable[[Any], str]] = {
    "type": lambda value: value if isinstance(value, str) else " or ".join(value),
    "enum": lambda value: "one of " + ", ".join(value),
    "minimum": lambda value: f"at least {value}",
    "maximum": lambda value: f"at most {value:g}",
    "minLength": lambda _: "a text that is not empty",
    "maxLength": lambda value: f"at most {value} characters",
    "pattern": lambda value: f"what matches {value}",
}
"""Keyword of the schema to what it expects, in words."""


def _contradictions(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    exercises = data["exercises"]
    names = [exercise["exercise"] for exercise in exercises]
    for place, exercise in enumerate(exercises):
        if (exercise["points"] or 0) > exercise["possible"] + TOLERANCE:
            told = f"is {number(exercise['points'])}; expected at most {number(exercise['possible'])}, what is possible"
            yield f"exercises[{place}].points", told
        if names.index(exercise["exercise"]) != place:
            yield f"exercises[{place}].exercise", f"is {_shown(names[place])} once more; expected each exercise once"
    for field in ("points", "possible"):
        total = math.fsum(exercise[field] or 0 for exercise in exercises)
        if abs(total - data[field]) > TOLERANCE:
            yield field, f"is {number(data[field])}; expected {number(total)}, the sum over the exercises"
    is_decided = all(exercise["points"] is not None for exercise in exercises)
    if data["is_decided"] != is_decided:
        yield "is_decided", f"is {_shown(data['is_decided'])}; expected {_shown(is_decided)} from the exercises"


def _line(text: str | None) -> str | None:
    return None if text is None else plain(text)


def _lines(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(plain, texts))


def _result(key: str, data: Mapping[str, Any]) -> Result:
    return Result(
        key=key,
        student=plain(data["student"]),
        stage=plain(data["stage"]),
        points=float(data["points"]),
        possible=float(data["possible"]),
        is_decided=data["is_decided"],
        exercises=tuple(map(_exercise, data["exercises"])),
        notes=_lines(data["notes"]),
        isolation=data["isolation"]["level"],
        versions={name: plain(data["versions"][name]) for name in ("dlcvkit", "torch", "python")},
        submission=data["hashes"]["submission"],
        seconds=float(data["seconds"]),
    )


def _exercise(data: Mapping[str, Any]) -> ExerciseResult:
    return ExerciseResult(
        notebook=plain(data["notebook"]),
        name=plain(data["exercise"]),
        verdict=data["verdict"],
        points=None if data["points"] is None else float(data["points"]),
        possible=float(data["possible"]),
        reason=_line(data["reason"]),
        diagnosis=_line(data["diagnosis"]),
        hint=_line(data["hint"]),
        quantities=tuple(
            QuantityResult(plain(q["name"]), q["ok"], float(q["earned"]), float(q["possible"]), _line(q["reason"]))
            for q in data["quantities"]
        ),
        notes=_lines(data["notes"]),
    )
