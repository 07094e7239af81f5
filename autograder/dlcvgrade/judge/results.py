"""The result of a submission as JSON: what was earned and why, and everything needed to get the same again."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch

import dlcvkit
from dlcvgrade.judge.judging import Verdict
from dlcvgrade.judge.sandbox import Isolation

FORMAT = 1
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Graded:
    """What one student got for a stage.

    Attributes:
        student: The student's id.
        stage: Such as ``a1``.
        seed: Seed that all inputs were drawn from.
        verdicts: Exercise id to verdict, in the order of the notebooks.
        notebooks: Exercise id to the notebook it belongs to.
        notes: What was mended in the notebooks, one line each.
        isolation: What stood between the student's code and the machine.
        hashes: SHA-256 of the submission, the specs, the kit and the judge.
        seconds: Wall time.
    """

    student: str
    stage: str
    seed: int
    verdicts: Mapping[str, Verdict]
    notebooks: Mapping[str, str]
    notes: tuple[str, ...]
    isolation: Isolation
    hashes: Mapping[str, str]
    seconds: float

    @property
    def points(self) -> float:
        """Points earned; what could not be checked counts as none yet."""
        return sum(verdict.points or 0.0 for verdict in self.verdicts.values())

    @property
    def possible(self) -> float:
        """Points that the exercises are worth."""
        return sum(verdict.report.possible for verdict in self.verdicts.values())

    @property
    def is_decided(self) -> bool:
        """Whether every exercise could be checked."""
        return all(verdict.points is not None for verdict in self.verdicts.values())

    def as_json(self) -> dict[str, Any]:
        """Return the result for programs; student code's output, inputs and expected values are not in it."""
        return {
            "format": FORMAT,
            "student": printable(self.student),
            "stage": self.stage,
            "points": self.points,
            "possible": self.possible,
            "is_decided": self.is_decided,
            "exercises": [
                {"notebook": self.notebooks[name], **verdict.as_json()} for name, verdict in self.verdicts.items()
            ],
            "notes": [printable(note) for note in self.notes],
            "seed": self.seed,
            "isolation": self.isolation.as_json(),
            "versions": {
                "dlcvkit": dlcvkit.__version__,
                "torch": str(torch.__version__),
                "python": platform.python_version(),
            },
            "hashes": dict(self.hashes),
            "seconds": round(self.seconds, 3),
        }


def printable(text: str) -> str:
    """Return a text without control characters and lone surrogates, which file names may hold."""
    clean = text.encode("utf-8", "replace").decode()
    return "".join(character if character.isprintable() else "?" for character in clean)


def result_path(folder: Path, student: str) -> Path:
    """Return the file in ``folder`` that holds a student's result."""
    raw = student.encode("utf-8", "surrogateescape")
    name = quote(raw, safe="").replace(".", "%2E")
    if len(name) > _LONGEST_NAME or "~" in name:  # so that no other name looks like a shortened one
        name = f"{name[: _LONGEST_NAME - 65]}~{hashlib.sha256(raw).hexdigest()}"
    return folder / f"{name}.json"


def write_result(student: str, result: Mapping[str, Any], folder: Path) -> Path:
    """Write a result to ``folder`` in one step and return its path.

    Args:
        student: The student's id, as it names the folder that was handed in.
        result: The result, from ``Graded.as_json``.
        folder: Made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = result_path(folder, student)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)
    return path


def folder_hash(folder: Path, pattern: str = "**/*.py") -> str:
    """Return the SHA-256 of the files in a folder that match a pattern, their relative names included."""
    total = hashlib.sha256()
    for path in sorted(folder.glob(pattern)):
        total.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
