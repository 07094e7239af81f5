"""Which notebooks a stage has, in which order, and where they lie."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dlcvkit.commands.terminal import CannotBeDone

if TYPE_CHECKING:
    from dlcvkit.checking import Exercise


@dataclass(frozen=True)
class Topic:
    """A notebook of the course and what is to be checked in it.

    Attributes:
        stage: Such as ``a2``.
        name: Such as ``two_layer_net``.
        exercises: Id to exercise.
    """

    stage: str
    name: str
    exercises: Mapping[str, Exercise]

    @property
    def file_name(self) -> str:
        """The name of its file."""
        return f"{self.name}.ipynb"

    @property
    def possible(self) -> float:
        """Points that its exercises are worth."""
        return sum(exercise.total for exercise in self.exercises.values())

    def find(self, folder: Path) -> Path | None:
        """Return its file in ``folder``, or in the folder named after the stage in there; None if it is not there."""
        places = (folder / self.file_name, folder / self.stage / self.file_name)
        return next((place for place in places if place.exists()), None)


def topics_of(stage: str, folder: Path) -> list[Topic]:
    """Return the notebooks of a stage, in the order of the course as far as ``folder`` tells it.

    Args:
        stage: Such as ``a2``.
        folder: Where the student works.

    Raises:
        CannotBeDone: If there is no such stage.
    """
    from dlcvkit.checking import UnknownExercise, exercises_of

    try:
        known = exercises_of(stage)
    except UnknownExercise as error:
        raise CannotBeDone(str(error)) from None
    names = list(dict.fromkeys(exercise.notebook for exercise in known.values()))
    order = _order(stage, folder)
    names.sort(key=lambda name: order.index(name) if name in order else len(order))
    return [
        Topic(stage, name, {id: exercise for id, exercise in known.items() if exercise.notebook == name})
        for name in names
    ]


def all_topics(folder: Path) -> list[Topic]:
    """Return the notebooks of all stages, as ``topics_of`` does."""
    from dlcvkit.checking import stages

    return [topic for stage in stages() for topic in topics_of(stage, folder)]


def _order(stage: str, folder: Path) -> list[str]:
    """Return the names in the order that course.toml gives, or a release's README, which lists its notebooks."""
    here = folder.absolute()
    for parent in (here, *here.parents):
        try:
            course = tomllib.loads((parent / "course.toml").read_text(encoding="utf-8"))
            return next(list(entry["notebooks"]) for entry in course["stage"] if entry["name"] == stage)
        except (OSError, ValueError, KeyError, TypeError, StopIteration):
            pass
        try:
            if (parent / "MANIFEST.sha256").is_file():
                readme = (parent / "README.md").read_text(encoding="utf-8")
                return re.findall(r"^\d+\. `(\w+)\.ipynb`$", readme, re.MULTILINE)
        except (OSError, ValueError):
            pass
    return []


def choose(target: str | None, folder: Path) -> list[Topic]:
    """Return what a target names: notebooks, each with the exercises that are meant.

    Args:
        target: ``a2``, ``a2/two_layer_net``, ``a2/two_layer_net/affine`` or ``a2/affine``; where a notebook and an
            exercise share a name, the notebook is meant. None stands for every notebook that lies in ``folder``.
        folder: Where the student works.

    Raises:
        CannotBeDone: If there is nothing of that name, or nothing in ``folder``.
    """
    if target is None:
        present = [topic for topic in all_topics(folder) if topic.find(folder)]
        if not present:
            raise CannotBeDone(f"no notebook of the course lies in {folder.absolute()}; --folder names another place")
        return present
    stage, *rest = target.removesuffix("/").removesuffix(".ipynb").split("/")
    topics = topics_of(stage, folder)
    if not rest:
        return topics
    for topic in topics:
        if topic.name == rest[0]:
            return [topic if len(rest) == 1 else _narrow(topic, rest[1:])]
    if len(rest) > 1:
        names = ", ".join(topic.name for topic in topics)
        raise CannotBeDone(f"{stage} has no notebook {rest[0]!r}; expected one of {names}")
    return [_with_exercise(topics, target)]


def _narrow(topic: Topic, rest: list[str]) -> Topic:
    exercise_id = f"{topic.stage}/{'/'.join(rest)}"
    if exercise_id not in topic.exercises:
        names = ", ".join(each.split("/")[1] for each in topic.exercises)
        raise CannotBeDone(f"{topic.file_name} has no exercise {'/'.join(rest)!r}; expected one of {names}")
    return Topic(topic.stage, topic.name, {exercise_id: topic.exercises[exercise_id]})


def _with_exercise(topics: list[Topic], exercise_id: str) -> Topic:
    from dlcvkit.checking import UnknownExercise, find_exercise

    try:
        wanted = find_exercise(exercise_id)
    except UnknownExercise as error:
        names = ", ".join(topic.name for topic in topics)
        raise CannotBeDone(f"{error}; the notebooks of {topics[0].stage} are {names}") from None
    return next(
        Topic(topic.stage, topic.name, {wanted.id: topic.exercises[wanted.id]})
        for topic in topics
        if wanted.id in topic.exercises
    )
