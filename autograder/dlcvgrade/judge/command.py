"""``dlcvgrade grade``: submissions in, results out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dlcvgrade.course import Course, read_course
from dlcvgrade.options import Root
from dlcvgrade.problems import NbgraderFailed
from dlcvgrade.results.plain import plain

if TYPE_CHECKING:
    from dlcvgrade.judge.batch import Examiner
    from dlcvgrade.judge.coordinator import Engine
    from dlcvgrade.judge.recording import Recorder

RESULTS = "results"
"""Folder of a course that results are kept in when they go into its gradebook."""
ROWS = 50
"""Students in one table; a table of a thousand takes 30 MB to lay out, and its head is out of sight."""


class Device(Enum):
    """Where the judge computes expected values; student code runs on the CPU in any case."""

    CPU = "cpu"
    CUDA = "cuda"


def grade_command(
    stage: Annotated[str, typer.Argument(help="The stage, such as a1.")],
    paths: Annotated[list[Path] | None, typer.Argument(help="A folder of submissions, or notebooks.")] = None,
    root: Root = Path("."),
    json: Annotated[
        Path | None, typer.Option("--json", help="Folder for one result per submission; results/STAGE for the course.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=256, help="Submissions to grade at a time.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Grade on a Dask cluster, such as tcp://host:8786.")
    ] = None,
    device: Annotated[Device, typer.Option("--device", help="Where expected values are computed.")] = Device.CPU,
    gradebook: Annotated[
        bool | None,
        typer.Option(
            "--gradebook/--no-gradebook",
            help="Write points into the course's gradebook; by default if the course's own submissions are graded and "
            "the stage has been generated there.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of all inputs; drawn if not given.")] = None,
    regrade: Annotated[
        list[str] | None, typer.Option("--regrade", help="Grade this student again, unchanged or not; repeatable.")
    ] = None,
    budget: Annotated[float, typer.Option("--budget", min=1, help="Seconds a submission may take.")] = 180,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Grade without a sandbox if there is none.")] = False,
) -> None:
    """Grade submissions in a sandbox. Exit code 0: all points; 1: points lost; 2: something could not be graded.

    A submission whose result is kept and still holds is not graded again: stop a batch at any moment and run it again
    to go on.
    """
    # The judge imports torch, which --help and a wrong option need not wait for.
    from dlcvgrade.judge.batch import Grader
    from dlcvgrade.judge.coordinator import local_engine, run_batch
    from dlcvgrade.judge.limits import Limits
    from dlcvgrade.judge.progress import BatchProgress
    from dlcvgrade.judge.sandbox import isolation
    from dlcvgrade.judge.submissions import find_submissions

    course = read_course(root)
    chosen = course.stage(stage)
    own = course.root / "submitted"
    given = [path.absolute() for path in paths or [own]]
    is_own = given == [own]
    if gradebook and not is_own:
        _refuse(f"--gradebook writes what lies in {own}; give no other path")
    found = isolation()
    if found.level == "none" and not unsafe and scheduler is None:
        _refuse(f"no sandbox: {found.why}. --unsafe grades without one")
    _require_device(device, scheduler)
    folder = json.absolute() if json is not None else None
    submissions = find_submissions(given, chosen)
    if folder is not None and folder.exists() and not folder.is_dir():
        _refuse(f"--json {json} is a file; expected a folder")
    forced = set(regrade or ())
    unknown = forced - {submission.student for submission in submissions}
    if unknown:
        _refuse(f"--regrade {', '.join(sorted(unknown))}: nothing was handed in by that name")
    limits = Limits(submission_seconds=budget)
    grader = Grader(course, chosen, found, seed=seed, limits=limits, device=device.value)
    recorder = _recorder(course, grader, gradebook) if is_own and gradebook is not False else None
    if recorder is not None and folder is None:
        folder = course.root / RESULTS / stage
    engine = local_engine(grader, jobs) if scheduler is None else _cluster(grader, scheduler, unsafe)
    console = Console() if Console().is_terminal else Console(width=130)
    with nullcontext() if recorder is None else recorder, BatchProgress(console, len(submissions)) as progress:
        batch = run_batch(
            grader, submissions, engine, folder=folder, recorder=recorder, forced=forced, on_result=progress.add
        )
    ordered = [batch.results[student] for student in sorted(batch.results)]
    for start in range(0, len(ordered), ROWS):
        console.print(results_table(ordered[start : start + ROWS]))
    if batch.kept:
        console.print(f"unchanged   {batch.kept} of {len(submissions)} submissions were graded before")
    for level in sorted({result["isolation"]["level"] for result in ordered}):
        console.print(f"sandbox     {level}{f' ({escape(found.why)})' if found.why and scheduler is None else ''}")
    if folder is not None:
        console.print(f"results     {escape(str(folder))}")
    if recorder is not None:
        console.print(f"gradebook   {batch.recorded} written, {len(ordered) - batch.recorded} there already or failed")
    for student, why in sorted(batch.failures.items()):
        typer.echo(f"dlcvgrade: {plain(student)} could not be written into the gradebook: {why}", err=True)
    is_decided = all(result["is_decided"] for result in ordered) and not batch.failures
    has_all = all(result["points"] == result["possible"] for result in ordered)
    raise typer.Exit(2 if not is_decided else 0 if has_all else 1)


def _refuse(why: str) -> NoReturn:
    typer.echo(f"dlcvgrade: {why}", err=True)
    raise typer.Exit(2)


def _require_device(device: Device, scheduler: str | None) -> None:
    import torch

    if device is Device.CUDA and scheduler is not None:
        _refuse("--device cuda: not with --scheduler, whose workers compute on the CPU")
    if device is Device.CUDA and not torch.cuda.is_available():
        _refuse("--device cuda: torch finds no CUDA device on this machine")


def _cluster(examiner: Examiner, address: str, unsafe: bool) -> Engine:
    try:
        from dlcvgrade.judge.cluster import cluster_engine
    except ModuleNotFoundError as error:
        if error.name not in ("distributed", "dask"):
            raise
        _refuse("--scheduler needs Dask; pip install 'dlcvkit[cluster]' installs it")
    return cluster_engine(examiner, address, unsafe=unsafe)


def _recorder(course: Course, examiner: Examiner, is_wanted: bool | None) -> Recorder | None:
    """Return the writer to the course's gradebook; None if the stage is not there and nobody insists.

    Raises:
        NbgraderFailed: If it is not there although it is wanted.
    """
    from dlcvgrade.judge.recording import Recorder

    recorder = Recorder(course, examiner)
    if not recorder.knows_stage():
        if is_wanted:
            stage = examiner.material.stage
            raise NbgraderFailed(f"the gradebook has no {stage}; run nbgrader generate_assignment {stage} first")
        return None
    return recorder


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
