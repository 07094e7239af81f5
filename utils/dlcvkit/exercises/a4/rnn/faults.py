"""Layers with a mistake in what is differentiated or in one gradient; for the modules beside this one."""

from __future__ import annotations

import torch


def differentiate(layer, inputs, head):
    """Return the output of a layer, and name to gradient for each floating-point input, under ``head`` from above."""
    variables = {
        name: value.detach().clone().requires_grad_() if value.is_floating_point() else value
        for name, value in inputs.items()
    }
    leaves = {name: value for name, value in variables.items() if value.requires_grad}
    with torch.enable_grad():
        out = layer(**variables)
        found = torch.autograd.grad(out, list(leaves.values()), head, allow_unused=True)
    gradients = {
        f"d{name}": torch.zeros_like(leaf) if gradient is None else gradient
        for (name, leaf), gradient in zip(leaves.items(), found, strict=True)
    }
    return out.detach(), gradients


def changed(layer, backward_of=None, upstream=None, output=None, **changes):
    """A layer whose gradients are wrong, or whose output has another shape.

    Args:
        layer: Gives the outputs.
        backward_of: The layer whose gradients are taken instead, or None.
        upstream: What is made of the upstream gradient first, ``upstream(head, out, inputs)``, or None.
        output: What is made of the output at last, ``output(out)``, or None.
        changes: Name of a gradient to what is made of it, ``dx=lambda dx, head, inputs: ...``.
    """

    def variant(dnext_h=None, dh=None, dout=None, **inputs):
        head = next(each for each in (dnext_h, dh, dout) if each is not None)
        out, _ = differentiate(layer, inputs, head)
        if upstream is not None:
            head = upstream(head, out, inputs)
        _, gradients = differentiate(backward_of or layer, inputs, head)
        for name, change in changes.items():
            gradients[name] = change(gradients[name], head, inputs)
        return out if output is None else output(out), *gradients.values()

    return variant
