"""Run student code once on one set of inputs and write down what happened. Nothing is compared here."""

from __future__ import annotations

import linecache
import random
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dlcvkit.checking import messages
from dlcvkit.checking.exercise import Exercise, Functions, Inputs
from dlcvkit.checking.findings import Finding, Kind
from dlcvkit.checking.interrupted import Interrupted
from dlcvkit.checking.values import copy_tree, is_comparable, is_same, leaves
from dlcvkit.checking.watching import ForbiddenOps, HomelessTensors

_KIT = str(Path(__file__).parents[1])


@dataclass(frozen=True)
class Observation:
    """What one call of the student's functions did.

    Attributes:
        result: What ``Exercise.run`` returned; meaningless if ``problem`` is set.
        problem: The call raised, changed its inputs or used a forbidden operation; None if it did not.
        lost: The quantities that the problem concerns, where the others could be computed; empty stands for all.
    """

    result: Any
    problem: Finding | None = None
    lost: tuple[str, ...] = ()


def observe(exercise: Exercise, functions: Functions, inputs: Inputs, *, seed: int = 0) -> Observation:
    """Call the functions under watch.

    Args:
        exercise: Says how to call and what is forbidden.
        functions: The student's functions, in the order of ``exercise.functions``.
        inputs: A case's inputs; compared with a copy afterwards.
        seed: Global random state that the call sees. The caller's is put back.

    Returns:
        The result, or the first problem in the order raised, inputs changed, forbidden operation.
    """
    before = copy_tree(inputs)
    problem: Finding | None = None
    lost: tuple[str, ...] = ()
    with seeded(seed), torch.no_grad(), ForbiddenOps(exercise.forbidden) as watch:
        try:
            result = exercise.run(functions, inputs)
        except (Exception, SystemExit) as error:
            if watch.used is not None and watch.used.startswith("autograd"):
                # It raises because a check runs without gradients; that it was asked for them is the point.
                return Observation(None, _forbidden(watch.used))
            problem = _problem(error, exercise, functions)
            if not isinstance(error, Interrupted) or not error.lost:
                return Observation(None, problem)
            result, lost = error.result, error.lost
    changed = [name for name in inputs if not is_same(inputs[name], before[name])]
    if changed:
        text = messages.MUTATED.format(names=messages.listing(changed))
        return Observation(None, Finding(Kind.MUTATED, text, hint=messages.MUTATED_HINT))
    if watch.used is not None:
        return Observation(None, _forbidden(watch.used))
    return Observation(copy_tree(result), problem, lost)  # a copy, so that a later call cannot change it


def probe(exercise: Exercise, functions: Functions, make_inputs: Callable[[], Inputs], result: Any) -> Finding | None:
    """Call the functions once more, under another global random state and watching where tensors are made.

    Args:
        exercise: Says how to call.
        functions: The student's functions.
        make_inputs: Gives the same inputs again.
        result: What the functions returned before.

    Returns:
        A finding if the result now differs, or if the code would break on a GPU.
    """
    inputs = make_inputs()
    homeless = HomelessTensors()
    with seeded(1), torch.no_grad(), homeless:
        try:
            again = exercise.run(functions, inputs)
        except Interrupted:
            return None  # it was so the first time, and has been told
        except (Exception, SystemExit) as error:
            return _raised(error, exercise, functions)
        has_homeless = any(homeless.is_homeless(leaf) for _, leaf in leaves(again))
    can_be_compared = is_comparable(again) and is_comparable(result)
    if not exercise.uses_global_random_state and can_be_compared and not is_same(copy_tree(again), result):
        return Finding(Kind.RANDOM, messages.RANDOM, hint=messages.RANDOM_HINT)
    has_tensor_input = any(isinstance(leaf, torch.Tensor) and leaf.dim() > 0 for _, leaf in leaves(inputs))
    if has_tensor_input and homeless.line is not None:
        what = messages.HOMELESS_MIX.format(line=homeless.line)
    elif has_tensor_input and has_homeless:
        what = messages.HOMELESS_RESULT
    else:
        return None
    return Finding(Kind.DEVICE, messages.HOMELESS.format(what=what), hint=messages.HOMELESS_HINT)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global random states of Python, NumPy and torch inside the block, and put them back after it.

    torch's default dtype and device are float32 and the CPU inside, whatever a notebook has set, and put back as well.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    has_device = device.type != "cpu"
    # Not torch.manual_seed: it formats a stack trace for every kind of device that is not in use, and takes longer than
    # most calls that are watched here.
    gpus = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(gpus):
        random.seed(seed)
        np.random.seed(seed)
        torch.default_generator.manual_seed(seed)
        if gpus:
            torch.cuda.manual_seed_all(seed)
        torch.set_default_dtype(torch.float32)
        if has_device:
            torch.set_default_device(None)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            if has_device or torch.get_default_device() != device:
                torch.set_default_device(device if has_device else None)
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _forbidden(operation: str) -> Finding:
    return Finding(Kind.FORBIDDEN, messages.FORBIDDEN.format(op=operation))


