"""``dlcvgrade grade``: submissions in, results out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from dlcvgrade.course import read_course

Root = Annotated[Path, typer.Option("--course", help="The course's folder, with course.toml.", show_default="here")]


def grade_command(
    stage: Annotated[str, typer.Argument(help="The stage, such as a1.")],
    paths: Annotated[list[Path] | None, typer.Argument(help="A folder of submissions, or notebooks.")] = None,
    root: Root = Path("."),
    json: Annotated[Path | None, typer.Option("--json", help="Write one result per submission to this folder.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=256, help="Submissions to grade at a time.")] = 1,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of all inputs; drawn if not given.")] = None,
    regrade: Annotated[
        list[str] | None, typer.Option("--regrade", help="Grade this student again, unchanged or not; repeatable.")
    ] = None,
    budget: Annotated[float, typer.Option("--budget", min=1, help="Seconds a submission may take.")] = 180,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Grade without a sandbox if there is none.")] = False,
) -> None:
    """Grade submissions in a sandbox. Exit code 0: all points; 1: points lost; 2: something could not be graded.

    With --json, a submission whose result is there and still holds is not graded again: stop a batch at any moment and
    run it again to go on.
    """
    # The judge imports torch, which --help and a wrong option need not wait for.
    from dlcvgrade.judge.batch import Grader
    from dlcvgrade.judge.limits import Limits
    from dlcvgrade.judge.results import result_path, write_result
    from dlcvgrade.judge.resume import stored_result
    from dlcvgrade.judge.sandbox import isolation
    from dlcvgrade.judge.submissions import find_submissions

    course = read_course(root)
    chosen = course.stage(stage)
    found = isolation()
    if found.level == "none" and not unsafe:
        typer.echo(f"dlcvgrade: no sandbox: {found.why}. --unsafe grades without one", err=True)
        raise typer.Exit(2)
    submissions = find_submissions(paths or [course.root / "submitted"], chosen)
    if json is not None and json.exists() and not json.is_dir():
        typer.echo(f"dlcvgrade: --json {json} is a file; expected a folder", err=True)
        raise typer.Exit(2)
    forced = set(regrade or ())
    unknown = forced - {submission.student for submission in submissions}
    if unknown:
        typer.echo(f"dlcvgrade: --regrade {', '.join(sorted(unknown))}: nothing was handed in by that name", err=True)
        raise typer.Exit(2)
    grader = Grader(course, chosen, found, seed=seed, limits=Limits(submission_seconds=budget))
    console = Console() if Console().is_terminal else Console(width=130)
    results: dict[str, Mapping[str, Any]] = {}
    if json is not None:
        for submission in submissions:
            if submission.student not in forced:
                stored = stored_result(result_path(json, submission.student), grader.identity(submission))
                if stored is not None:
                    results[submission.student] = stored
    kept = len(results)
    waiting = [submission for submission in submissions if submission.student not in results]
    counts = Counter(entry["verdict"] for result in results.values() for entry in result["exercises"])
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    start = time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("grading", total=len(waiting))
        for number, graded in enumerate(grader.grade(waiting, jobs) if waiting else (), 1):
            if json is not None:
                write_result(graded, json)
            results[graded.student] = graded.as_json()
            counts.update(verdict.verdict for verdict in graded.verdicts.values())
            told = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
            rate = 60 * number / (time.monotonic() - start)
            progress.update(task, advance=1, description=f"grading {rate:.0f}/min ({told})")
    ordered = [results[student] for student in sorted(results)]
    console.print(results_table(ordered))
    if kept:
        console.print(f"unchanged   {kept} of {len(submissions)} submissions were graded before")
    console.print(f"sandbox     {found.level}{f' ({escape(found.why)})' if found.why else ''}")
    if json is not None:
        console.print(f"results     {escape(str(json))}")
    is_decided = all(result["is_decided"] for result in ordered)
    has_all = all(result["points"] == result["possible"] for result in ordered)
    raise typer.Exit(2 if not is_decided else 0 if has_all else 1)


def results_table(results: Sequence[Mapping[str, Any]]) -> Table:
    """Return who got what and why: a line per student, and one for every exercise that is not all right.

    Args:
        results: Results as ``Graded.as_json`` has them.
    """
    from dlcvgrade.judge.results import printable

    table = Table(title="Who got what, and why", title_justify="left")
    for column in ("student", "exercise", "points", "verdict"):
        table.add_column(column, justify="right" if column == "points" else "left", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for result in results:
        exercises = result["exercises"]
        right = sum(told["verdict"] == "pass" for told in exercises)
        total = f"{result['points']:g}/{result['possible']:g}"
        table.add_row(escape(result["student"]), f"{right} of {len(exercises)} right", total, "", "", style="bold")
        for told in exercises:
            if told["verdict"] != "pass":
                points = "?" if told["points"] is None else f"{told['points']:g}"
                why = escape(printable(told["diagnosis"] or told["reason"] or ""))
                table.add_row("", told["exercise"], f"{points}/{told['possible']:g}", told["verdict"], why)
    return table
