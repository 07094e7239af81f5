"""The command ``dlcvkit``: data and a list of exercises."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

app = typer.Typer(add_completion=True, no_args_is_help=True, rich_markup_mode=None)


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
        typer.echo(f"dlcvkit: {error}", err=True)
        raise typer.Exit(2) from None
    width = max(map(len, known))
    for name, exercise in known.items():
        typer.echo(f"{name:<{width}}  {exercise.total:>4g}  {exercise.notebook}.ipynb  {', '.join(exercise.functions)}")
    typer.echo(f"{len(known)} exercises, {sum(exercise.total for exercise in known.values()):g} points")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exit code 0 is success, 2 something that stops it."""
    app(args=list(sys.argv[1:] if arguments is None else arguments), prog_name="dlcvkit")
