"""The whole course loop once, in a folder of its own: build, release, submissions, grades, feedback."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path, PurePosixPath

from nbgrader.plugins import CsvExportPlugin
from rich.console import Console
from rich.table import Table

from dlcvgrade.build import SOLUTIONS, Built, build, write_files
from dlcvgrade.course import Course, Stage
from dlcvgrade.demo.answer import FILE, NOTEBOOK, train_answer
from dlcvgrade.demo.students import Student, handed_in, students_of
from dlcvgrade.judge.batch import Grader
from dlcvgrade.judge.bookkeeping import JudgeNotebook, JudgingFailed
from dlcvgrade.judge.coordinator import Result, local_engine, run_batch
from dlcvgrade.judge.progress import BatchProgress
from dlcvgrade.judge.recording import Recorder
from dlcvgrade.judge.sandbox import Isolation
from dlcvgrade.judge.submissions import find_submissions
from dlcvgrade.notebooks import notebook_bytes, read_notebook
from dlcvgrade.problems import CourseProblems, NbgraderFailed, Problem
from dlcvgrade.registry import Registry
from dlcvgrade.release import write_release
from dlcvgrade.results.feedback import write_feedback
from dlcvgrade.results.reading import read_results
from dlcvgrade.session import demand, open_api
from dlcvgrade.settings import SOURCE

JOBS = 2
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


def submit(built: Built, stage: Stage, release: Path, root: Path, students: Sequence[Student]) -> None:
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


def results_table(results: Sequence[Result], penalties: Mapping[str, float]) -> Table:
    """Return who got what and why: a line per student, and one for every exercise that is not all right.

    Who has no points at all gets one line per verdict.

    Args:
        results: Results as ``Graded.as_json`` has them.
        penalties: Student to points lost for being late.
    """
    table = Table(title="Who got what, and why", title_justify="left")
    for column in ("student", "exercise", "points", "verdict"):
        table.add_column(column, justify="right" if column == "points" else "left", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for result in results:
        exercises, penalty = result["exercises"], penalties.get(result["student"])
        late = f"{penalty:g} of them lost for being late" if penalty else ""
        right = sum(told["verdict"] == "pass" for told in exercises)
        total = f"{result['points']:g}/{result['possible']:g}"
        table.add_row(result["student"], f"{right} of {len(exercises)} right", total, "", late, style="bold")
        if len(exercises) > 1 and all(told["points"] == 0 for told in exercises):
            # Thirty lines that say the same would hide the others.
            for verdict, count in Counter(told["verdict"] for told in exercises).items():
                first = next(told for told in exercises if told["verdict"] == verdict)
                more = f" and {count - 1} more" if count > 1 else ""
                table.add_row("", f"{first['exercise']}{more}", "0", verdict, first["reason"])
            continue
        for told in exercises:
            points = "?" if told["points"] is None else f"{told['points']:g}"
            if told["verdict"] != "pass":
                # What a wrong answer looks like says more than that it is wrong.
                telling = told["diagnosis"] if told["verdict"] == "wrong" else None
                score = f"{points}/{told['possible']:g}"
                table.add_row("", told["exercise"], score, told["verdict"], telling or told["reason"])
    return table


def unexpected(results: Sequence[Result], students: Sequence[Student]) -> list[str]:
    """Return what differs from what the class was made for, one line each."""
    outcomes = {student.name: student.outcome for student in students}
    lines = []
    for result in results:
        name = result["student"]
        got = "all" if result["points"] == result["possible"] else "some" if result["points"] else "none"
        undecided = [told["exercise"] for told in result["exercises"] if told["points"] is None]
        if got != outcomes[name] or undecided:
            waiting = f"; undecided: {', '.join(undecided)}" if undecided else ""
            lines.append(f"{name} got {got} of the points; expected {outcomes[name]}{waiting}")
    return lines


def _grade(
    grader: Grader, recorder: Recorder, stage: Stage, students: Sequence[Student], out: Path, console: Console
) -> list[Result]:
    found = find_submissions([out / "submitted"], stage)
    with BatchProgress(console, len(found)) as progress, recorder:
        engine = local_engine(grader, JOBS)
        folder = out / "results" / stage.name
        batch = run_batch(grader, found, engine, folder=folder, recorder=recorder, on_result=progress.add)
    for student, why in batch.failures.items():
        raise NbgraderFailed(f"{student} could not be written into the gradebook: {why}")
    return [batch.results[student.name] for student in students]


def _run_stage(
    course: Course, stage: Stage, sandbox: Isolation, out: Path, registry: Registry | None, console: Console
) -> list[str]:
    """Run the loop for one stage and return what came out otherwise than expected."""
    sources = course.root / SOLUTIONS / stage.name
    written = [name for name in stage.notebooks if (sources / f"{name}.py").is_file()]
    if not written:
        raise CourseProblems([Problem(f"{SOLUTIONS}/{stage.name}", "has none of the stage's notebooks")])
    built = build(course, stages=[stage.name], notebooks=lambda _, name: name in written, registry=registry)
    console.print(f"built       {', '.join(written)} of {stage.name}")
    release = write_release(course, stage, built, out / "release")
    console.print(f"released    {release}")

    write_files({PurePosixPath("source", path.relative_to(SOURCE)): data for path, data in built.source.items()}, out)
    api = open_api(course, out, source="source")
    demand(api.generate_assignment, stage.name)
    students = students_of(stage.name)
    submit(built, stage, release, out, students)
    console.print(f"handed in   {len(students)} submissions")
    grader = Grader(course, stage, sandbox, registry=registry)
    recorder = Recorder(course, grader, api)
    results = _grade(grader, recorder, stage, students, out, console)
    feedback = out / "feedback" / stage.name
    write_feedback(*read_results(out / "results" / stage.name), feedback)

    console.print(results_table(results, recorder.penalties()))
    console.print(f"feedback    {feedback / 'index.html'}")
    return unexpected(results, students)


def run_demo(
    course: Course,
    out: Path,
    stages: Sequence[Stage] | None = None,
    *,
    registry: Registry | None = None,
    console: Console | None = None,
) -> int:
    """Run the course loop once, stage after stage.

    Args:
        course: The course; not modified.
        out: A folder of the demo's own; emptied.
        stages: Which stages; all of the course if None.
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
    try:
        sandbox = JudgeNotebook().find_isolation()
    except JudgingFailed as error:
        raise NbgraderFailed(str(error)) from None
    _prepare(out)
    surprises = []
    for stage in course.stages if stages is None else stages:
        begun = time.perf_counter()
        surprises += _run_stage(course, stage, sandbox, out, registry, console)
        console.print(f"stage {stage.name} took {time.perf_counter() - begun:.0f} s\n")
    with open_api(course, out, source="source").gradebook as gradebook:
        CsvExportPlugin(to=str(out / "grades.csv")).export(gradebook)
    console.print(f"sandbox     {sandbox.level}")
    console.print(f"gradebook   {out / 'gradebook.db'}")
    console.print(f"grades      {out / 'grades.csv'}")
    for line in surprises:
        console.print(f"unexpected  {line}")
    console.print(f"The whole loop took {time.perf_counter() - start:.0f} s.")
    return 1 if surprises else 0
