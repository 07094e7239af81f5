"""``dlcvkit check``: the public checks of notebook files, without Jupyter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlcvkit import __version__
from dlcvkit.commands.course import Topic, choose
from dlcvkit.commands.notebook_file import NotebookFile, read_notebook
from dlcvkit.commands.terminal import CannotBeDone, complain, say, say_json

if TYPE_CHECKING:
    from dlcvkit.commands.running import Result

Folder = Annotated[Path, typer.Option("--folder", help="Where the notebooks lie.", show_default="here")]

PAUSE = 0.5
"""Seconds between two looks at the files that are watched."""


@dataclass
class Checked:
    """What came out of one notebook.

    Attributes:
        topic: The notebook, and what was to be checked in it.
        path: Its file; None if it is not there.
        sha256: Of the file that was read; empty if it could not be.
        problem: Why nothing could be checked; empty if something was.
        notes: Cells that cannot be read, or that raised.
        results: One for each exercise.
    """

    topic: Topic
    path: Path | None
    sha256: str = ""
    problem: str = ""
    notes: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    @property
    def earned(self) -> float:
        """Points earned on the public cases."""
        return sum(result.report.earned for result in self.results)

    @property
    def code(self) -> int:
        """0 if all points were earned, 1 if some were lost, 2 if something could not be checked."""
        if self.problem or any(result.verdict == "could_not_check" for result in self.results):
            return 2
        return 1 if any(result.verdict != "pass" for result in self.results) else 0

    def as_json(self) -> dict[str, Any]:
        """Return the outcome for programs."""
        from dlcvkit.checking import as_json

        return {
            "stage": self.topic.stage,
            "notebook": self.topic.name,
            "file": None if self.path is None else str(self.path),
            "sha256": self.sha256 or None,
            "problem": self.problem or None,
            "notes": self.notes,
            "earned": self.earned,
            "possible": self.topic.possible,
            "exercises": [as_json(result.report) | {"verdict": result.verdict} for result in self.results],
        }


def check_topic(topic: Topic, folder: Path, seconds: float, *, is_told: bool) -> Checked:
    """Check a notebook's file.

    Args:
        topic: The notebook.
        folder: Where it lies.
        seconds: Time for one cell, and for one exercise.
        is_told: Whether to print each report as soon as it is there.
    """
    path = topic.find(folder)
    if path is None:
        return Checked(topic, None, problem=f"{topic.file_name} is not in {folder.absolute()}")
    try:
        notebook = read_notebook(path)
    except CannotBeDone as error:
        return Checked(topic, path, problem=str(error))
    if is_told:
        say(f"{path}  sha256 {notebook.sha256[:12]}", style="bold")
    return check_notebook(topic, notebook, seconds, tell=say if is_told else _tell_nobody)


def _tell_nobody(text: str) -> None:
    pass


def check_notebook(
    topic: Topic, notebook: NotebookFile, seconds: float, tell: Callable[[str], None] = _tell_nobody
) -> Checked:
    """Run a notebook's public checks, and remember the results.

    Args:
        topic: What to check in it.
        notebook: The file.
        seconds: Time for one cell, and for one exercise.
        tell: Given each report and each note as text, as soon as it is there.
    """
    from dlcvkit.checking import as_text
    from dlcvkit.commands.definitions import definitions_of
    from dlcvkit.commands.running import Limits, check_definitions
    from dlcvkit.memory import remember

    checked = Checked(topic, notebook.path, notebook.sha256)

    def note(text: str) -> None:
        checked.notes.append(text)
        tell(f"  note  {text}")

    exercises = list(topic.exercises.values())
    definitions = definitions_of(notebook.cells)
    for result in check_definitions(notebook.path, definitions, exercises, Limits(seconds=seconds), note):
        checked.results.append(result)
        tell(as_text(result.report))
    remember([result.report for result in checked.results], "command")
    return checked


def check_topics(topics: Sequence[Topic], folder: Path, seconds: float, *, as_json: bool) -> int:
    """Check notebooks, print what came out, and return the exit code."""
    outcomes = []
    for topic in topics:
        outcome = check_topic(topic, folder, seconds, is_told=not as_json)
        outcomes.append(outcome)
        if outcome.problem and not as_json:
            complain(outcome.problem)
    earned, possible = sum(each.earned for each in outcomes), sum(topic.possible for topic in topics)
    if as_json:
        notebooks = [outcome.as_json() for outcome in outcomes]
        say_json({"dlcvkit": __version__, "earned": earned, "possible": possible, "notebooks": notebooks})
    else:
        say(f"{earned:g} / {possible:g} points on the public cases")
    return max(outcome.code for outcome in outcomes)


def changes(topics: Sequence[Topic], folder: Path) -> Iterator[list[Topic]]:
    """Yield the notebooks whose files were written since the last look, whenever there are any; never ends."""
    before = [_stamp(topic, folder) for topic in topics]
    while True:
        time.sleep(PAUSE)
        now = [_stamp(topic, folder) for topic in topics]
        changed = [topic for topic, old, new in zip(topics, before, now, strict=True) if new not in (old, None)]
        before = now
        if changed:
            yield changed


def _stamp(topic: Topic, folder: Path) -> tuple[int, int] | None:
    path = topic.find(folder)
    try:
        status = path.stat() if path is not None else None
    except OSError:  # taken away since
        return None
    return None if status is None else (status.st_mtime_ns, status.st_size)


def check_command(
    target: Annotated[str | None, typer.Argument(help="Such as a2, a2/two_layer_net or a2/affine; else all.")] = None,
    folder: Folder = Path("."),
    watch: Annotated[bool, typer.Option("--watch", help="Check again whenever a notebook is saved.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one line for each run.")] = False,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Time for one cell or one exercise.")] = 30.0,
) -> None:
    """Run the public checks on notebook files, without Jupyter.

    Imports, functions, classes and simple assignments are run, in a process of their own; demos and checks are not.
    Exit code 0: all points; 1: points lost; 2: something could not be checked.
    """
    topics = choose(target, folder)
    code = check_topics(topics, folder, seconds, as_json=as_json)
    if watch:
        try:
            if not as_json:
                say("watching; Ctrl-C ends it")
            for changed in changes(topics, folder):
                code = check_topics(changed, folder, seconds, as_json=as_json)
        except KeyboardInterrupt:
            pass
    raise typer.Exit(code)
