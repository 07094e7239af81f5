"""Clipping by the common norm of all gradients."""

from __future__ import annotations

import torch

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, TORCH_OPTIM, Case, Function, Mistake, given, normal


def _clip(grads, max_norm):
    """What torch does; where it would multiply infinity by 0, zeros."""
    parameters = {name: torch.zeros_like(gradient, requires_grad=True) for name, gradient in grads.items()}
    for name, parameter in parameters.items():
        parameter.grad = grads[name].clone()
    norm = torch.nn.utils.clip_grad_norm_(parameters.values(), max_norm)
    clipped = {name: parameter.grad for name, parameter in parameters.items()}
    if not norm.isfinite():
        clipped = {name: torch.zeros_like(gradient) for name, gradient in clipped.items()}
    return clipped, norm


def _length(grads):
    return torch.stack([gradient.norm() for gradient in grads.values()]).norm()


def _spoilt(norm=_length, scale=lambda norm, limit: (limit / norm).clamp(max=1.0), told=lambda norm, limit: norm):
    """Clipping with a mistake in the norm, in the factor or in the norm that is told."""

    def variant(grads, max_norm):
        total = norm(grads)
        return {name: gradient * scale(total, max_norm) for name, gradient in grads.items()}, told(total, max_norm)

    return variant


def _each(grads, max_norm):
    clipped = {name: gradient * (max_norm / gradient.norm()).clamp(max=1.0) for name, gradient in grads.items()}
    return clipped, _length(grads)


def rnn_gradients(std=1.0):
    """Describe gradients as a small recurrent network has them."""
    shapes = {"Wx": (2, 3), "Wh": (3, 3), "b": (3,)}
    return {name: normal(*shape, std=std) for name, shape in shapes.items()}


clip_grad_norm = Function(
    functions=("clip_grad_norm",),
    reference=_clip,
    cases=[
        Case("too large", grads=rnn_gradients(5.0), max_norm=2.0),
        Case("small enough", grads=rnn_gradients(), max_norm=50.0),
        Case("between the norm and its square", grads=rnn_gradients(), max_norm=9.0),
        Case(
            "an infinite entry, so that all becomes 0",
            grads={"W": given([[1.0, 2.0]]), "b": given([float("inf"), 3.0])},
            max_norm=5.0,
        ),
    ],
    points={"clipped": 2, "norm": 1},
    forbidden=TORCH_LAYERS | AUTOGRAD | TORCH_OPTIM,
    mistakes=[
        Mistake(
            "clips every tensor by itself",
            _each,
            hint="one norm over all tensors together and one factor for all, so that the direction stays",
        ),
        Mistake(
            "divides by the square of the norm",
            _spoilt(scale=lambda norm, limit: (limit / norm.square()).clamp(max=1.0)),
            hint="look at whether a root was taken before the division",
        ),
        Mistake(
            "compares the square of the norm",
            _spoilt(scale=lambda norm, limit: limit / norm if norm**2 > limit else torch.ones_like(norm)),
            hint="look at whether a root was taken before the comparison",
        ),
        Mistake(
            "returns the square of the norm",
            _spoilt(norm=lambda grads: _length(grads).square()),
            hint="the norm is the root of the sum of all squares",
        ),
        Mistake(
            "clips every entry by itself",
            lambda grads, max_norm: (
                {name: gradient.clamp(-max_norm, max_norm) for name, gradient in grads.items()},
                _length(grads),
            ),
            hint="clipping by norm scales all entries by one factor, so that the direction stays",
        ),
        Mistake(
            "scales small gradients up",
            _spoilt(scale=lambda norm, limit: limit / norm),
            hint="gradients whose norm is at most max_norm stay as they are",
        ),
        Mistake(
            "adds up the norms of the tensors",
            _spoilt(norm=lambda grads: torch.stack([gradient.norm() for gradient in grads.values()]).sum()),
            hint="as if all entries stood in one long vector: squares add up, norms do not",
        ),
        Mistake(
            "returns the norm after clipping",
            _spoilt(told=lambda norm, limit: norm.clamp(max=limit)),
            hint="the norm from before is what one wants to watch in training",
        ),
    ],
)
