"""Which lines must not reach a student: those of solutions, mark schemes and hidden cases."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dlcvgrade.build import Built
from dlcvgrade.course import Course, Stage
from dlcvgrade.markers import outside_lines, region_lines
from dlcvgrade.notebooks import read_notebook
from dlcvgrade.problems import CourseProblems, Problem

# Shorter lines (`return out`, `loss = 0.0`) are written alike by anybody and tell nothing.
_TELLING_LENGTH = 14
# What a line that makes a case holds.
CASE = "Case("
_TRIVIAL = re.compile(
    r"^(?:return \w+(?:, \w+)*|(?:from|import) .*|(?:for|while|if|elif|with) [\w., ()]+:|else:|pass|break|continue"
    r"|raise NotImplementedError\(\)|[\"']\w+[\"'],?|__all__ = .*|[\W\d_]*)$"
)


def normalised(line: str) -> str:
    """Return a line without indentation, with single blanks, and without a comment behind code."""
    text = " ".join(line.split())
    return text if text.startswith("#") else re.split(r"\s+#\s", text, maxsplit=1)[0]


def is_telling(line: str) -> bool:
    """Say whether a normalised line gives something away: long enough, and more than a common turn of phrase."""
    return len(line) >= _TELLING_LENGTH and not _TRIVIAL.match(line)


def _telling(lines: Iterable[str]) -> Iterator[str]:
    for line in map(normalised, lines):
        if is_telling(line):
            yield line


@dataclass(frozen=True)
class Secrets:
    """Telling lines, normalised.

    Attributes:
        solution: Lines of solutions and mark schemes.
        hidden: Lines of the files with the hidden cases.
    """

    solution: frozenset[str]
    hidden: frozenset[str]


def secrets_of(course: Course, stage: Stage, built: Built) -> Secrets:
    """Gather what must not reach a student.

    Args:
        course: The course; the specs of all its stages count.
        stage: The stage to be released.
        built: A build that holds its solved notebooks.

    Returns:
        The lines. One that stands outside every solution of the stage as well is public and is left out, unless it
        makes a case.
    """
    inside: set[str] = set()
    outside: set[str] = set()
    for path, content in built.solved.items():
        if path.parent.name != stage.name:
            continue
        for cell in read_notebook(content).cells:
            inside.update(_telling(region_lines(cell.source, "SOLUTION", "MARK SCHEME")))
            outside.update(_telling(outside_lines(cell.source)))
    hidden: set[str] = set()
    for spec in sorted(course.specs.rglob("*.py")) if course.specs.is_dir() else ():
        hidden.update(_telling(Path(spec).read_text(encoding="utf-8").split("\n")))
    if not hidden:
        what = f"there are no hidden cases in {course.specs}; a release cannot be searched for them"
        raise CourseProblems([Problem("course.toml", what)])
    public = {line for line in outside if CASE not in line}
    return Secrets(frozenset(inside - outside), frozenset(hidden - public))