def _problem(error: BaseException, exercise: Exercise, functions: Functions) -> Finding:
    if isinstance(error, Interrupted):
        if isinstance(error.cause, Finding):
            return error.cause
        error = error.cause
    if isinstance(error, NotImplementedError) and _is_stub(error):
        return not_written(_unwritten_function(error, exercise, functions))
    return _raised(error, exercise, functions)


def not_written(name: str) -> Finding:
    """Return the finding for a function whose body is still the release's stub."""
    return Finding(Kind.MISSING, messages.NOT_WRITTEN.format(name=name), hint=messages.NOT_WRITTEN_HINT)


def _student_frames(error: BaseException) -> list[traceback.FrameSummary]:
    frames = traceback.extract_tb(error.__traceback__)
    return [f for f in frames if not f.filename.startswith(_KIT) and "site-packages" not in f.filename]


def _is_stub(error: NotImplementedError) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return not error.args and "site-packages" not in frames[-1].filename


def _raising_function(error: BaseException, exercise: Exercise, functions: Functions) -> str:
    """Return the innermost of the exercise's functions that was running; of a class, with the method."""
    for frame in reversed(_student_frames(error)):
        if frame.name in exercise.functions:
            return frame.name
        for name, function in zip(exercise.functions, functions, strict=False):
            if isinstance(function, type) and frame.name in vars(function):
                return f"{name}.{frame.name}"
    # A call that does not fit the signature has no frame of its own, but its message names the function.
    return next((name for name in exercise.functions if f"{name}()" in str(error)), exercise.functions[0])


def _unwritten_function(error: BaseException, exercise: Exercise, functions: Functions) -> str:
    """Return the function that raised; under a class it may be an earlier exercise's, which the class builds on."""
    frames = _student_frames(error)
    innermost = frames[-1].name if frames else ""
    classes = [function for function in functions if isinstance(function, type)]
    if classes and innermost.isidentifier() and not any(innermost in vars(each) for each in classes):
        return innermost
    return _raising_function(error, exercise, functions)


def _raised(error: BaseException, exercise: Exercise, functions: Functions) -> Finding:
    message = str(error).strip().splitlines()
    what = type(error).__name__ + (f": {message[0][:200]}" if message else "")
    text = messages.RAISED.format(name=_raising_function(error, exercise, functions), error=what)
    frames = _student_frames(error)
    if not frames:  # it could not even be called
        hint = messages.SIGNATURE_HINT if isinstance(error, TypeError) else None
        return Finding(Kind.RAISED, text, hint=hint, diagnosis=_public_name(error))
    frame = frames[-1]
    code = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
    first = messages.RAISED_AT.format(line=frame.lineno, code=code) if code else None
    return Finding(Kind.RAISED, text, first=first, diagnosis=_public_name(error))


def _public_name(error: BaseException) -> str:
    """Return the name of the exception's class; of a student's own class only that it is one: names can hold values."""
    kind = type(error)
    is_known = kind.__module__.partition(".")[0] in {"builtins", "torch", "numpy"}
    return kind.__name__ if is_known else messages.OWN_EXCEPTION
