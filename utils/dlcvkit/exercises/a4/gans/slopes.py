"""A loss together with its gradients by autograd, for losses that are written forward only."""

from __future__ import annotations

import torch

from dlcvkit.checking import Finding, Interrupted, Kind

_NO_GRADIENT = "autograd finds no gradient: the loss is a plain number, or was cut off from {name}"
_NOT_A_NUMBER = "the loss has shape {shape}, so it has no gradient; expected one number"


def with_slopes(loss, names, inputs):
    """Return what a loss gives, and its gradients with respect to the inputs named.

    It calls a student's loss and the right one in the same way.

    Args:
        loss: Called with the inputs in order.
        names: Of the inputs that gradients are taken with respect to.
        inputs: Name to input.

    Raises:
        Interrupted: If no gradients can be had; it holds the loss.
    """
    variables = {name: inputs[name].detach().requires_grad_() for name in names}
    with torch.enable_grad():
        value = loss(*{**inputs, **variables}.values())
    lost = [f"d{name}" for name in names]
    plain = value.detach() if isinstance(value, torch.Tensor) else value
    if not isinstance(value, torch.Tensor) or not value.requires_grad:
        text = _NO_GRADIENT.format(name=names[0])
        raise Interrupted(Finding(Kind.STRUCTURE, text), (plain, *[None] * len(lost)), lost)
    if value.numel() != 1:
        text = _NOT_A_NUMBER.format(shape=tuple(value.shape))
        raise Interrupted(Finding(Kind.STRUCTURE, text), (plain, *[None] * len(lost)), lost)
    slopes = torch.autograd.grad(value, list(variables.values()), allow_unused=True)
    filled = [torch.zeros_like(v) if s is None else s for v, s in zip(variables.values(), slopes, strict=True)]
    return (plain, *filled)


def measured(measure, loss):
    """Return the reference, or a mistake's variant, that measures ``loss`` as a student's is measured."""
    return lambda **inputs: measure(loss, **inputs)
