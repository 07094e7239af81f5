"""Run a notebook's definitions and its public checks in a process of their own, within limits of time and memory."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dlcvkit.checking import Exercise, Finding, Kind, Quantity, Report, messages
from dlcvkit.commands.child import Work, run_in_child
from dlcvkit.commands.definitions import Definitions

START_SECONDS = 180.0
"""What importing torch may take on a slow disk."""
MEMORY = 4 * 2**30


@dataclass(frozen=True)
class Limits:
    """What a check may use.

    Attributes:
        seconds: Wall time of one cell, and of one exercise.
        memory: Bytes of address space beyond what torch takes; kept to on Linux without a GPU only.
    """

    seconds: float = 30.0
    memory: int = MEMORY


@dataclass(frozen=True)
class Result:
    """The outcome for one exercise: the report, and its verdict, which may be ``timeout`` or ``crash``."""

    report: Report
    verdict: str


class Stopped(Exception):
    """The process ended, or was ended, while it did something; ``verdict`` is ``timeout`` or ``crash``."""

    def __init__(self, doing: str, verdict: str, why: str) -> None:
        super().__init__(why)
        self.doing, self.verdict = doing, verdict


def check_definitions(
    path: Path,
    definitions: Definitions,
    exercises: Sequence[Exercise],
    limits: Limits,
    note: Callable[[str], None] = lambda text: None,
) -> Iterator[Result]:
    """Yield a result for each exercise, in order; one that is stopped does not take the others with it.

    Args:
        path: The notebook's file. Its folder is where the code runs.
        definitions: What to run of it.
        exercises: What to check.
        limits: What may be used.
        note: Told of each cell that cannot be read or that raised, in one line.
    """
    pending = list(exercises)
    noted: set[str] = set()
    for problem in definitions.unreadable:
        note(problem)
    while pending:
        work = Work(
            str(path.absolute().parent),
            path.name,
            [(piece.number, piece.source, piece.kept) for piece in definitions.pieces],
            [exercise.id for exercise in pending],
            dict(definitions.answers),
            limits.memory,
        )
        try:
            for kind, content in _messages(work, limits):
                if kind == "problem" and content not in noted:
                    noted.add(content)
                    note(content)
                elif kind == "report":
                    report = _explained(content, definitions)
                    pending.pop(0)
                    yield Result(report, report.verdict)
        except Stopped as stop:
            lost = 1 if stop.doing == pending[0].id else len(pending)  # without its cells nothing can be checked
            for exercise in pending[:lost]:
                yield Result(_stopped_report(exercise, stop), stop.verdict)
            del pending[:lost]


def _messages(work: Work, limits: Limits) -> Iterator[tuple[str, Any]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=run_in_child, args=(theirs, work), daemon=True)
    process.start()
    theirs.close()
    try:
        yield from _received(ours, process, limits.seconds)
    finally:
        process.kill()
        process.join()
        ours.close()


def _received(ours: Connection, process: Any, seconds: float) -> Iterator[tuple[str, Any]]:
    doing = "cell 0, which imports torch,"
    while True:
        limit = START_SECONDS if doing.startswith("cell 0") else seconds
        if not ours.poll(limit):
            raise Stopped(doing, "timeout", messages.STOPPED.format(doing=doing, seconds=limit))
        try:
            kind, content = ours.recv()
        except (EOFError, OSError):
            process.join()
            why = messages.ENDED.format(doing=doing, code=process.exitcode)
            raise Stopped(doing, "crash", why) from None
        if kind == "end":
            return
        if kind == "doing":
            doing = content
        else:
            yield kind, content


def _stopped_report(exercise: Exercise, stop: Stopped) -> Report:
    finding = Finding(Kind.RAISED, str(stop), diagnosis=stop.verdict)
    quantities = [Quantity(name, float(points), finding) for name, points in exercise.points.items()]
    return Report(exercise.id, quantities, finding)


def _explained(report: Report, definitions: Definitions) -> Report:
    """Return the report with the reason why a variable is not there, where it was left out."""
    finding = report.problem
    if finding is None or finding.diagnosis != "NameError":
        return report
    for name, why in definitions.left_out.items():
        if f"'{name}'" in finding.text:
            text = messages.NOT_COMPUTED.format(text=finding.text, name=name, why=why)
            hint = messages.NOT_COMPUTED_HINT.format(name=name)
            return replace(report, problem=replace(finding, text=text, hint=hint))
    return report
