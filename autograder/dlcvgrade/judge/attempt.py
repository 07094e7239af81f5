"""What a child of the worker does: run the notebook's cells, then one exercise on the inputs it was sent.

Everything here shares its process with student code. Nothing that it says is believed but the answers themselves.
"""

from __future__ import annotations

import builtins
import linecache
import os
import signal
import sys
import time
import types
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import dlcvkit_calls
import torch

import dlcvkit
from dlcvgrade.judge.encoding import Unencodable, decode, encode
from dlcvgrade.judge.frames import FrameReader, pack
from dlcvkit.checking import Case, Exercise, Finding, ForwardBackward, Function, Kind, Module, Stepper
from dlcvkit.checking.cases import with_gaps
from dlcvkit.checking.loops import find_loop
from dlcvkit.checking.observe import observe, probe
from dlcvkit.checking.watching import AUTOGRAD, TORCH_LAYERS

_MOMENT = 0.5
_MEMORY_WORDS = ("can't allocate memory", "not enough memory", "cannot allocate memory", "bad_alloc")


class _Nothing:
    """Stands in for what has no place when grading: magics, the shell, the notebook's own checks."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None

    def __call__(self, *args: Any, **kwargs: Any) -> float:
        return 0.0


def _read_request(fd: int) -> tuple[Any, bytes]:
    reader = FrameReader(2**28, 2**30, 2**31)
    while piece := os.read(fd, 2**20):
        frames = reader.feed(piece)
        if frames:
            os.close(fd)
            header, body = frames[0]
            return header, body
    raise EOFError("the judge sent no request")


def _write(fd: int, frame: bytes) -> None:
    view = memoryview(frame)
    while view:
        view = view[os.write(fd, view) :]


def _silence_notebook_tools() -> None:
    nothing = _Nothing()
    for module in (dlcvkit, sys.modules["dlcvkit.checking"]):
        module.check = module.hidden_check = nothing  # type: ignore[attr-defined]
    builtins.get_ipython = lambda: nothing  # type: ignore[attr-defined]
    builtins.display = nothing  # type: ignore[attr-defined]
    builtins.input = _no_input


def _no_input(*args: Any) -> str:
    raise EOFError("nobody answers while grading")


class CellTooSlow(BaseException):
    """The notebook's cells have had their time; not an ``Exception``, so that a cell's own handlers let it pass."""


def _stop_cell(number: int, frame: Any) -> None:
    raise CellTooSlow


def run_cells(cells: list[str], seconds: float) -> tuple[dict[str, Any], list[list[Any]]]:
    """Run cells in order in one namespace, as a kernel does; one that raises does not stop the next.

    Args:
        cells: Their texts, plain Python.
        seconds: Wall time for all of them; after that each has a moment still, which is enough to define functions.
            A training run that should not be there must not cost the exercises that come after it.

    Returns:
        The namespace, and ``[cell number from 1, type of the exception]`` for each cell that raised.
    """
    module = types.ModuleType("__main__")
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    failures: list[list[Any]] = []
    end = time.monotonic() + seconds
    for number, source in enumerate(cells, 1):
        name = f"<cell {number}>"
        signal.signal(signal.SIGALRM, _stop_cell)
        signal.setitimer(signal.ITIMER_REAL, max(end - time.monotonic(), _MOMENT))
        try:
            linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
            exec(compile(source, name, "exec", dont_inherit=True), module.__dict__)
        except BaseException as error:
            failures.append([number, type(error).__name__[:40]])
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    return module.__dict__, failures


def _finding(finding: Finding | None) -> Any:
    if finding is None:
        return None
    texts = {key: getattr(finding, key) for key in ("text", "first", "hint", "diagnosis")}
    return {"kind": finding.kind.name, **{key: text and str(text)[:500] for key, text in texts.items()}}


def _is_memory(error: BaseException | None, text: str = "") -> bool:
    return isinstance(error, MemoryError) or any(word in text.lower() for word in _MEMORY_WORDS)


def _observed(exercise: Exercise, functions: list[Any], inputs: dict[str, Any]) -> tuple[bytes, Any, bool]:
    """Return the reply for one case, the result, and whether it is one."""
    observation = observe(exercise, functions, inputs)
    problem = observation.problem
    if problem is None:
        node, body = encode(observation.result)
        return pack({"case": node}, body), observation.result, True
    if observation.lost:
        node, body = encode(observation.result)
        told = {"case": node, "problem": _finding(problem), "lost": observation.lost}
        return pack(told, body), observation.result, True
    if _is_memory(None, problem.text) or problem.diagnosis == "MemoryError":
        return pack({"failed": "out_of_memory"}), None, False
    return pack({"problem": _finding(problem)}), None, False


def _half_exercise(request: Any, input_names: Iterable[str]) -> Exercise:
    """Return an exercise that can be run and not judged: no reference, no cases, no points of its own."""
    names = {"ForwardBackward": ForwardBackward, "Stepper": Stepper, "Module": Module}
    protocol: Any = names.get(request["protocol"], Function)
    options = {} if request["upstream"] is None else {"upstream": request["upstream"]}
    exercise: Exercise = protocol(
        functions=tuple(request["functions"]),
        cases=[Case(**dict.fromkeys(input_names))],
        points=dict.fromkeys(request["quantities"], 1),
        forbidden=frozenset(request["forbidden"]),
        call=dlcvkit_calls.CALLS.get(request["exercise"]),
        uses_global_random_state=request["uses_global_random_state"],
        id=request["exercise"],
        **options,
    )
    return exercise


def _try_cases(request: Any, body: bytes, functions: list[Any], reply: int) -> None:
    cases = decode(request["inputs"], body)
    exercise = _half_exercise(request, {name for case in cases for name in case})
    if request["loop_free"]:
        # The judge reads the same from the text; here names are followed to where they really lead.
        loop = next((loop for loop in map(find_loop, functions) if loop is not None), None)
        if loop is not None:
            _write(reply, pack({"problem": {"kind": Kind.LOOP.name, "function": loop.function, "line": loop.line}}))
            return

    def inputs(number: int) -> dict[str, Any]:
        def placed(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: placed(inner) for name, inner in value.items()}
            if not isinstance(value, torch.Tensor):
                return value
            return with_gaps(value) if request["strided"][number] and value.dim() else value.clone()

        return dict(placed(cases[number]))

    first: Any = None
    for number in range(len(cases)):
        frame, result, is_result = _observed(exercise, functions, inputs(number))
        _write(reply, frame)
        if not is_result:
            return
        first = result if number == 0 else first
    _write(reply, pack({"probe": _finding(probe(exercise, functions, lambda: inputs(0), first))}))


def warm_up() -> None:
    """Do once, in the process that is forked, what is slow the first time; no student code has a part in it."""

    def compute(x: torch.Tensor, y: torch.Tensor) -> list[Any]:
        scores = x @ x.T
        loss = (scores - scores.amax(dim=1, keepdim=True)).exp().sum().log() / x.shape[0]
        order = scores.argsort(dim=1)[:, :1].mode(dim=1).values
        for row in scores:
            loss = loss + (row > 0).sum() + float(row[0])
        z = torch.zeros_like(x)
        z[range(len(y)), y] += 1
        torch.cat([z.clamp(min=0), torch.where(x > 0, x, -x)]).reshape(-1).sort().values.cumsum(0).sqrt_()
        return [loss, order, z.mean(dim=0).tolist(), float(loss)]

    exercise = Function(
        functions=("compute",), cases=[Case(x=None, y=None)], points={"answer": 1}, forbidden=TORCH_LAYERS | AUTOGRAD
    )
    with torch.no_grad():
        for dtype in (torch.float64, torch.float32):
            drawn = {"x": torch.linspace(0, 1, 12, dtype=dtype).reshape(3, 4), "y": torch.arange(3)}
            header, body = FrameReader(2**20, 2**20, 2**20).feed(pack(*encode(drawn)))[0]
            inputs = decode(header, body)
            frame, result, _ = _observed(exercise, [compute], inputs)
            assert frame
            spaced = {name: with_gaps(value) for name, value in inputs.items()}
            probe(exercise, [compute], partial(dict, spaced), result)
    _observed(exercise, [lambda x, y: missing], inputs)  # type: ignore[name-defined]  # noqa: F821
    find_loop(compute)


def answer(request_fd: int, reply_fd: int) -> None:
    """Read the request, run the cells and the exercise, and write the reply."""
    request, body = _read_request(request_fd)
    home = os.environ["HOME"]
    os.makedirs(home, exist_ok=True)
    os.chdir(home)
    _silence_notebook_tools()
    try:
        namespace, failures = run_cells(request["cells"], request["cell_seconds"])
        missing = [name for name in request["functions"] if name not in namespace]
        _write(reply_fd, pack({"cells": failures, "missing": missing}))
        if not missing:
            functions = [namespace[name] for name in request["functions"]]
            broken = [[name, type(f).__name__[:40]] for name, f in zip(request["functions"], functions, strict=True)
                      if not callable(f)]  # fmt: skip
            if broken:
                _write(reply_fd, pack({"uncallable": broken}))
            else:
                with torch.no_grad():
                    _try_cases(request, body, functions, reply_fd)
    except (Unencodable, RecursionError):
        _write(reply_fd, pack({"failed": "flood"}))
    except (MemoryError, RuntimeError) as error:
        if not _is_memory(error, str(error)):
            raise
        _write(reply_fd, pack({"failed": "out_of_memory"}))
