"""Check an exercise: every case on every device, one report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from zlib import crc32

import torch

from dlcvkit.checking import messages
from dlcvkit.checking.cases import Case
from dlcvkit.checking.exercise import Exercise, Functions, Speed
from dlcvkit.checking.findings import Finding, Kind, Quantity, Report
from dlcvkit.checking.loops import find_loop
from dlcvkit.checking.observe import observe, probe
from dlcvkit.checking.protocols import SavedAnswer
from dlcvkit.checking.values import kind_of


def check_functions(exercise: Exercise, functions: Sequence[Any], *, seed: int | None = None) -> Report:
    """Check functions against an exercise.

    Args:
        exercise: What to check against.
        functions: The student's functions, in the order of ``exercise.functions``; for a saved answer, its path.
        seed: Seed of the inputs; None takes one that depends on the exercise alone, so that a failing check shows the
            same numbers again.

    Returns:
        The report. Nothing is printed, and nothing that student code raises gets out.
    """
    start = time.perf_counter()
    base = crc32(exercise.id.encode()) if seed is None else seed
    with one_thread():  # on tasks as small as these, waiting for other threads takes longer than the work
        report = _check(exercise, functions, base)
    return replace(report, seconds=time.perf_counter() - start)


def devices() -> list[str]:
    """Return the devices that checks run on: the CPU, and CUDA where there is one."""
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def _check(exercise: Exercise, functions: Sequence[Any], seed: int) -> Report:
    problem = _unusable(exercise, functions) or _looping(exercise, functions)
    if problem is not None:
        return _report(exercise, {}, {}, problem)
    findings: dict[str, Finding] = {}
    errors: dict[str, float] = {}
    is_first = True
    for device in devices():
        for number, case in enumerate(exercise.cases):
            case_seed = seed + 7919 * number
            problem = _run_case(exercise, functions, case, case_seed, device, findings, errors, with_probe=is_first)
            if problem is not None:
                return _report(exercise, findings, errors, problem.in_case(case.name))
            is_first = False
    notes = [] if findings or exercise.speed is None else _speed_notes(exercise, exercise.speed, functions, seed)
    return _report(exercise, findings, errors, None, notes)


def _run_case(
    exercise: Exercise,
    functions: Functions,
    case: Case,
    seed: int,
    device: str,
    findings: dict[str, Finding],
    errors: dict[str, float],
    *,
    with_probe: bool,
) -> Finding | None:
    """Add what is wrong in one case to ``findings``; return a problem of the exercise as a whole."""
    observation = observe(exercise, functions, case.build(seed, device))
    problem = observation.problem
    if problem is not None and not observation.lost:
        return problem
    try:
        outcomes = exercise.judge(case.build(seed, device), observation.result, findings)
    except Exception as error:
        kind = type(error).__name__
        text = messages.REFERENCE_FAILED.format(error=f"{kind}: {error}")
        return Finding(Kind.COULD_NOT_CHECK, text, diagnosis=kind)
    if problem is not None:
        outcomes |= dict.fromkeys(observation.lost, (problem, None))
    for name, (finding, scaled) in outcomes.items():
        if finding is not None:
            findings.setdefault(name, finding.in_case(case.name))
        if scaled is not None:
            errors[name] = max(errors.get(name, 0.0), scaled)
    if with_probe and problem is None and not isinstance(exercise, SavedAnswer):
        found = probe(exercise, functions, lambda: case.build(seed, device), observation.result)
        if found is not None and (not findings or found.kind is Kind.RANDOM):
            return found
    return None


def _unusable(exercise: Exercise, functions: Sequence[Any]) -> Finding | None:
    if len(functions) != max(len(exercise.functions), 1):
        count = len(exercise.functions)
        text = messages.WRONG_COUNT.format(
            exercise=exercise.id,
            expected=f"{count} function{'s' if count != 1 else ''}",
            names=messages.listing(exercise.functions),
            got=len(functions),
        )
        return Finding(Kind.MISSING, text)
    if isinstance(exercise, SavedAnswer):
        return None
    for name, function in zip(exercise.functions, functions, strict=True):
        if not callable(function):
            return Finding(Kind.MISSING, messages.NOT_CALLABLE.format(name=name, what=kind_of(function)))
    return None


def _looping(exercise: Exercise, functions: Sequence[Any]) -> Finding | None:
    if not exercise.is_loop_free:
        return None
    for function in functions:
        loop = find_loop(function)
        if loop is not None:
            return Finding(Kind.LOOP, messages.LOOP.format(name=loop.function, line=loop.line), hint=messages.LOOP_HINT)
    return None


def _speed_notes(exercise: Exercise, speed: Speed, functions: Sequence[Any], seed: int) -> list[str]:
    """Time the loop version and the student's in turn; up to three tries, and the best ratio counts."""
    inputs = speed.case.build(seed)
    best = 0.0
    slow = fast = 0.0
    with torch.no_grad():
        for _ in range(3):
            try:
                slow = _milliseconds(lambda: speed.loop(**inputs))
                fast = min(_milliseconds(lambda: exercise.run(functions, inputs)) for _ in range(2))
            except Exception:
                return []
            best = max(best, slow / fast)
            if best >= speed.factor:
                return []
    return [
        messages.SLOW.format(
            name=exercise.functions[0], ratio=speed.factor / best, slow=slow, fast=fast, factor=speed.factor
        )
    ]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one CPU thread inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _milliseconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return max(1000 * (time.perf_counter() - start), 1e-3)


def _report(
    exercise: Exercise,
    findings: dict[str, Finding],
    errors: dict[str, float],
    problem: Finding | None,
    notes: Sequence[str] = (),
) -> Report:
    quantities = [
        Quantity(name, float(points), findings.get(name) or problem, errors.get(name))
        for name, points in exercise.points.items()
    ]
    return Report(exercise.id, quantities, problem, notes, exercise.is_hidden, devices=devices())
