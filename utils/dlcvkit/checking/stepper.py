"""The protocol of an update rule: called step after step with its own state, and compared with torch.optim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dlcvkit.checking import messages
from dlcvkit.checking.exercise import ComparedExercise, Functions, Inputs
from dlcvkit.checking.findings import Finding, Kind
from dlcvkit.checking.interrupted import Interrupted
from dlcvkit.checking.values import copy_tree, is_same, kind_of

UNCHANGED, CHANGED = "unchanged", "changed"


@dataclass(frozen=True, kw_only=True)
class Stepper(ComparedExercise):
    """``rule(w, dw, state, lr=..., ...) -> (w, state)``, a pure function, stepped once per given gradient.

    A case holds ``w`` (the first weights, any shape), ``dw`` (one gradient per step, stacked in front), ``lr`` (a
    number, or a list with one per step) and the rule's other arguments. The state is an empty dict at first and then
    whatever the rule returned. There are two quantities: the weights after every step, stacked, and whether the rule
    left its arguments as they were (``"unchanged"``).

    The reference makes the optimiser: ``reference(parameters, lr=..., ...) -> torch.optim.Optimizer``. A mistake's
    variant is a wrong rule, called like the student's.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.points) != 2:
            raise ValueError(f"exercise {self.functions} needs points for the weights and for the arguments")

    def run(self, functions: Functions, inputs: Inputs) -> Any:
        """Step through the gradients; return the weights after every step, and whether arguments were changed.

        Raises:
            Interrupted: If a step does not return weights and state.
        """
        w, dws, rates, options = _taken_apart(inputs)
        state: Any = {}
        path: list[Any] = []
        is_unchanged = True
        for dw, lr in zip(dws, rates, strict=True):
            before = copy_tree((w, dw, state))
            result = functions[0](w, dw, state, lr=lr, **options)
            is_unchanged = is_unchanged and is_same((w, dw, state), before)
            if not isinstance(result, list | tuple) or len(result) != 2:
                got = "None" if result is None else f"a {kind_of(result)}"
                name = self.functions[0]
                text = messages.WRONG_TUPLE.format(name=name, got=got, count=2, names="w and state")
                hint = messages.RETURNED_NONE_HINT if result is None else None
                raise Interrupted(Finding(Kind.STRUCTURE, text, hint=hint))
            w, state = result
            path.append(w)
        return _stacked(path), UNCHANGED if is_unchanged else CHANGED

    def expect(self, reference: Callable[..., Any], inputs: Inputs) -> dict[str, Any]:
        """Return the optimiser's path; a variant's is that of its own steps."""
        if reference is not self.reference:
            return super().expect(lambda **given: self.run([reference], given), inputs)
        return super().expect(lambda **given: (self._path(given), UNCHANGED), inputs)

    def _path(self, inputs: Inputs) -> Tensor:
        w, dws, rates, options = _taken_apart(inputs)
        parameter = w.detach().clone().requires_grad_()
        optimiser = self.reference([parameter], lr=rates[0], **options)
        path = []
        for dw, lr in zip(dws, rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = lr
            parameter.grad = dw.detach().clone()
            optimiser.step()
            path.append(parameter.detach().clone())
        return torch.stack(path)


def _taken_apart(inputs: Inputs) -> tuple[Tensor, Tensor, list[float], dict[str, Any]]:
    options = dict(inputs)
    w, dws, lr = options.pop("w"), options.pop("dw"), options.pop("lr")
    return w, dws, lr if isinstance(lr, list) else [lr] * len(dws), options


def _stacked(path: list[Any]) -> Any:
    """Return the weights as one tensor, so that one entry can be named; as they are if they do not go together."""
    are_alike = all(isinstance(w, Tensor) and w.shape == path[0].shape and w.dtype == path[0].dtype for w in path)
    return torch.stack(path) if are_alike else path
