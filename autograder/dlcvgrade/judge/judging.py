"""The trusted half: draws inputs, has them run in a worker, and compares what comes back with what is expected."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import torch

from dlcvgrade.judge.causes import with_causes
from dlcvgrade.judge.encoding import Undecodable, decode, encode
from dlcvgrade.judge.frames import pack
from dlcvgrade.judge.limits import Limits
from dlcvgrade.judge.rules import Text, find_forbidden, find_loop_in, find_tampering, read_text
from dlcvgrade.judge.submissions import Work
from dlcvgrade.judge.telling import error_name, loop_finding, retell, type_name
from dlcvgrade.judge.workers import Run, Worker, WorkerFailed
from dlcvkit.checking import Exercise, Finding, ForwardBackward, Kind, Quantity, Report, SavedAnswer, messages
from dlcvkit.checking.render import as_json

CASE_STEP = 7919
"""Distance between the seeds of two cases, as in a notebook's own check."""

TIMEOUT = "took longer than {seconds:g} s"
NO_TIME_LEFT = "the other exercises used up the submission's {seconds:g} s"
FLOOD = "printed or returned more than is allowed"
OUT_OF_MEMORY = "needed more memory than the {gigabytes:g} GB that are allowed"
CRASH = "the process ended before it answered ({how})"
MALFORMED = "sent something that is no answer"
NOT_DEFINED = "{name} is not defined"
CELLS_RAISED = "{count} of the notebook's cells raised, the first of them cell {cell} ({error})"
TAMPERS = "{sign}, which is not allowed where the way of computing is part of the exercise"
LINKED = "{name} is a link; expected the file itself"
LOST = "the worker was lost and does not come back: {why}"


@dataclass(frozen=True)
class Verdict:
    """The result of one exercise.

    Attributes:
        report: Points and findings, as a check has them.
        verdict: One of the design's verdicts; ``report.verdict`` unless the process itself ended badly.
        reason: Why, where the report does not say it.
        seconds: Wall time in the worker.
    """

    report: Report
    verdict: str
    reason: str | None = None
    seconds: float = 0.0

    @property
    def points(self) -> float | None:
        """Points earned; None if the grader could not tell."""
        return None if self.verdict == "could_not_check" else self.report.earned

    def as_json(self) -> dict[str, Any]:
        """Return it for a result: no input, no value, no hidden test's text."""
        told = as_json(self.report)
        del told["earned"], told["hidden"]
        for part, quantity in zip(told["quantities"], self.report.quantities, strict=True):
            finding = quantity.finding
            part["diagnosis"], part["hint"] = (finding.diagnosis, finding.hint) if finding else (None, None)
        if self.reason is not None:
            same = {"reason": self.reason, "diagnosis": None, "hint": None}
            told |= {**same, "quantities": [part | same for part in told["quantities"]]}
        return {**told, "verdict": self.verdict, "points": self.points, "seconds": round(self.seconds, 3)}


def exercise_seed(seed: int, exercise_id: str) -> int:
    """Return the seed of an exercise's inputs from that of the submission."""
    return crc32(f"{seed}/{exercise_id}".encode())


def failed(exercise: Exercise, verdict: str, reason: str, seconds: float = 0.0) -> Verdict:
    """Return the verdict of an exercise that earns nothing for one reason."""
    finding = Finding(Kind.PROPERTY, reason, diagnosis=reason)
    quantities = [Quantity(name, float(points), finding) for name, points in exercise.points.items()]
    report = Report(exercise.id, quantities, finding, is_hidden=True)
    return Verdict(report, verdict, reason, seconds)


def _found(exercise: Exercise, finding: Finding, seconds: float = 0.0) -> Verdict:
    quantities = [Quantity(name, float(points), finding) for name, points in exercise.points.items()]
    report = Report(exercise.id, quantities, finding, is_hidden=True)
    return Verdict(report, report.verdict, seconds=seconds)


