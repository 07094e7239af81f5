"""``dlcvgrade attack-report``: every attack of the corpus on our grader, and nbgrader's own grading beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dlcvgrade.problems import CourseProblems, Problem

if TYPE_CHECKING:
    from dlcvgrade.attacks.stock import Stock
    from dlcvgrade.attacks.trial import Trial

CORPUS = Path("tests/grade/attacks")
Root = Annotated[
    Path, typer.Option("--course", help="The course's folder, with tests/grade/attacks.", show_default="here")
]


def attack_report_command(
    names: Annotated[list[str] | None, typer.Argument(help="Attacks or families; all if not given.")] = None,
    root: Root = Path("."),
    stock: Annotated[bool, typer.Option("--stock/--no-stock", help="Try nbgrader's own grading as well.")] = True,
) -> None:
    """Attack the grader and print who gained what. Exit code 0: nothing gained or harmed; 1: otherwise; 2: not run.

    nbgrader's own grading takes some ten seconds for each attack; it runs in a sandbox of its own.
    """
    # The judge imports torch, which --help and a wrong option need not wait for.
    from dlcvgrade.attacks.corpus import read_corpus
    from dlcvgrade.attacks.stock import StockGround
    from dlcvgrade.attacks.trial import Ground
    from dlcvgrade.judge.sandbox import isolation

    corpus = root / CORPUS
    if not corpus.is_dir():
        raise CourseProblems([Problem(str(corpus), "is missing; the corpus stands in the course's repository")])
    entries = read_corpus(corpus)
    known = {entry.name for entry in entries} | {entry.family for entry in entries}
    if set(names or ()) - known:
        unknown = ", ".join(sorted(set(names or ()) - known))
        raise CourseProblems([Problem(str(corpus), f"has no attack or family {unknown}")])
    chosen = [entry for entry in entries if not names or {entry.name, entry.family} & set(names)]
    found = isolation()
    if found.level != "bubblewrap":
        typer.echo(f"dlcvgrade: no sandbox: {found.why}; attacks are run in one only", err=True)
        raise typer.Exit(2)
    console = Console() if Console().is_terminal else Console(width=130)
    rows: list[tuple[Trial, Stock | None]] = []
    with tempfile.TemporaryDirectory(prefix="attack-report-") as folder:
        home = Path(folder)
        for name in ("ours", "stock"):
            (home / name).mkdir()
        with Ground(corpus / "course", home / "ours", found) as ground, console.status("attacking") as status:
            theirs = StockGround(ground, home / "stock") if stock else None
            for number, entry in enumerate(chosen, 1):
                status.update(f"attacking: {number} of {len(chosen)}, {entry.family}/{entry.name}")
                rows.append((ground.try_entry(entry), theirs.try_entry(entry) if theirs else None))
    console.print(report_table(rows))
    for line in summary(rows):
        console.print(escape(line))
    raise typer.Exit(1 if any(trial.problems or trial.gained for trial, _ in rows) else 0)


def report_table(rows: Sequence[tuple[Trial, Stock | None]]) -> Table:
    """Return a line for each attack: what it tries, and what came of it here and under nbgrader's own grading."""
    table = Table(title="Attacks: what was gained, here and under nbgrader's own grading", title_justify="left")
    table.add_column("attack", no_wrap=True)
    table.add_column("tries", overflow="fold", ratio=1)
    for column in ("ours", "gained", "stock gained", "stock batch"):
        table.add_column(column, justify="right" if "gained" in column else "left", overflow="fold")
    family = ""
    for trial, stock in rows:
        if trial.entry.family != family:
            family = trial.entry.family
            table.add_section()
            table.add_row(f"[bold]{escape(family)}[/bold]")
        verdicts = sorted({trial.verdicts.get(name, "not handed in") for name in trial.entry.target})
        ours = ", ".join(verdicts) if not trial.problems else "; ".join(trial.problems)
        theirs = "" if stock is None else "" if stock.gained is None else f"{stock.gained:g} of {possible(trial):g}"
        batch = "" if stock is None else "changed or stopped" if stock.is_stopped else stock.told
        cells = (trial.entry.name, trial.entry.tries, ours, f"{trial.gained:g}", theirs, batch)
        table.add_row(*map(escape, cells), style="bold red" if trial.problems or trial.gained else "")
    return table


def possible(trial: Trial) -> float:
    """Return the points that the exercises which an attack aims at are worth."""
    from dlcvkit.checking import find_exercise

    return float(sum(find_exercise(name).total for name in trial.entry.target))


def summary(rows: Sequence[tuple[Trial, Stock | None]]) -> list[str]:
    """Return what came of all attacks together, one line for each side."""
    gained = [trial for trial, _ in rows if trial.gained]
    harmed = [trial for trial, _ in rows if trial.problems and not trial.gained]
    families = len({trial.entry.family for trial, _ in rows})
    lines = [f"ours    {len(rows)} attacks in {families} families: {len(gained)} gained, {len(harmed)} did other harm"]
    tried = [stock for _, stock in rows if stock is not None and stock.gained is not None]
    if tried:
        lines.append(
            f"stock   {len(tried)} of them run by nbgrader itself: "
            f"{sum(bool(stock.gained) for stock in tried)} gained, "
            f"{sum(stock.is_stopped for stock in tried)} changed or stopped the next student's grading"
        )
    return lines
