"""What the process of ``dlcvkit check`` does: run definitions, then check exercise by exercise and tell each report."""

from __future__ import annotations

import ast
import builtins
import linecache
import multiprocessing
import os
import signal
import sys
import threading
import types
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from dlcvkit.commands.definitions import parse_cell


@dataclass(frozen=True)
class Work:
    """What the process is to do.

    Attributes:
        folder: Where it runs.
        name: The notebook's file name, for messages.
        cells: Number, whole text and places of the statements to run of each cell.
        exercises: Ids, in the order in which to check them.
        answers: Exercise id to the file of its saved answer.
        memory: Bytes of address space beyond what is in use once torch is there.
    """

    folder: str
    name: str
    cells: list[tuple[int, str, tuple[int, ...]]]
    exercises: list[str]
    answers: dict[str, str]
    memory: int


def run_in_child(connection: Connection, work: Work) -> None:
    """Do the work and send ``(kind, content)`` for each step: doing, problem, report and, at last, end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["MPLBACKEND"] = "Agg"  # no window opens
    sys.stdout = sys.stderr  # what student code prints is no part of the report
    os.chdir(work.folder)

    from dlcvkit.checking import check_functions, find_exercise

    _limit_memory(work.memory)
    sys.path.insert(0, work.folder)
    builtins.display = print  # type: ignore[attr-defined]
    module = types.ModuleType("notebook")
    sys.modules["notebook"] = module
    for number, source, kept in work.cells:
        connection.send(("doing", f"cell {number}"))
        problem = _run_cell(number, source, kept, f"<{work.name} cell {number}>", module.__dict__)
        if problem is not None:
            connection.send(("problem", problem))
    for exercise_id in work.exercises:
        connection.send(("doing", exercise_id))
        exercise = find_exercise(exercise_id)
        functions = _functions(exercise, module.__dict__, work)
        report = _missing(exercise, functions, work) if None in functions else check_functions(exercise, functions)
        connection.send(("report", report))
    connection.send(("end", None))


def _run_cell(number: int, source: str, kept: tuple[int, ...], name: str, namespace: dict[str, Any]) -> str | None:
    """Run a cell's statements one by one; return what the first that raised has to say."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    problem = None
    body = parse_cell(source).body
    for statement in [body[place] for place in kept]:
        try:
            exec(compile(ast.Module([statement], []), name, "exec", dont_inherit=True), namespace)
        except (Exception, SystemExit) as error:
            told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            problem = problem or f"cell {number}, line {statement.lineno} raised {told}"
    return problem


def _functions(exercise: Any, namespace: dict[str, Any], work: Work) -> list[Any]:
    if not exercise.functions:
        answer = work.answers.get(exercise.id)
        return [None if answer is None else str(Path(work.folder, answer))]
    return [namespace.get(name) for name in exercise.functions]


def _missing(exercise: Any, functions: list[Any], work: Work) -> Any:
    from dlcvkit.checking import Finding, Kind, Quantity, Report, messages

    if exercise.functions:
        name = exercise.functions[functions.index(None)]
        text = messages.UNDEFINED.format(name=name, notebook=work.name)
    else:
        text = messages.NO_ANSWER_CELL.format(notebook=work.name, exercise=exercise.id)
    finding = Finding(Kind.MISSING, text, diagnosis="undefined")
    quantities = [Quantity(name, float(points), finding) for name, points in exercise.points.items()]
    return Report(exercise.id, quantities, finding)


def _end_with_parent() -> None:
    """End this process when the command has been killed: an endless loop would run on by itself."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _limit_memory(extra: int) -> None:
    """Limit the address space, where that can be done: not on macOS and Windows, nor where a GPU maps terabytes."""
    import torch

    if sys.platform != "linux" or torch.cuda.is_available():
        return
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + extra, mapped + extra))
