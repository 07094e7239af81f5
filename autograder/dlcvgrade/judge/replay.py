"""``dlcvgrade replay``: grade one exercise again from the seed in its result."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from dlcvgrade.course import read_course
from dlcvgrade.options import Root
from dlcvgrade.problems import CourseProblems, Problem


def _read(path: Path, exercise: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a result and its entry for an exercise.

    Raises:
        CourseProblems: If the file is no result, or the exercise is not in it.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        entries = {str(entry["exercise"]): entry for entry in result["exercises"]}
        is_sound = isinstance(result["stage"], str) and type(result["seed"]) is int
        is_sound = is_sound and isinstance(result["hashes"], dict) and isinstance(result["isolation"]["level"], str)
        is_sound = is_sound and all({"verdict", "points", "notebook"} <= entry.keys() for entry in entries.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        is_sound = False
    if not is_sound:
        raise CourseProblems([Problem(str(path), "is no result of `dlcvgrade grade --json`")])
    if exercise not in entries:
        known = ", ".join(entries)
        raise CourseProblems([Problem(str(path), f"has no exercise {exercise}; expected one of {known}")])
    return result, entries[exercise]


def replay_command(
    result: Annotated[Path, typer.Argument(help="A result that `dlcvgrade grade --json` wrote.")],
    exercise: Annotated[str, typer.Argument(help="The exercise, such as a1/knn_no_loops.")],
    submission: Annotated[Path, typer.Option("--submission", help="The folder that was handed in.")],
    root: Root = Path("."),
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Grade without a sandbox if there is none.")] = False,
) -> None:
    """Grade one exercise again from its logged seed. Exit code 0: same verdict and points; 1: not; 2: not graded."""
    from dlcvgrade.judge.batch import Grader
    from dlcvgrade.judge.sandbox import isolation
    from dlcvgrade.judge.submissions import Submission

    told, entry = _read(result, exercise)
    course = read_course(root)
    stage = course.stage(told["stage"])
    found = isolation()
    if found.level == "none" and not unsafe:
        typer.echo(f"dlcvgrade: no sandbox: {found.why}. --unsafe grades without one", err=True)
        raise typer.Exit(2)
    folder = submission / stage.name if (submission / stage.name).is_dir() else submission
    files = {name: folder / f"{name}.ipynb" for name in stage.notebooks}
    files = {name: path for name, path in files.items() if path.exists()}
    graded_in = {other["notebook"] for other in told["exercises"]}
    handed_in = {name: path for name, path in files.items() if name in graded_in}
    work = Submission(told["student"], folder, handed_in, is_partial=not graded_in.issuperset(stage.notebooks))
    grader = Grader(course, stage, found, seed=told["seed"])
    for name, value in grader.identity(work).hashes.items():
        if told["hashes"].get(name) != value:
            typer.echo(f"differs     {name}: its hash is not the one in the result")
    only = replace(work, notebooks={n: p for n, p in files.items() if n == entry["notebook"]}, is_partial=True)
    if not only.notebooks:
        raise CourseProblems([Problem(str(folder), f"holds no {entry['notebook']}.ipynb")])
    (graded,) = grader.grade([only])
    verdict = graded.verdicts[exercise]
    for title, name, points in (
        ("logged", entry["verdict"], entry["points"]),
        ("now", verdict.verdict, verdict.points),
    ):
        typer.echo(f"{title:<11} {name}, {'undecided' if points is None else f'{points:g} points'}")
    if verdict.points is None:
        raise typer.Exit(2)
    is_same = (entry["verdict"], entry["points"]) == (verdict.verdict, verdict.points)
    typer.echo("the same" if is_same else "not the same")
    raise typer.Exit(0 if is_same else 1)
