"""The whole course loop once, in a folder of its own: build, release, submissions, grades, feedback."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path, PurePosixPath

from nbgrader.apps.api import NbGraderAPI
from nbgrader.plugins import CsvExportPlugin
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from dlcvgrade.build import SOLUTIONS, Built, build, write_files
from dlcvgrade.course import Course, Stage
from dlcvgrade.demo_answer import FILE, NOTEBOOK, train_answer
from dlcvgrade.demo_class import STUDENTS, Student, handed_in
from dlcvgrade.grading import SubmissionResult, grade_submission
from dlcvgrade.judge.bookkeeping import JudgeNotebook, JudgingFailed
from dlcvgrade.notebooks import notebook_bytes, read_notebook
from dlcvgrade.problems import CourseProblems, NbgraderFailed, Problem
from dlcvgrade.registry import Registry
from dlcvgrade.release import write_release
from dlcvgrade.session import demand, open_api
from dlcvgrade.settings import SOURCE

STAGE = "a1"
_LOG_WIDTH = 130
_NOTE = "This folder was made by `dlcvgrade demo`, which empties it when it runs again.\n"
_NOTE_FILE = "README.txt"


def _prepare(out: Path) -> None:
    note = out / _NOTE_FILE
    is_own = note.is_file() and note.read_bytes() == _NOTE.encode()
    if out.exists() and not is_own and any(out.iterdir()):
        raise CourseProblems([Problem(str(out), "holds something else; the demo works in an empty folder or its own")])
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / _NOTE_FILE).write_text(_NOTE, encoding="utf-8")


def _solutions(built: Built, stage: Stage, name: str) -> dict[str, str]:
    notebook = read_notebook(built.solved[PurePosixPath(SOLUTIONS, stage.name, f"{name}.ipynb")])
    return {
        cell.metadata["nbgrader"]["grade_id"]: cell.source
        for cell in notebook.cells
        if cell.metadata.get("nbgrader", {}).get("solution")
    }


def submit(built: Built, stage: Stage, release: Path, root: Path, students: Sequence[Student] = STUDENTS) -> None:
    """Let the class hand in.

    Args:
        built: The build, with the solutions that the better students find by themselves.
        stage: The stage.
        release: The released folder that they work on.
        root: Where ``submitted`` lies.
        students: The class.
    """
    for path in sorted(release.glob("*.ipynb")):
        released = read_notebook(path.read_bytes())
        solutions = _solutions(built, stage, path.stem)
        for student in students:
            folder = root / "submitted" / student.name / stage.name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / path.name).write_bytes(notebook_bytes(handed_in(student, released, solutions)))
            when = stage.due + timedelta(hours=student.hours_late)
            (folder / "timestamp.txt").write_text(when.strftime("%Y-%m-%d %H:%M:%S %z\n"), encoding="utf-8")
    if (release / f"{NOTEBOOK}.ipynb").is_file():
        answers = [root / "submitted" / student.name / stage.name / FILE for student in students if student.trains]
        train_answer(root / FILE)
        for path in answers:
            shutil.copy(root / FILE, path)


def results_table(results: Sequence[SubmissionResult]) -> Table:
    """Return who got what and why: a line per student, and one for every exercise that is not all right.

    Who has no points at all gets one line per verdict.
    """
    table = Table(title="Who got what, and why", title_justify="left")
    for column in ("student", "exercise", "points", "verdict"):
        table.add_column(column, justify="right" if column == "points" else "left", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for result in results:
        late = f"{result.penalty:g} of them lost for being late" if result.penalty else ""
        right = sum(exercise.verdict == "pass" for exercise in result.exercises)
        total = f"{result.points:g}/{result.possible:g}"
        table.add_row(result.student, f"{right} of {len(result.exercises)} right", total, "", late, style="bold")
        if len(result.exercises) > 1 and all(exercise.points == 0 for exercise in result.exercises):
            # Thirty lines that say the same would hide the others.
            for verdict, count in Counter(exercise.verdict for exercise in result.exercises).items():
                first = next(exercise for exercise in result.exercises if exercise.verdict == verdict)
                more = f" and {count - 1} more" if count > 1 else ""
                table.add_row("", f"{first.exercise}{more}", "0", verdict, first.reason)
            continue
        for exercise in result.exercises:
            points = "?" if exercise.points is None else f"{exercise.points:g}"
            score = f"{points}/{exercise.possible:g}"
            if exercise.verdict != "pass":
                table.add_row("", exercise.exercise, score, exercise.verdict, exercise.reason)
    return table


def unexpected(results: Sequence[SubmissionResult], students: Sequence[Student] = STUDENTS) -> list[str]:
    """Return what differs from what the class was made for, one line each."""
    outcomes = {student.name: student.outcome for student in students}
    lines = []
    for result in results:
        got = "all" if result.points == result.possible else "some" if result.points else "none"
        if got != outcomes[result.student] or result.failures:
            failures = "".join(f"; {name}: {why}" for name, why in result.failures.items())
            lines.append(f"{result.student} got {got} of the points; expected {outcomes[result.student]}{failures}")
    return lines


def _grade(api: NbGraderAPI, stage: Stage, console: Console) -> list[SubmissionResult]:
    results = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("grading", total=len(STUDENTS))
        for student in STUDENTS:
            progress.update(task, description=f"grading {student.name}")
            results.append(grade_submission(api, stage.name, student.name))
            progress.advance(task)
    return results


def run_demo(course: Course, out: Path, *, registry: Registry | None = None, console: Console | None = None) -> int:
    """Run the course loop once.

    Args:
        course: The course; not modified.
        out: A folder of the demo's own; emptied.
        registry: Where exercises stand; the kit's if None.
        console: Where to print.

    Returns:
        0 if everybody got what the demo's class was made to get, else 1.

    Raises:
        CourseProblems: If the course cannot be built or released, or ``out`` holds something else.
        NbgraderFailed: If there is no sandbox, or nbgrader reports a failure.
    """
    start = time.perf_counter()
    # Rich takes a pipe or a log for 80 columns wide, where every reason would be folded to pieces.
    console = console or (Console() if Console().is_terminal else Console(width=_LOG_WIDTH))
    out = out.absolute()
    stage = course.stage(STAGE)
    try:
        sandbox = JudgeNotebook().find_isolation()
    except JudgingFailed as error:
        raise NbgraderFailed(str(error)) from None
    _prepare(out)

    sources = course.root / SOLUTIONS / stage.name
    written = [name for name in stage.notebooks if (sources / f"{name}.py").is_file()]
    if not written:
        raise CourseProblems([Problem(f"{SOLUTIONS}/{STAGE}", "has none of the stage's notebooks")])
    built = build(course, stages=[STAGE], notebooks=lambda _, name: name in written, registry=registry)
    console.print(f"built       {', '.join(written)} of {STAGE}")
    release = write_release(course, stage, built, out / "release")
    console.print(f"released    {release}")

    write_files({PurePosixPath("source", path.relative_to(SOURCE)): data for path, data in built.source.items()}, out)
    api = open_api(course, out, source="source")
    demand(api.generate_assignment, STAGE)
    submit(built, stage, release, out)
    console.print(f"handed in   {len(STUDENTS)} submissions")
    results = _grade(api, stage, console)
    demand(api.generate_feedback, STAGE)
    with api.gradebook as gradebook:
        CsvExportPlugin(to=str(out / "grades.csv")).export(gradebook)

    console.print(results_table(results))
    console.print(f"sandbox     {sandbox.level}")
    console.print(f"gradebook   {out / 'gradebook.db'}")
    console.print(f"feedback    {out / 'feedback'}")
    console.print(f"grades      {out / 'grades.csv'}")
    surprises = unexpected(results)
    for line in surprises:
        console.print(f"unexpected  {line}")
    console.print(f"The whole loop took {time.perf_counter() - start:.0f} s.")
    return 1 if surprises else 0
