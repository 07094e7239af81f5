"""The elastic net."""

from __future__ import annotations

import torch

from dlcvkit.checking import Case, Hidden, given, normal


def _by_where(W, l1, l2):
    slope = torch.where(W > 0, 1.0, 0.0) - torch.where(W < 0, 1.0, 0.0)
    return (l1 * W.abs() + l2 * W**2).sum().item(), (l1 * slope + 2 * l2 * W).to(W.dtype)


def _in_float32(W, l1, l2):
    V = W.float()
    return l1 * V.abs().sum() + l2 * V.square().sum(), (l1 * V.sgn() + 2 * l2 * V).T.contiguous().T


def _changes_w(W, l1, l2):
    R = l1 * W.abs().sum() + l2 * W.square().sum()
    gradient = l1 * W.sign()
    W *= 2 * l2
    return R, gradient + W


def _divides_by_w(W, l1, l2):
    return l1 * W.abs().sum() + l2 * W.square().sum(), l1 * W / W.abs() + 2 * l2 * W


def _by_autograd(W, l1, l2):
    V = W.clone().requires_grad_()
    with torch.enable_grad():
        R = l1 * V.abs().sum() + l2 * V.square().sum()
        R.backward()
    return R.detach(), V.grad


elastic_net_penalty = Hidden(
    cases=[
        Case("one weight", W=given([[-3.0]]), l1=0.25, l2=2.0),
        Case("one column", W=normal(7, 1), l1=1.5, l2=0.5),
        Case("no l1", W=normal(3, 5), l1=0.0, l2=0.8),
        Case("no l2", W=normal(5, 3), l1=0.8, l2=0.0),
        Case("all zeros", W=given([[0.0, 0.0], [0.0, 0.0]]), l1=1.0, l2=1.0),
        Case("weights of 1e5", W=normal(3, 4, std=1e5), l1=0.5, l2=0.01),
        Case("float32", W=normal(6, 5), l1=0.2, l2=0.3).float32(),
        Case("non-contiguous", W=normal(4, 6), l1=0.2, l2=0.3).strided(),
        # A gradient by difference quotients is right, but it takes too long for as many weights.
        Case("many weights", W=normal(20_000, 10), l1=0.2, l2=0.3),
    ],
    mutants={
        "changes W": _changes_w,
        "divides by the absolute value": _divides_by_w,
        "uses autograd": _by_autograd,
        "returns the gradient alone": lambda W, l1, l2: l1 * W.sign() + 2 * l2 * W,
        "gradient before penalty": lambda W, l1, l2: (
            l1 * W.sign() + 2 * l2 * W,
            l1 * W.abs().sum() + l2 * W.square().sum(),
        ),
        "penalty per column": lambda W, l1, l2: (
            l1 * W.abs().sum(0) + l2 * W.square().sum(0),
            l1 * W.sign() + 2 * l2 * W,
        ),
        "gradient descends": lambda W, l1, l2: (
            l1 * W.abs().sum() + l2 * W.square().sum(),
            -l1 * W.sign() - 2 * l2 * W,
        ),
        "l1 inside the square": lambda W, l1, l2: (
            (l1 * W.abs() + l2 * W).square().sum(),
            l1 * W.sign() + 2 * l2 * W,
        ),
    },
    solutions={"by where, a Python float": _by_where, "in float32, non-contiguous": _in_float32},
)
