"""Find what was handed in, and turn each notebook into the cells that are run when grading."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path

from nbformat import NotebookNode

from dlcvgrade.build import Built, solve_stage
from dlcvgrade.course import Course, Stage
from dlcvgrade.markers import without_markers
from dlcvgrade.notebooks import read_notebook
from dlcvgrade.problems import CourseProblems, Problem
from dlcvgrade.registry import KitRegistry, Registry
from dlcvgrade.restore import Original, restore

# An edited number or two leaves a demo above this; two different cells of a notebook stay far below.
_LIKENESS = 0.85
MAX_NOTEBOOK_BYTES = 32 * 2**20
MAX_CELLS = 2_000
MAX_CODE = 1_000_000
"""Characters in all code cells; reading them takes hundreds of times their size, outside of the sandbox's limits."""


@dataclass(frozen=True)
class Submission:
    """What one student handed in: the student's name, the folder, and notebook name to file."""

    student: str
    folder: Path
    notebooks: Mapping[str, Path]
    is_partial: bool = False


@dataclass(frozen=True)
class Release:
    """What grading has to know of a notebook's release.

    Attributes:
        known: Grade id to cell.
        demo_ids: Ids of the cells that are not run when grading.
        demo_sources: Their texts, for notebooks that have lost ids and tags.
        released: Texts of all cells without an exercise.
    """

    known: dict[str, Original]
    demo_ids: frozenset[str]
    demo_sources: frozenset[str]
    released: frozenset[str]


@dataclass(frozen=True)
class Work:
    """A notebook that can be graded: code cells in order, and what had to be mended."""

    cells: tuple[str, ...]
    notes: tuple[str, ...] = ()
    released: frozenset[str] = field(default_factory=frozenset)


class Unreadable(ValueError):
    """A file that was handed in is no notebook; the message says why in one line."""


def releases(course: Course, stage: Stage, registry: Registry | None = None) -> dict[str, Release]:
    """Return notebook name to release, made from the sources of those that are written.

    Raises:
        CourseProblems: If a source is not sound, or none is written.
    """
    folder = course.root / "solutions" / stage.name
    written = [name for name in stage.notebooks if (folder / f"{name}.py").is_file()]
    built = Built()
    problems = solve_stage(course, stage, registry or KitRegistry(), built, written)
    if not written:
        problems.append(Problem(f"solutions/{stage.name}", "has none of the stage's notebooks"))
    if problems:
        raise CourseProblems(problems)
    return {path.stem: release_of(read_notebook(content)) for path, content in built.solved.items()}


def _role(entry: Mapping[str, object]) -> str:
    return next((role for role in ("grade", "solution", "task") if entry.get(role)), "")


def release_of(notebook: NotebookNode) -> Release:
    """Return what grading has to know of a solved notebook."""
    known, demos, released = {}, [], set()
    for cell in notebook.cells:
        entry = cell.metadata.get("nbgrader", {})
        role = _role(entry)
        if role:
            name = str(entry["grade_id"])
            points = entry.get("points")
            known[name] = Original(name, role, cell.cell_type, cell.source, None if points is None else float(points))
        if role != "solution":
            released.add(without_markers(cell.source).strip())
        if "demo" in cell.metadata.get("tags", []):
            demos.append(cell)
    return Release(
        known, frozenset(c.id for c in demos), frozenset(c.source.strip() for c in demos), frozenset(released)
    )


def require_plain(path: Path, folders: int = 0) -> None:
    """Insist on an ordinary file, of its owner alone, of a size that a notebook may have.

    Args:
        path: The file.
        folders: How many of the folders above it may be no links either.

    Raises:
        Unreadable: If it is not.
    """
    if any(place.is_symlink() for place in (path, *list(path.parents)[:folders])) or not path.is_file():
        raise Unreadable("is no ordinary file")
    status = path.stat()
    if status.st_nlink > 1:  # a second name of somebody else's work looks like a file of its own
        raise Unreadable("is a hard link; expected a file of its own")
    if status.st_size > MAX_NOTEBOOK_BYTES:
        raise Unreadable(f"has {status.st_size} bytes; expected at most {MAX_NOTEBOOK_BYTES}")


def read_work(path: Path, release: Release) -> Work:
    """Read a notebook that was handed in, mend it, and return what is to be run.

    Raises:
        Unreadable: If it is no notebook, too large, or no ordinary file.
        OSError: If the file cannot be opened here, which says nothing about what is in it.
    """
    require_plain(path)
    content = path.read_bytes()
    try:
        notebook = read_notebook(content)
        _make_sound(notebook)
        _require_readable(notebook)
        notes = restore(notebook, release.known)
    except Unreadable:
        raise
    except Exception as error:  # nbformat passes on whatever it stumbles over in a damaged file
        raise Unreadable(f"cannot be read as a notebook ({type(error).__name__})") from None
    cells = tuple(cell.source for cell in notebook.cells if _is_run(cell, release))
    return Work(cells, tuple(notes), release.released)


