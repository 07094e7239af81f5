"""From sources to the solved notebooks, nbgrader's source folder and the students' notebooks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from dlcvgrade.course import FILE, Course, Stage
from dlcvgrade.notebooks import notebook_bytes, read_notebook
from dlcvgrade.opening import with_opening
from dlcvgrade.problems import CourseProblems, Problem
from dlcvgrade.registry import KitRegistry, Registry
from dlcvgrade.session import demand, open_api
from dlcvgrade.settings import RELEASE, SOURCE
from dlcvgrade.source import solved_notebook

SOLUTIONS = "solutions"
FIGURES = "figures"
_FIGURE_KINDS = (".png", ".svg")

Files = dict[PurePosixPath, bytes]


@dataclass
class Built:
    """Everything a build makes, as path below the course's root to content.

    Attributes:
        solved: ``solutions/aN/topic.ipynb``.
        source: ``build/source/aN/...``, what nbgrader reads; not committed.
        released: ``assignments/aN/...``, what students get.
    """

    solved: Files = field(default_factory=dict)
    source: Files = field(default_factory=dict)
    released: Files = field(default_factory=dict)

    def all_files(self) -> Files:
        """Return every file of the build."""
        return {**self.solved, **self.source, **self.released}


def _figures(course: Course, stage: Stage, problems: list[Problem]) -> Files:
    folder = course.root / SOLUTIONS / stage.name / FIGURES
    figures: Files = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        relative = path.relative_to(course.root).as_posix()
        if path.is_symlink() or not path.is_file() or path.suffix not in _FIGURE_KINDS:
            problems.append(Problem(relative, f"is no figure; expected files ending in {' or '.join(_FIGURE_KINDS)}"))
        else:
            figures[PurePosixPath(FIGURES, path.name)] = path.read_bytes()
    return figures


def _unlisted(course: Course, stage: Stage) -> Iterator[Problem]:
    folder = course.root / SOLUTIONS / stage.name
    for path in sorted(folder.glob("*")):
        if path.suffix in (".py", ".ipynb") and path.stem not in stage.notebooks:
            yield Problem(path.relative_to(course.root).as_posix(), f"is not among the notebooks of {FILE}")


def solve_stage(course: Course, stage: Stage, registry: Registry, built: Built, only: Collection[str]) -> list[Problem]:
    """Make the solved notebooks of one stage.

    Args:
        course: The course.
        stage: The stage.
        registry: Where exercises and their points stand.
        built: Receives the files.
        only: The notebooks to make.

    Returns:
        What is wrong with the sources.
    """
    problems = list(_unlisted(course, stage))
    figures = _figures(course, stage, problems)
    for name in stage.notebooks:
        if name not in only:
            continue
        relative = PurePosixPath(SOLUTIONS, stage.name, f"{name}.py")
        try:
            text = (course.root / relative).read_text(encoding="utf-8")
        except FileNotFoundError:
            problems.append(Problem(str(relative), f"is missing, but {FILE} lists {name!r} in stage {stage.name!r}"))
            continue
        except UnicodeDecodeError:
            problems.append(Problem(str(relative), "is no UTF-8 text"))
            continue
        notebook, found = solved_notebook(text, file=str(relative), stage=stage.name, notebook=name, registry=registry)
        problems += found
        if notebook is not None:
            with_opening(notebook, course.repository)
            content = notebook_bytes(notebook)
            built.solved[relative.with_suffix(".ipynb")] = content
            built.source[PurePosixPath(SOURCE, stage.name, f"{name}.ipynb")] = content
    # Only what is listed reaches nbgrader's source folder: it releases every file that it finds there.
    built.source |= {PurePosixPath(SOURCE, stage.name) / path: content for path, content in figures.items()}
    return problems


def write_files(files: Mapping[PurePosixPath, bytes], root: Path) -> None:
    """Write files below ``root``, each replaced in one step."""
    for relative, content in files.items():
        path = root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(content)
        partial.replace(path)


def _release_stage(course: Course, stage: Stage, built: Built) -> None:
    """Let nbgrader strip the solutions, in a course folder and gradebook of its own."""
    with tempfile.TemporaryDirectory(prefix="dlcvgrade-build-") as name:
        root = Path(name).resolve()
        write_files(built.source, root)
        demand(open_api(course, root).generate_assignment, stage.name)
        folder = root / RELEASE / stage.name
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                content = path.read_bytes()
                if path.suffix == ".ipynb":
                    content = notebook_bytes(read_notebook(content))
                built.released[PurePosixPath(RELEASE, stage.name, path.relative_to(folder).as_posix())] = content


def build(
    course: Course,
    *,
    stages: Collection[str] | None = None,
    notebooks: Callable[[str, str], bool] = lambda stage, notebook: True,
    registry: Registry | None = None,
) -> Built:
    """Build a course without writing anything into it.

    Args:
        course: The course.
        stages: Names of the stages to build; all if None.
        notebooks: Says of a stage's and a notebook's name whether to build it.
        registry: Where exercises and their points stand; the kit's if None.

    Returns:
        All files, equal for equal sources.

    Raises:
        CourseProblems: If anything is wrong with any source; all of it at once.
        NbgraderFailed: If nbgrader does.
    """
    registry = registry or KitRegistry()
    chosen = [stage for stage in course.stages if stages is None or stage.name in stages]
    parts, problems = [], []
    for stage in chosen:
        built = Built()
        only = [name for name in stage.notebooks if notebooks(stage.name, name)]
        problems += solve_stage(course, stage, registry, built, only)
        parts.append((stage, built))
    if problems:
        raise CourseProblems(problems)
    whole = Built()
    for stage, built in parts:
        if built.solved:
            _release_stage(course, stage, built)
        whole.solved |= built.solved
        whole.source |= built.source
        whole.released |= built.released
    return whole


def _generated_folders(course: Course) -> Iterator[tuple[str, Path]]:
    for stage in course.stages:
        yield RELEASE, course.root / RELEASE / stage.name
        yield SOURCE, course.root / SOURCE / stage.name


def _stale(course: Course, built: Built) -> list[PurePosixPath]:
    """Return files in the generated folders that the build does not make."""
    made = built.all_files()
    found = (
        PurePosixPath(path.relative_to(course.root).as_posix())
        for _, folder in _generated_folders(course)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".ipynb_checkpoints" not in path.parts
    )
    return [path for path in found if path not in made]


def write_build(course: Course, built: Built, *, prune: bool = True) -> None:
    """Write a build into the course.

    Args:
        course: The course.
        built: What to write.
        prune: Whether to remove from the generated folders what this build did not make.
    """
    write_files(built.all_files(), course.root)
    for path in _stale(course, built) if prune else ():
        (course.root / path).unlink()
    for _, folder in _generated_folders(course):
        for child in sorted(folder.rglob("*"), reverse=True) if prune else ():
            if child.is_dir() and not any(child.iterdir()):
                shutil.rmtree(child)


def differences(course: Course, built: Built, *, is_whole: bool = True) -> list[str]:
    """Compare a build with the committed files.

    Args:
        course: The course.
        built: What the sources give.
        is_whole: Whether all notebooks were built, so that any other file has no source.

    Returns:
        One line per file that differs, is missing, or has no source.
    """
    lines = []
    for path, content in {**built.solved, **built.released}.items():
        target = course.root / path
        if not target.is_file():
            lines.append(f"{path}: is missing")
        elif target.read_bytes() != content:
            lines.append(f"{path}: differs from what its source gives")
    stale = [path for path in _stale(course, built) if is_whole and path.is_relative_to(RELEASE)]
    return sorted([*lines, *(f"{path}: comes from no source" for path in stale)])
