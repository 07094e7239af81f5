"""Keep a course's copies of the kit's files up to date, and leave alone what was changed in the course."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import dlcvkit
from dlcvgrade.build import FIGURES, SOLUTIONS
from dlcvgrade.course import Course
from dlcvgrade.problems import CourseProblems, Problem
from dlcvgrade.results.writing import write_file

RECORD = ".kit-files.json"
SPECS = "specs"
_FORMAT = 1
_LINK = "a link"


@dataclass(frozen=True)
class Step:
    """What happens to a copy: ``new newer gone conflict own same``."""

    name: str
    kind: str


def kit_files(kit: Course) -> dict[str, Path]:
    """Return the files of the kit that a course gets a copy of: path in the course to path in the kit."""
    files = {f"{SPECS}/{path.relative_to(kit.specs).as_posix()}": path for path in sorted(kit.specs.rglob("*.py"))}
    for stage in kit.stages:
        home = kit.root / SOLUTIONS / stage.name
        sources = (home / f"{name}.py" for name in stage.notebooks)
        figures = sorted((home / FIGURES).iterdir()) if (home / FIGURES).is_dir() else []
        files |= {path.relative_to(kit.root).as_posix(): path for path in (*sources, *figures) if path.is_file()}
    return files


def hash_of(path: Path) -> str | None:
    """Return what tells a file's contents; None if there is no file."""
    if path.is_symlink():
        return _LINK
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def plan(kit: Mapping[str, str], here: Mapping[str, str | None], known: Mapping[str, str]) -> list[Step]:
    """Decide on each file.

    Args:
        kit: Path to hash as the kit has it now.
        here: Path to hash as the course has it; None or missing where it has none.
        known: Path to hash as the kit had it when the course last took it, or chose to keep its own.
    """
    return [Step(name, _kind(kit.get(name), here.get(name), known.get(name))) for name in sorted({*kit, *known})]


def _kind(kit: str | None, here: str | None, known: str | None) -> str:
    if here == kit:
        return "same"
    if here == known:  # untouched, or never there
        return "gone" if kit is None else "newer" if known else "new"
    return "own" if kit == known else "conflict"


def read_record(root: Path) -> dict[str, str]:
    """Return what a course has noted of its copies.

    Raises:
        CourseProblems: If it has noted nothing, or the file is damaged.
    """
    try:
        told = json.loads((root / RECORD).read_text(encoding="utf-8"))
        if told["format"] != _FORMAT:
            raise ValueError
        return {str(name): str(value) for name, value in told["files"].items()}
    except FileNotFoundError:
        raise CourseProblems([Problem(RECORD, f"is missing in {root}; was it made by dlcvgrade init?")]) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CourseProblems([Problem(RECORD, "is damaged; take it back from the repository's history")]) from None


def write_record(root: Path, known: Mapping[str, str]) -> None:
    """Note what a course's copies were copied from."""
    told = {"format": _FORMAT, "kit": dlcvkit.__version__, "files": dict(sorted(known.items()))}
    write_file(root / RECORD, json.dumps(told, indent=1) + "\n")


def update(course: Course, kit: Course, keep: Collection[str]) -> list[Step]:
    """Bring a course's copies up to date where the course has not changed them.

    Args:
        course: The course.
        kit: The kit.
        keep: Paths in conflict of which the course's own is kept; until the kit changes again, they are none.

    Returns:
        What happened to each file. One in conflict was not touched.

    Raises:
        CourseProblems: If something is to be kept that is not in conflict.
    """
    known = read_record(course.root)
    files = kit_files(kit)
    latest = {name: value for name, path in files.items() if (value := hash_of(path))}
    steps = plan(latest, {name: hash_of(course.root / name) for name in {*latest, *known}}, known)
    conflicts = {step.name for step in steps if step.kind == "conflict"}
    wrong = sorted(set(keep) - conflicts)
    if wrong:
        raise CourseProblems([Problem(name, "is in no conflict; nothing was done") for name in wrong])
    steps = [Step(step.name, "own") if step.name in keep else step for step in steps]
    for step in steps:
        target = course.root / step.name
        if step.kind in ("new", "newer"):
            put(files[step.name], target)
        elif step.kind == "gone":
            target.unlink()
    settled = {step.name for step in steps if step.kind != "conflict"}
    write_record(course.root, {name: value for name, value in known.items() if name not in settled} | {
        name: value for name, value in latest.items() if name in settled
    })  # fmt: skip
    return steps


def put(source: Path, target: Path) -> None:
    """Copy a file in one step."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    partial.write_bytes(source.read_bytes())
    partial.replace(target)


def unlisted(course: Course, kit: Course) -> list[str]:
    """Return a line for each notebook that only one of ``course.toml`` and the kit knows."""
    own = {(stage.name, notebook) for stage in course.stages for notebook in stage.notebooks}
    theirs = {(stage.name, notebook) for stage in kit.stages for notebook in stage.notebooks}
    return [
        *(f"course.toml lacks the kit's notebook {'/'.join(pair)}" for pair in sorted(theirs - own)),
        *(f"course.toml lists {'/'.join(pair)}, which the kit lacks" for pair in sorted(own - theirs)),
    ]
