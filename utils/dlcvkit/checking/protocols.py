"""The protocols: how an exercise is called and what its answer is compared with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlcvkit.checking import messages
from dlcvkit.checking.exercise import ComparedExercise, Exercise, Functions, Inputs, Outcome
from dlcvkit.checking.findings import Finding, Kind


@dataclass(frozen=True, kw_only=True)
class Function(ComparedExercise):
    """A pure function: same inputs, same results as the reference."""


@dataclass(frozen=True, kw_only=True)
class LossWithGradient(ComparedExercise):
    """A function that returns a loss and its gradient; the reference gives the loss, autograd the gradient.

    Attributes:
        wrt: Name of the input that the gradient is taken with respect to.
    """

    wrt: str = "W"

    def expect(self, reference: Callable[..., Any], inputs: Inputs) -> dict[str, Any]:
        """Return loss and gradient; a variant that returns both by itself is taken at its word."""
        return super().expect(lambda **given: self._loss_and_gradient(reference, given), inputs)

    def _loss_and_gradient(self, reference: Callable[..., Any], inputs: Inputs) -> tuple[Tensor, Tensor]:
        variable = inputs[self.wrt].detach().clone().requires_grad_()
        with torch.enable_grad():
            result = reference(**{**inputs, self.wrt: variable})
            if isinstance(result, tuple):
                return result[0].detach(), result[1].detach()
            (gradient,) = torch.autograd.grad(result, variable)
        return result.detach(), gradient


Property = Callable[..., str | None]
"""Called as ``property(result, **inputs)``; returns None if it holds, else what is wrong in one line."""


@dataclass(frozen=True, kw_only=True)
class Invariant(Exercise):
    """A function whose result is not unique; properties of it are checked instead of values.

    Attributes:
        properties: Quantity name to property; the same names as in ``points``.
        hints: Quantity name to the hint that is shown when it fails.
    """

    properties: Mapping[str, Property] = field(default_factory=dict)
    hints: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if set(self.properties) != set(self.points):
            raise ValueError(f"properties {set(self.properties)} and points {set(self.points)} differ")

    def judge(self, inputs: Inputs, result: Any, explained: Collection[str] = ()) -> dict[str, Outcome]:
        """Try every property; one that cannot cope with the result counts as not holding."""
        return {name: (self._find(name, inputs, result), None) for name in self.points}

    def _find(self, name: str, inputs: Inputs, result: Any) -> Finding | None:
        hint = self.hints.get(name)
        try:
            text = self.properties[name](result, **inputs)
        except Exception:
            return Finding(Kind.STRUCTURE, messages.NOT_EXAMINED, hint=hint)
        return None if text is None else Finding(Kind.PROPERTY, text, hint=hint, diagnosis=f"{name} does not hold")


@dataclass(frozen=True, kw_only=True)
class SavedAnswer(Exercise):
    """Tensors that the student trained and saved; the file is evaluated, no student code runs.

    ``check`` is given the path of a safetensors file in place of functions.

    Attributes:
        evaluate: Called as ``evaluate(tensors, **inputs)`` with the file's tensors; returns quantity name to None if
            the points are earned, else to what is wrong in one line.
        hints: Quantity name to the hint that is shown when it fails.
        max_bytes: Largest file that is read.
    """

    evaluate: Callable[..., Mapping[str, str | None]] = field(default=lambda tensors: {})
    hints: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int = 16 * 2**20

    def run(self, functions: Functions, inputs: Inputs) -> Any:
        """Return the tensors of the file, or a finding if there are none to be had."""
        return read_answer(Path(str(functions[0])), self.max_bytes)

    def judge(self, inputs: Inputs, result: Any, explained: Collection[str] = ()) -> dict[str, Outcome]:
        """Evaluate the tensors; a file with the wrong names, shapes or values loses the points, not the check."""
        if isinstance(result, Finding):
            return dict.fromkeys(self.points, (result, None))
        verdicts = self.evaluate(result, **inputs)
        outcomes: dict[str, Outcome] = {}
        for name in self.points:
            text = verdicts[name]
            hint = self.hints.get(name)
            missed = Finding(Kind.PROPERTY, text or "", hint=hint, diagnosis=f"{name} is not reached")
            outcomes[name] = (None if text is None else missed, None)
        return outcomes


def read_answer(path: Path, max_bytes: int) -> dict[str, Tensor] | Finding:
    """Read a safetensors file.

    Args:
        path: The file; need not exist.
        max_bytes: Largest size that is read.

    Returns:
        Name to tensor, on the CPU; a finding if the file is missing, too large or malformed.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not path.is_file():
        text = messages.ANSWER_MISSING.format(path=path.name)
        return Finding(Kind.MISSING, text, hint=messages.ANSWER_MISSING_HINT)
    size = path.stat().st_size
    if size > max_bytes:
        return Finding(Kind.STRUCTURE, messages.ANSWER_LARGE.format(path=path.name, size=size, limit=max_bytes))
    try:
        return load(path.read_bytes())
    except (SafetensorError, ValueError, KeyError, TypeError):
        return Finding(Kind.STRUCTURE, messages.ANSWER_UNREADABLE.format(path=path.name))
