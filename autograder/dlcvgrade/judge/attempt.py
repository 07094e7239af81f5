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
from collections.abc import Callable
from typing import Any

import dlcvkit_calls
import torch
from IPython.core.inputtransformer2 import TransformerManager

import dlcvkit
from dlcvgrade.judge.encoding import Unencodable, decode, encode
from dlcvgrade.judge.frames import FrameReader, pack
from dlcvkit.checking import Case, Finding, Function, Kind
from dlcvkit.checking.cases import with_gaps
from dlcvkit.checking.loops import find_loop
from dlcvkit.checking.observe import observe, probe

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


_BODY_MAGICS = ("%%time", "%%timeit", "%%capture", "%%prun")


def as_python(source: str) -> str:
    """Return a cell's text as Python: magics and shell lines as calls, which do nothing when grading."""
    lines = source.split("\n")
    if lines[0].split(" ")[0] in _BODY_MAGICS:
        source = "\n".join(["", *lines[1:]])
    transform: Any = TransformerManager().transform_cell
    text: str = transform(source)
    return text


class CellTooSlow(BaseException):
    """The notebook's cells have had their time; not an ``Exception``, so that a cell's own handlers let it pass."""


def _stop_cell(number: int, frame: Any) -> None:
    raise CellTooSlow


def run_cells(cells: list[str], seconds: float) -> tuple[dict[str, Any], list[list[Any]]]:
    """Run cells in order in one namespace, as a kernel does; one that raises does not stop the next.

    Args:
        cells: Their texts.
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
            text = as_python(source)
            linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
            exec(compile(text, name, "exec"), module.__dict__)
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


def _observed(exercise: Function, functions: list[Any], inputs: dict[str, Any]) -> tuple[bytes, Any, bool]:
    """Return the reply for one case, the result, and whether it is one."""
    observation = observe(exercise, functions, inputs)
    problem = observation.problem
    if problem is None:
        node, body = encode(observation.result)
        return pack({"case": node}, body), observation.result, True
    if _is_memory(None, problem.text) or problem.diagnosis == "MemoryError":
        return pack({"failed": "out_of_memory"}), None, False
    return pack({"problem": _finding(problem)}), None, False


def _try_cases(request: Any, body: bytes, functions: list[Any], reply: int) -> None:
    exercise = Function(
        functions=tuple(request["functions"]),
        cases=[Case()],
        points={"answer": 1},
        forbidden=frozenset(request["forbidden"]),
        call=dlcvkit_calls.CALLS.get(request["exercise"]),
        uses_global_random_state=request["uses_global_random_state"],
        id=request["exercise"],
    )
    if request["loop_free"]:
        # The judge reads the same from the text; here names are followed to where they really lead.
        loop = next((loop for loop in map(find_loop, functions) if loop is not None), None)
        if loop is not None:
            _write(reply, pack({"problem": {"kind": Kind.LOOP.name, "function": loop.function, "line": loop.line}}))
            return
    cases = decode(request["inputs"], body)

    def inputs(number: int) -> dict[str, Any]:
        def placed(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            return with_gaps(value) if request["strided"][number] and value.dim() else value.clone()

        return {name: placed(value) for name, value in cases[number].items()}

    first: Any = None
    for number in range(len(cases)):
        frame, result, is_result = _observed(exercise, functions, inputs(number))
        _write(reply, frame)
        if not is_result:
            return
        first = result if number == 0 else first
    _write(reply, pack({"probe": _finding(probe(exercise, functions, lambda: inputs(0), first))}))


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
