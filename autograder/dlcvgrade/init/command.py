"""``dlcvgrade init``: a private course repository made from the kit, and kept up to date with it."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

import dlcvgrade
from dlcvgrade.course import FILE, Course, read_course
from dlcvgrade.problems import CourseProblems, Problem
from dlcvgrade.results.plain import plain

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")
_CONFIG = "nbgrader_config.py"
_LEFT_ALONE = frozenset((".git",))


def init_command(
    folder: Annotated[Path, typer.Argument(help="The course's folder.", metavar="DIR")],
    kit: Annotated[
        Path | None, typer.Option("--kit", help="The kit's repository.", show_default="where it is installed from")
    ] = None,
    name: Annotated[str | None, typer.Option("--id", help="The course's id.", show_default="the folder's name")] = None,
    title: Annotated[str | None, typer.Option("--title", help="The course's title.")] = None,
    repository: Annotated[str | None, typer.Option("--repository", help="Where students get the course from.")] = None,
    due: Annotated[
        list[str] | None, typer.Option("--due", help="A due date, such as a1=2027-02-05T23:59:00Z; repeatable.")
    ] = None,
    db_url: Annotated[
        str | None, typer.Option("--db-url", help="The gradebook, such as postgresql://HOST/DATABASE.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Bring what is newer in the kit, where the course changed nothing.")
    ] = False,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", help="With --update: settle a conflict by the course's own file.")
    ] = None,
) -> None:
    """Make a private course repository. Exit code 0: done; 1: an update left something to settle; 2: could not."""
    given = {"--kit": kit, "--id": name, "--title": title, "--repository": repository, "--due": due, "--db-url": db_url}
    if update:
        wrong = [option for option, value in given.items() if value]
        if wrong:
            raise typer.BadParameter(f"{', '.join(wrong)} is for a new course; course.toml says it from then on")
        _update(read_course(folder), keep or ())
        return
    if keep:
        raise typer.BadParameter("--keep goes with --update")
    home = read_course(kit or Path(dlcvgrade.__file__).resolve().parents[2])
    make_course(folder.absolute(), home, name=name, title=title, repository=repository, due=due or (), db_url=db_url)
    typer.echo(f"{folder} is ready; its README.md names the commands that come next")
    if not due:
        typer.echo(f"due dates are the kit's; change them in {folder / FILE}")


def make_course(
    folder: Path,
    kit: Course,
    *,
    name: str | None = None,
    title: str | None = None,
    repository: str | None = None,
    due: Sequence[str] = (),
    db_url: str | None = None,
) -> None:
    """Write a course repository, or nothing at all.

    Args:
        folder: Where; absolute; new, or empty but for ``.git``.
        kit: The kit, read as the course that it is.
        name: The course's id; the folder's name if None.
        title: Its title; the kit's if None.
        repository: Where students get it from; the kit's if None.
        due: ``STAGE=TIME`` with a time zone; the kit's due dates if empty.
        db_url: The gradebook; ``gradebook.db`` in the folder if None.

    Raises:
        CourseProblems: If the folder is in use, or something that was given makes no sense.
    """
    from dlcvgrade.init.files import IGNORED, course_text, gradebook_text, readme_text
    from dlcvgrade.init.update import hash_of, kit_files, put, write_record

    folder = folder.resolve()
    name = name or folder.name
    title, repository = title or kit.title, repository or kit.repository
    files = kit_files(kit)
    problems = [*_place_problems(folder, kit), *_id_problems(name)]
    if not files or not (kit.root / _CONFIG).is_file():
        problems.append(Problem(plain(str(kit.root)), "is no repository of the kit; --kit names one"))
    dates = _read_due(due, kit, problems)
    url = _read_url(db_url, problems) if db_url else None
    if problems:
        raise CourseProblems(problems)
    path = os.path.relpath(kit.root.resolve(), folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".init-", dir=folder.parent) as temporary:
        fresh = Path(temporary) / "course"
        for relative, source in files.items():
            put(source, fresh / relative)
        config = (kit.root / _CONFIG).read_text(encoding="utf-8") + (gradebook_text(url) if url else "")
        course = course_text(kit, name=name, title=title, repository=repository, path=path, due=dates)
        readme = readme_text(name=name, title=title, path=path, stage=kit.stages[0].name)
        for file, text in {FILE: course, _CONFIG: config, "README.md": readme, ".gitignore": IGNORED}.items():
            (fresh / file).write_text(text, encoding="utf-8")
        write_record(fresh, {relative: hash_of(fresh / relative) or "" for relative in files})
        read_course(fresh)  # what was just written has to be sound
        if not folder.exists():
            fresh.rename(folder)
            return
        # course.toml last: without it no command takes the folder for a course.
        for child in sorted(fresh.iterdir(), key=lambda child: child.name == FILE):
            child.rename(folder / child.name)


def _place_problems(folder: Path, kit: Course) -> list[Problem]:
    shown = plain(str(folder))
    if folder.is_relative_to(kit.root.resolve()):
        return [Problem(shown, "lies in the kit; a private course needs a folder elsewhere")]
    if folder.exists() and not folder.is_dir():
        return [Problem(shown, "is a file; expected a new folder")]
    if folder.is_dir() and {child.name for child in folder.iterdir()} - _LEFT_ALONE:
        return [Problem(shown, "is not empty; --update brings a course up to date")]
    return []


def _id_problems(name: str) -> list[Problem]:
    if _ID.fullmatch(name):
        return []
    return [Problem("--id", f"is {plain(name)!r}; expected letters, digits, hyphens, dots and underscores")]


def _read_due(entries: Sequence[str], kit: Course, problems: list[Problem]) -> dict[str, datetime]:
    known = {stage.name for stage in kit.stages}
    due = {}
    for entry in entries:
        stage, _, text = entry.partition("=")
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            when = None
        if stage not in known or when is None or when.tzinfo is None:
            told = "expected a stage and a time with its zone, such as a1=2027-02-05T23:59:00Z"
            problems.append(Problem("--due", f"is {plain(entry)!r}; {told}"))
        else:
            due[stage] = when
    return due


def _read_url(text: str, problems: list[Problem]) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        problems.append(Problem("--db-url", "is no address of a database; expected postgresql://HOST/DATABASE"))
        return text
    kind = url.get_backend_name()
    if kind not in ("sqlite", "postgresql"):
        problems.append(Problem("--db-url", f"is of {plain(kind)}; expected sqlite or postgresql"))
    elif url.password is not None:
        problems.append(Problem("--db-url", "holds a password, which a repository keeps for ever; put it in ~/.pgpass"))
    elif kind == "sqlite" and not Path(url.database or "").is_absolute():
        problems.append(Problem("--db-url", "names no absolute path; expected sqlite:////path/gradebook.db"))
    elif url.drivername == "postgresql":  # SQLAlchemy would take a driver that the kit does not bring
        url = url.set(drivername="postgresql+psycopg")
    return url.render_as_string(hide_password=False)


def _update(course: Course, keep: Sequence[str]) -> None:
    from dlcvgrade.init.update import kit_files, unlisted, update

    if course.kit.resolve() == course.root.resolve():
        raise CourseProblems([Problem(FILE, "names no kit; only a course made by dlcvgrade init is updated")])
    kit = read_course(course.kit)
    steps = update(course, kit, keep)
    files = kit_files(kit)
    done = [step for step in steps if step.kind in ("new", "newer", "gone")]
    for step in done:
        typer.echo(f"{step.kind:<9} {step.name}")
    conflicts = [step.name for step in steps if step.kind == "conflict"]
    for name in conflicts:
        theirs = files.get(name, "the kit has it no longer")
        typer.echo(f"conflict  {name}: changed here and in the kit ({theirs}); not touched")
    if conflicts:
        typer.echo("merge them by hand, then --update --keep FILE for each")
    for line in unlisted(course, kit):
        typer.echo(f"note      {line}")
    count = sum(step.kind == "own" for step in steps)
    typer.echo(f"{len(done)} brought up to date, {count} are the course's own, {len(conflicts)} in conflict")
    raise typer.Exit(1 if conflicts else 0)
