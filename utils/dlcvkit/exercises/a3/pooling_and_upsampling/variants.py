"""What the wrong variants of this notebook's layers are made from."""

from __future__ import annotations

import inspect

import torch


def changed(layer, **changes):
    """A layer whose quantities are right but for those that are changed, ``dx=lambda dx, given: ...``.

    Without changes, a layer whose output may have a wrong shape.
    """

    def variant(dout, **inputs):
        differentiable = [name for name, value in inputs.items() if isinstance(value, torch.Tensor)]
        tracked = {name: inputs[name].detach().clone().requires_grad_() for name in differentiable}
        with torch.enable_grad():
            out = layer(**{**inputs, **tracked})
            if out.shape == dout.shape:
                gradients = torch.autograd.grad(out, list(tracked.values()), dout)
            else:  # then backward has nothing to go back from
                gradients = [torch.zeros_like(value) for value in tracked.values()]
        right = {"out": out.detach(), **{f"d{name}": g for name, g in zip(differentiable, gradients, strict=True)}}
        given = {**inputs, "dout": dout}
        return tuple(changes[name](value, given) if name in changes else value for name, value in right.items())

    return variant


def with_backward_of(layer, other):
    """A layer with the output of ``layer`` and the gradients of ``other``, which has outputs of the same shape."""

    def variant(**inputs):
        theirs = other(**inputs)
        return layer(**inputs).detach() + theirs - theirs.detach()

    variant.__signature__ = inspect.signature(layer)  # it does not take the upstream gradient
    return variant


def ignoring_upstream(layer):
    """A layer whose backward takes the upstream gradient to be all ones."""

    def variant(dout, **inputs):
        return changed(layer)(dout=torch.ones_like(dout), **inputs)

    return variant
