"""``dlcvkit solutions``: for self-learners, who have the course's repository and nobody to hand in to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from dlcvkit.commands.course import Topic, choose
from dlcvkit.commands.notebook_file import read_bytes, read_notebook
from dlcvkit.commands.terminal import CannotBeDone, say

_MARKERS = frozenset(
    f"### {edge} {name}" for edge in ("BEGIN", "END") for name in ("SOLUTION", "HIDDEN TESTS", "MARK SCHEME")
)


def solutions_folder(start: Path) -> Path:
    """Return the folder with the solved notebooks of the course that ``start`` lies in.

    Raises:
        CannotBeDone: If ``start`` lies in no course with solutions.
    """
    here = start.absolute()
    for parent in (here, *here.parents):
        if (parent / "course.toml").is_file() and (parent / "solutions").is_dir():
            return parent / "solutions"
    raise CannotBeDone(f"{here} lies in no repository with solutions; they come with the course's own, not a release")


def solution_of(topic: Topic, folder: Path) -> str:
    """Return the code that solves the exercises of a topic, as it stands in the solved notebook, without markers.

    Raises:
        CannotBeDone: If the notebook cannot be read.
    """
    notebook = read_notebook(folder / topic.stage / topic.file_name)
    functions = [name for exercise in topic.exercises.values() for name in exercise.functions]
    words = [(f"def {name}(", f"class {name}(", f"class {name}:") for name in functions]
    cells = [
        cell.source
        for cell in notebook.cells
        if cell.is_code
        and cell.grade.get("solution")
        and any(word in cell.source for starts in words for word in starts)
    ]
    lines = "\n\n\n".join(cells).split("\n")
    return "\n".join(line for line in lines if line.strip() not in _MARKERS)


def copy_notebooks(topics: Sequence[Topic], folder: Path, to: Path, *, force: bool) -> list[Path]:
    """Copy solved notebooks, all or none.

    Args:
        topics: Their topics.
        folder: Where they lie.
        to: Where ``aN/topic.ipynb`` is written.
        force: Whether files that are there are replaced.

    Returns:
        The files that were written.

    Raises:
        CannotBeDone: If a notebook is missing, or a file is in the way.
    """
    files = {to / topic.stage / topic.file_name: folder / topic.stage / topic.file_name for topic in topics}
    taken = [path for path in files if os.path.lexists(path)]
    if taken and not force:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise CannotBeDone(f"{taken[0]}{more} is there already; --force replaces it, --to names another folder")
    contents = {path: read_bytes(source) for path, source in files.items()}
    for path, content in contents.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.partial")
            partial.write_bytes(content)
            partial.replace(path)
        except OSError as error:
            raise CannotBeDone(f"{path} cannot be written: {error.strerror or error}") from None
    return list(files)


def solutions_command(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="a2, a2/two_layer_net, or an exercise such as a2/affine.")
    ],
    to: Annotated[Path, typer.Option("--to", help="Folder for the solved notebooks.")] = Path("solved"),
    force: Annotated[bool, typer.Option("--force", help="Replace notebooks that are there already.")] = False,
    folder: Annotated[Path, typer.Option("--folder", help="A folder in the course's repository.")] = Path("."),
) -> None:
    """Copy solved notebooks to a folder of yours, or print the solution of one exercise."""
    found = solutions_folder(folder)
    topics = choose(target, folder)
    _, *rest = target.removesuffix("/").removesuffix(".ipynb").split("/")
    is_exercise = len(rest) == 2 or (len(rest) == 1 and rest[0] != topics[0].name)
    if is_exercise:
        say(solution_of(topics[0], found))
        return
    for path in copy_notebooks(topics, found, to, force=force):
        say(f"{path}")