@dataclass
class Judge:
    """Judges the exercises of one submission after the other.

    Attributes:
        exercises: Id to exercise with its hidden cases; held here and nowhere else.
        worker: Where student code runs.
        limits: What it may use.
        device: Where expected values are computed and compared, ``cpu`` or ``cuda``; the worker is always on the CPU.
    """

    exercises: Mapping[str, Exercise]
    worker: Worker
    limits: Limits = field(default_factory=Limits)
    device: str = "cpu"

    def judge(self, work: Work, exercise_ids: Sequence[str], seed: int, deadline: float) -> dict[str, Verdict]:
        """Judge the exercises of one notebook.

        Args:
            work: The notebook.
            exercise_ids: Its exercises that are functions.
            seed: Seed of the submission.
            deadline: Value of ``time.monotonic`` when the submission's time is used up.

        Returns:
            Exercise id to verdict. Nothing that student code does raises here.
        """
        text = read_text(work.cells, work.released)
        verdicts = {}
        for exercise_id in exercise_ids:
            exercise = self.exercises[exercise_id]
            left = deadline - time.monotonic()
            try:
                if left <= 0:
                    reason = NO_TIME_LEFT.format(seconds=self.limits.submission_seconds)
                    verdicts[exercise_id] = failed(exercise, "timeout", reason)
                else:
                    verdicts[exercise_id] = self._judge_one(exercise, text, seed, left)
            except WorkerFailed as error:
                verdicts[exercise_id] = failed(exercise, "could_not_check", LOST.format(why=error))
            except Exception as error:  # the grader's own fault, whatever it is: it costs nobody points
                finding = _reference_failed(error)
                verdicts[exercise_id] = _found(exercise, finding)
        return with_causes(verdicts, self.exercises, text)

    def _judge_one(self, exercise: Exercise, text: Text, seed: int, left: float) -> Verdict:
        inputs = _Inputs(exercise, exercise_seed(seed, exercise.id), self.device)
        request = _request(exercise, text, inputs, self.limits.cell_share * min(left, self.limits.wall_seconds))
        run = self.worker.run(request, self.limits, left)
        if run.is_lost:  # perhaps not the student's fault; a second time it is taken for one
            run = self.worker.run(request, self.limits, left)
        ended = self._ended_badly(exercise, run, left)
        if ended is not None:
            return ended
        try:
            return _Reading(exercise, inputs, run, text).verdict()
        except IndexError:
            return failed(exercise, "crash", CRASH.format(how="exit code 0"), run.seconds)
        except (Undecodable, KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError):
            return failed(exercise, "crash", MALFORMED, run.seconds)

    def _ended_badly(self, exercise: Exercise, run: Run, left: float) -> Verdict | None:
        """Return the verdict if the process did not answer to the end."""

        def because(verdict: str, reason: str) -> Verdict:
            return failed(exercise, verdict, reason, run.seconds)

        told = next((h["failed"] for h, _ in run.frames if isinstance(h, dict) and "failed" in h), None)
        if run.is_flood or told == "flood":
            return because("flood", FLOOD)
        if run.is_timeout:
            return because("timeout", TIMEOUT.format(seconds=round(min(left, self.limits.wall_seconds), 1)))
        if told == "out_of_memory":
            return because("out_of_memory", OUT_OF_MEMORY.format(gigabytes=self.limits.memory / 2**30))
        if run.is_malformed:
            return because("crash", MALFORMED)
        if run.status is None:
            return because("crash", CRASH.format(how="and took its surroundings with it"))
        number = run.status & 0x7F
        if number == signal.SIGXCPU or (number == signal.SIGKILL and run.seconds >= self.limits.cpu_seconds):
            return because("timeout", TIMEOUT.format(seconds=self.limits.cpu_seconds))
        if run.status != 0:
            how = f"signal {number}" if number else f"exit code {run.status >> 8}"
            return because("crash", CRASH.format(how=how))
        return None


class _Inputs:
    """The inputs of an exercise's cases; built anew each time, so that nothing can have changed them."""

    def __init__(self, exercise: Exercise, seed: int, device: str = "cpu") -> None:
        self._exercise, self._seed, self.device = exercise, seed, device

    def on_device(self, number: int) -> dict[str, Any]:
        """Return the inputs of a case where the expected values are computed."""
        return self._exercise.cases[number].build(self._seed + CASE_STEP * number, self.device)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return self._exercise.cases[number].build(self._seed + CASE_STEP * number)

    def __len__(self) -> int:
        return len(self._exercise.cases)


def _moved(value: Any, device: str) -> Any:
    """Return a decoded result with its tensors on a device."""
    if isinstance(value, torch.Tensor):
        # What cannot be compared is decoded as a tensor on meta, which cannot be moved.
        return value if value.is_meta else value.to(device)
    if isinstance(value, dict):
        return {key: _moved(inner, device) for key, inner in value.items()}
    return type(value)(_moved(inner, device) for inner in value) if isinstance(value, list | tuple) else value


def _request(exercise: Exercise, text: Text, inputs: _Inputs, cell_seconds: float) -> bytes:
    node, body = encode([inputs[number] for number in range(len(inputs))])
    header = {
        "exercise": exercise.id,
        "protocol": type(exercise).__name__,
        "upstream": dict(exercise.upstream) if isinstance(exercise, ForwardBackward) else None,
        "quantities": list(exercise.points),
        "functions": list(exercise.functions),
        "forbidden": sorted(exercise.forbidden),
        "loop_free": exercise.is_loop_free,
        "uses_global_random_state": exercise.uses_global_random_state,
        "cells": text.cells,
        "cell_seconds": cell_seconds,
        "inputs": node,
        "strided": [case.is_strided for case in exercise.cases],
    }
    return pack(header, body)


def _reference_failed(error: Exception) -> Finding:
    kind = type(error).__name__
    return Finding(Kind.COULD_NOT_CHECK, messages.REFERENCE_FAILED.format(error=kind), diagnosis=kind)


