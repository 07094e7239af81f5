"""``dlcvgrade import``: take in what was downloaded from a learning platform."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dlcvgrade.course import read_course
from dlcvgrade.options import Root
from dlcvgrade.problems import CourseProblems, Problem
from dlcvgrade.results.plain import plain

if TYPE_CHECKING:
    from dlcvgrade.handins.taking import Row


class Platform(Enum):
    """Where a download comes from."""

    CANVAS = "canvas"
    MOODLE = "moodle"
    GRADESCOPE = "gradescope"
    PLAIN = "plain"


def import_command(
    download: Annotated[Path, typer.Argument(help="The folder or zip.", metavar="FOLDER|ZIP")],
    stage: Annotated[str, typer.Option("--stage", help="The stage, such as a2.")],
    platform: Annotated[Platform, typer.Option("--from", help="Where it was downloaded.")],
    root: Root = Path("."),
    roster: Annotated[
        Path | None, typer.Option("--roster", help="The class as Canvas or Moodle exports it, to give students ids.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where hand-ins go.", show_default="the course's submitted")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Let hand-ins take the place of those there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing, and say what would be written.")] = False,
) -> None:
    """Sort a download into submitted/STUDENT/STAGE. Exit code 0: all is well; 1: something to look at; 2: could not."""
    from dlcvgrade.handins.choosing import wanted_of
    from dlcvgrade.handins.taking import take_in
    from dlcvgrade.results.roster import read_roster

    course = read_course(root)
    wanted = wanted_of(course, course.stage(stage))
    people = None if roster is None else read_roster(roster, platform.value)
    target = (out or course.root / "submitted").absolute()
    if target.exists() and not target.is_dir():
        raise CourseProblems([Problem(plain(str(target)), "is a file; expected a folder")])
    above = next(folder for folder in target.parents if folder.is_dir())
    with tempfile.TemporaryDirectory(prefix=".import-", dir=None if dry_run else above) as name:
        taken = take_in(
            download, platform.value, wanted, people, target, Path(name), is_replacing=replace, is_trial=dry_run
        )
    console = Console() if Console().is_terminal else Console(width=130)
    console.print(_table(taken.rows, stage, is_trial=dry_run))
    for stray in taken.strays:
        typer.echo(f"left        {plain(stray, 300)}")
    if taken.absent:
        typer.echo(f"in the roster, handed in nothing: {', '.join(map(plain, taken.absent))}")
    look = sum(not row.is_fine for row in taken.rows) + len(taken.strays)
    done = "would be written" if dry_run else "written"
    typer.echo(f"{len(taken.rows)} students, {taken.written} {done} to {target}, {look} to look at")
    raise typer.Exit(1 if look else 0)


def _table(rows: Sequence[Row], stage: str, *, is_trial: bool) -> Table:
    title = f"What would come in for {stage}" if is_trial else f"What came in for {stage}"
    table = Table(title=title, title_justify="left")
    for column in ("student", "name", "files", "notes"):
        table.add_column(column, overflow="fold", justify="right" if column == "files" else "left")
    for row in rows:
        notes = "\n".join(f"{'' if note.is_fine else '! '}{plain(note.text, 300)}" for note in row.notes)
        table.add_row(*(Text(cell) for cell in (row.student, plain(row.name, 60), str(row.files), notes)))
    return table
