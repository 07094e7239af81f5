"""``dlcvgrade feedback`` and ``dlcvgrade export``: what comes out of grading, made from a folder of results."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from dlcvgrade.options import Root
from dlcvgrade.problems import CourseProblems, Problem

Results = Annotated[Path, typer.Argument(help="The folder that `grade --json` wrote.", metavar="DIR")]


class System(Enum):
    """What results can be exported to."""

    NBGRADER = "nbgrader"
    CANVAS = "canvas"
    MOODLE = "moodle"
    GRADESCOPE = "gradescope"


def _finish(told: str, problems: Sequence[Problem]) -> None:
    """Say what was written; end with exit code 2 if something was left out."""
    typer.echo(told)
    for problem in problems:
        typer.echo(f"dlcvgrade: {problem}", err=True)
    if problems:
        raise typer.Exit(2)


def feedback_command(
    results: Results,
    out: Annotated[Path, typer.Option("--out", help="Folder for the pages.")],
) -> None:
    """Write a page for each student, and a class report. Exit code 2: a file holds no result; the rest is written."""
    from dlcvgrade.results.feedback import STUDENTS, write_feedback
    from dlcvgrade.results.reading import read_results

    found, problems = read_results(results)
    count = write_feedback(found, problems, out)
    pages = "page" if count == 1 else "pages"
    _finish(f"{count} {pages} in {out / STUDENTS}; the class report is {out / 'index.html'}", problems)


def export_command(
    results: Results,
    system: Annotated[System, typer.Option("--to", help="The system that is to read it.")],
    out: Annotated[Path, typer.Option("--out", help="The file; for gradescope the folder.")],
    roster: Annotated[
        Path | None, typer.Option("--roster", help="Canvas' or Moodle's own export, to find students in.")
    ] = None,
    download: Annotated[
        Path | None,
        typer.Option(
            "--download",
            help="Canvas' or Moodle's submissions that were imported: write a zip of feedback pages for them.",
            metavar="FOLDER|ZIP",
        ),
    ] = None,
    pages: Annotated[
        Path | None, typer.Option("--pages", help="With --download: the folder that `feedback --out` wrote.")
    ] = None,
    gradebook: Annotated[
        bool,
        typer.Option(
            "--gradebook", help="Points of the course's gradebook: with those given by hand, less the penalty."
        ),
    ] = False,
    root: Root = Path("."),
) -> None:
    """Write results as another system reads them. Exit code 2: someone was left out; the rest is written."""
    from dlcvgrade.results.exporters import TABLES, WITH_TOTALS, gradescope_files, one_per_student, with_people
    from dlcvgrade.results.reading import read_results
    from dlcvgrade.results.roster import read_roster
    from dlcvgrade.results.writing import write_file, write_files

    is_of_pages = download is not None or pages is not None
    if gradebook and (is_of_pages or system.value not in WITH_TOTALS):
        to = "pages" if is_of_pages else system.value
        raise CourseProblems([Problem("--gradebook", f"is of no use to {to}; expected {' or '.join(WITH_TOTALS)}")])
    if is_of_pages:
        _export_pages(results, system, out, roster, download, pages)
        return
    people = None if roster is None else read_roster(roster, system.value)
    found, problems = read_results(results)
    if system is System.GRADESCOPE:
        write_files(out, gradescope_files(found))
        _finish(f"{len(found)} results.json in {out}", problems)
        return
    unique, shared = one_per_student(found)
    if gradebook:  # nbgrader takes a second to import
        from dlcvgrade.course import read_course
        from dlcvgrade.results.totals import read_totals, with_totals

        unique, unwritten = with_totals(unique, read_totals(read_course(root), found[0].stage))
        problems += unwritten
    entries, unknown = with_people(unique, people)
    problems += [*shared, *unknown]
    if not entries:
        raise CourseProblems(problems)
    write_file(out, TABLES[system.value](entries))
    undecided = sum(not result.is_decided for result, _ in entries)
    empty = f", {undecided} of them undecided, with empty points" if undecided else ""
    students = "student" if len(entries) == 1 else "students"
    _finish(f"{len(entries)} {students} in {out}{empty}", problems)


def _export_pages(
    results: Path, system: System, out: Path, roster: Path | None, download: Path | None, pages: Path | None
) -> None:
    """Write the zip of feedback pages that Canvas or Moodle hands to the students."""
    from dlcvgrade.handins.taking import people_of
    from dlcvgrade.results.exporters import one_per_student
    from dlcvgrade.results.reading import read_results
    from dlcvgrade.results.returning import NOTES, pages_to_return, require_takes_pages
    from dlcvgrade.results.roster import read_roster
    from dlcvgrade.results.writing import write_zip

    require_takes_pages(system.value)
    if download is None or pages is None:
        given, missing = ("--pages", "--download") if download is None else ("--download", "--pages")
        raise CourseProblems([Problem(given, f"is given without {missing}; expected both")])
    people = None if roster is None else read_roster(roster, system.value)
    found, problems = read_results(results)
    unique, shared = one_per_student(found)
    handins = people_of(download, system.value, people)
    told = {result.student for result in found} - {result.student for result in unique}
    files, left_out = pages_to_return(unique, told, handins, pages, system.value, download)
    problems += [*shared, *left_out]
    if not files:
        raise CourseProblems(problems)
    write_zip(out, files)
    count = f"{len(files)} {'page' if len(files) == 1 else 'pages'}"
    _finish(f"{count} in {out}{NOTES.get(system.value, '')}", problems)
