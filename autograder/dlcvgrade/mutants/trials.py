"""Try functions against an exercise, each in a process of its own: a mutant may loop for ever or eat all memory."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dlcvkit.checking import ComparedExercise, Exercise, Mistake, check_functions

CPU_SECONDS = 10.0
"""Processor time of one trial; a wrong function that is still running then counts as noticed."""

WALL_SECONDS = 120.0
"""Time of one trial by the clock, for one that sleeps."""

EXTRA_BYTES = 3 * 2**30
"""Memory that a trial may take beyond what it starts with."""


@dataclass(frozen=True)
class Verdict:
    """What came out of one trial.

    Attributes:
        earned: Points earned.
        possible: Points there were.
        is_named: Whether a finding says what the mistake is.
        reason: The first finding in one line.
        could_not_check: Whether the check itself failed, which is neither right nor wrong.
    """

    earned: float
    possible: float
    is_named: bool = False
    reason: str = ""
    could_not_check: bool = False

    @property
    def is_killed(self) -> bool:
        """Whether points were lost, and for a reason."""
        return not self.could_not_check and self.earned < self.possible - 1e-9


Trial = Callable[[], Verdict]


def check_trial(exercise: Exercise, functions: Sequence[Any], seed: int | None = None) -> Verdict:
    """Check functions as ``check`` does."""
    report = check_functions(exercise, functions, seed=seed)
    findings = report.findings
    reason = f"{findings[0].text[:300]} [{findings[0].case}]" if findings else ""
    is_named = any(finding.is_named for finding in findings)
    return Verdict(report.earned, report.possible, is_named, reason, report.verdict == "could_not_check")


def mistake_trial(exercise: Exercise, mistake: Mistake, seed: int = 0) -> Verdict:
    """Judge what a mistake's variant returns, in every case where it is defined."""
    named: set[str] = set()
    wrong: dict[str, str] = {}
    for number, case in enumerate(exercise.cases):
        inputs = case.build(seed + 7919 * number)
        try:
            if isinstance(exercise, ComparedExercise):
                values = list(exercise.expect(mistake.variant, inputs).values())
                result: Any = values[0] if len(values) == 1 else tuple(values)
            else:
                result = mistake.variant(**inputs)
        except (RuntimeError, ValueError, IndexError, TypeError, ZeroDivisionError):
            continue  # a variant need not be defined on every case
        for name, (finding, _) in exercise.judge(case.build(seed + 7919 * number), result).items():
            if finding is not None:
                wrong.setdefault(name, f"{finding.text[:300]} [{case.name}]")
                named |= {name} if finding.is_named else set()
    lost = sum(float(exercise.points[name]) for name in wrong)
    return Verdict(exercise.total - lost, exercise.total, bool(named), next(iter(wrong.values()), ""))


@dataclass
class _Running:
    numbers: list[int]
    pid: int
    pipe: int
    started: float
    text: bytes = b""


def run_trials(
    trials: Sequence[Trial], *, jobs: int = 2, cpu_seconds: float = CPU_SECONDS, batch: int = 1
) -> list[Verdict]:
    """Run trials in processes of their own, some at a time.

    Args:
        trials: What to run; each sees a copy of this process, so nothing that it does is felt here.
        jobs: How many processes run at once, at least 1.
        cpu_seconds: Processor time that each trial may take.
        batch: How many trials share a process, one after the other, because forking costs more than most of them.
            Those that are left when one of them ends the process get a process each.

    Returns:
        One verdict per trial, in order. One that takes too long or dies has earned nothing of 1 point; one that lets
        an error out could not be checked. What happened is the reason.
    """
    verdicts: dict[int, Verdict] = {}
    numbers = list(range(len(trials)))
    waiting = [numbers[start : start + batch] for start in range(0, len(numbers), batch)]
    running: dict[int, _Running] = {}
    try:
        while waiting or running:
            while waiting and len(running) < max(jobs, 1):
                group = waiting.pop(0)
                started = _start(group, [trials[number] for number in group], cpu_seconds)
                running[started.pipe] = started
            for each in _finished(running):
                del running[each.pipe]
                done, death = _verdicts(each)
                verdicts.update(zip(each.numbers, done, strict=False))
                left = each.numbers[len(done) :]
                if len(each.numbers) == 1 and left:
                    verdicts[left[0]] = death
                else:
                    waiting = [[number] for number in left] + waiting
        return [verdicts[number] for number in numbers]
    finally:
        for each in running.values():
            os.kill(each.pid, signal.SIGKILL)
            _verdicts(each)


def _start(numbers: list[int], trials: Sequence[Trial], cpu_seconds: float) -> _Running:
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return _Running(numbers, pid, read, time.monotonic())
    # From here on in the child, which must never return into the parent's code.
    try:
        os.close(read)
        _limit()
        for trial in trials:
            signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
            try:
                verdict = trial()
            except BaseException as error:
                verdict = Verdict(0.0, 1.0, reason=f"{type(error).__name__}: {error}"[:300], could_not_check=True)
            os.write(write, json.dumps(asdict(verdict)).encode() + b"\n")
    finally:
        os._exit(0)


def _limit() -> None:
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    # Left to its default the signal ends the process even inside a torch operation.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    statistics = Path("/proc/self/statm")  # of Linux; elsewhere memory goes without a limit
    if statistics.exists():
        limit = int(statistics.read_text().split()[0]) * resource.getpagesize() + EXTRA_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _finished(running: dict[int, _Running]) -> Iterator[_Running]:
    ready, _, _ = select.select(list(running), [], [], 1.0)
    for pipe in ready:
        piece = os.read(pipe, 65536)
        running[pipe].text += piece
        if not piece:
            yield running[pipe]
    for each in list(running.values()):
        if time.monotonic() - each.started > WALL_SECONDS:
            os.kill(each.pid, signal.SIGKILL)


def _verdicts(each: _Running) -> tuple[list[Verdict], Verdict]:
    """Return the verdicts that a process has given, and what to say of the trial that ended it, if one did."""
    os.close(each.pipe)
    _, status = os.waitpid(each.pid, 0)
    done = [Verdict(**json.loads(line)) for line in each.text.split(b"\n")[:-1]]
    number = os.waitstatus_to_exitcode(status)
    is_late = -number in (signal.SIGPROF, signal.SIGKILL)
    return done, _died("took too long" if is_late else f"died with {number}")


def _died(what: str) -> Verdict:
    return Verdict(0.0, 1.0, is_named=True, reason=what)
