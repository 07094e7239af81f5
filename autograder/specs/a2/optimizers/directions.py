"""Clipping, and the direction of L-BFGS."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, given, normal
from dlcvkit.exercises.a2.optimizers.directions import pairs


def _clip(grads, max_norm):
    norm = torch.cat([gradient.flatten() for gradient in grads.values()]).norm()
    factor = 1.0 if norm <= max_norm else max_norm / norm
    return {name: gradient * factor for name, gradient in grads.items()}, norm


def _clip_as_torch(grads, max_norm):
    total = sum(float((gradient**2).sum()) for gradient in grads.values()) ** 0.5
    factor = min(1.0, max_norm / (total + 1e-6))
    return {name: factor * gradient for name, gradient in grads.items()}, total


def _clip_in_place(grads, max_norm):
    clipped, norm = _clip(grads, max_norm)
    for name, gradient in grads.items():
        gradient.copy_(clipped[name])
    return grads, norm


def _clip_first(grads, max_norm):
    norm = next(iter(grads.values())).norm()
    factor = (max_norm / norm).clamp(max=1.0)
    return {name: gradient * factor for name, gradient in grads.items()}, norm


def _clip_matrices(grads, max_norm):
    return _clip({name: g if g.dim() > 1 else torch.zeros_like(g) for name, g in grads.items()}, max_norm)


def _clip_rows(grads, max_norm):
    _, norm = _clip(grads, max_norm)
    rows = {name: g.norm(dim=-1, keepdim=True) if g.dim() else g.abs() for name, g in grads.items()}
    return {name: g * (max_norm / rows[name].clamp(min=1e-9)).clamp(max=1.0) for name, g in grads.items()}, norm


def _clip_always(grads, max_norm):
    _, norm = _clip(grads, max_norm)
    return {name: gradient * (max_norm / norm.clamp(min=1e-9)) for name, gradient in grads.items()}, norm


def _clip_to_zero(grads, max_norm):
    _, norm = _clip(grads, max_norm)
    return {name: gradient * float(norm <= max_norm) for name, gradient in grads.items()}, norm


def _clip_nan(grads, max_norm):
    """Scale by a minimum that divides 0 by 0."""
    _, norm = _clip(grads, max_norm)
    return {name: gradient / norm * norm.clamp(max=max_norm) for name, gradient in grads.items()}, norm


def _clip_by_torch(grads, max_norm):
    parameters = {name: torch.zeros_like(gradient) for name, gradient in grads.items()}
    for name, parameter in parameters.items():
        parameter.grad = grads[name].clone()
    norm = torch.nn.utils.clip_grad_norm_(parameters.values(), max_norm)
    return {name: parameter.grad for name, parameter in parameters.items()}, norm


clip_grad_norm = Hidden(
    cases=[
        Case("zero gradients", grads={"W": given([[0.0, 0.0]]), "b": given([0.0])}, max_norm=1.0),
        Case("exactly max_norm", grads={"W": given([[3.0], [0.0]]), "b": given([4.0])}, max_norm=5.0),
        Case("one tensor", grads={"W": normal(3, 4, 2)}, max_norm=1.0),
        Case("one number", grads={"scale": given(-7.0)}, max_norm=2.0),
        Case(
            "many tensors of many shapes",
            grads={
                "a": normal(2, 3),
                "b": normal(1),
                "c": normal(2, 1, 3, 2),
                "d": given(2.5),
                "e": normal(7, std=4.0),
            },
            max_norm=3.0,
        ),
        Case("one large among small", grads={"W": normal(4, 4, std=0.01), "b": given([1e4, -2e4])}, max_norm=1.0),
        Case("a norm below 1", grads={"W": normal(2, 2, std=0.1), "b": normal(2, std=0.1)}, max_norm=0.9),
        Case("float32", grads={"W": normal(4, 3, std=9.0), "b": normal(3)}, max_norm=4.0).float32(),
        Case("non-contiguous", grads={"W": normal(4, 3, std=9.0), "b": normal(3)}, max_norm=4.0).strided(),
    ],
    mutants={
        "changes the gradients": _clip_in_place,
        "looks at the first tensor alone": _clip_first,
        "leaves vectors out": _clip_matrices,
        "clips every row": _clip_rows,
        "scales whatever the norm": _clip_always,
        "throws large gradients away": _clip_to_zero,
        "divides 0 by 0": _clip_nan,
        "uses torch.nn.utils": _clip_by_torch,
        "returns the gradients alone": lambda grads, max_norm: _clip(grads, max_norm)[0],
        "norm before gradients": lambda grads, max_norm: _clip(grads, max_norm)[::-1],
        "returns a list": lambda grads, max_norm: (list(_clip(grads, max_norm)[0].values()), _clip(grads, max_norm)[1]),
    },
    solutions={"one long vector": _clip, "as torch does, a Python number": _clip_as_torch},
)


def _direction_by_matrices(gradient, steps, changes):
    """Build the inverse Hessian, (D, D), and multiply."""
    eye = torch.eye(len(gradient), dtype=gradient.dtype, device=gradient.device)
    inverse = eye
    if len(steps):
        inverse = eye * (steps[-1].dot(changes[-1]) / changes[-1].dot(changes[-1]))
    for s, y in zip(steps, changes, strict=True):
        rho = 1 / s.dot(y)
        left = eye - rho * s[:, None] * y[None, :]
        inverse = left @ inverse @ left.T + rho * s[:, None] * s[None, :]
    return -(inverse @ gradient)


def _direction_recursively(gradient, steps, changes, gamma=None):
    """Peel the newest pair off, solve the rest, put it back."""
    if len(steps) == 0:
        return -gradient * (1.0 if gamma is None else gamma)
    s, y = steps[-1], changes[-1]
    gamma = (s @ y) / (y @ y) if gamma is None else gamma
    alpha = (s @ gradient) / (s @ y)
    inner = _direction_recursively(gradient - alpha * y, steps[:-1], changes[:-1], gamma)
    return inner - (alpha + (y @ inner) / (s @ y)) * s


def _direction(gradient, steps, changes):
    return _direction_recursively(gradient, steps, changes)


def _direction_normalized(gradient, steps, changes):
    direction = _direction(gradient, steps, changes)
    return direction / direction.norm()


def _direction_in_place(gradient, steps, changes):
    return gradient.copy_(_direction(gradient, steps, changes))


def _direction_of_dfp(gradient, steps, changes):
    """Update as Davidon, Fletcher and Powell do: BFGS with steps and changes in each other's place."""
    eye = torch.eye(len(gradient), dtype=gradient.dtype, device=gradient.device)
    inverse = eye if len(steps) == 0 else eye * (steps[-1] @ changes[-1]) / (changes[-1] @ changes[-1])
    for s, y in zip(steps, changes, strict=True):
        moved = inverse @ y
        inverse = inverse - torch.outer(moved, moved) / (y @ moved) + torch.outer(s, s) / (s @ y)
    return -inverse @ gradient


