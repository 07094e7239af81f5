"""The command ``dlcvkit``: what a student does outside of the notebooks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from dlcvkit.commands.check import check_command
from dlcvkit.commands.doctor import doctor_command
from dlcvkit.commands.hint import hint_command
from dlcvkit.commands.progress import progress_command
from dlcvkit.commands.solutions import solutions_command
from dlcvkit.commands.submit import submit_command
from dlcvkit.commands.terminal import CannotBeDone, complain

app = typer.Typer(
    add_completion=True,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Check notebooks, see how far you are, get hints and hand in.",
)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def data(context: typer.Context) -> None:
    """Fetch, list and verify datasets; takes what data_download.sh takes."""
    from dlcvkit.data.download import main as download

    raise typer.Exit(download(context.args))


@app.command()
def exercises(stage: Annotated[str, typer.Argument(help="The stage, such as a1.")] = "a1") -> None:
    """List the exercises of a stage with their points."""
    from dlcvkit.checking import UnknownExercise, exercises_of

    try:
        known = exercises_of(stage)
    except UnknownExercise as error:
        complain(error)
        raise typer.Exit(2) from None
    width = max(map(len, known))
    for name, exercise in known.items():
        typer.echo(f"{name:<{width}}  {exercise.total:>4g}  {exercise.notebook}.ipynb  {', '.join(exercise.functions)}")
    typer.echo(f"{len(known)} exercises, {sum(exercise.total for exercise in known.values()):g} points")


app.command("doctor")(doctor_command)
app.command("check")(check_command)
app.command("progress")(progress_command)
app.command("hint")(hint_command)
app.command("submit")(submit_command)
app.command("solutions")(solutions_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit code 0 is success, 1 lost points or a warning, 2 something that stops it."""
    try:
        app(args=list(sys.argv[1:] if arguments is None else arguments), prog_name="dlcvkit")
    except CannotBeDone as error:
        complain(error)
    except OSError as error:
        complain(f"{error.filename or 'a file'}: {error.strerror or error}")
    raise SystemExit(2)
