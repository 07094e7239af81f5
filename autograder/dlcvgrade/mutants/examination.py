"""Are the checks any good? They are tried on solutions, on stubs, and on many wrong functions."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from dlcvgrade.mutants.report import Checked, Gates, missed_gates, print_results
from dlcvgrade.mutants.subjects import Subject
from dlcvgrade.mutants.trials import Trial, Verdict, check_trial, mistake_trial, run_trials
from dlcvgrade.problems import CourseProblems, Problem
from dlcvkit.checking import TORCH_LAYERS, SavedAnswer
from dlcvkit.checking.watching import ForbiddenOps, HomelessTensors

SHARED = 16
"""Hand-written trials that share a process."""

SEEDS = (None, 1, 2)
"""Seeds that a solution has to earn all points with; None is the exercise's own, as in notebooks."""


def examine(subject: Subject, *, jobs: int = 2, automatic: bool = True) -> Checked:
    """Try an exercise's checks.

    Args:
        subject: The exercise.
        jobs: Trials that run at once.
        automatic: Whether automatic mutants are made besides the hand-written ones.

    Returns:
        What became of every trial.

    Raises:
        CourseProblems: If a hand-written mutant or solution is not callable or is not as many functions as the
            exercise takes, so that its failing would say nothing.
    """
    _prepare()
    public, hidden = subject.exercise, subject.with_hidden
    is_file = isinstance(public, SavedAnswer)
    names = subject.notebook.namespace()
    trials: dict[tuple[str, str], Trial] = {}
    if is_file:
        trials["stub", ""] = partial(check_trial, hidden, (Path("absent.safetensors"),))
    else:
        trials["stub", ""] = partial(_changed_trial, subject, subject.stub(), names)
        solution = subject.solution(names)
        trials["solution", "public checks"] = partial(check_trial, public, solution)
        for seed in SEEDS:
            trials["solution", f"hidden checks, seed {seed}"] = partial(check_trial, hidden, solution, seed)
    for name, value in subject.hidden.solutions.items():
        trials["other", name] = partial(check_trial, hidden, _functions(subject, name, value))
    for name, value in subject.hidden.mutants.items():
        functions = _functions(subject, name, value)
        trials["mutant", name] = partial(check_trial, hidden, functions)
        trials["public", name] = partial(check_trial, public, functions)
    for mistake in hidden.mistakes:
        name = f"mistake: {mistake.name}"
        trials["mutant", name] = partial(mistake_trial, hidden, mistake)
        trials["public", name] = partial(mistake_trial, public, mistake)
    if automatic and not is_file:
        for mutation in subject.mutations():
            trials["automatic", mutation.key] = partial(_changed_trial, subject, [mutation.tree], names)
    # Only what is changed in the notebook's namespace needs a process of its own.
    verdicts: dict[tuple[str, str], Verdict] = {}
    for batch, is_alone in ((1, True), (SHARED, False)):
        chosen = {key: trial for key, trial in trials.items() if (key[0] in ("stub", "automatic")) is is_alone}
        verdicts |= zip(chosen, run_trials(list(chosen.values()), jobs=jobs, batch=batch), strict=True)

    def of(group: str) -> Mapping[str, Verdict]:
        return {name: verdict for (each, name), verdict in verdicts.items() if each == group}

    return Checked(
        exercise=public.id,
        stub=verdicts["stub", ""],
        solution=of("solution"),
        others=of("other"),
        mutants=of("mutant"),
        public=of("public"),
        automatic=of("automatic"),
        equivalent=subject.hidden.equivalent if automatic else {},
        has_automatic=automatic,
    )


def _prepare() -> None:
    """Do once what every forked process would otherwise do again: torch imports much at the first watched operation."""
    torch.set_num_threads(1)  # a forked process cannot use its parent's threads
    with ForbiddenOps(TORCH_LAYERS), HomelessTensors(), torch.random.fork_rng():
        torch.optim.SGD([torch.ones(2)])
        torch.ones(2).sum()


def _changed_trial(subject: Subject, cells: Sequence[ast.Module], names: dict[str, Any]) -> Verdict:
    """Run changed cells in the notebook's namespace, then check; modifies ``names``, so it wants its own process."""
    try:
        for tree in cells:
            subject.notebook.run(tree, names)
    except Exception as error:
        return Verdict(0.0, 1.0, is_named=True, reason=f"the cell raises {type(error).__name__}")
    return check_trial(subject.with_hidden, subject.solution(names))


def _functions(subject: Subject, name: str, value: Any) -> tuple[Any, ...]:
    functions = value if isinstance(value, tuple) else (value,)
    exercise = subject.exercise
    expected = max(len(exercise.functions), 1)
    if len(functions) != expected:
        what = f"{name!r} of {exercise.id} has {len(functions)} functions; expected {expected}"
        raise CourseProblems([Problem("specs", what)])
    if not isinstance(exercise, SavedAnswer) and not all(callable(function) for function in functions):
        raise CourseProblems([Problem("specs", f"{name!r} of {exercise.id} is not callable")])
    return functions


def examine_all(chosen: Sequence[Subject], console: Console, *, jobs: int = 2, gates: Gates | None = None) -> int:
    """Try the checks of several exercises and print what came of it.

    Returns:
        The exit code: 0 if every gate is met, else 1.
    """
    checked: list[Checked] = []
    with console.status("") as status:
        for subject in chosen:
            status.update(f"{subject.exercise.id} ({len(checked)} of {len(chosen)} done)")
            checked.append(examine(subject, jobs=jobs))
    missed = missed_gates(checked, gates or Gates())
    print_results(checked, missed, console)
    return 1 if missed else 0
