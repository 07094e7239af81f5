"""The command ``dlcvgrade``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dlcvgrade.attacks.command import attack_report_command
from dlcvgrade.course import read_course
from dlcvgrade.handins.command import import_command
from dlcvgrade.init.command import init_command
from dlcvgrade.judge.command import grade_command
from dlcvgrade.judge.doctor import doctor_command
from dlcvgrade.judge.replay import replay_command
from dlcvgrade.mutants.command import mutants_command
from dlcvgrade.options import Root
from dlcvgrade.problems import CourseProblems, NbgraderFailed
from dlcvgrade.results.command import export_command, feedback_command
from dlcvgrade.similarity.command import similarity_command

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Build a course from its solved notebooks, release it to students, and grade what they hand in.",
)


@app.command("build")
def build_command(
    root: Root = Path("."),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if a generated file differs.")] = False,
    only: Annotated[list[str] | None, typer.Option("--only", help="Build this notebook, such as a1/knn.")] = None,
) -> None:
    """Make the solved notebooks, nbgrader's source folder and the students' notebooks from solutions/aN/*.py."""
    # nbgrader and jupytext take a second to import, which --help and a wrong option need not wait for.
    from dlcvgrade.build import build, differences, write_build

    course = read_course(root)
    wanted = set(only or ())
    known = {f"{stage.name}/{notebook}" for stage in course.stages for notebook in stage.notebooks}
    if wanted - known:
        raise typer.BadParameter(f"there is no notebook {', '.join(sorted(wanted - known))} in course.toml")
    built = build(course, notebooks=lambda stage, notebook: not wanted or f"{stage}/{notebook}" in wanted)
    if check:
        lines = differences(course, built, is_whole=not wanted)
        for line in lines:
            typer.echo(line)
        if lines:
            typer.echo("run `dlcvgrade build` and commit what it writes")
            raise typer.Exit(1)
        typer.echo(f"{len(built.solved) + len(built.released)} generated files are up to date")
        return
    write_build(course, built, prune=not wanted)
    typer.echo(f"{len(built.solved)} notebooks built")


@app.command("release")
def release_command(
    stage: Annotated[str, typer.Argument(help="The stage, such as a1.")],
    out: Annotated[Path, typer.Option("--out", help="Where to put the folder and the zip.")],
    root: Root = Path("."),
    force: Annotated[bool, typer.Option("--force", help="Replace a release that is there already.")] = False,
) -> None:
    """Write a stage as students get it: a folder and a zip, audited first."""
    from dlcvgrade.build import build
    from dlcvgrade.release import write_release

    course = read_course(root)
    chosen = course.stage(stage)
    built = build(course, stages=[stage])
    folder = write_release(course, chosen, built, out, replace=force)
    typer.echo(f"{folder} and {folder.name}.zip are ready")


@app.command("demo")
def demo_command(
    stages: Annotated[
        list[str] | None, typer.Argument(help="Stages, such as a1 a2; the first of the course if not given.")
    ] = None,
    root: Root = Path("."),
    out: Annotated[Path | None, typer.Option("--out", help="Where to work; build/demo if not given.")] = None,
) -> None:
    """Run the whole course loop once: build, release, a small class, grades and feedback."""
    from dlcvgrade.demo.course_loop import run_demo

    course = read_course(root)
    chosen = [course.stage(name) for name in stages] if stages else course.stages[:1]
    raise typer.Exit(run_demo(course, out or course.root / "build" / "demo", chosen))


app.command("mutants")(mutants_command)
app.command("grade")(grade_command)
app.command("init")(init_command)
app.command("import")(import_command)
app.command("replay")(replay_command)
app.command("doctor")(doctor_command)
app.command("feedback")(feedback_command)
app.command("export")(export_command)
app.command("similarity")(similarity_command)
app.command("attack-report")(attack_report_command)


def main() -> None:
    """Run the command; exit code 0 is success, 1 a difference found, 2 something that stops it."""
    try:
        app()
    except CourseProblems as error:
        for problem in error.problems:
            print(f"dlcvgrade: {problem}", file=sys.stderr)
        raise SystemExit(2) from None
    except NbgraderFailed as error:
        print(f"dlcvgrade: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        print(f"dlcvgrade: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        raise SystemExit(2) from None
