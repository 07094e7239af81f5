"""``dlcvgrade similarity``: who may have worked from the same text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlcvgrade.course import read_course
from dlcvgrade.options import Root


def similarity_command(
    stage: Annotated[str, typer.Argument(help="The stage, such as a2.")],
    paths: Annotated[list[Path] | None, typer.Argument(help="Folders of submissions; the course's own.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The report; build/similarity/STAGE.html.")] = None,
    earlier: Annotated[
        list[Path] | None,
        typer.Option("--earlier", help="Submissions of an earlier class to compare with."),
    ] = None,
    at_least: Annotated[
        float,
        typer.Option("--at-least", min=0, max=1, help="Share of a student's code from which pairs are told."),
    ] = 0.5,
    most: Annotated[int, typer.Option("--most", min=1, help="Pairs to show, the most striking ones.")] = 50,
    root: Root = Path("."),
) -> None:
    """Find submissions with much code in common, as an HTML report: evidence to read, not a verdict.

    Runs no student's code. Exit code 2: something could not be compared; the report says what.
    """
    # nbgrader and copydetect take seconds to import, which --help and a wrong option need not wait for.
    from dlcvgrade.judge.submissions import find_submissions, releases
    from dlcvgrade.results.writing import write_file
    from dlcvgrade.similarity.comparing import similar_pairs
    from dlcvgrade.similarity.handed_in import read_code, released_code
    from dlcvgrade.similarity.page import similarity_page

    course = read_course(root)
    chosen = course.stage(stage)
    known = releases(course, chosen)
    submissions = [(s, False) for s in find_submissions(paths or [course.root / "submitted"], chosen)]
    submissions += [(s, True) for s in (find_submissions(earlier, chosen) if earlier else ())]
    class_of, problems = [], []
    for submission, is_earlier in submissions:
        code, found = read_code(submission, known, is_earlier=is_earlier)
        class_of.append(code)
        problems += found
    pairs = similar_pairs(class_of, released_code(known), at_least=at_least)
    target = out or course.root / "build" / "similarity" / f"{stage}.html"
    write_file(target, similarity_page(stage, class_of, pairs[:most], problems, at_least))
    names = ", ".join(f"{one.student} and {two.student}" for one, two in (pair.students for pair in pairs[:3]))
    more = f" ({names}{', ...' if len(pairs) > 3 else ''})" if pairs else ""
    found_text = "1 pair has" if len(pairs) == 1 else f"{len(pairs)} pairs have"
    typer.echo(f"{len(class_of)} submissions compared, {found_text} much in common{more}: {target}")
    for problem in problems:
        typer.echo(f"dlcvgrade: {problem}", err=True)
    if problems:
        raise typer.Exit(2)
