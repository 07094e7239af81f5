"""What grading a stage needs: what was released, the exercises with their hidden cases, and hashes of it all."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch

import dlcvgrade
import dlcvkit
from dlcvgrade.course import Course, Stage
from dlcvgrade.judge.results import folder_hash
from dlcvgrade.judge.submissions import Release, releases
from dlcvgrade.problems import CourseProblems, Problem
from dlcvgrade.registry import KitRegistry, Registry
from dlcvkit.checking import Exercise, SavedAnswer, SpecsNotFound, hidden_exercise


@dataclass(frozen=True)
class Material:
    """What is the same for all submissions of a stage.

    Attributes:
        stage: Such as ``a1``.
        releases: Notebook name to what was released, in order.
        ids: Notebook name to the ids of its exercises, in order.
        specs: Folder with the hidden cases.
    """

    stage: str
    releases: Mapping[str, Release]
    ids: Mapping[str, Sequence[str]]
    specs: Path

    @cached_property
    def exercises(self) -> dict[str, Exercise]:
        """Id to exercise with its hidden cases.

        Raises:
            SpecsNotFound, UnknownExercise: If an exercise has no hidden cases, or there is none of that name.
        """
        return {name: hidden_exercise(name, self.specs) for ids in self.ids.values() for name in ids}

    @cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of the specs, of the kit, and of whatever else decides about points.

        The last is called ``judge``: this package, torch, and the release that submissions are mended by.
        """
        released = {name: _plain(release) for name, release in self.releases.items()}
        own = [folder_hash(Path(dlcvgrade.__file__).parent), str(torch.__version__), released]
        return {
            "specs": folder_hash(self.specs / self.stage),
            "kit": folder_hash(Path(dlcvkit.__file__).parent),
            "judge": hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest(),
        }

    def answer_files(self, notebooks: Sequence[str]) -> Iterator[str]:
        """Yield the names of the files that the saved answers of these notebooks are handed in as."""
        for name in notebooks:
            for exercise in self.ids[name]:
                if isinstance(self.exercises[exercise], SavedAnswer):
                    yield answer_file(self.releases[name], exercise)


def _plain(release: Release) -> dict[str, object]:
    known = {name: asdict(original) for name, original in release.known.items()}
    sets = (release.demo_ids, release.demo_sources, release.released)
    return {"known": known, "texts": [sorted(texts) for texts in sets]}


def material_of(course: Course, stage: Stage, registry: Registry | None = None) -> Material:
    """Return what grading a stage of a course needs.

    Args:
        course: The course.
        stage: The stage.
        registry: Where exercises stand; the kit's if None.

    Raises:
        CourseProblems: If a source is not sound, or an exercise has no hidden cases.
    """
    registry = registry or KitRegistry()
    released = releases(course, stage, registry)
    ids = {name: list(registry.ids(stage.name, name)) for name in released}
    material = Material(stage.name, released, ids, course.specs)
    try:
        material.exercises  # noqa: B018  (looked up now, so that what is missing is told before anything is graded)
    except SpecsNotFound as error:
        raise CourseProblems([Problem(str(course.specs), str(error))]) from None
    return material


def answer_file(release: Release, exercise_id: str) -> str:
    """Return the name of the file that a saved answer is handed in as: what the release's check passes.

    Raises:
        ValueError: If the check passes no plain file name.
    """
    source = release.known[f"check-{exercise_id.partition('/')[2]}"].source
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and len(node.args) == 2 and isinstance(node.args[1], ast.Constant):
            name = str(node.args[1].value)
            if name == Path(name).name:
                return name
    raise ValueError(f"the check of {exercise_id} passes no file name")