def _make_sound(notebook: NotebookNode) -> None:
    """Put right what nbformat lets pass and the rest of grading relies on."""
    cells = [
        cell for cell in notebook.cells if isinstance(cell, dict) and cell.get("cell_type") in ("code", "markdown")
    ]
    for cell in cells:
        source = cell.get("source", "")
        cell["source"] = source if isinstance(source, str) else "".join(map(str, source))
        if not isinstance(cell.get("metadata"), dict):
            cell["metadata"] = NotebookNode()
    notebook.cells = cells


def _require_readable(notebook: NotebookNode) -> None:
    count = len(notebook.cells)
    if count > MAX_CELLS:
        raise Unreadable(f"has {count} cells; expected at most {MAX_CELLS}")
    code = sum(len(cell.source) for cell in notebook.cells if cell.cell_type == "code")
    if code > MAX_CODE:
        raise Unreadable(f"has {code} characters of code; expected at most {MAX_CODE}")


def _is_run(cell: NotebookNode, release: Release) -> bool:
    if cell.cell_type != "code":
        return False
    entry = cell.metadata.get("nbgrader", {})
    role = _role(entry) if isinstance(entry, dict) else ""
    if role:
        return role == "solution"
    tags = cell.metadata.get("tags", [])
    is_demo = isinstance(tags, list) and "demo" in tags
    return not (is_demo or cell.get("id") in release.demo_ids or _resembles(cell.source, release.demo_sources))


def _resembles(source: str, demos: frozenset[str]) -> bool:
    """Return whether a cell is one of the demos, or what became of it in an editor that loses ids and tags."""
    text = source.strip()[:20_000]
    if text in demos:
        return True
    matcher = SequenceMatcher(None, b=text, autojunk=False)
    for demo in demos:
        matcher.set_seq1(demo)
        bounds = (matcher.real_quick_ratio, matcher.quick_ratio, matcher.ratio)  # cheap ones first
        if all(bound() >= _LIKENESS for bound in bounds):
            return True
    return False


def find_submissions(paths: Sequence[Path], stage: Stage) -> list[Submission]:
    """Return the submissions in folders and files, sorted by student.

    Args:
        paths: A folder with one folder per student (and in it one for the stage, as nbgrader has it, or the notebooks
            themselves), or notebook files called ``knn.ipynb`` or ``ada_knn.ipynb``.
        stage: The stage.

    Raises:
        CourseProblems: If a path is not there, or nothing was handed in.
    """
    found: dict[str, Submission] = {}
    problems = []
    for path in paths:
        if path.is_dir():
            found |= {s.student: s for s in _in_folder(path, stage)}
        elif path.is_file():
            submission = _from_file(path, stage)
            if submission is None:
                names = " or ".join(stage.notebooks)
                problems.append(
                    Problem(str(path), f"is no notebook of {stage.name}; expected a name ending in {names}")
                )
                continue
            earlier = found.get(submission.student)
            merged = {**(earlier.notebooks if earlier else {}), **submission.notebooks}
            found[submission.student] = Submission(submission.student, path.parent, merged, is_partial=True)
        else:
            problems.append(Problem(str(path), "does not exist; expected a folder of submissions or a notebook"))
    if not found and not problems:
        problems.append(Problem(", ".join(map(str, paths)), f"holds no submission of {stage.name}"))
    if problems:
        raise CourseProblems(problems)
    return [found[student] for student in sorted(found)]


def _in_folder(folder: Path, stage: Stage) -> list[Submission]:
    submissions = []
    for student in sorted(folder.iterdir()):
        if student.is_symlink() or not student.is_dir():
            continue
        home = student / stage.name if (student / stage.name).is_dir() else student
        submission = in_folder(student.name, home, stage.notebooks, is_linked=home.is_symlink())
        if submission.notebooks:
            submissions.append(submission)
    return submissions


def in_folder(student: str, home: Path, names: Iterable[str], *, is_linked: bool) -> Submission:
    """Return what lies in a folder.

    Args:
        student: The student.
        home: The folder.
        names: Names of the notebooks that may be there.
        is_linked: Whether it is a link, or lies in one. Then it leads to somebody else's work, and nothing counts.
    """
    if is_linked:  # a folder in a notebook's place is told to be no ordinary file, and in no file there are answers
        return Submission(student, Path(os.devnull), dict.fromkeys(names, home))
    files = {name: home / f"{name}.ipynb" for name in names}
    return Submission(student, home, {name: path for name, path in files.items() if os.path.lexists(path)})


def _from_file(path: Path, stage: Stage) -> Submission | None:
    for name in sorted(stage.notebooks, key=len, reverse=True):
        match = re.fullmatch(rf"(?:(?P<student>.+)[_-])?{re.escape(name)}", path.stem)
        if match and path.suffix == ".ipynb":
            return Submission(
                match["student"] or path.absolute().parent.name, path.parent, {name: path}, is_partial=True
            )
    return None


def digest(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of files, names included; what cannot be read counts by its name alone."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(f"{path.name}\0".encode("utf-8", "surrogateescape"))
        with suppress(OSError):
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_NOTEBOOK_BYTES:
                total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
