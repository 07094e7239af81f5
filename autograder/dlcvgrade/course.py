"""The typed reading of ``course.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from dlcvgrade.problems import CourseProblems, Problem

FILE = "course.toml"


@dataclass(frozen=True)
class LatePolicy:
    """What a late submission costs: percent of the maximum per started day, until nothing is left after ``days``."""

    percent_per_day: float
    days: int


@dataclass(frozen=True)
class Stage:
    """One assignment: its name (``a1``), title, due date with a time zone, and its notebooks in order."""

    name: str
    title: str
    due: datetime
    notebooks: tuple[str, ...]


@dataclass(frozen=True)
class Course:
    """A course, as ``course.toml`` in ``root`` describes it.

    ``specs`` is the folder with the hidden cases; ``kit`` the one with ``utils/dlcvkit`` and what else a release takes
    along, ``root`` itself unless the course has a repository of its own.
    """

    root: Path
    id: str
    title: str
    repository: str
    specs: Path
    kit: Path
    late: LatePolicy
    stages: tuple[Stage, ...]

    def stage(self, name: str) -> Stage:
        """Return the stage called ``name``.

        Raises:
            CourseProblems: If there is none.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        known = ", ".join(stage.name for stage in self.stages)
        raise CourseProblems([Problem(FILE, f"there is no stage {name!r}; there are {known}")])


class _Reader:
    """Takes values out of a table and gathers what is wrong with them, so that all of it is told at once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def refuse(self, what: str) -> None:
        self.problems.append(Problem(FILE, what))

    def take(self, table: Mapping[str, Any], where: str, key: str, kind: type | tuple[type, ...], wanted: str) -> Any:
        value = table.get(key)
        if value is None:
            self.refuse(f"{where} has no {key}; expected {wanted}")
        elif not isinstance(value, kind) or isinstance(value, bool):
            self.refuse(f"{where} {key} is {value!r}; expected {wanted}")
        else:
            return value
        return None

    def only(self, table: Mapping[str, Any], where: str, known: tuple[str, ...]) -> None:
        for key in table:
            if key not in known:
                self.refuse(f"{where} has an unknown key {key!r}; known are {', '.join(known)}")


def _read_stage(reader: _Reader, table: Mapping[str, Any], where: str) -> Stage | None:
    reader.only(table, where, ("name", "title", "due", "notebooks"))
    name = reader.take(table, where, "name", str, 'a short name such as "a1"')
    title = reader.take(table, where, "title", str, "a title")
    due = reader.take(table, where, "due", datetime, "a date and time such as 2027-02-05T23:59:00Z")
    notebooks = reader.take(table, where, "notebooks", list, "a list of names")
    if isinstance(name, str) and not name.isidentifier():
        reader.refuse(f"{where} name is {name!r}; expected letters, digits and underscores")
    if isinstance(due, datetime) and due.tzinfo is None:
        reader.refuse(f"{where} due has no time zone; write {due.isoformat()}Z for UTC")
    for notebook in notebooks or ():
        if not isinstance(notebook, str) or not notebook.isidentifier():
            reader.refuse(f"{where} notebooks holds {notebook!r}; expected letters, digits and underscores")
        elif notebooks.count(notebook) > 1:
            reader.refuse(f"{where} lists the notebook {notebook!r} more than once")
    if notebooks == []:
        reader.refuse(f"{where} has no notebooks")
    if None in (name, title, due, notebooks):
        return None
    return Stage(name, title, due, tuple(notebooks))


def read_course(root: Path) -> Course:
    """Read ``course.toml`` in ``root``.

    Args:
        root: The course's folder.

    Returns:
        The course, with absolute paths.

    Raises:
        CourseProblems: If the file is missing, is no TOML, or says something that makes no sense; all of it at once.
    """
    root = root.absolute()
    try:
        table = tomllib.loads((root / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CourseProblems([Problem(FILE, f"is missing in {root}; run this in the course's folder")]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CourseProblems([Problem(FILE, f"is no valid TOML: {error}")]) from None

    reader = _Reader()
    reader.only(table, "the file", ("course", "late", "stage"))
    course = reader.take(table, "the file", "course", dict, "a table [course]") or {}
    reader.only(course, "[course]", ("id", "title", "repository", "specs", "kit"))
    texts = {
        key: reader.take(course, "[course]", key, str, wanted)
        for key, wanted in {
            "id": 'a short id such as "dlcv"',
            "title": "a title",
            "repository": "the URL that students get the kit from",
            "specs": "the folder with the hidden cases",
        }.items()
    }
    kit = reader.take({"kit": ".", **course}, "[course]", "kit", str, "the folder of the kit")
    late = reader.take(table, "the file", "late", dict, "a table [late]") or {}
    reader.only(late, "[late]", ("percent_per_day", "days"))
    percent = reader.take(late, "[late]", "percent_per_day", (int, float), "a number from 0 to 100")
    days = reader.take(late, "[late]", "days", int, "a number of days, at least 1")
    if percent is not None and not 0 <= percent <= 100:
        reader.refuse(f"[late] percent_per_day is {percent}; expected a number from 0 to 100")
    if days is not None and days < 1:
        reader.refuse(f"[late] days is {days}; expected at least 1")
    tables = reader.take(table, "the file", "stage", list, "at least one table [[stage]]") or []
    stages = [_read_stage(reader, entry, f"stage {number}") for number, entry in enumerate(tables, 1)]
    names = [stage.name for stage in stages if stage]
    for name in sorted({name for name in names if names.count(name) > 1}):
        reader.refuse(f"the stage {name!r} stands there more than once")
    if reader.problems:
        raise CourseProblems(reader.problems)
    return Course(
        root=root,
        id=texts["id"],
        title=texts["title"],
        repository=texts["repository"],
        specs=(root / texts["specs"]).absolute(),
        kit=(root / kit).absolute(),
        late=LatePolicy(float(percent), days),
        stages=tuple(stage for stage in stages if stage),
    )
