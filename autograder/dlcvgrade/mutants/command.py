"""``dlcvgrade mutants``: are the checks any good?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlcvgrade.course import read_course
from dlcvgrade.options import Root


def mutants_command(
    stage: Annotated[str, typer.Argument(help="The stage, such as a1.")] = "a1",
    exercise: Annotated[str | None, typer.Option("--exercise", help="Only this one, such as a1/knn_no_loops.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Trials that run at once.")] = 2,
    root: Root = Path("."),
) -> None:
    """Check the checks: solutions earn all points, stubs none, and wrong functions are noticed and named."""
    # Importing torch takes a second, which --help and a wrong option need not wait for.
    from rich.console import Console

    from dlcvgrade.mutants.examination import examine_all
    from dlcvgrade.mutants.subjects import subjects

    chosen = subjects(read_course(root), stage, exercise)
    raise typer.Exit(examine_all(chosen, Console(), jobs=jobs))
