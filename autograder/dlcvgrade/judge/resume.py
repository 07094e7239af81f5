"""Which submissions of a batch are graded already, so that a batch may be stopped anywhere and run again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlcvgrade.judge.results import FORMAT, printable

_KEYS = frozenset({"points", "possible", "is_decided", "exercises", "hashes", "isolation", "seed"})


@dataclass(frozen=True)
class Identity:
    """What a stored result must agree with to stand for a submission.

    Attributes:
        student: The student's id.
        stage: Such as ``a1``.
        exercises: Ids of the exercises that would be graded, in order.
        hashes: SHA-256 of the submission, the specs, the kit and the judge.
        level: Level of isolation.
        seed: Seed that is asked for; None if any will do.
    """

    student: str
    stage: str
    exercises: Sequence[str]
    hashes: Mapping[str, str]
    level: str
    seed: int | None = None


def stored_result(path: Path, identity: Identity) -> dict[str, Any] | None:
    """Return the result in a file if grading again could only repeat it, else None.

    A result with an undecided exercise was the grader's fault, not the student's, and does not stand.

    Args:
        path: The result's file; it may be missing or damaged, which counts as not graded.
        identity: What the result must agree with.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not found.keys() >= _KEYS or found["is_decided"] is not True:
        return None
    try:
        exercises = [entry["exercise"] for entry in found["exercises"]]
        level = found["isolation"]["level"]
    except (TypeError, KeyError):
        return None
    is_same = (
        found.get("format") == FORMAT
        and found.get("student") == printable(identity.student)
        and found.get("stage") == identity.stage
        and exercises == list(identity.exercises)
        and found["hashes"] == dict(identity.hashes)
        and level == identity.level
        and identity.seed in (None, found["seed"])
    )
    return found if is_same else None
