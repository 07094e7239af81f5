"""Clipping by the common norm of all gradients."""

from __future__ import annotations

import torch

from dlcvkit.checking import AUTOGRAD, TORCH_LAYERS, TORCH_OPTIM, Case, Function, given, normal
from dlcvkit.exercises.a2.optimizers import directions


def _clip(grads, max_norm):
    """Clipping as in stage a2; where it would multiply infinity by 0, zeros."""
    clipped, norm = directions.clip_grad_norm.reference(grads, max_norm)
    if not norm.isfinite():
        clipped = {name: torch.zeros_like(gradient) for name, gradient in clipped.items()}
    return clipped, norm


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
    mistakes=directions.clip_grad_norm.mistakes,
)