def _direction_of_five(gradient, steps, changes):
    return _direction(gradient, steps[:5], changes[:5])


def _direction_scaled_by_mean(gradient, steps, changes):
    gamma = ((steps * changes).sum() / changes.square().sum()) if len(steps) else 1.0
    return _direction_recursively(gradient, steps, changes, gamma)


lbfgs_direction = Hidden(
    cases=[
        Case("one weight", gradient=normal(1), pairs=pairs(1, 1)),
        Case("as many pairs as weights", gradient=normal(4), pairs=pairs(4, 4)),
        Case("one step along each axis: Newton's direction", gradient=normal(4), pairs=pairs(4, 4, conjugate=True)),
        Case("more pairs than weights", gradient=normal(3), pairs=pairs(8, 3)),
        Case("many weights", gradient=normal(60), pairs=pairs(7, 60)),
        Case("a flat quadratic", gradient=normal(5, std=1e-3), pairs=pairs(3, 5, scale=1e-3)),
        Case("a steep quadratic", gradient=normal(5, std=1e3), pairs=pairs(3, 5, scale=1e3)),
        Case("zero gradient", gradient=given([0.0, 0.0, 0.0]), pairs=pairs(2, 3)),
        Case("float32", gradient=normal(6), pairs=pairs(3, 6)).float32(),
        Case("non-contiguous", gradient=normal(6), pairs=pairs(3, 6)).strided(),
    ],
    mutants={
        "scales to length 1": _direction_normalized,
        "changes the gradient": _direction_in_place,
        "updates as DFP does": _direction_of_dfp,
        "uses five pairs at most": _direction_of_five,
        "scales by the mean over the pairs": _direction_scaled_by_mean,
        "needs a pair": lambda gradient, steps, changes: (
            _direction(gradient, steps, changes) * (0 if len(steps) == 0 else 1)
        ),
        "steepest descent": lambda gradient, steps, changes: -gradient,
        "returns a column": lambda gradient, steps, changes: _direction(gradient, steps, changes)[:, None],
    },
    solutions={"with matrices": _direction_by_matrices, "recursively": _direction},
    equivalent=dict.fromkeys(
        (
            "lbfgs_direction: steps[i] @ q -> q @ steps[i]",
            "lbfgs_direction: steps[i] @ changes[i] -> changes[i] @ steps[i]",
            "lbfgs_direction: steps[-1] @ changes[-1] -> changes[-1] @ steps[-1]",
            "lbfgs_direction: changes[i] @ q -> q @ changes[i]",
            "lbfgs_direction: steps[i] @ changes[i] -> changes[i] @ steps[i] #2",
        ),
        "the product of two vectors does not depend on their order",
    ),
)
