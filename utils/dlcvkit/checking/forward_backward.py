"""The protocol of a layer: a forward function, and a backward function that is given its cache."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dlcvkit.checking import messages
from dlcvkit.checking.exercise import ComparedExercise, Functions, Inputs
from dlcvkit.checking.findings import Finding, Kind
from dlcvkit.checking.interrupted import Interrupted
from dlcvkit.checking.values import kind_of


@dataclass(frozen=True, kw_only=True)
class ForwardBackward(ComparedExercise):
    """``f_forward(...) -> (out, cache)`` and ``f_backward(dout, cache) -> gradients``.

    Backward is given the cache that the student's own forward returned. The upstream gradient is an input of the case
    like any other, so that it can be drawn, strided and watched like one. ``points`` names the outputs first, then the
    gradients; the gradient of the input ``x`` is called ``dx``. The reference is a function of the inputs without the
    upstream gradient that returns the output (a tuple of them, if there are several); autograd does the rest.

    A mistake's variant is called like the reference. It may take the upstream gradient as well, by name, and it may
    return all quantities itself, as a tuple in the order of ``points``.

    A backward function that fails costs the gradients and leaves the outputs' points alone.

    Attributes:
        upstream: Output name to the input that holds its upstream gradient, in the order in which backward takes them.
            Outputs that are not named here have no gradient, such as running statistics.
    """

    upstream: Mapping[str, str] = field(default_factory=lambda: {"out": "dout"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.functions) != 2:
            raise ValueError(f"exercise {self.functions} needs a forward and a backward function")
        names = set(self.upstream.values())
        for case in self.cases:
            if not names <= case.inputs.keys():
                raise ValueError(f"a case of {self.functions} lacks the upstream gradient {names - case.inputs.keys()}")
        if not set(self.upstream) <= set(self.outputs) or not self.gradients:
            raise ValueError(f"points of {self.functions} need the outputs {set(self.upstream)} and some gradients")

    @property
    def outputs(self) -> list[str]:
        """Names of the quantities that forward returns, cache not counted."""
        return [name for name in self.points if not self._is_gradient(name)]

    @property
    def gradients(self) -> list[str]:
        """Names of the quantities that backward returns."""
        return [name for name in self.points if self._is_gradient(name)]

    def _is_gradient(self, name: str) -> bool:
        return name.startswith("d") and any(name[1:] in case.inputs for case in self.cases)

    def run(self, functions: Functions, inputs: Inputs) -> Any:
        """Call forward, then backward with its cache; return outputs and gradients in one tuple.

        Raises:
            Interrupted: If forward returns something else than outputs and cache, or backward fails.
        """
        if self.call is not None:
            return self.call(*functions, **inputs)
        upstream = [inputs[name] for name in self.upstream.values()]
        arguments = [value for name, value in inputs.items() if name not in self.upstream.values()]
        return run_pair(functions, self.functions, arguments, upstream, self.outputs, self.gradients)

    def expect(self, reference: Callable[..., Any], inputs: Inputs) -> dict[str, Any]:
        """Return outputs and gradients; a variant that returns all of them is taken at its word."""
        return super().expect(lambda **given: self._outputs_and_gradients(reference, given), inputs)

    def _outputs_and_gradients(self, reference: Callable[..., Any], inputs: Inputs) -> tuple[Any, ...]:
        given = dict(inputs)
        accepted = _parameters(reference)
        for name in self.upstream.values():
            if name not in accepted:
                del given[name]
        variables = {
            name[1:]: given[name[1:]].detach().clone().requires_grad_() for name in self.gradients if name[1:] in given
        }
        with torch.enable_grad():
            result = reference(**{**given, **variables})
            values = result if isinstance(result, tuple) else (result,)
            if len(values) == len(self.points):
                return tuple(value.detach() if isinstance(value, Tensor) else value for value in values)
            outputs = dict(zip(self.outputs, values, strict=True))
            heads = {name: output for name, output in outputs.items() if name in self.upstream}
            heads = {name: output for name, output in heads.items() if output.requires_grad}
            gradients = torch.autograd.grad(
                list(heads.values()),
                list(variables.values()),
                [inputs[self.upstream[name]] for name in heads],
                allow_unused=True,
            )
        filled = [
            torch.zeros_like(variable) if gradient is None else gradient
            for variable, gradient in zip(variables.values(), gradients, strict=True)
        ]
        return (*[v.detach() if isinstance(v, Tensor) else v for v in outputs.values()], *filled)


def run_pair(
    functions: Functions,
    names: Sequence[str],
    arguments: Sequence[Any],
    upstream: Sequence[Any],
    outputs: Sequence[str],
    gradients: Sequence[str],
) -> tuple[Any, ...]:
    """Call forward, then backward with its cache.

    Args:
        functions: The two.
        names: What they are called.
        arguments: What forward is given.
        upstream: The gradients that backward is given before the cache.
        outputs: Names of what forward returns before the cache.
        gradients: Names of what backward returns.

    Returns:
        Outputs and gradients.

    Raises:
        Interrupted: If forward returns something else than outputs and cache, or backward fails.
    """
    forward, backward = functions
    *values, cache = _demand(forward(*arguments), names[0], [*outputs, "cache"])
    lost = list(gradients)
    try:
        found = backward(*upstream, cache)
        found = _demand(found, names[1], lost) if len(lost) > 1 else [found]
    except Interrupted as stop:
        raise Interrupted(stop.cause, (*values, *[None] * len(lost)), lost) from stop
    except (Exception, SystemExit) as error:
        raise Interrupted(error, (*values, *[None] * len(lost)), lost) from error
    return (*values, *found)


def _parameters(function: Callable[..., Any]) -> Collection[str]:
    try:
        return inspect.signature(function).parameters
    except ValueError:  # torch's own functions do not say
        return ()


def _demand(result: Any, function: str, names: list[str]) -> list[Any]:
    """Return the parts of a result that has to be a tuple.

    Raises:
        Interrupted: If it is none, or has another length.
    """
    if isinstance(result, list | tuple) and len(result) == len(names):
        return list(result)
    got = "None" if result is None else f"a {kind_of(result)}"
    text = messages.WRONG_TUPLE.format(name=function, got=got, count=len(names), names=messages.listing(names))
    hint = messages.RETURNED_NONE_HINT if result is None else None
    raise Interrupted(Finding(Kind.STRUCTURE, text, hint=hint))
