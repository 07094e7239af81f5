"""Which way a step goes and how large its gradient may be: L-BFGS and clipping."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Function, Mistake, drawn, normal
from dlcvkit.exercises.a2.optimizers.first_order import FORBIDDEN


def pairs(count, size, *, scale=1.0, conjugate=False):
    """Describe ``count`` steps and the changes of the gradient along them, on a convex quadratic: (2, count, size).

    Args:
        count: Number of pairs, M.
        size: Number of weights, D.
        scale: Factor of the curvature.
        conjugate: Whether the steps follow the axes of the quadratic, each a different one.
    """

    def make(generator):
        root = torch.randn(size, size, generator=generator, dtype=torch.float64)
        hessian = scale * (root @ root.T / size + 0.3 * torch.eye(size, dtype=torch.float64))
        steps = torch.randn(count, size, generator=generator, dtype=torch.float64)
        if conjugate:
            steps = torch.linalg.eigh(hessian).eigenvectors.T[:count] * steps[:, :1]
        return torch.stack([steps, steps @ hessian])

    return drawn(make)


def _call_with_pairs(lbfgs_direction, gradient, pairs):
    return lbfgs_direction(gradient, pairs[0], pairs[1])


def _dense_direction(gradient, pairs):
    """Apply the BFGS update of the inverse Hessian as it stands in textbooks, with (D, D) matrices."""
    g, (steps, changes) = gradient.double(), pairs.double()
    eye = torch.eye(len(g), dtype=g.dtype, device=g.device)
    inverse = eye if len(steps) == 0 else eye * (steps[-1] @ changes[-1]) / (changes[-1] @ changes[-1])
    for s, y in zip(steps, changes, strict=True):
        rho = 1 / (y @ s)
        turn = eye - rho * torch.outer(y, s)
        inverse = turn.T @ inverse @ turn + rho * torch.outer(s, s)
    return (-inverse @ g).to(gradient.dtype)


def _two_loops(
    *,
    sign=-1.0,
    gamma=lambda s, y: (s @ y) / (y @ y),
    scaled_by=-1,
    first=reversed,
    second=lambda order: order,
    alpha_back=True,
    beta=True,
    rho=lambda s, y: 1 / (s @ y),
    used=slice(None),
    swapped=False,
):
    """Make the two-loop recursion; each keyword switches a mistake on."""

    def variant(gradient, pairs):
        steps, changes = (pairs[1], pairs[0]) if swapped else (pairs[0], pairs[1])
        steps, changes = steps[used], changes[used]
        q = gradient.clone()
        alphas = {}
        for i in first(range(len(steps))):
            alphas[i] = rho(steps[i], changes[i]) * (steps[i] @ q)
            q = q - alphas[i] * changes[i]
        if len(steps):
            q = q * gamma(steps[scaled_by], changes[scaled_by])
        for i in second(range(len(steps))):
            slope = rho(steps[i], changes[i]) * (changes[i] @ q) if beta else 0.0
            q = q + ((alphas[i] if alpha_back else 0.0) - slope) * steps[i]
        return sign * q

    return variant


lbfgs_direction = Function(
    functions=("lbfgs_direction",),
    reference=_dense_direction,
    call=_call_with_pairs,
    cases=[
        Case("3 pairs, 5 weights", gradient=normal(5), pairs=pairs(3, 5)),
        Case("no pair yet", gradient=normal(4), pairs=pairs(0, 4)),
        Case("1 pair", gradient=normal(3), pairs=pairs(1, 3)),
    ],
    points={"direction": 5},
    forbidden=FORBIDDEN,
    mistakes=[
        Mistake("points uphill", _two_loops(sign=1.0), hint="a direction to step in: at no pairs it is -gradient"),
        Mistake(
            "leaves the scaling between the loops out",
            _two_loops(gamma=lambda s, y: 1.0),
            hint="between the loops, q is multiplied by an estimate of the inverse curvature",
        ),
        Mistake(
            "scales by the curvature instead of its inverse",
            _two_loops(gamma=lambda s, y: (y @ y) / (s @ y)),
            hint="look at the unit of the factor between the loops: step over change of gradient",
        ),
        Mistake(
            "scales by the oldest pair",
            _two_loops(scaled_by=0),
            hint="the newest pair knows best how curved it is here",
        ),
        Mistake(
            "runs the first loop from the oldest pair on",
            _two_loops(first=lambda order: order),
            hint="the first loop goes back in time, the second one forward",
        ),
        Mistake(
            "runs the second loop back in time",
            _two_loops(second=reversed),
            hint="the first loop goes back in time, the second one forward",
        ),
        Mistake(
            "forgets alpha in the second loop",
            _two_loops(alpha_back=False),
            hint="the second loop adds (alpha - beta) times the step",
        ),
        Mistake(
            "forgets beta in the second loop",
            _two_loops(beta=False),
            hint="the second loop adds (alpha - beta) times the step",
        ),
        Mistake("has rho upside down", _two_loops(rho=lambda s, y: s @ y), hint="rho is 1 over the product of s and y"),
        Mistake(
            "uses the newest pair alone", _two_loops(used=slice(-1, None)), hint="every pair takes part in both loops"
        ),
        Mistake("swaps steps and changes", _two_loops(swapped=True), hint="steps are s, changes of the gradient are y"),
    ],
)


def _clip_by_torch(grads, max_norm):
    parameters = {name: torch.zeros_like(gradient, requires_grad=True) for name, gradient in grads.items()}
    for name, parameter in parameters.items():
        parameter.grad = grads[name].clone()
    norm = torch.nn.utils.clip_grad_norm_(parameters.values(), max_norm)
    return {name: parameter.grad for name, parameter in parameters.items()}, norm


def _total_norm(grads):
    return torch.stack([gradient.square().sum() for gradient in grads.values()]).sum().sqrt()


def _clipping(norm=_total_norm, scale=lambda norm, limit: (limit / norm).clamp(max=1.0), told=lambda norm, limit: norm):
    """Make a clipping function with a mistake in the norm, in the scale or in the norm that it tells."""

    def variant(grads, max_norm):
        total = norm(grads)
        factor = scale(total, max_norm)
        return {name: gradient * factor for name, gradient in grads.items()}, told(total, max_norm)

    return variant


def _clip_each(grads, max_norm):
    each = {name: gradient * (max_norm / gradient.norm()).clamp(max=1.0) for name, gradient in grads.items()}
    return each, _total_norm(grads)


clip_grad_norm = Function(
    functions=("clip_grad_norm",),
    reference=_clip_by_torch,
    cases=[
        Case("too large", grads={"W": normal(4, 3, std=3.0), "b": normal(3)}, max_norm=2.0),
        Case("small enough", grads={"W": normal(3, 2), "b": normal(2)}, max_norm=50.0),
        Case("between the norm and its square", grads={"W": normal(5, 4), "b": normal(4)}, max_norm=8.0),
    ],
    points={"clipped": 3, "norm": 1},
    forbidden=FORBIDDEN,
    mistakes=[
        Mistake(
            "clips every tensor by itself",
            _clip_each,
            hint="one norm over all tensors together, so that the direction stays",
        ),
        Mistake(
            "divides by the square of the norm",
            _clipping(scale=lambda norm, limit: (limit / norm.square()).clamp(max=1.0)),
            hint="look at whether a root was taken before the division",
        ),
        Mistake(
            "compares the square of the norm",
            _clipping(scale=lambda norm, limit: limit / norm if norm**2 > limit else torch.ones_like(norm)),
            hint="look at whether a root was taken before the comparison",
        ),
        Mistake(
            "returns the square of the norm",
            _clipping(norm=lambda grads: _total_norm(grads).square()),
            hint="the norm is the root of the sum of all squares",
        ),
        Mistake(
            "clips every entry by itself",
            lambda grads, max_norm: (
                {name: gradient.clamp(-max_norm, max_norm) for name, gradient in grads.items()},
                _total_norm(grads),
            ),
            hint="clipping by norm scales all entries by one factor, so that the direction stays",
        ),
        Mistake(
            "scales small gradients up",
            _clipping(scale=lambda norm, limit: limit / norm),
            hint="gradients whose norm is at most max_norm stay as they are",
        ),
        Mistake(
            "adds up the norms of the tensors",
            _clipping(norm=lambda grads: torch.stack([gradient.norm() for gradient in grads.values()]).sum()),
            hint="as if all entries stood in one long vector: squares add up, norms do not",
        ),
        Mistake(
            "takes the sum of absolute values for the norm",
            _clipping(norm=lambda grads: torch.stack([g.abs().sum() for g in grads.values()]).sum()),
            hint="the norm is the root of the sum of all squares",
        ),
        Mistake(
            "returns the norm after clipping",
            _clipping(told=lambda norm, limit: norm.clamp(max=limit)),
            hint="the norm from before is what one wants to watch in training",
        ),
        Mistake(
            "multiplies by the norm where it divides",
            _clipping(scale=lambda norm, limit: (norm / limit).clamp(max=1.0)),
            hint="the norm afterwards is max_norm: try it on one number",
        ),
    ],
)
