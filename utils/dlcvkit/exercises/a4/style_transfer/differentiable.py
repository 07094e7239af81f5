"""Losses that torch has to differentiate: their value, and their gradient as autograd finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dlcvkit.checking import Finding, Interrupted, Kind
from dlcvkit.checking.values import copy_tree, kind_of


def _variable(value):
    if isinstance(value, dict):
        return {key: _variable(item) for key, item in value.items()}
    return value.detach().clone().requires_grad_()


def _tensors(value):
    return list(value.values()) if isinstance(value, dict) else [value]


def _gradients(head, variables, upstream=None):
    """Gradients of ``head``, in the form of ``variables``, zero where it does not depend on them."""
    tensors = _tensors(variables)
    found = torch.autograd.grad(head, tensors, upstream, allow_unused=True)
    filled = [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, found, strict=True)]
    return dict(zip(variables, filled, strict=True)) if isinstance(variables, dict) else filled[0]


def _refuse(text, hint, value):
    raise Interrupted(Finding(Kind.STRUCTURE, text, hint=hint), (value, None), ["gradient"])


def with_gradient(function: Callable[..., Any], wrt: str, **inputs):
    """Return what a student's function gives, and its gradient with respect to one input.

    The function is called twice: without gradients on the inputs as they are, so that a change of them is noticed, and
    with gradients on a copy. An input ``upstream`` is kept from it: the output is multiplied by it and summed.

    Args:
        function: A loss, or anything else that returns one tensor.
        wrt: The input, a tensor or a dict of tensors.
        inputs: All inputs, in order.

    Raises:
        Interrupted: If the gradient cannot be had; it holds the value.
    """
    given = {name: value for name, value in inputs.items() if name != "upstream"}
    value = function(*given.values())
    if not isinstance(value, torch.Tensor):
        got = kind_of(value)
        if value is None:
            return value, None
        _refuse(
            f"the function returned a {got}, which has no gradient", "return a tensor, not a number made of it", value
        )
    variables = _variable(given[wrt])
    with torch.enable_grad():
        again = function(*{**given, wrt: variables}.values())
        if not isinstance(again, torch.Tensor) or not again.requires_grad:
            hint = f"compute with tensors from {wrt} to the end; no item(), no detach(), no torch.no_grad()"
            _refuse(f"the result is cut off from {wrt}: torch finds no gradient", hint, value)
        upstream = inputs.get("upstream")
        if again.shape != (() if upstream is None else upstream.shape):
            _refuse("the result has the wrong shape, so there is no gradient to compare", None, value)
        return value, _gradients(again, variables, upstream)


def differentiated(function: Callable[..., Any], wrt: str):
    """Turn ``function(**inputs)`` into one that returns value and gradient; one that returns both is left alone."""

    def reference(**inputs):
        given = {name: value for name, value in copy_tree(inputs).items() if name != "upstream"}
        variables = _variable(given[wrt])
        with torch.enable_grad():
            result = function(**{**given, wrt: variables})
            if isinstance(result, tuple):
                return result
            return result.detach(), _gradients(result, variables, inputs.get("upstream"))

    return reference