class _Reading:
    """Reads the reply to one exercise from first to last, in the order in which a check looks for problems."""

    def __init__(self, exercise: Exercise, inputs: _Inputs, run: Run, text: Text) -> None:
        self._exercise, self._inputs, self._run, self._text = exercise, inputs, run, text
        self._findings: dict[str, Finding] = {}
        self._errors: dict[str, float] = {}

    def verdict(self) -> Verdict:
        """Return the verdict.

        Raises:
            KeyError, TypeError, IndexError, ValueError: If the reply is none.
        """
        problem = self._before() or self._cases()
        if problem is not None:
            return _found(self._exercise, problem, self._run.seconds)
        quantities = [
            Quantity(name, float(points), self._findings.get(name), self._errors.get(name))
            for name, points in self._exercise.points.items()
        ]
        report = Report(self._exercise.id, quantities, is_hidden=True)
        return Verdict(report, report.verdict, seconds=self._run.seconds)

    def _before(self) -> Finding | None:
        """Return what is wrong before a value has been looked at."""
        frames = self._run.frames
        start = frames[0][0]
        names = self._exercise.functions
        missing = [name for name in names if name in start["missing"]]
        if missing:
            text = NOT_DEFINED.format(name=messages.listing(missing))
            raised = start["cells"]
            hint = None
            if raised:
                cell, error = raised[0]
                hint = CELLS_RAISED.format(
                    count=min(len(raised), 999), cell=int(cell) % 1000, error=error_name(error, self._text)
                )
            return Finding(Kind.MISSING, text, hint=hint)
        if len(frames) > 1 and "uncallable" in frames[1][0]:
            name, kind = frames[1][0]["uncallable"][0]
            name = name if name in names else names[0]
            return Finding(Kind.MISSING, messages.NOT_CALLABLE.format(name=name, what=type_name(kind)))
        loop = find_loop_in(self._exercise, self._text)
        return None if loop is None else loop_finding(loop.function, loop.line)

    def _cases(self) -> Finding | None:
        """Compare case by case; return what is wrong with the exercise as a whole."""
        frames = self._run.frames[1:]
        for number, (header, body) in enumerate(frames[: len(self._inputs)]):
            name = self._exercise.cases[number].name
            problem = None
            if "problem" in header:
                problem = retell(header["problem"], self._exercise, self._inputs[number], self._text).in_case(name)
            lost = [quantity for quantity in header.get("lost", ()) if quantity in self._exercise.points]
            if problem is not None and not lost:
                return problem
            result = decode(header["case"], body)
            try:
                placed = _moved(result, self._inputs.device)
                outcomes = self._exercise.judge(self._inputs.on_device(number), placed, self._findings)
            except Exception as error:
                return _reference_failed(error).in_case(name)
            if problem is not None:
                outcomes |= dict.fromkeys(lost, (problem, None))
            for quantity, (finding, scaled) in outcomes.items():
                if finding is not None:
                    self._findings.setdefault(quantity, finding.in_case(name))
                if scaled is not None:
                    self._errors[quantity] = max(self._errors.get(quantity, 0.0), scaled)
        if len(frames) != len(self._inputs) + 1:
            raise IndexError("the reply is too short or too long")
        return self._after(frames[-1][0]["probe"])

    def _after(self, told: Any) -> Finding | None:
        sign = find_tampering(self._exercise, self._text)
        if sign is not None:
            return Finding(Kind.FORBIDDEN, TAMPERS.format(sign=sign))
        name = find_forbidden(self._exercise, self._text)
        if name is not None:
            return Finding(Kind.FORBIDDEN, messages.FORBIDDEN.format(op=name))
        if told is None:
            return None
        finding = retell(told, self._exercise, self._inputs[0], self._text)
        return finding if not self._findings or finding.kind is Kind.RANDOM else None


def judge_answer(exercise: SavedAnswer, path: Path, seed: int) -> Verdict:
    """Judge tensors that were handed in as a file; no student code runs.

    Args:
        exercise: With its hidden cases.
        path: The file; need not exist. A link is not followed.
        seed: Seed of the submission.
    """
    start = time.monotonic()
    inputs = _Inputs(exercise, exercise_seed(seed, exercise.id))
    findings: dict[str, Finding] = {}
    if path.is_symlink() or (path.is_file() and path.stat().st_nlink > 1):
        return failed(exercise, "missing", LINKED.format(name=path.name))
    file: Any = path
    for number, case in enumerate(exercise.cases):
        try:
            with torch.no_grad():
                result = exercise.run([file], inputs[number])
                outcomes: Mapping[str, Any] = exercise.judge(inputs[number], result)
        except Exception as error:
            return _found(exercise, _reference_failed(error).in_case(case.name), time.monotonic() - start)
        for quantity, (finding, _) in outcomes.items():
            if finding is not None:
                findings.setdefault(quantity, finding.in_case(case.name))
    quantities = [Quantity(name, float(points), findings.get(name)) for name, points in exercise.points.items()]
    report = Report(exercise.id, quantities, is_hidden=True)
    return Verdict(report, report.verdict, seconds=time.monotonic() - start)
